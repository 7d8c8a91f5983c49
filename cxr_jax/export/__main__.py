"""Exports a trained run as a model that travels: a folder in the shape that the Hugging Face hub expects.

    python -m cxr_jax.export --workdir DIR --out FOLDER                   weights, configuration, tokenizer, model card
    python -m cxr_jax.export --workdir DIR --out FOLDER --with_index      and the pool: training reports and thumbnails
    python -m cxr_jax.export --workdir DIR --out FOLDER --stablehlo       and both encoders, to run with jax alone
    python -m cxr_jax.export --workdir DIR --densenet FILE.safetensors    DenseNet alone, under torchvision's names
    python -m cxr_jax.export [--workdir DIR] --out FOLDER --push OWNER/NAME    and send the folder to the hub, private

cxr_jax.load(FOLDER) reads it back bit for bit. Reports are patients' data: unless --with_index is given, no report and
no image leaves with the model, which then embeds but does not retrieve.
"""

import argparse
import importlib.util
import json
import re
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import huggingface_hub
import jax

from cxr_jax import __version__
from cxr_jax.errors import ArgumentParser, InputError, run_command
from cxr_jax.export.folder import FILES, ExportFolder
from cxr_jax.export.model_card import EXAMPLE_TEXT, Facts, model_card
from cxr_jax.export.stablehlo import export_encoders
from cxr_jax.files import write_json, write_text
from cxr_jax.retrieval import abstention, regions
from cxr_jax.retrieval.loading import load_run
from cxr_jax.retrieval.model import Model
from cxr_jax.retrieval.store import splits_in
from cxr_jax.runtime.run_folder import RunFolder
from cxr_jax.weights import hub
from cxr_jax.weights.densenet import save_densenet
from cxr_jax.weights.files import first_line
from cxr_jax.weights.warm_start import RECORD

LICENCE = re.compile(r"[a-z0-9][a-z0-9.-]*")  # the hub's identifiers: apache-2.0, cc-by-nc-4.0, other
CACHE = "~/.cache/cxr_jax"  # configs/base.py's; the run's own may be a path of its machine


def export_model(
    model: Model,
    run: RunFolder,
    out: str | Path,
    licence: str = "other",
    with_index: bool = False,
    with_stablehlo: bool = False,
) -> ExportFolder:
    """Writes a run's model to `out`, whole or not at all.

    Raises:
      InputError: `out` cannot be made, a weight is not finite, or the run's scores cannot be read.
    """
    out, pool = Path(out).expanduser(), model.pool
    config = portable(model.config)
    metrics = _metrics(run, pool.step)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".export-", dir=out.parent) as scratch:
            folder = ExportFolder(Path(scratch) / "export")
            folder.root.mkdir()
            folder.save_config(config, __version__, pool.step)
            folder.save_variables(model.variables)
            model.tokenizer.save_pretrained(folder.tokenizer)
            if with_index:
                pool.save(folder.index)
                write_json(folder.thresholds_file, model.drafter.thresholds.as_json())
                if model.checks is not None:
                    abstention.save(folder.index, model.checks.limits, pool.step, pool.checkpoint)
                if model.regions.shown:
                    shutil.copyfile(run.index / regions.OFFERED, folder.index / regions.OFFERED)
            example = None
            if with_stablehlo:
                for name, exported in export_encoders(model.config, model.variables).items():
                    (folder.root / f"{name}.stablehlo").write_bytes(exported.serialize())
                example = model.tokenizer(EXAMPLE_TEXT)["input_ids"], model.tokenizer.pad_token_id
            facts = Facts(
                config=config,
                version=__version__,
                step=pool.step,
                parameters=sum(x.size for x in jax.tree.leaves(model.variables)),
                pairs=len(pool),
                studies=len(pool.one_row_per_study()),
                metrics=metrics,
                licence=licence,
                with_index=with_index,
                example=example,
            )
            write_text(folder.card, model_card(facts))
            folder.root.rename(out)
    except OSError as error:
        raise InputError(f"--out {out}: cannot be written ({error.strerror}); name another folder") from error
    return ExportFolder(out)


def portable(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration without paths of this machine; of one that it began from, the last part is kept as its name."""

    def named(section: Mapping[str, Any], key: str) -> dict[str, Any]:
        name = section[key]
        is_path = name.startswith((".", "/", "~")) or Path(name).exists()
        return {**section, key: Path(name).name if name and is_path else name}

    data = {**config["data"], "path": "", "csv": "", "annotation": "", "cache": CACHE}
    towers = {tower: named(config[tower], "pretrained") for tower in ("image", "text")}
    taken = {RECORD: named(config[RECORD], "source")} if RECORD in config else {}
    return {**named(config, "init_from"), "data": data, **towers, **taken}


def push(folder: ExportFolder, name: str) -> str:
    """Sends an export to the hub, as a private model; returns its address. What is not an export's is not sent.

    Raises:
      InputError: the hub does not take it, or already has a public model of that name.
    """
    try:
        api = huggingface_hub.HfApi()
        url = api.create_repo(name, private=True, exist_ok=True)
        public = not api.repo_info(name).private
        if not public:
            api.upload_folder(
                repo_id=name,
                folder_path=folder.root,
                allow_patterns=[*FILES, "README.md", "*.stablehlo"],
                # Patients' reports of an earlier push must not stay behind one without them.
                delete_patterns=["index/*", "*.stablehlo"],
                commit_message=f"cxr_jax {__version__}",
            )
    except Exception as error:  # the hub's client raises a dozen kinds
        raise InputError(
            f"--push {name}: the hub did not take it ({first_line(error)}); the export is in {folder.root}: try again "
            f"with --out {folder.root} --push {name} alone"
        ) from error
    if public:
        raise InputError(f"--push {name}: is a public model, which is not written to; name a new one")
    return str(url)


def check_push(name: str) -> None:
    """Refuses early what `push` would fail at.

    Raises:
      InputError: `name` is none, there is no token, or the hub cannot be reached.
    """
    if not hub.MODEL_NAME.fullmatch(name):
        raise InputError(f"--push {name}: is not OWNER/NAME; name the model as the hub is to have it")
    if huggingface_hub.get_token() is None:
        raise InputError(f"--push {name}: there is no token of yours here; run hf auth login, or set HF_TOKEN")
    if not hub.reachable():
        raise InputError(f"--push {name}: the hub cannot be reached from here; export without --push, and push later")


def finished_run(workdir: str) -> tuple[RunFolder, Model]:
    """A finished run and its model.

    Raises:
      InputError: there is none.
    """
    run = RunFolder(workdir)
    run.load_config()
    if ExportFolder(run.root).is_one():
        raise InputError(f"--workdir {run.root}: is an export already; copy it, or name the run that it came from")
    if "train" not in splits_in(run.index):
        raise InputError(f"--workdir {run.root}: the run is not finished; go on with it by its training command")
    return run, load_run(run)


def _metrics(run: RunFolder, step: int) -> dict[str, Any] | None:
    file = run.evaluation("test") / "metrics.json"
    if not file.is_file():
        return None
    try:
        metrics = json.loads(file.read_text(encoding="utf-8"))
        return metrics if metrics["step"] == step else None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{file}: cannot be read ({error}); score the run again: python -m cxr_jax.evaluate --workdir {run.root}"
        ) from error


def _check_new(path: str, option: str) -> None:
    there = Path(path).expanduser()
    if there.is_dir() and not any(there.iterdir()) and option == "--out":
        return
    if there.exists() or there.is_symlink():
        raise InputError(f"{option} {path}: is there already; name a new one, or move it away")


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = ArgumentParser(
        prog="python -m cxr_jax.export", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workdir", default="", metavar="DIR", help="a finished run's folder, made by cxr_jax.train")
    parser.add_argument("--out", default="", metavar="FOLDER", help="the export's folder: new or empty; made")
    parser.add_argument("--license", default="other", metavar="ID", help="the weights', as the hub calls it (other)")
    parser.add_argument(
        "--with_index", action="store_true", help="training reports and thumbnails too: the pool to retrieve from"
    )
    parser.add_argument("--stablehlo", action="store_true", help="both encoders as *.stablehlo (needs flatbuffers)")
    parser.add_argument("--densenet", default="", metavar="FILE", help="DenseNet alone, as torchvision names it; new")
    parser.add_argument("--push", default="", metavar="OWNER/NAME", help="send FOLDER to the hub, as a private model")
    arguments = parser.parse_args(sys.argv[1:] if argv is None else argv)
    _check(arguments)
    if arguments.workdir:
        run, model = finished_run(arguments.workdir)
        if arguments.densenet:
            _export_densenet(model, Path(arguments.densenet).expanduser())
        if arguments.out:
            export = export_model(
                model, run, arguments.out, arguments.license, arguments.with_index, arguments.stablehlo
            )
            size = sum(file.stat().st_size for file in export.root.rglob("*") if file.is_file())
            what = "with" if arguments.with_index else "without"
            print(f"{export.root}: {size / 1e6:.1f} MB, {what} training reports; cxr_jax.load reads it")
    if arguments.push:
        print(f"pushed: {push(ExportFolder(arguments.out), arguments.push)} (private)")


def _check(arguments: argparse.Namespace) -> None:
    """Refuses at once what can be refused before the model is loaded."""
    if not arguments.out and not arguments.densenet:
        raise InputError("--out: is missing; name the folder to write (or --densenet FILE, see --help)")
    if arguments.push and not arguments.out:
        raise InputError("--push: sends the folder that --out names; give --out FOLDER")
    if not arguments.workdir and not (arguments.push and ExportFolder(arguments.out).is_one()):
        raise InputError("--workdir: is missing; name a finished run's folder")
    if not LICENCE.fullmatch(arguments.license):
        raise InputError(f"--license {arguments.license}: is no identifier of the hub's; apache-2.0, say, or other")
    if arguments.stablehlo and importlib.util.find_spec("flatbuffers") is None:
        raise InputError('--stablehlo: needs flatbuffers; pip install "cxr_jax[stablehlo]"')
    if arguments.workdir and arguments.out:
        _check_new(arguments.out, "--out")
    if arguments.densenet:
        _check_new(arguments.densenet, "--densenet")
    if arguments.push:
        check_push(arguments.push)


def _export_densenet(model: Model, file: Path) -> None:
    variables = {part: tree["vision"]["densenet"] for part, tree in model.variables.items()}
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        save_densenet(file, variables, model.config["image"])
    except OSError as error:
        raise InputError(f"--densenet {file}: cannot be written ({error.strerror}); name another file") from error
    print(f"{file}: DenseNet as torchvision names it; input channels {_scaling(model.config['image'])}")


def _scaling(image: Mapping[str, Any]) -> str:
    mean, std = ("/".join(f"{value:.4g}" for value in image[key]) for key in ("mean", "std"))
    return f"in [0, 1], mean {mean}, std {std}"


if __name__ == "__main__":
    run_command(main)

"""A model and a set from elsewhere, opened by what the command line names, before anything is scored."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cxr_jax
from cxr_jax.data.notes import Notes, say
from cxr_jax.data.splits import SPLITS
from cxr_jax.errors import InputError
from cxr_jax.evaluation.predictions import Line, read_predictions
from cxr_jax.export.folder import ExportFolder, open_folder
from cxr_jax.recipes.external_set import Asked, Embedded, Options, check_reports, embed, read_asked
from cxr_jax.recipes.split import predictions_file
from cxr_jax.retrieval.model import Model
from cxr_jax.runtime import parallel
from cxr_jax.runtime.run_folder import RunFolder


@dataclass(frozen=True)
class Opened:
    """A model and a set that it has embedded, before anything is scored."""

    run: RunFolder | ExportFolder
    config: Mapping[str, Any]
    folder: Path  # of the results
    asked: Asked
    model: Model
    embedded: Embedded
    notes: Notes
    others: list[Line]  # of --compare; none without


def open_set(options: Options, of_reports: str = "") -> Opened:
    """Reads what the options name, and embeds the set; what was doubtful in it is said.

    Args:
      of_reports: an option that is given and that wants reports to score, "" where none is.

    Raises:
      InputError: a file is not in its form, the folder holds no model, or there are neither labels nor reports; before
        the model is loaded.
    """
    notes, run = Notes(), open_folder(options.workdir)
    config = run.load_config()
    folder = output_folder(options, run)
    asked = read_asked(options, config, notes)
    if of_reports:
        check_reports(options, asked, run, of_reports)
    others: list[Line] = []
    if options.compare:
        by = f"--data {options.data} --name"
        others = read_predictions(predictions_file(options.compare, folder.name, by), labels_alone=True)
    parallel.cache_compilations(Path(config["data"]["cache"]).expanduser() / "compiled")
    model = cxr_jax.load(options.workdir)
    embedded = embed(options, model, run, asked, folder.name, notes)
    say(options.data, notes.all)
    return Opened(run, config, folder, asked, model, embedded, notes, others)


def output_folder(options: Options, run: RunFolder | ExportFolder) -> Path:
    """`eval/NAME` of the run's or the export's folder, of --out, or of the current one for a model on the hub.

    Raises:
      InputError: NAME is a split's, or no folder's name.
    """
    data = Path(options.data)
    stem = data.name.split(".")[0] or data.name
    name = options.name or (f"{stem}_{options.sample}" if options.sample else stem)
    if name in SPLITS or name.startswith(".") or not name.strip() or any(c in name for c in "/\\:\0"):
        why = "is a split of the run's own" if name in SPLITS else "is no name of a folder"
        raise InputError(f"--name {name}: {why}; name the set otherwise, by letters and digits")
    if options.out:
        return Path(options.out).expanduser() / name
    given = Path(options.workdir).expanduser()
    return (run.root if given.exists() else Path()) / "eval" / name

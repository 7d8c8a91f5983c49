"""Embeds images and texts with a trained run, into one file: .npz, or .parquet.

    python -m cxr_jax.embed --workdir DIR --data FILE.csv --out FILE.npz      a table: columns image, report, or both
    python -m cxr_jax.embed --workdir DIR --data FOLDER --out FILE.parquet    the images of a folder, however deep
    python -m cxr_jax.embed --workdir DIR --data FILE.txt --out FILE.npz      a text a line

DIR is a run's folder, an export's, or an export on the hub. A table may be JSON lines or Parquet too. The file holds a
row for each of the data's, in their order: its columns, image_embedding and text_embedding (float32, of unit norm),
and about: run, step and checkpoint. What is stored on the way, in FILE.parts/, is not encoded again by the same
command. What cannot be read has no embedding, and is listed in FILE.unreadable.txt; the command then ends with 2.
"""

import argparse
import shutil
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

import cxr_jax
from cxr_jax.data.inputs import Inputs, given_columns, read_inputs
from cxr_jax.data.notes import Notes, say
from cxr_jax.errors import ArgumentParser, InputError, run_command
from cxr_jax.files import write_text
from cxr_jax.retrieval import embedding_file
from cxr_jax.retrieval.parts import Parts
from cxr_jax.retrieval.streaming import PER_DEVICE, StreamingEncoder, distinct
from cxr_jax.runtime import lock, parallel
from cxr_jax.training.checkpoint import identity

SAID_EVERY = 10  # seconds between two lines of progress, where there is no terminal


def embed(
    workdir: str | Path, data: Path, out: Path, batch_size: int = 0, columns: Mapping[str, str] | None = None,
    root: Path | None = None,
) -> Path:  # fmt: skip
    """Embeds what `data` holds, prints how fast, and writes `out`, which it returns.

    Args:
      batch_size: see `StreamingEncoder`.
      columns, root: see `read_inputs`.

    Raises:
      InputError: there is no such run or data; `out` is there, of something else; or images cannot be read, when all
        else is written.
    """
    if not data.exists():
        raise InputError(f"--data {data}: no such file or folder; mend the path")
    if out.suffix.lower() not in embedding_file.SUFFIXES:
        raise InputError(f"--out {out}: ends in none of {', '.join(embedding_file.SUFFIXES)}; name such a file")
    model = cxr_jax.load(workdir)
    parallel.cache_compilations(Path(model.config["data"]["cache"]).expanduser() / "compiled")
    notes = Notes()
    inputs = read_inputs(data, model.config["data"]["section"], columns or {}, root, notes)
    say(data, notes.all)
    made_by = {"checkpoint": identity(model.variables), "inputs": inputs.digest()}
    if out.exists():
        there = embedding_file.read_about(out)
        if any(there.get(key) != value for key, value in made_by.items()):
            raise InputError(f"--out {out}: is there, of another checkpoint or other data; name another, or move it")
        print(f"{out}: is there already, of this checkpoint and these data")
        return _told(out, there["unreadable"])
    about = {"run": str(workdir), "step": model.step, "data": str(data), **made_by}
    folder = out.with_name(f"{out.name}.parts")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--out {out}: cannot be written ({error.strerror}); name another file") from error
    with lock.hold(folder / "lock", f"--out {out}"):
        encoder = StreamingEncoder(model, batch_size)
        batches = {"batch_size": encoder.batch_size, "devices": parallel.num_local_devices()}
        parts = Parts(folder, encoder.window, made_by | batches)
        if parts.begun_anew:
            print(f"{folder}: held parts of another checkpoint, other data or batches, and is begun anew")
        unreadable = _write(out, encoder, parts, inputs, about)
    shutil.rmtree(folder)
    print(f"embeddings: {out}")
    return _told(out, unreadable)


def _write(out: Path, encoder: StreamingEncoder, parts: Parts, inputs: Inputs, about: Mapping[str, Any]) -> int:
    """Encodes what is not stored yet and puts all together; returns how many images cannot be read."""
    vectors: dict[str, embedding_file.Take] = {}
    unreadable: list[str] = []
    streams = ("image", inputs.images, encoder.images), ("text", inputs.texts, encoder.texts)
    for what, of_rows, stream in streams:
        given, which = distinct([one for one in of_rows or [] if one is not None])
        if of_rows is None or not given:
            continue
        done = parts.done(what, len(given))
        if done:
            print(f"{done:,} of {len(given):,} {what}s are stored")
        if done < len(given):
            _advance(what, done, len(given), parts.store(what, stream(given, done)))
        faults, warnings = parts.said(what, len(given))
        unreadable += faults.values()
        _say(about["data"], given, warnings)
        rows = np.full(len(inputs), -1)
        rows[[row for row, one in enumerate(of_rows) if one is not None]] = which
        vectors[f"{what}_embedding"] = partial(_take, parts, what, rows)
    listed = _list(out)
    if unreadable:
        write_text(listed, "".join(f"{line}\n" for line in unreadable))
    else:
        listed.unlink(missing_ok=True)
    embedding_file.write(out, inputs.columns, vectors, {**about, "unreadable": len(unreadable)})
    return len(unreadable)


def _take(parts: Parts, kind: str, inputs: np.ndarray, start: int, stop: int) -> np.ndarray:
    return parts.take(kind, inputs[start:stop])


def _advance(what: str, done: int, count: int, encoded: Iterable[int]) -> None:
    """Shows how far a stream is, and at the end how fast it was: without its first batch, which waits for compiling."""
    begin = start = said = time.monotonic()
    begun, first = done, 0
    with tqdm(total=count, initial=done, unit=what, dynamic_ncols=True, disable=not sys.stderr.isatty()) as bar:
        for number in encoded:
            done += number
            bar.update(number)
            now = time.monotonic()
            if not first:
                start, first = now, number
            if bar.disable and now - said > SAID_EVERY:
                print(f"{done:,} of {count:,} {what}s", file=sys.stderr, flush=True)
                said = now
    now, later = time.monotonic(), done - begun - first
    rate = f", {later / max(now - start, 1e-9):,.1f} {what}s/s after the first {first:,}" if later else ""
    print(f"{done - begun:,} {what}s encoded in {now - begin:.1f} s on {parallel.describe()}{rate}")


def _say(data: str, files: Sequence[Any], warnings: Mapping[int, Sequence[str]]) -> None:
    """Each kind of doubtful image on a line of standard error, counted."""
    notes = Notes()
    for row, lines in warnings.items():
        for line in lines:
            notes.add(f"images: {line}", str(files[row]))
    say(data, notes.all)


def _list(out: Path) -> Path:
    return out.with_name(f"{out.name}.unreadable.txt")


def _told(out: Path, unreadable: int) -> Path:
    if unreadable:
        raise InputError(
            f"{_list(out)}: lists the images that cannot be read ({unreadable:,}), all others are in {out}; mend them "
            "and embed them anew into another file, or go on without"
        )
    return out


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = ArgumentParser(
        prog="python -m cxr_jax.embed", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workdir", default="", metavar="DIR", help="a run's folder, an export's, or one on the hub")
    parser.add_argument("--data", default="", metavar="FILE|FOLDER", help="a table, a folder of images, a text file")
    parser.add_argument("--out", default="", metavar="FILE", help="the file to write, .npz or .parquet")
    parser.add_argument(
        "--columns", default="", metavar="{}", help="ours to the table's: '{image: Path, study_id: ID}'"
    )
    parser.add_argument(
        "--root", default="", metavar="DIR", help="what a table's relative paths start from (its folder)"
    )
    parser.add_argument(
        "--batch", type=int, default=0, metavar="N", help=f"encoded at a time, over all devices ({PER_DEVICE} on each)"
    )
    arguments = parser.parse_args(sys.argv[1:] if argv is None else argv)
    for name in ("workdir", "data", "out"):
        if not getattr(arguments, name):
            raise InputError(f"--{name}: is missing; --help explains the arguments")
    if arguments.batch < 0:
        raise InputError(f"--batch {arguments.batch}: must be at least 1 (0: {PER_DEVICE} on each device)")
    data, out, root = (Path(given).expanduser() for given in (arguments.data, arguments.out, arguments.root))
    embed(
        arguments.workdir,
        data,
        out,
        arguments.batch,
        given_columns(arguments.columns),
        root if arguments.root else None,
    )


if __name__ == "__main__":
    run_command(main)

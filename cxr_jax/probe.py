"""Linear probes on frozen embeddings: AUROC and average precision of each label, from all training rows and from few.

    python -m cxr_jax.embed --workdir DIR --data FILE.csv --out FILE.npz
    python -m cxr_jax.probe --embeddings FILE.npz [--label_column NAME …]     labels in the table that was embedded
    python -m cxr_jax.probe --embeddings FILE.npz --labels TABLE              labels, patients and splits of another

A column of 1, 0, -1 and blanks is a label; any other holds labels' names, separated by |. Patients (patient_id) are
never in two splits: the column split says which one, or they are dealt 7:2:1. The penalty is chosen on val, scores are
of test, with 95 % intervals over its patients, beside chance and beside a probe on random vectors.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cxr_jax import ids
from cxr_jax.data.image_files import plain_path
from cxr_jax.data.inputs import named_columns
from cxr_jax.data.notes import Notes, say
from cxr_jax.data.tables import open_table
from cxr_jax.errors import ArgumentParser, InputError, run_command
from cxr_jax.evaluation import probe_tables
from cxr_jax.evaluation.label_policies import UNCERTAIN
from cxr_jax.evaluation.linear_probe import check_installed, probe
from cxr_jax.evaluation.probe_data import labels_of, one_row_an_image, patients_of, split_rows
from cxr_jax.files import write_json
from cxr_jax.retrieval import embedding_file

KEYS = ("image", "study_id", "patient_id", "line")  # by which labels are found, the first that both tables have
LABELS = "labels"


def probe_file(
    embeddings: Path, labels: Path | None = None, label_columns: Sequence[str] = (), kind: str = "",
    split: str = "auto", uncertain: str = "ignore", percents: Sequence[float] = (1.0, 10.0, 100.0), seeds: int = 3,
    seed: int = 0, out: Path | None = None,
) -> Path:  # fmt: skip
    """Probes a file of embeddings, prints the tables and writes probe.json, which it returns.

    Args:
      labels: a table of labels, and of patients and splits where it has those columns.
      kind: "image" or "text"; the first that is there where it is "".
      split: see `split_rows`; seed: of the deal.
      uncertain: see `labels_of`.
      out: FILE.probe.json beside the embeddings where it is None.

    Raises:
      InputError: a file or a column is missing or not in its form, patients cross splits, or nothing can be measured.
    """
    check_installed()
    source, notes = str(labels or embeddings), Notes()
    stored = embedding_file.read(embeddings)
    name = f"{kind}_embedding" if kind else next(iter(stored.vectors))
    if name not in stored.vectors:
        raise InputError(f"{embeddings}: has no {name}, only {', '.join(stored.vectors)}")
    vectors, columns = stored.vectors[name], stored.columns
    there = np.isfinite(vectors).all(axis=1)
    if not there.all():
        notes.add(f"rows have no {name}, and are left out", count=int((~there).sum()))
    if labels is not None:
        columns, found = _with_table(columns, labels, notes)
        if not found.all():
            notes.add(f"rows are not in {labels}, and are left out", count=int((~found).sum()))
        there &= found
    rows = np.flatnonzero(there).tolist()
    if not rows:
        raise InputError(f"{source}: no row has both an embedding and labels; are they of the same images?")
    vectors, columns = vectors[rows], {key: [cells[row] for row in rows] for key, cells in columns.items()}
    known = labels_of(columns, label_columns or [LABELS], uncertain, source, notes)
    patients = patients_of(columns, notes)
    splits = split_rows(columns, split, patients, known, seed, source)
    if name == "image_embedding":
        one_each, known = one_row_an_image(columns, known, notes)
        vectors, patients = vectors[one_each], [patients[row] for row in one_each.tolist()]
        # An image is of one patient, so all of its rows are in one split.
        splits = {
            part: np.searchsorted(one_each, np.intersect1d(one_each, of_part)) for part, of_part in splits.items()
        }
    say(embeddings, notes.all)
    how = "column" if split == "column" or (split == "auto" and "split" in columns) else "patient"
    result: dict[str, Any] = {
        "embeddings": str(embeddings),
        "of": name,
        "about": stored.about,
        "labels_from": source,
        "label_columns": list(label_columns or [LABELS]),
        "uncertain": uncertain,
        "split": how,
        "seed": seed if how == "patient" else None,
        "splits": {
            part: {"rows": len(of_part), "patients": len({patients[row] for row in of_part.tolist()})}
            for part, of_part in splits.items()
        },
        **probe(vectors, known, patients, splits, percents, seeds),
    }
    print(f"{embeddings}: {name} of step {stored.about.get('step')} of {stored.about.get('run')}; labels of {source}")
    print(probe_tables.probe_text(result))
    file = out or embeddings.with_suffix(".probe.json")
    write_json(file, result)
    print(f"scores: {file}")
    return file


def _with_table(columns: dict[str, list[str]], file: Path, notes: Notes) -> tuple[dict[str, list[str]], np.ndarray]:
    """The columns with those of a table in place of them or beside them, and bool (n,): which rows it has."""
    table = open_table(file)
    names = named_columns(table, {}, notes)
    key = next((one for one in KEYS if one in names and one in columns), None)
    if key is None:
        raise InputError(
            f"{file}: shares none of the columns {', '.join(KEYS)} with the embeddings, by which labels are found; "
            f"they have {', '.join(columns)}"
        )
    plain = plain_path if key == "image" else ids.key
    of_key: dict[str, dict[str, str]] = {}
    for row in table.rows(names):
        if of_key.setdefault(plain(row.cells[key]), row.cells) != row.cells:
            raise InputError(f"{file} {row.where}: {key} {row.cells[key]} comes a second time, otherwise; keep one row")
    found = [of_key.get(plain(cell)) for cell in columns[key]]
    new = {name: [cells[name] if cells else "" for cells in found] for name in names if name != key}
    return columns | new, np.array([cells is not None for cells in found])


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = ArgumentParser(
        prog="python -m cxr_jax.probe", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--embeddings", default="", metavar="FILE", help="what python -m cxr_jax.embed wrote")
    parser.add_argument("--labels", default="", metavar="TABLE", help="a table of labels, found by image or study_id")
    parser.add_argument("--label_column", nargs="+", default=[], metavar="NAME", help=f"columns of labels ({LABELS})")
    parser.add_argument("--of", default="", choices=("image", "text"), help="which embeddings (image, where they are)")
    parser.add_argument(
        "--split", default="auto", choices=("auto", "column", "patient"), help="the column split, or dealt by patient"
    )
    parser.add_argument("--uncertain", default="ignore", choices=UNCERTAIN, help="what -1 counts as (ignore)")
    shares = [1.0, 10.0, 100.0]
    parser.add_argument("--percent", nargs="+", type=float, default=shares, metavar="P", help="of train (1 10 100)")
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="draws of each share below 100 %% (3)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of dealing the patients to splits (0)")
    parser.add_argument("--out", default="", metavar="FILE", help="where scores go (FILE.probe.json)")
    arguments = parser.parse_args(sys.argv[1:] if argv is None else argv)
    if not arguments.embeddings:
        raise InputError("--embeddings: is missing; name a file of python -m cxr_jax.embed")
    if arguments.seeds < 1:
        raise InputError(f"--seeds {arguments.seeds}: must be at least 1")
    for percent in arguments.percent:
        if not 0 < percent <= 100:
            raise InputError(f"--percent {percent:g}: must be more than 0 and at most 100")
    probe_file(
        Path(arguments.embeddings).expanduser(),
        Path(arguments.labels).expanduser() if arguments.labels else None,
        arguments.label_column,
        arguments.of,
        arguments.split,
        arguments.uncertain,
        arguments.percent,
        arguments.seeds,
        arguments.seed,
        Path(arguments.out).expanduser() if arguments.out else None,
    )


if __name__ == "__main__":
    run_command(main)

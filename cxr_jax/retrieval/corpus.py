"""Pools of reports to retrieve from: a run's training reports, those of other runs, or a corpus of one's own."""

import dataclasses
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from cxr_jax import ids
from cxr_jax.csv_table import listed
from cxr_jax.data.notes import Notes
from cxr_jax.data.placeholders import is_no_report
from cxr_jax.data.reports import choose_section, group_ids
from cxr_jax.data.sources.pairs_table import TEXTS, alike, report_of
from cxr_jax.data.tables import open_table
from cxr_jax.encodings import lines_of, read_text
from cxr_jax.errors import InputError
from cxr_jax.retrieval.external import Embedder
from cxr_jax.retrieval.model import Model
from cxr_jax.retrieval.rows import Row
from cxr_jax.retrieval.store import SplitIndex

TRAIN = "train"
TEXT_FILES = (".txt", ".text")


def read_corpus(file: Path, section: str, notes: Notes) -> list[Row]:
    """Reports or sentences without images: a text file's lines, or a table's column report, findings or impression.

    A table may have study_id and labels, separated by |; else a row is a study of its own.

    Raises:
      InputError: the file cannot be read, lacks a column, or holds no report.
    """
    if not file.is_file():
        raise InputError(f"--pool {file}: no such file; name a CSV or text file of reports, a run's folder, or train")
    found: list[tuple[str, str, str]] = []
    if file.suffix.lower() in TEXT_FILES:
        try:
            lines = lines_of(read_text(file, True)[0])
        except (OSError, ValueError) as error:
            raise InputError(f"--pool {file}: cannot be read ({error}); save it as UTF-8") from error
        found = [(f"{file.name}:{number}", " ".join(line.split()), "") for number, line in enumerate(lines, start=1)]
    else:
        table = open_table(file)
        columns = {key: own[0] for key in (*TEXTS, "study_id", "labels") if (own := alike(table.columns, key))}
        if not set(TEXTS) & columns.keys():
            raise InputError(
                f"--pool {file}: has no column report, findings or impression, only {listed(table.columns)}; rename one"
            )
        for row in table.rows(columns):
            study = row.cells.get("study_id") or f"{file.name}:{row.number}"
            found.append((study, choose_section(*report_of(row.cells), section), row.cells.get("labels", "")))
    reports = [(study, text, labels) for study, text, labels in found if text and not is_no_report(text)]
    if len(reports) < len(found):
        notes.add("rows hold no report, and are left out of the pool", count=len(found) - len(reports))
    if not reports:
        raise InputError(f"--pool {file}: holds no report; is it the right file?")
    names = [tuple(filter(None, map(str.strip, labels.split("|")))) for _, _, labels in reports]
    return [
        Row("", study, f"study:{study}", text, of_row, 0)
        for (study, text, _), of_row in zip(reports, names, strict=True)
    ]


def read_pool(
    embedder: Embedder, given: Sequence[str], notes: Notes, barred: Collection[str] = ()
) -> tuple[SplitIndex, int]:
    """The pool that --pool names, and how many studies it lost to `barred`, the ids of those that it must not hold.

    Of "train", the run's own training split, of other runs' folders, and of files; several are joined, a study's report
    that stands in two of them once. Only "train" alone keeps its image embeddings, for those of other runs are not
    comparable; other texts are embedded anew.

    Raises:
      InputError: a file or folder is not what it should be, the model has no training split, or nothing is left.
    """
    keys = set(map(ids.key, barred))
    if list(given) == [TRAIN]:
        pool = embedder.model.pool
        kept = np.array([ids.key(study.decode()) not in keys for study in pool.columns.study_ids], bool)
        if kept.all():
            return pool, 0
        _refuse_nothing(int(kept.sum()), len(kept))
        return pool.take(np.flatnonzero(kept[pool.columns.studies])), int((~kept).sum())
    parts = [part for name in dict.fromkeys(given) for part in _parts(embedder.model, name, notes)]
    left = [(row, thumbnail) for row, thumbnail in parts if ids.key(row.study_id) not in keys]
    _refuse_nothing(len(left), len(parts))
    numbers: dict[str, dict[str, int]] = {}
    rows, thumbnails = [], []
    for row, thumbnail in left:
        # Another set's study of the same id is another study; the same report of it is the same one.
        reports = numbers.setdefault(ids.key(row.study_id), {})
        if row.report in reports:
            continue
        reports[row.report] = len(reports) + 1
        study = row.study_id if len(reports) == 1 else f"{row.study_id} ({len(reports)})"
        rows.append(dataclasses.replace(row, study_id=study))
        thumbnails.append(thumbnail)
    groups = group_ids([row.report for row in rows])
    rows = [dataclasses.replace(row, group_id=int(group)) for row, group in zip(rows, groups, strict=True)]
    texts = embedder.texts([row.report for row in rows])
    name = " + ".join(dict.fromkeys(given))
    of_none = np.zeros_like(texts)  # images
    pool = SplitIndex(name, embedder.step, rows, of_none, texts, thumbnails, checkpoint=embedder.checkpoint)
    return pool, len(parts) - len(left)


def _refuse_nothing(left: int, studies: int) -> None:
    if not left:
        raise InputError(
            f"--pool: all {studies} studies of the pool are in the set itself, where each would find its own report; "
            "name another pool"
        )


def _parts(model: Model, name: str, notes: Notes) -> list[tuple[Row, bytes]]:
    """The rows of one source with their thumbnails, a study once."""
    folder = Path(name).expanduser()
    if name != TRAIN and not folder.is_dir():
        return [(row, b"") for row in read_corpus(folder, model.config["data"]["section"], notes)]
    index = model.pool if name == TRAIN else SplitIndex.load(folder / "index", TRAIN)
    return [(index.rows[i], index.thumbnails[i]) for i in index.one_row_per_study().tolist()]

"""Labels that another tool gave the reports, as a CSV: CheXbert's, CheXpert's labeller's, RadGraph's, anyone's."""

from collections.abc import Sequence
from pathlib import Path

from cxr_jax import ids
from cxr_jax.csv_table import CsvTable, Row
from cxr_jax.errors import InputError

# What a cell of a table with a column a label may hold.
PRESENT, UNCERTAIN, ABSENT = {"1", "1.0"}, {"-1", "-1.0", "u"}, {"0", "0.0", "", "nan"}
# Columns that hold the report instead of a label, in lower case.
TEXT_COLUMNS = frozenset({"report impression", "reports", "report", "text", "findings", "impression"})
_KEY = "study_id"


def read_labels(file: Path, study_ids: Sequence[str]) -> list[frozenset[str]]:
    """The labels of each study, in the order of `study_ids`; what is uncertain counts as positive: `read_statuses`."""
    return [frozenset(of_study) for of_study in read_statuses(file, study_ids)]


def read_statuses(file: Path, study_ids: Sequence[str]) -> list[dict[str, str]]:
    """The labels that each study has, "positive" or "uncertain", in the order of `study_ids`.

    Args:
      file: one of two layouts. Wide: a column a label, whose cells are 1 (positive), -1 or u (uncertain), 0 or nothing;
        columns of text (TEXT_COLUMNS) and those without a name are left aside. Long: the columns study_id and label, a
        row a label, or study_id and labels, separated by "|"; a study without labels has a row that leaves them blank.
        A wide table without study_id, such as CheXbert's own output, is taken in order: its first row is the first of
        study_ids, so it must have a row for each of them, and be made from the same list.
      study_ids: the file's other studies are left aside. Ids are matched by `cxr_jax.ids.key`.

    Raises:
      InputError: naming row and column: the file cannot be read, lacks a study or has it twice, holds no label column
        or an unknown cell.
    """
    table = CsvTable(file, blank_rows=True)  # a row of blanks is a study without labels
    rows = list(table)
    if not rows:
        raise InputError(f"{file}: holds no row below its header; give a table with a row for each study")
    if _KEY not in table.columns:
        if len(rows) != len(study_ids):
            raise InputError(
                f"{file}: has {len(rows)} rows without a column {_KEY} for {len(study_ids)} studies; add the column, "
                "or a row for each study in their order"
            )
        return _wide(table, rows)
    labels = _long(table, rows) if {"label", "labels"} & set(table.columns) else _by_study(table, rows)
    labels = {ids.key(study): of_study for study, of_study in labels.items()}
    missing = [study for study in study_ids if ids.key(study) not in labels]
    if missing:
        raise InputError(
            f"{file}: column {_KEY}: {len(missing)} of {len(study_ids)} studies are missing ({missing[0]} first); "
            "label every study, one without findings too"
        )
    return [labels[ids.key(study)] for study in study_ids]


def _long(table: CsvTable, rows: Sequence[Row]) -> dict[str, dict[str, str]]:
    listed = "labels" in table.columns
    labels: dict[str, set[str]] = {}
    first: dict[str, str] = {}
    for row in rows:
        study = _study(table, row)
        other = first.setdefault(ids.key(study), study)
        if (listed and study in labels) or other != study:
            raise _doubled(table, row, study, other)
        of_row = {label.strip() for label in (row.cells["labels"].split("|") if listed else [row.cells["label"]])}
        of_row.discard("")
        if repeated := of_row & labels.get(study, set()):
            raise InputError(
                f"{table.file} {row.where}: {study} has {min(repeated)!r} a second time; keep one row of it"
            )
        labels.setdefault(study, set()).update(of_row)
    return {study: dict.fromkeys(of_study, "positive") for study, of_study in labels.items()}


def _by_study(table: CsvTable, rows: Sequence[Row]) -> dict[str, dict[str, str]]:
    labels: dict[str, dict[str, str]] = {}
    first: dict[str, str] = {}
    for row, of_row in zip(rows, _wide(table, rows), strict=True):
        study = _study(table, row)
        other = first.setdefault(ids.key(study), study)
        if study in labels or other != study:
            raise _doubled(table, row, study, other)
        labels[study] = of_row
    return labels


def _wide(table: CsvTable, rows: Sequence[Row]) -> list[dict[str, str]]:
    columns = [name for name in table.columns if name != _KEY and name.lower() not in TEXT_COLUMNS]
    if not columns:
        raise InputError(f"{table.file} row 1: names no label; give a column a label, or the columns {_KEY} and label")
    labels = []
    for row in rows:
        cells = {name: row.cells[name].lower() for name in columns}
        for name, cell in cells.items():
            if cell not in PRESENT | UNCERTAIN | ABSENT:
                raise InputError(
                    f"{table.file} {row.where}, column {name}: {cell[:40]!r} is unknown; write 1, -1 or u where "
                    "uncertain, 0 or nothing"
                )
        there = {name: cell for name, cell in cells.items() if cell not in ABSENT}
        labels.append({name: "uncertain" if cell in UNCERTAIN else "positive" for name, cell in there.items()})
    return labels


def _study(table: CsvTable, row: Row) -> str:
    if not row.cells[_KEY]:
        raise InputError(f"{table.file} {row.where}, column {_KEY}: is blank; name the study")
    return row.cells[_KEY]


def _doubled(table: CsvTable, row: Row, study: str, other: str) -> InputError:
    written = "" if other == study else f", written {other} before"
    return InputError(
        f"{table.file} {row.where}, column {_KEY}: {study} comes a second time{written}; keep one row of it"
    )

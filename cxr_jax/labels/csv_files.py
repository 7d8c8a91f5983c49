"""Labels that another tool gave the reports, as a CSV: CheXbert's, CheXpert's labeller's, RadGraph's, anyone's."""

import csv
from collections.abc import Sequence
from pathlib import Path

from cxr_jax.errors import InputError

# What a cell of a table with a column a label may hold.
PRESENT, UNCERTAIN, ABSENT = {"1", "1.0"}, {"-1", "-1.0", "u"}, {"0", "0.0", "", "nan"}
# Columns that hold the report instead of a label, in lower case.
TEXT_COLUMNS = frozenset({"report impression", "reports", "report", "text", "findings", "impression"})
_KEY = "study_id"


def read_labels(file: Path, study_ids: Sequence[str]) -> list[frozenset[str]]:
    """The labels of each study, in the order of `study_ids`; what is uncertain counts as positive.

    Args:
      file: one of two layouts. Wide: a column a label, whose cells are 1 (positive), -1 or u (uncertain), 0 or nothing;
        columns of text (TEXT_COLUMNS) and those without a name are left aside. Long: the columns study_id and label, a
        row a label, or study_id and labels, separated by "|"; a study without labels has a row that leaves them blank.
        A wide table without study_id, such as CheXbert's own output, is taken in order: its first row is the first of
        study_ids, so it must have a row for each of them, and be made from the same list.
      study_ids: the file's other studies are left aside.

    Raises:
      InputError: naming line and column: the file cannot be read, lacks a study or has it twice, holds no label column
        or an unknown cell.
    """
    header, rows = _read_rows(file)
    names = [name.strip() for name in header]
    if doubled := {name for name in names if name and names.count(name) > 1}:
        raise InputError(f"{file}: line 1: column {min(doubled)!r} comes twice; remove one")
    if _KEY not in names:
        if len(rows) != len(study_ids):
            raise InputError(
                f"{file}: has {len(rows)} rows without a column {_KEY} for {len(study_ids)} studies; add the column, "
                "or a row for each study in their order"
            )
        return _wide(file, names, rows)
    found = _long(file, names, rows) if {"label", "labels"} & set(names) else _by_study(file, names, rows)
    missing = [study for study in study_ids if study not in found]
    if missing:
        raise InputError(
            f"{file}: column {_KEY}: {len(missing)} of {len(study_ids)} studies are missing ({missing[0]} first); "
            "label every study, one without findings too"
        )
    return [found[study] for study in study_ids]


def _read_rows(file: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The header, and each row that is not blank with the number of its last line."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, strict=True)
            header = next(reader, [])
            rows = [(reader.line_num, row) for row in reader if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{file}: cannot be read as CSV ({error}); give a UTF-8 table with a header") from error
    if not header or not rows:
        raise InputError(f"{file}: holds no row below its header; give a table with a row for each study")
    for line, row in rows:
        if len(row) != len(header):
            raise InputError(f"{file}: line {line}: has {len(row)} cells where the header has {len(header)}; mend it")
    return header, rows


def _long(file: Path, names: Sequence[str], rows: Sequence[tuple[int, list[str]]]) -> dict[str, frozenset[str]]:
    listed = "labels" in names
    column = names.index("labels" if listed else "label")
    found: dict[str, set[str]] = {}
    for line, row in rows:
        study = _study(file, line, row[names.index(_KEY)])
        if listed and study in found:
            raise _doubled(file, line, study)
        of_row = {label.strip() for label in (row[column].split("|") if listed else [row[column]])} - {""}
        if repeated := of_row & found.get(study, set()):
            raise InputError(f"{file}: line {line}: {study} has {min(repeated)!r} a second time; keep one row of it")
        found.setdefault(study, set()).update(of_row)
    return {study: frozenset(labels) for study, labels in found.items()}


def _by_study(file: Path, names: Sequence[str], rows: Sequence[tuple[int, list[str]]]) -> dict[str, frozenset[str]]:
    found: dict[str, frozenset[str]] = {}
    for (line, row), labels in zip(rows, _wide(file, names, rows), strict=True):
        study = _study(file, line, row[names.index(_KEY)])
        if study in found:
            raise _doubled(file, line, study)
        found[study] = labels
    return found


def _wide(file: Path, names: Sequence[str], rows: Sequence[tuple[int, list[str]]]) -> list[frozenset[str]]:
    columns = [i for i, name in enumerate(names) if name and name != _KEY and name.lower() not in TEXT_COLUMNS]
    if not columns:
        raise InputError(f"{file}: line 1: names no label; give a column a label, or the columns {_KEY} and label")
    found = []
    for line, row in rows:
        cells = {names[column]: row[column].strip().lower() for column in columns}
        for name, cell in cells.items():
            if cell not in PRESENT | UNCERTAIN | ABSENT:
                raise InputError(
                    f"{file}: line {line}, column {name}: {cell[:40]!r} is unknown; write 1, -1 or u where uncertain, "
                    "0 or nothing"
                )
        found.append(frozenset(name for name, cell in cells.items() if cell not in ABSENT))
    return found


def _study(file: Path, line: int, cell: str) -> str:
    if not cell.strip():
        raise InputError(f"{file}: line {line}, column {_KEY}: is blank; name the study")
    return cell.strip()


def _doubled(file: Path, line: int, study: str) -> InputError:
    return InputError(f"{file}: line {line}, column {_KEY}: {study} comes a second time; keep one row of it")

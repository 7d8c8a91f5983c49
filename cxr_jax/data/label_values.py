"""What a table's rows say of the labels of its images: there, not there, uncertain, or nothing."""

import re
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Int8

from cxr_jax.csv_table import Row
from cxr_jax.data.column_maps import ColumnMap
from cxr_jax.data.notes import Notes
from cxr_jax.data.placeholders import is_placeholder
from cxr_jax.data.sources.pairs_table import listed_names
from cxr_jax.errors import InputError
from cxr_jax.labels.csv_files import PRESENT, UNCERTAIN

YES, NO, DOUBT, BLANK = 1, 0, -1, -2
ODD = 0.1  # of a column's cells, that may be odd for the column to be named as nearly a label's
DENIED = {"0", "0.0"}
NO_MASK = {"-1", "-1.0", "0", "0.0"}
BLANK_POLICIES = ("ignore", "negative")


def value_of(cell: str) -> int | None:
    """A cell of a label's column, 1.00 as 1: YES, NO, DOUBT or BLANK; None where it is none of them."""
    cell = re.sub(r"\.0+$", "", cell.strip().lower())
    if cell in PRESENT:
        return YES
    if cell in DENIED:
        return NO
    if cell in UNCERTAIN:
        return DOUBT
    return BLANK if not cell or is_placeholder(cell) else None


def label_columns(rows: Sequence[Row], columns: Sequence[str], notes: Notes) -> list[str]:
    """Those of the columns that hold values of a label in every row, and one that is there.

    The notes say which hold them in nearly every row.
    """
    found = []
    for column in columns:
        values = [value_of(row.cells[column]) for row in rows]
        odd = [row.cells[column] for row, value in zip(rows, values, strict=True) if value is None]
        if YES in values and not odd:
            found.append(column)
        elif YES in values and NO in values and len(odd) <= ODD * len(rows):
            notes.add("columns are nearly labels, and are left out for cells that are no 1, 0, -1 or blank",
                      f"{column}: {odd[0]!r}")  # fmt: skip
    return found


def values_of_row(columns: ColumnMap, row: Row, file: object) -> tuple[dict[str, int], set[str] | None]:
    """What a row says: {label: value} of its columns, and the names in its cell of names, None where it is blank.

    Raises:
      InputError: a cell of a label's column holds something else.
    """
    values = {}
    for label, cell in columns.values.items():
        written = cell.of(row.cells[cell.columns[0]])
        value = value_of(written)
        if value is None:
            raise InputError(
                f"{file} {row.where}, column {cell.columns[0]}: {written[:40]!r} is unknown; write 1, 0, -1 or u where "
                "uncertain, or nothing"
            )
        values[label] = value
    for label, cell in columns.masks.items():
        written = cell.of(row.cells[cell.columns[0]])
        blank = not written or is_placeholder(written)
        values[label] = BLANK if blank else NO if written in NO_MASK else YES
    if "labels" not in columns.cells:
        return values, set()
    written = columns.cells["labels"].of(row.cells["labels"])
    parts = [written] if written.startswith("[") else written.split(columns.separator)
    names = {name.strip() for part in parts for name in listed_names(part)}
    names = {name for name in names if name and not is_placeholder(name)}
    # Where a name says that there is nothing, a blank says nothing; else it is what a study without labels has.
    return values, names if names or not columns.normal else None


def of_image(of_readers: Mapping[str, Sequence[tuple[dict[str, int], set[str] | None]]], names: Sequence[str]) -> dict:
    """{label: value} of one image, from what its rows say, by reader.

    Of one reader's rows, a box each say, a label is there that one of them has. Of several readers', what more than
    half of those say who say anything: that it is there, or that it is there or uncertain, which then is uncertain.

    Args:
      names: the labels that the table's cells of names may hold.
    """
    said: dict[str, list[int]] = {}
    for rows in of_readers.values():
        cells = [row_names for _, row_names in rows if row_names is not None]
        there = set().union(*cells)
        for name in names:
            said.setdefault(name, []).append(YES if name in there else NO if cells else BLANK)
        for label in dict.fromkeys(label for values, _ in rows for label in values):
            own = {values[label] for values, _ in rows if label in values}
            said.setdefault(label, []).append(next(v for v in (YES, DOUBT, NO, BLANK) if v in own))
    return {label: _agreed(values) for label, values in said.items()}


def _agreed(values: Sequence[int]) -> int:
    known = [value for value in values if value != BLANK]
    if not known:
        return BLANK
    if 2 * known.count(YES) > len(known):
        return YES
    return DOUBT if 2 * (known.count(YES) + known.count(DOUBT)) > len(known) and DOUBT in known else NO


def truth_and_known(
    values: Int8[np.ndarray, "N L"], uncertain: str, blank: str
) -> tuple[Bool[np.ndarray, "N L"], Bool[np.ndarray, "N L"]]:
    """Whether each label is there, and whether that is known, under the policies for doubt and for blanks.

    CheXpert's competition took blanks as negative; in training, "positive" and "negative" for doubt are its U-Ones and
    U-Zeros (Irvin et al. 2019, section 3.1), "ignore" its U-Ignore.
    """
    truth = (values == YES) | ((values == DOUBT) & (uncertain == "positive"))
    unknown = ((values == DOUBT) & (uncertain == "ignore")) | ((values == BLANK) & (blank == "ignore"))
    return truth, ~unknown

"""Which columns of a published table say what: `configs/labels/*.yaml`, or one in their form.

image: Path                                   # a column; or {column: Path, pattern: "(patient\\d+)"}, what it matches;
patient_id: {column: Path, pattern: "(patient\\d+)"}                    # of several columns the first that is there
report: null                                  # a column of that name is not read
labels: Finding Labels                        # names in one cell, separated by |, or "['a', 'b']"
normal: [No Finding]                          # names that say that there is none of them
leave_out: [exclude]                          # names whose images are left out
values: [Edema, Fracture]                     # or {label: column}: 1, 0, -1 or u where uncertain, blank
masks: {Pneumothorax: EncodedPixels}          # -1: it is not there, all else: it is
readers: rad_id                               # rows of several readers: a label is there by most of an image's
classes: [Edema, Fracture]                    # those of --sample
prompts: {Edema: {}}                          # as in configs/zero_shot_*.yaml
"""

import dataclasses
import re
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cxr_jax.csv_table import listed
from cxr_jax.data.sources.pairs_table import TEXTS, alike
from cxr_jax.errors import InputError
from cxr_jax.yaml_file import read_mapping

CELLS = ("image", "patient_id", "study_id", "view", *TEXTS, "labels", "readers")
LISTS = ("normal", "leave_out", "classes")
STATEMENTS = ("values", "masks")
KEYS = (*CELLS, "separator", *LISTS, *STATEMENTS, "prompts")
READY = Path(__file__).parents[2] / "configs" / "labels"  # of a checkout


@dataclass(frozen=True)
class Cell:
    """Where a value stands: in a column, whole or what the pattern's first group matches, '' where it does not."""

    columns: tuple[str, ...]  # the first of these that the table has; none: what is so called is not read
    pattern: re.Pattern[str] | None = None

    def of(self, cell: str) -> str:
        """The value in a cell."""
        if self.pattern is None:
            return cell
        found = self.pattern.search(cell)
        return (found[1] if found else "") or ""


@dataclass(frozen=True)
class ColumnMap:
    """What the columns of a table say; names of labels as they are to be called."""

    source: str  # what messages call it
    cells: Mapping[str, Cell]  # of CELLS
    values: Mapping[str, Cell] = field(default_factory=dict)
    masks: Mapping[str, Cell] = field(default_factory=dict)
    separator: str = "|"
    normal: tuple[str, ...] = ()
    leave_out: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    prompts: Mapping[Any, Any] = field(default_factory=dict)


def read_column_map(given: str) -> ColumnMap:
    """The map in a file, or as it is written on the command line.

    Raises:
      InputError: it cannot be read, or is not in that form; the line names the entry.
    """
    content = read_mapping(given, "columns", "image: Path")
    for key in content:
        if key not in KEYS:
            raise InputError(f"{given}: has no key {key}; there are {', '.join(KEYS)}")
    separator, prompts = content.get("separator", "|"), content.get("prompts") or {}
    if not isinstance(separator, str) or not separator:
        raise InputError(f"{given}: separator: holds {reprlib.repr(separator)}; write what stands between two names")
    if not isinstance(prompts, dict):
        raise InputError(f"{given}: prompts: holds {reprlib.repr(prompts)}; write labels and their sentences")
    cells = {
        key: _cell([] if content[key] is None else content[key], f"{given}: {key}") for key in CELLS if key in content
    }
    values, masks = (_statements(content.get(key, {}), f"{given}: {key}") for key in STATEMENTS)
    normal, leave_out, classes = (_names(content.get(key, []), f"{given}: {key}") for key in LISTS)
    return ColumnMap(given, cells, values, masks, separator, normal, leave_out, classes, prompts)


def fitted(columns: ColumnMap, file: Path, there: Sequence[str]) -> ColumnMap:
    """The map with the one column of the table for each cell; label columns that the table lacks are left out.

    Where the map names no column for image, report, patient_id and so on, those called so are taken.

    Raises:
      InputError: the table lacks a column, or has none of an image's.
    """
    cells = {}
    for key in CELLS:
        if key in columns.cells:
            column = column_of(columns.cells[key], there)
            if column is None and columns.cells[key].columns and key not in ("labels", "readers", "view"):
                raise InputError(
                    f"{columns.source}: {key}: {file} has no column {' or '.join(columns.cells[key].columns)}, only "
                    f"{listed(there)}; {_advice(there)}"
                )
            if column is not None:
                cells[key] = Cell((column,), columns.cells[key].pattern)
        elif key != "readers" and len(found := alike(there, key)) == 1:
            cells[key] = Cell((found[0],))
    if "image" not in cells:
        raise InputError(f"{file}: has no column image, only {listed(there)}; {_advice(there)}")
    values, masks = (
        {
            label: Cell((column,), cell.pattern)
            for label, cell in statements.items()
            if (column := column_of(cell, there)) is not None
        }
        for statements in (columns.values, columns.masks)
    )
    if (columns.values or columns.masks or "labels" in columns.cells) and not (values or masks or "labels" in cells):
        wanted = [name for cell in (*columns.values.values(), *columns.masks.values()) for name in cell.columns]
        wanted += columns.cells["labels"].columns if "labels" in columns.cells else ()
        raise InputError(
            f"{columns.source}: {file} has none of the label columns {listed(wanted)}, only {listed(there)}; "
            f"{_advice(there)}"
        )
    return dataclasses.replace(columns, cells=cells, values=values, masks=masks)


def column_of(cell: Cell, there: Sequence[str]) -> str | None:
    """The first of a cell's columns that a table has."""
    for name in cell.columns:
        found = [column for column in there if column == name] or alike(there, name)
        if found:
            return found[0]
    return None


def _advice(there: Sequence[str]) -> str:
    """What to do: name a ready map that fits the table, where there is one."""
    for file in sorted(READY.glob("*.yaml")):
        ready = read_column_map(str(file))
        statements = (*ready.values.values(), *ready.masks.values())
        labels = [ready.cells["labels"]] if "labels" in ready.cells else []
        if column_of(ready.cells["image"], there) and any(column_of(cell, there) for cell in (*labels, *statements)):
            return f"give --columns configs/labels/{file.name}, which fits it"
    return "say which column is which by --columns (configs/labels/*.yaml, or '{image: Path}')"


def _cell(entry: Any, where: str) -> Cell:
    column, pattern = entry, None
    if isinstance(entry, dict):
        if not {"column"} <= entry.keys() <= {"column", "pattern"}:
            raise InputError(f"{where}: holds {reprlib.repr(entry)}; write a column, or {{column: …, pattern: …}}")
        column, pattern = entry["column"], entry.get("pattern")
    names = column if isinstance(column, list) else [column]
    if not all(isinstance(name, str) and name for name in names):
        raise InputError(f"{where}: holds {reprlib.repr(entry)}; write a column's name, or a list of such")
    if pattern is None:
        return Cell(tuple(names))
    try:
        compiled = re.compile(pattern)
        if compiled.groups < 1:
            raise ValueError("it has no group in brackets")
    except (re.error, TypeError, ValueError) as error:
        raise InputError(f"{where}: pattern {reprlib.repr(pattern)}: {error}; mend it") from error
    return Cell(tuple(names), compiled)


def _statements(entry: Any, where: str) -> dict[str, Cell]:
    if isinstance(entry, list):
        return {name: Cell((name,)) for name in _names(entry, where)}
    if not isinstance(entry, dict) or not all(isinstance(name, str) for name in entry):
        raise InputError(f"{where}: holds {reprlib.repr(entry)}; write a list of columns, or {{label: column}}")
    return {name: _cell(cell, f"{where}: {name}") for name, cell in entry.items()}


def _names(entry: Any, where: str) -> tuple[str, ...]:
    if not isinstance(entry, list) or not all(isinstance(name, str) and name.strip() for name in entry):
        raise InputError(f"{where}: holds {reprlib.repr(entry)}; write a list of names")
    return tuple(entry)

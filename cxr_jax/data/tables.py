"""A table of text from a file of any kind that people keep theirs in: CSV, JSON lines, Parquet."""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from cxr_jax.csv_table import CsvTable, Row
from cxr_jax.data.json_objects import SUFFIXES, is_text, read_values
from cxr_jax.errors import InputError

# Which cells may be lists, and what then stands between the items: a report's are its sentences or paragraphs.
SEPARATORS = {"labels": "|", "report": "\n", "findings": "\n", "impression": "\n", "prediction": "\n"}
PARQUET = (".parquet", ".pq")


class ObjectTable:
    """Objects as a table: `columns` are their keys, in order of appearance; a key that an object lacks is blank.

    Rows are numbered from 1; in JSON lines that is the line.
    """

    encoding = ""
    first_row = 1

    def __init__(self, file: Path, objects: Sequence[tuple[int, Mapping[str, Any]]]):
        self.file, self._objects = file, objects
        self.columns = list(dict.fromkeys(name for _, fields in objects for name in fields))

    def rows(self, columns: Mapping[str, str]) -> Iterator[Row]:
        """The rows, with the cells of these columns under other names: {name: column}.

        Raises:
          InputError: a value is no text, number or list of them; it names row and column.
        """
        for number, fields in self._objects:
            cells = {name: self._cell(number, name, column, fields.get(column)) for name, column in columns.items()}
            if any(cells.values()):
                yield Row(number, number, cells)

    def _cell(self, number: int, name: str, column: str, value: Any) -> str:
        values = value if isinstance(value, list | tuple) else [value]
        texts = [_text(item) for item in values]
        if None in texts or (len(texts) > 1 and name not in SEPARATORS):
            wanted = "text or a number" + (", or a list of them" if name in SEPARATORS else "")
            raise InputError(
                f"{self.file} row {number}: {column} holds {type(value).__name__} {value!r:.40}; wanted is {wanted}"
            )
        return SEPARATORS.get(name, "").join(text for text in texts if text)


class PlainTable:
    """A CSV, with the same face."""

    first_row = 2

    def __init__(self, file: Path):
        self.file, self._table = file, CsvTable(file, western=True)
        self.columns, self.encoding = self._table.columns, self._table.encoding

    def rows(self, columns: Mapping[str, str]) -> Iterator[Row]:
        """The rows, with the cells of these columns under other names: {name: column}.

        Raises:
          InputError: as `CsvTable`.
        """
        for row in self._table:
            yield row._replace(cells={name: row.cells[column] for name, column in columns.items()})


def open_table(file: Path) -> ObjectTable | PlainTable:
    """The table in a file: JSON and Parquet by the name's ending, CSV else.

    Raises:
      InputError: it cannot be read, or is not what its name says.
    """
    suffix = Path(file.stem).suffix if file.suffix.lower() == ".gz" else file.suffix
    if suffix.lower() in SUFFIXES:
        return _from_json(file)
    if suffix.lower() in PARQUET:
        return _from_parquet(file)
    return PlainTable(file)


def _from_json(file: Path) -> ObjectTable:
    values = read_values(file, "a file of one JSON object a line")
    located = [("line 1", values)] if isinstance(values, dict) else values
    objects = []
    for where, fields in located:
        if not isinstance(fields, dict):
            raise InputError(f"{file}: {where} is {type(fields).__name__}; wanted is an object with a key a column")
        objects.append((int(where.split()[1]), {name.strip(): value for name, value in fields.items()}))
    return ObjectTable(file, objects)


def _from_parquet(file: Path) -> ObjectTable:
    try:
        table = pq.read_table(file, partitioning=None)
        names = [name.strip() for name in table.column_names]
        doubled = [name for name in names if names.count(name) > 1]
        if doubled:
            raise InputError(f"{file}: column {doubled[0]!r} comes twice; remove or rename one")
        columns = [column.to_pylist() for column in table.columns]
    except (OSError, ValueError, TypeError, OverflowError, pa.ArrowException) as error:
        if isinstance(error, InputError):
            raise
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{file}: cannot be read as Parquet ({reason}); write it anew") from error
    rows = (dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True))
    return ObjectTable(file, list(enumerate(rows, start=1)))


def _text(value: Any) -> str | None:
    """A cell's value as a CSV would have it; None where it is no text."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, str):
        return value.strip() if is_text(value) and "\0" not in value else None
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else None

"""What lies beside a prepared set's records: all that is not pixels in one table, and the thumbnails in one file.

So a start reads neither records nor pixels.
"""

import dataclasses
import json
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import tensorflow_datasets as tfds

from cxr_jax.data.encoders import Encoded, Unreadable
from cxr_jax.data.grey import kind_of
from cxr_jax.data.notes import Note
from cxr_jax.data.records import TEXTS, Record, RecordBuilder
from cxr_jax.errors import InputError

ROWS = "rows.parquet"
THUMBNAILS = "thumbnails.bin"  # JPEGs, one after the other
NOTES = "notes.json"  # what of the source was read otherwise than it is written
# A row an image, by split and then by image id. Of one that could not be read all is null that its pixels would tell.
SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("split", "image_id", "study_id", "patient_id", "view")),
        ("findings", pa.string()),
        ("impression", pa.string()),
        ("labels", pa.list_(pa.string())),
        ("unreadable", pa.string()),  # why it could not be read
        ("position", pa.int64()),  # among the split's records
        ("height", pa.int32()),  # as stored, in pixels
        ("width", pa.int32()),
        ("thumbnail_start", pa.int64()),  # in bytes
        ("thumbnail_size", pa.int32()),
        ("warnings", pa.list_(pa.string())),  # of its reading, see `grey.Picture`
    ]
)


def row(split: str, position: int, record: Record, encoded: Encoded, thumbnail_start: int) -> dict[str, Any]:
    """An image's row, with SCHEMA's keys."""
    return _of_record(split, record) | {
        "position": position,
        "height": encoded.height,
        "width": encoded.width,
        "thumbnail_start": thumbnail_start,
        "thumbnail_size": len(encoded.thumbnail),
        "warnings": list(encoded.warnings),
    }


def unreadable_row(split: str, record: Record, image: Unreadable) -> dict[str, Any]:
    """The row of an image that cannot be read."""
    return _of_record(split, record) | {"unreadable": image.reason}


def _of_record(split: str, record: Record) -> dict[str, Any]:
    texts = {name: getattr(record, name) for name in TEXTS}
    return dict.fromkeys(SCHEMA.names) | texts | {"split": split, "labels": list(record.labels)}


def write_rows(file: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Writes the table; `rows` have SCHEMA's keys."""
    pq.write_table(pa.Table.from_pylist(list(rows), schema=SCHEMA), file)


def join(parts: Sequence[Path], folder: Path) -> None:
    """Writes to `folder` the table and thumbnails of folders that have a part each, of one split, in their order."""
    tables, position, start = [], 0, 0
    split = ""
    with open(folder / THUMBNAILS, "wb") as joined:
        for part in parts:
            table = read_rows(part)
            position = position if table["split"][0].as_py() == split else 0
            split = table["split"][0].as_py()
            count = len(stored(table))
            table = _shifted(_shifted(table, "position", position), "thumbnail_start", start)
            tables.append(table)
            with open(part / THUMBNAILS, "rb") as thumbnails:
                shutil.copyfileobj(thumbnails, joined)
            position, start = position + count, joined.tell()
    pq.write_table(pa.concat_tables(tables).combine_chunks(), folder / ROWS)


def _shifted(table: pa.Table, name: str, by: int) -> pa.Table:
    column = pc.add(table[name], pa.scalar(by, table.schema.field(name).type))
    return table.set_column(table.schema.get_field_index(name), table.schema.field(name), column)


def read_rows(folder: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """The table of a prepared set, or these columns of it.

    Raises:
      InputError: it is missing or damaged.
    """
    try:
        return pq.read_table(folder / ROWS, columns=None if columns is None else list(columns), partitioning=None)
    except (OSError, pa.ArrowException) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"{folder / ROWS}: cannot be read ({reason}); delete {folder}, and prepare it again"
        ) from error


def stored(table: pa.Table) -> pa.Table:
    """The rows of images that are stored: that could be read."""
    return table.filter(pc.is_valid(table["position"]))


def unreadable(table: pa.Table) -> dict[str, dict[str, str]]:
    """Of each split the images that could not be read: image id to why."""
    result: dict[str, dict[str, str]] = {}
    for row in table.filter(pc.is_valid(table["unreadable"])).select(["split", "image_id", "unreadable"]).to_pylist():
        result.setdefault(row["split"], {})[row["image_id"]] = row["unreadable"]
    return result


def write_notes(folder: Path, notes: Iterable[Note]) -> None:
    """Writes what is to be said of a set's source."""
    (folder / NOTES).write_text(json.dumps([dataclasses.asdict(note) for note in notes], ensure_ascii=False), "utf-8")


def read_notes(folder: Path) -> tuple[Note, ...]:
    """What is to be said of a prepared set's source.

    Raises:
      InputError: the file is missing or damaged.
    """
    try:
        notes = json.loads((folder / NOTES).read_text("utf-8"))
        return tuple(Note(**{**note, "examples": tuple(note["examples"])}) for note in notes)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(
            f"{folder / NOTES}: cannot be read ({error}); delete {folder}, and prepare it again"
        ) from error


def warning_summary(table: pa.Table) -> str:
    """One line on the images that were read with a warning, by kind; empty where there are none."""
    warned = [row for row in table["warnings"].to_pylist() if row]
    if not warned:
        return ""
    kinds = Counter(kind for row in warned for kind in {kind_of(warning) for warning in row})
    counts = ", ".join(f"{kind} {count:,}" for kind, count in kinds.most_common())
    return (
        f"{len(warned):,} of {len(table):,} images were read with a warning ({counts}); "
        "python -m cxr_jax.audit lists them"
    )


def by_split(builder: RecordBuilder, table: pa.Table) -> Iterator[tuple[str, Any, list[dict[str, Any]], "Thumbnails"]]:
    """Each split's name, its records with their images still encoded, its rows of `table`, and its thumbnails."""
    for split in builder.info.splits:
        source = builder.as_data_source(split, decoders={"image": tfds.decode.SkipDecoding()})
        own = stored(table.filter(pc.equal(table["split"], split)))
        places = (own[name].to_numpy() for name in ("position", "thumbnail_start", "thumbnail_size"))
        yield split, source, own.to_pylist(), Thumbnails(Path(builder.data_path), *places)


class Thumbnails(Sequence[bytes]):
    """The thumbnails of a split, JPEGs by position among its records, read when they are asked for."""

    def __init__(self, folder: Path, positions: np.ndarray, starts: np.ndarray, sizes: np.ndarray):
        self._file = folder / THUMBNAILS
        order = np.argsort(positions)
        self._starts, self._sizes = starts[order], sizes[order]
        self._bytes: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self._starts)

    @overload
    def __getitem__(self, position: int) -> bytes: ...

    @overload
    def __getitem__(self, position: slice) -> list[bytes]: ...

    def __getitem__(self, position: int | slice) -> bytes | list[bytes]:
        if isinstance(position, slice):
            return [self[i] for i in range(*position.indices(len(self)))]
        if self._bytes is None:
            self._bytes = np.memmap(self._file, np.uint8, mode="r")
        start = int(self._starts[position])
        return self._bytes[start : start + int(self._sizes[position])].tobytes()

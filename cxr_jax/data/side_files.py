"""What lies beside a prepared set's records: all that is not pixels in one table, and the thumbnails in one file.

So a start reads neither records nor pixels.
"""

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

from cxr_jax.data.encoders import Encoded
from cxr_jax.data.grey import kind_of
from cxr_jax.data.records import TEXTS, Record, RecordBuilder
from cxr_jax.errors import InputError

ROWS = "rows.parquet"
THUMBNAILS = "thumbnails.bin"  # JPEGs, one after the other
# A row an image, by split and then by image id.
SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("split", "image_id", "study_id", "patient_id", "view")),
        ("findings", pa.string()),
        ("impression", pa.string()),
        ("labels", pa.list_(pa.string())),
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
    return {
        **{name: getattr(record, name) for name in TEXTS},
        "split": split,
        "labels": list(record.labels),
        "position": position,
        "height": encoded.height,
        "width": encoded.width,
        "thumbnail_start": thumbnail_start,
        "thumbnail_size": len(encoded.thumbnail),
        "warnings": list(encoded.warnings),
    }


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
            count = len(table)
            table = _shifted(_shifted(table, "position", position), "thumbnail_start", start)
            tables.append(table)
            with open(part / THUMBNAILS, "rb") as thumbnails:
                shutil.copyfileobj(thumbnails, joined)
            position, start = position + count, joined.tell()
    pq.write_table(pa.concat_tables(tables).combine_chunks(), folder / ROWS)


def _shifted(table: pa.Table, name: str, by: int) -> pa.Table:
    column = pa.array(table[name].to_numpy() + by, table.schema.field(name).type)
    return table.set_column(table.schema.get_field_index(name), table.schema.field(name), column)


def read_rows(folder: Path) -> pa.Table:
    """The table of a prepared set.

    Raises:
      InputError: it is missing or damaged.
    """
    try:
        return pq.read_table(folder / ROWS, partitioning=None)
    except (OSError, pa.ArrowException) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"{folder / ROWS}: cannot be read ({reason}); delete {folder}, and prepare it again"
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
        own = table.filter(pc.equal(table["split"], split))
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

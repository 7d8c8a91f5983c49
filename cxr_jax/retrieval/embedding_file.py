"""Embeddings beside what tells their rows apart, in one file, .npz or Parquet: written in a stream, read whole."""

import dataclasses
import json
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cxr_jax.errors import InputError
from cxr_jax.files import whole

KINDS = ("image_embedding", "text_embedding")
ABOUT = "about"
LAYOUT = 1
PARQUET = (".parquet", ".pq")
SUFFIXES = (".npz", *PARQUET)
CHUNK = 1 << 15  # rows that are written at a time

Take = Callable[[int, int], np.ndarray]  # from a row to another: float32 (rows, E)


@dataclasses.dataclass(frozen=True)
class Embeddings:
    """n rows: `columns` of text by name, `vectors` float32 (n, E) by kind, NaN where a row has none; what made them."""

    columns: dict[str, list[str]]
    vectors: dict[str, np.ndarray]
    about: dict[str, Any]


def write(file: Path, columns: Mapping[str, list[str]], vectors: Mapping[str, Take], about: Mapping[str, Any]) -> None:
    """Writes a file, whole or not at all; equal arguments give equal bytes.

    A row without an embedding is NaN in .npz, null in Parquet. `about` is JSON: an array of one string in .npz, the
    schema's metadata under "cxr_jax" in Parquet.

    Args:
      columns: by name, all of one length, one at least.
      vectors: of KINDS.
    """
    count, said = len(next(iter(columns.values()))), json.dumps({"layout": LAYOUT, **about}, ensure_ascii=False)
    with whole(file) as part:
        (_write_parquet if file.suffix.lower() in PARQUET else _write_npz)(part, columns, vectors, said, count)


def _write_npz(
    file: Path, columns: Mapping[str, list[str]], vectors: Mapping[str, Take], about: str, count: int
) -> None:
    with zipfile.ZipFile(file, "w") as members:
        for name, cells in {**columns, ABOUT: about}.items():
            with members.open(f"{name}.npy", "w", force_zip64=True) as out:
                np.lib.format.write_array(out, np.array(cells, np.str_), allow_pickle=False)
        for kind, take in vectors.items():
            header = {"descr": "<f4", "fortran_order": False, "shape": (count, take(0, 1).shape[1])}
            with members.open(f"{kind}.npy", "w", force_zip64=True) as out:
                np.lib.format.write_array_header_1_0(out, header)
                for start in range(0, count, CHUNK):
                    out.write(np.ascontiguousarray(take(start, min(start + CHUNK, count)), "<f4").tobytes())


def _write_parquet(
    file: Path, columns: Mapping[str, list[str]], vectors: Mapping[str, Take], about: str, count: int
) -> None:
    fields = [pa.field(name, pa.string()) for name in columns]
    fields += [pa.field(kind, pa.list_(pa.float32(), take(0, 1).shape[1])) for kind, take in vectors.items()]
    schema = pa.schema(fields, metadata={"cxr_jax": about})
    with pq.ParquetWriter(file, schema) as out:
        for start in range(0, count, CHUNK):
            stop = min(start + CHUNK, count)
            arrays = [pa.array(cells[start:stop], pa.string()) for cells in columns.values()]
            arrays += [_lists(take(start, stop)) for take in vectors.values()]
            out.write_table(pa.Table.from_arrays(arrays, schema=schema))


def _lists(rows: np.ndarray) -> pa.Array:
    """float32 (n, E) as lists of E, null where a row is NaN."""
    flat = pa.array(np.ascontiguousarray(rows, np.float32).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, rows.shape[1], mask=pa.array(np.isnan(rows).any(axis=1)))


def read(file: Path) -> Embeddings:
    """A file of `write`.

    Raises:
      InputError: it is missing, damaged, or none of these.
    """
    about = read_about(file)
    try:
        columns, vectors = (_read_parquet if file.suffix.lower() in PARQUET else _read_npz)(file)
        lengths = {*map(len, columns.values()), *map(len, vectors.values())}
        if len(lengths) != 1 or not vectors or any(rows.ndim != 2 for rows in vectors.values()):
            raise ValueError(f"its columns are of {', '.join(map(str, sorted(lengths)))} rows")
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error, pa.ArrowException) as error:
        raise _damaged(file, error) from error
    return Embeddings(columns, vectors, about)


def read_about(file: Path) -> dict[str, Any]:
    """What made a file's embeddings.

    Raises:
      InputError: as `read`.
    """
    if not file.is_file():
        raise InputError(f"{file}: no such file; python -m cxr_jax.embed makes one")
    try:
        if file.suffix.lower() in PARQUET:
            said = (pq.read_schema(file).metadata or {})[b"cxr_jax"].decode()
        else:
            with file.open("rb") as opened, np.load(opened, allow_pickle=False) as arrays:
                said = str(arrays[ABOUT])
        about = json.loads(said)
        if about["layout"] != LAYOUT:
            raise ValueError(f"layout {about['layout']}, not {LAYOUT}")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError) as error:
        raise _damaged(file, error) from error
    except (zipfile.BadZipFile, zlib.error, pa.ArrowException) as error:
        raise _damaged(file, error) from error
    return dict(about)


def _read_npz(file: Path) -> tuple[dict[str, list[str]], dict[str, np.ndarray]]:
    with file.open("rb") as opened, np.load(opened, allow_pickle=False) as arrays:
        vectors = {kind: np.asarray(arrays[kind], np.float32) for kind in KINDS if kind in arrays.files}
        columns = {name: arrays[name].tolist() for name in arrays.files if name not in (*KINDS, ABOUT)}
    return columns, vectors


def _read_parquet(file: Path) -> tuple[dict[str, list[str]], dict[str, np.ndarray]]:
    table = pq.read_table(file, partitioning=None)
    columns = {name: table[name].to_pylist() for name in table.column_names if name not in KINDS}
    return columns, {kind: _rows(table[kind].combine_chunks()) for kind in KINDS if kind in table.column_names}


def _rows(lists: Any) -> np.ndarray:
    """Lists of E as float32 (n, E), NaN where one is null."""
    there = np.asarray(lists.is_valid())
    rows = np.full((len(lists), lists.type.list_size), np.nan, np.float32)
    rows[there] = np.asarray(lists.flatten(), np.float32).reshape(-1, rows.shape[1])
    return rows


def _damaged(file: Path, error: Exception) -> InputError:
    reason = " ".join(str(error).split())[:200]
    return InputError(f"{file}: is no whole file of embeddings ({reason}); make it by python -m cxr_jax.embed")

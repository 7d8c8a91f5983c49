"""Whether one picture is a copy of another: stored anew, resized, squashed, or of another brightness or contrast.

A picture's sketch is the means of its grey in 16 × 16 fields, as a direction. Sketches of radiographs all resemble one
another, so what training pictures have in common is taken away before two are compared. docs/evaluation.md has how
many copies are found, and how many different radiographs are taken for copies.
"""

import io
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from cxr_jax.data.encoders import cores, in_order

SIDE = 16  # fields
SAME = 0.98  # cosine, of what is left: between those of copies and those of different radiographs
AHEAD = 64  # pictures that are read before their turn, at most
_BLOCK = 1 << 24  # cosines at a time


@runtime_checkable
class Jpegs(Protocol):
    """JPEGs by number, as an index has its thumbnails."""

    def __len__(self) -> int: ...
    def __getitem__(self, row: int, /) -> bytes: ...


def sketch(grey: UInt8[np.ndarray, "H W"]) -> Float[np.ndarray, " S"]:
    """float32 (256,), of zero mean and unit norm; zeros of a picture that shows nothing."""
    fields = np.asarray(Image.fromarray(grey).resize((SIDE, SIDE), Image.Resampling.BOX), np.float32).ravel()
    return _directions(fields[None] - fields.mean())[0]


def sketches(jpegs: Jpegs) -> Float[np.ndarray, "N S"]:
    """The `sketch` of each of at least one JPEG; threads on all cores ask for them and decode them."""

    def of_row(row: int) -> np.ndarray:
        return sketch(np.asarray(Image.open(io.BytesIO(jpegs[row])).convert("L")))

    with ThreadPoolExecutor(cores(), thread_name_prefix="sketch") as threads:
        return np.stack([*in_order(threads, of_row, range(len(jpegs)), AHEAD)])


def copies(queries: Float[np.ndarray, "Q S"], train: Float[np.ndarray, "N S"]) -> list[tuple[int, int]]:
    """(Row of `queries`, row of `train`) of sketches whose pictures are copies, ascending.

    A picture that was turned, mirrored, cut or inverted is none, and neither is one that shows nothing.
    """
    # With one more in the count, for of a single picture nothing would be left.
    common = train.sum(axis=0) / (len(train) + 1)
    sides = (np.where(rows.any(axis=1, keepdims=True), rows - common, 0) for rows in (queries, train))
    ours, theirs = map(_directions, sides)
    size = max(1, _BLOCK // len(theirs))
    found = []
    for start in range(0, len(ours), size):
        alike = np.argwhere(ours[start : start + size] @ theirs.T > SAME)
        found += [(start + query, row) for query, row in alike.tolist()]
    return found


def _directions(rows: np.ndarray) -> np.ndarray:
    """Each row at unit norm, one that is nearly zero as zeros."""
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, norms, out=np.zeros_like(rows), where=norms > 1e-6)

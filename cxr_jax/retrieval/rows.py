"""What an index knows of its examples: row by row, read when asked for, and of all of them at once."""

import dataclasses
import json
import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Generic, TypeVar

import numpy as np
from jaxtyping import Int, Shaped

Item = TypeVar("Item", covariant=True)


@dataclasses.dataclass(frozen=True)
class Row:
    """One example of a split, without its pixels."""

    image_id: str
    study_id: str
    patient_id: str
    report: str
    labels: tuple[str, ...]
    group_id: int


def row_of(line: str | bytes) -> Row:
    """The row that a line of rows.jsonl holds.

    Raises:
      ValueError, KeyError, TypeError: it holds none.
    """
    fields = json.loads(line)
    row = Row(**fields | {"labels": tuple(fields["labels"])})
    texts = row.image_id, row.study_id, row.patient_id, row.report, *row.labels
    if not all(isinstance(text, str) for text in texts) or type(row.group_id) is not int:
        raise ValueError(f"no row of an index: {line[:60]!r}")
    return row


class Lazily(Generic[Item]):
    """As a list whose items are made each time that they are asked for.

    No `Sequence`, for the type checks of the tests look into some item of each that they meet.
    """

    def __init__(self, length: int, make: Callable[[int], Item]):
        self._length, self._make = length, make

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self._make(i) for i in range(*index.indices(self._length))]
        i = operator.index(index)
        if not -self._length <= i < self._length:
            raise IndexError(f"{i} of {self._length}")
        return self._make(i % self._length)

    def __iter__(self) -> Iterator[Item]:
        return map(self._make, range(self._length))


Reports = Sequence[str] | Lazily[str]  # of a pool, by row


@dataclasses.dataclass(frozen=True)
class Columns:
    """Of all rows at once: the number of each one's study, by first appearance, those studies' ids (UTF-8), groups."""

    studies: Int[np.ndarray, " N"]
    study_ids: Shaped[np.ndarray, " S"]
    group_ids: Int[np.ndarray, " N"]

    @classmethod
    def of(cls, rows: Iterable[Row]) -> "Columns":
        """The columns of these rows."""
        numbers: dict[str, int] = {}
        pairs = [(numbers.setdefault(row.study_id, len(numbers)), row.group_id) for row in rows]
        studies, groups = np.array(pairs, np.int32).reshape(-1, 2).T.copy()
        return cls(studies, np.array([study.encode() for study in numbers], np.bytes_), groups)

    def first_rows(self) -> Int[np.ndarray, " S"]:
        """The first row of each study, ascending."""
        # Studies are numbered as they come: a number above all before it is a new one.
        return np.flatnonzero(np.diff(np.maximum.accumulate(self.studies), prepend=-1))


def first_rows(ids: Sequence[str]) -> np.ndarray:
    """int64: the first row of each distinct id, in ascending order."""
    return np.sort(np.unique(np.asarray(ids), return_index=True)[1])

"""In which order an epoch goes through a split, where that is more than a shuffle, and who takes what of a batch."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import grain
import numpy as np


class Sampler(grain.MapDataset):
    """Rows of a split by position, an epoch after the other, each in the `epoch_order` of the seed and its number.

    It maps positions alone, so that any process finds out any row, and a position means the same in each of them.
    """

    def __init__(self, group_ids: np.ndarray, study_ids: Sequence[str], config: Mapping[str, Any]):
        super().__init__()
        studies = np.unique(np.asarray(study_ids), return_inverse=True)[1]
        data, seed, batch_size = config["data"], config["seed"], config["batch_size"]
        self._length = int(studies.max()) + 1 if data["one_view"] else len(studies)
        unique = batch_size if data["sampler"] == "unique_groups" else 0

        @lru_cache(maxsize=2)  # threads read ahead into the next one
        def order(epoch: int) -> np.ndarray:
            rng = np.random.default_rng((seed, epoch))
            return epoch_order(rng, group_ids, studies if data["one_view"] else None, unique)

        self._order = order

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return self.slice(index)
        epoch, place = divmod(index, self._length)
        return int(self._order(epoch)[place])


class Share(grain.MapDataset):
    """What one process of several takes of each global batch: rows [p L, (p + 1) L) of it; an epoch's rest goes.

    It maps positions alone, so a position means the same step on any number of processes.
    """

    def __init__(self, parent: grain.MapDataset, batch_size: int, index: int, count: int):
        super().__init__(parent)
        self._rows, self._batch_size = len(parent), batch_size
        self._local = batch_size // count
        self._first = index * self._local

    def __len__(self) -> int:
        return self._rows // self._batch_size * self._local

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return self.slice(index)
        epoch, place = divmod(index, len(self))
        step, row = divmod(place, self._local)
        return self.example(epoch * self._rows + step * self._batch_size, self._first + row)

    def example(self, start: int, row: int) -> Any:
        """Row `row` of the global batch that begins at position `start`."""
        return self._parent[start + row]


def epoch_order(
    rng: np.random.Generator, group_ids: np.ndarray, studies: np.ndarray | None = None, unique_in: int = 0
) -> np.ndarray:
    """An epoch's rows, int64, in random order.

    Args:
      group_ids: int (n,), shared by equal reports.
      studies: int (n,), shared by a study's images: one of each study, drawn anew, is in the epoch. None for all.
      unique_in: a batch's size: no report is twice in a batch where the data allow it, which is wherever no group has
        more rows than the epoch batches; and else as seldom as can be. The rows of groups that have more come last,
        where an incomplete batch is dropped. 0 for a plain shuffle.
    """
    rows = rng.permutation(len(group_ids))
    if studies is not None:
        rows = rows[np.sort(np.unique(studies[rows], return_index=True)[1])]
    batches = len(rows) // unique_in if unique_in else 0
    if not batches:
        return rows
    rows = rows[np.argsort(_occurrence(group_ids[rows]) // batches, kind="stable")]
    rows, rest = rows[: batches * unique_in], rows[batches * unique_in :]
    # Group by group, each row goes to the next batch: no more of a group than batches, no two of it in one.
    number = np.unique(group_ids[rows], return_inverse=True)[1]
    rows = rows[np.argsort(rng.permutation(number.max() + 1)[number], kind="stable")]
    dealt = rng.permutation(rng.permuted(rows.reshape(unique_in, batches).T, axis=1))
    return np.concatenate([dealt.reshape(-1), rest])


def _occurrence(numbers: np.ndarray) -> np.ndarray:
    """How many equal ones stand before each."""
    order = np.argsort(numbers, kind="stable")
    ordered = numbers[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    occurrence = np.empty(len(numbers), np.int64)
    occurrence[order] = np.arange(len(numbers)) - np.repeat(starts, np.diff(np.r_[starts, len(numbers)]))
    return occurrence

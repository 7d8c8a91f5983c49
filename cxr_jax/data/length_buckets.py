"""Reports of a batch by length, so that short ones are not padded to the longest's.

The step cuts a batch into equal shares, one a device and micro-batch. Each share's rows are sorted by their reports'
lengths and fall into a few equal parts, each padded to a length of its own, the same in every batch: one program.
"""

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import grain
import numpy as np

from cxr_jax.data.sampling import Share

SAMPLES = 256  # batches that are drawn to see what they hold: about one in as many is longer


class LengthBuckets(NamedTuple):
    """How a batch's reports are padded: `lengths`, the tokens of each of a share's parts, ascending; `shares`, of the
    whole batch over all processes."""

    lengths: tuple[int, ...]
    shares: int


def make_buckets(counts: np.ndarray, config: Mapping[str, Any], shares: int) -> LengthBuckets:
    """Buckets whose lengths are multiples of 8, and what all but few batches of such reports need.

    They are as many as text.length_buckets, or fewer where the parts would not be equal; one of all tokens means none.

    Args:
      counts: int (n,), the tokens of every report, at most text.max_tokens.
    """
    batch_size, max_tokens = config["batch_size"], config["text"]["max_tokens"]
    parts = math.gcd(config["text"]["length_buckets"], batch_size // shares)
    if parts == 1:
        return LengthBuckets((max_tokens,), shares)
    rng, size = np.random.default_rng(0), min(batch_size, len(counts))
    drawn = np.stack([np.sort(rng.choice(counts, size, replace=False)) for _ in range(SAMPLES)])
    longest = drawn[:, np.arange(1, parts + 1) * size // parts - 1].max(axis=0)
    longest[-1] = counts.max()
    return LengthBuckets(tuple(min(-(-int(length) // 8) * 8, max_tokens) for length in longest), shares)


def part_lengths(counts: np.ndarray, parts: int) -> tuple[int, ...]:
    """Multiples of 8, ascending, that hold the shortest 1/parts of texts, 2/parts, and so on, all but the longest part.

    Args:
      counts: int (n,), the tokens of every text.
    """
    ends = np.sort(counts)[len(counts) * np.arange(1, parts) // parts - 1] if len(counts) >= parts else counts[:0]
    return tuple(sorted({-(-int(count) // 8) * 8 for count in ends}))


class ByLength(Share):
    """A `Share` of which each of the step's shares is sorted by length.

    An example also says whether its batch `fits` the lengths: every process knows the same of every batch.

    Args:
      parent: examples by position, `rows` the rows by position.
      counts: int (n,), the tokens of every row.
    """

    def __init__(
        self, parent: grain.MapDataset, rows: grain.MapDataset, counts: np.ndarray, buckets: LengthBuckets,
        batch_size: int, index: int, count: int,
    ):  # fmt: skip
        super().__init__(parent, batch_size, index, count)
        lengths, shares = buckets
        ends = np.arange(1, len(lengths) + 1) * batch_size // len(lengths) - 1

        @lru_cache(maxsize=64)  # threads read ahead into the next ones
        def arranged(start: int) -> tuple[np.ndarray, bool]:
            tokens = counts[[rows[start + place] for place in range(batch_size)]]
            by_length = np.argsort(tokens, kind="stable")
            fits = bool((tokens[by_length[ends]] <= lengths).all())
            return by_length.reshape(-1, shares).T.reshape(-1), fits

        self._arranged = arranged

    def example(self, start: int, row: int) -> Any:
        """As `Share`'s, of the batch as it is arranged."""
        places, fits = self._arranged(start)
        return super().example(start, int(places[row])) | {"fits": np.bool_(fits)}


def cut(batch: Mapping[str, Any], lengths: tuple[int, ...], shares: int) -> dict[str, Any]:
    """A batch of `ByLength` with its tokens as a tuple of parts, int32 (rows, L) each; as they are where it fits not.

    Args:
      shares: of this batch.
    """
    batch = dict(batch)
    if not batch.pop("fits").all():
        return batch

    def parts(x: np.ndarray) -> tuple[np.ndarray, ...]:
        x = x.reshape(shares, len(lengths), -1, x.shape[1])
        return tuple(x[:, part, :, :longest].reshape(-1, longest) for part, longest in enumerate(lengths))

    return batch | {name: parts(batch[name]) for name in ("token_ids", "token_mask")}

"""The bootstrap: how far a score would move, had other patients been drawn."""

from collections.abc import Callable, Hashable, Iterator, Sequence

import numpy as np

from cxr_jax.errors import InputError

_BLOCK = 1 << 22  # weights at a time, for all of them may not fit

Clusters = Sequence[Hashable] | np.ndarray


def resample_weights(
    count: int, clusters: Clusters | None = None, resamples: int = 1000, seed: int = 0
) -> Iterator[np.ndarray]:
    """How often each of `count` rows is drawn in each resample: int64 (some resamples, count), block by block.

    clusters: (count,), what is drawn with replacement in place of single rows: patient ids, where a patient has several
    images, for these succeed and fail together and single draws would make an interval too narrow.

    Raises InputError for no rows, or clusters of another number.
    """
    if not count:
        raise InputError("bootstrap: there are no rows to draw from; pass at least one")
    if clusters is not None and len(clusters) != count:
        raise InputError(f"clusters: {len(clusters)} for {count} rows; pass one for each row")
    codes = np.arange(count) if clusters is None else cluster_codes(clusters)
    drawn, rng = int(codes.max()) + 1, np.random.default_rng(seed)
    chances, block = np.full(drawn, 1 / drawn), max(1, _BLOCK // count)
    for start in range(0, resamples, block):
        # Drawing n of n with replacement is a multinomial draw of how often each is taken.
        weights = rng.multinomial(drawn, chances, size=min(block, resamples - start))
        yield weights if clusters is None else weights[:, codes]


def sample_and_resamples(
    count: int, clusters: Clusters | None = None, resamples: int = 1000, seed: int = 0
) -> np.ndarray:
    """`resample_weights` in one int64 (1 + resamples, count), with the sample itself, all ones, before them."""
    return np.vstack([np.ones((1, count), np.int64), *resample_weights(count, clusters, resamples, seed)])


def interval(
    score: Callable[[np.ndarray], np.ndarray],
    count: int,
    clusters: Clusters | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """The 95 % percentile interval of `score`, low and high, each of the shape of one resample's score.

    Args:
      score: from weights int64 (r, count), how often each row is drawn, to float (r,) or (r, scores); resamples in
        which it is NaN are left out.
      clusters, and the errors: as `resample_weights`.
    """
    parts = [score(weights) for weights in resample_weights(count, clusters, resamples, seed)]
    low, high = np.nanpercentile(np.concatenate(parts), [2.5, 97.5], axis=0)
    return np.asarray(low), np.asarray(high)


def cluster_codes(clusters: Clusters) -> np.ndarray:
    """int64 (count,): equal clusters have equal numbers, from 0 in the order of their first row."""
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(cluster, len(numbers)) for cluster in clusters], dtype=np.int64)

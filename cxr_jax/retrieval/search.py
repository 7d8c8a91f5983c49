"""Embeddings to their nearest neighbours: exactly, in blocks of queries and of candidates, or approximately."""

from collections.abc import Iterable, Iterator
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from cxr_jax.errors import InputError
from cxr_jax.retrieval.store import SplitIndex

QUERIES, CANDIDATES = 256, 65_536  # at a time: 64 MiB of similarities
GROUP = 128  # neighbouring candidates of which the maximum is looked at first

Found = tuple[Float[np.ndarray, "Q K"], Int[np.ndarray, "Q K"]]
Best = tuple[jax.Array, jax.Array]  # similarities (q, k), rows (q, k), nearest first


class Candidates:
    """Embeddings to search among, float32 (T, E) of unit norm, which stay on the device.

    Args:
      targets: may be memory-mapped: it is read block by block.
      rows: of `targets`, those that are candidates; all where None.
    """

    def __init__(self, targets: np.ndarray, rows: np.ndarray | None = None):
        self.size, self.width = len(targets) if rows is None else len(rows), targets.shape[1]
        self._blocks = list(_blocks(targets, rows))

    def top_k(self, queries: np.ndarray, k: int, recall: float = 1.0) -> Found:
        """See `top_k`; the row is the candidate's number."""
        return _search(queries, self._blocks, (self.size, self.width), k, recall)


def top_k(
    queries: Float[np.ndarray, "Q E"],
    targets: Float[np.ndarray, "T E"],
    k: int,
    recall: float = 1.0,
    rows: Int[np.ndarray, " R"] | None = None,
) -> Found:
    """Cosine similarities and rows of the `k` nearest targets, nearest first; ties go to the lower row.

    Both sides are of unit norm. K = min(k, T). A block of targets is on the device at a time: for one search only.

    Args:
      recall: 1 for the exact answer; less for `jax.lax.approx_max_k`, which on a TPU is faster and finds that share of
        the nearest on average, and elsewhere finds all of them at no gain.
      rows: as `Candidates` takes them; the rows that are returned are positions among them.

    Raises:
      InputError: k is less than 1, recall not within (0, 1], the two are of different widths, or not finite.
    """
    size = len(targets) if rows is None else len(rows)
    return _search(queries, _blocks(targets, rows), (size, targets.shape[1]), k, recall)


def _blocks(targets: np.ndarray, rows: np.ndarray | None) -> Iterator[jax.Array]:
    """Candidates on the device, the last block filled up with zeros to whole groups."""
    size = len(targets) if rows is None else len(rows)
    for start in range(0, size, CANDIDATES):
        which = slice(start, start + CANDIDATES)
        part = _finite(targets[which] if rows is None else targets[rows[which]])
        yield jnp.asarray(np.pad(part, ((0, -len(part) % GROUP), (0, 0))) if len(part) % GROUP else part)


def _search(queries: np.ndarray, blocks: Iterable[jax.Array], shape: tuple[int, int], k: int, recall: float) -> Found:
    size, width = shape
    if k < 1:
        raise InputError(f"top_k = {k}: give at least 1")
    if not 0 < recall <= 1:
        raise InputError(f"recall = {recall}: give more than 0 and at most 1, which is exact")
    if queries.shape[1] != width:
        raise InputError(f"queries are of width {queries.shape[1]}, the index of {width}: another model's; embed anew")
    k = min(k, size)
    parts = [jnp.asarray(part) for part in _filled(_finite(queries))]
    best = [(jnp.full((len(part), k), -jnp.inf), jnp.zeros((len(part), k), jnp.int32)) for part in parts]
    if parts and k:
        for number, block in enumerate(blocks):
            first = number * CANDIDATES
            best = [_merge(old, part, block, first, size, k, recall) for old, part in zip(best, parts, strict=True)]
            # Else blocks would be sent ahead of the search until the device is full.
            jax.block_until_ready(best)
    empty = np.zeros((0, k), np.float32), np.zeros((0, k), np.int32)
    values, rows = (np.concatenate([empty[i], *(np.asarray(part[i]) for part in best)]) for i in (0, 1))
    return values[: len(queries)], rows[: len(queries)]


def _finite(embeddings: np.ndarray) -> np.ndarray:
    """As float32; a NaN would be everything's nearest."""
    embeddings = np.asarray(embeddings, np.float32)
    if not np.isfinite(embeddings).all():
        raise InputError("embeddings hold NaN or infinity: of a diverged run, or damaged; embed anew")
    return embeddings


def _filled(queries: np.ndarray) -> Iterator[np.ndarray]:
    """Parts of 1, 2, 4, … or QUERIES rows, zeros filling up the last: so `_merge` is compiled for few sizes."""
    for start in range(0, len(queries), QUERIES):
        part = queries[start : start + QUERIES]
        yield np.pad(part, ((0, (1 << (len(part) - 1).bit_length()) - len(part)), (0, 0)))


@partial(jax.jit, static_argnames=("k", "recall"))
def _merge(
    best: Best, queries: jax.Array, block: jax.Array, first: jax.Array, size: jax.Array, k: int, recall: float
) -> Best:
    """The best so far and a block's, whose candidates are rows `first` on and of no account from `size` on."""
    similarity = jnp.einsum("qe,te->qt", queries, block, precision=jax.lax.Precision.HIGHEST)
    similarity = jnp.where((first + jnp.arange(len(block)) < size)[None, :], similarity, -jnp.inf)
    values, rows = _of_block(similarity, min(k, len(block)), recall)
    values, rows = jnp.concatenate([best[0], values], 1), jnp.concatenate([best[1], first + rows], 1)
    # The best so far stand first: ties go to the lower row, here as everywhere.
    values, kept = jax.lax.top_k(values, k)
    return values, jnp.take_along_axis(rows, kept, 1)


def _of_block(similarity: jax.Array, k: int, recall: float) -> Best:
    """The k largest of each row (q, n), in two stages where that is less work.

    They all lie in the k groups of the largest maxima: a group outside has k maxima before its own.
    """
    count, size = similarity.shape
    if recall < 1:
        values, place = jax.lax.approx_max_k(similarity, k, recall_target=recall)
        return values, place
    if 2 * k * GROUP > size:
        values, place = jax.lax.top_k(similarity, k)
        return values, place
    grouped = similarity.reshape(count, -1, GROUP)
    groups = jnp.sort(jax.lax.top_k(grouped.max(2), k)[1], 1)
    values, place = jax.lax.top_k(jnp.take_along_axis(grouped, groups[:, :, None], 1).reshape(count, -1), k)
    return values, jnp.take_along_axis(groups, place // GROUP, 1) * GROUP + place % GROUP


def neighbours_of(query: SplitIndex, pool: SplitIndex, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Similarities and pool rows (n, k) of the training reports nearest to each image, a study of the pool once.

    Raises:
      InputError: a study of the query is in the pool: its own report would be found; or the two are of different
        checkpoints.
    """
    query.check_checkpoint(pool.step, pool.checkpoint, f"the pool of {pool.name} reports")
    shared = np.intersect1d(query.columns.study_ids, pool.columns.study_ids)
    if len(shared):
        raise InputError(
            f"{len(shared)} studies of {query.name} are in the pool of {pool.name} reports ({shared[0].decode()} "
            "first), where they would find their own report; split the data again by study"
        )
    studies = pool.one_row_per_study()
    similarity, nearest = top_k(query.image_embeddings, pool.text_embeddings, k, rows=studies)
    return similarity, studies[nearest]

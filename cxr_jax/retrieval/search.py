"""Embeddings to their nearest neighbours, exactly."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from cxr_jax.errors import InputError
from cxr_jax.retrieval.store import SplitIndex

CHUNK = 1024  # queries at a time: 1,024 × 400,000 similarities are 1.6 GB


@partial(jax.jit, static_argnames="k")
def _top_k(queries: jax.Array, targets: jax.Array, k: int) -> tuple[jax.Array, jax.Array]:
    similarity = jnp.einsum("qe,te->qt", queries, targets, precision=jax.lax.Precision.HIGHEST)
    values, rows = jax.lax.top_k(similarity, k)
    return values, rows


def top_k(
    queries: Float[np.ndarray, "Q E"], targets: Float[np.ndarray, "T E"], k: int
) -> tuple[Float[np.ndarray, "Q K"], Int[np.ndarray, "Q K"]]:
    """Cosine similarities and rows of the `k` nearest targets, nearest first; ties go to the lower row.

    Both sides are of unit norm. K = min(k, T).

    Raises:
      InputError: k is less than 1.
    """
    if k < 1:
        raise InputError(f"top_k = {k}: give at least 1")
    k = min(k, len(targets))
    resident = jnp.asarray(targets)
    parts = [_top_k(queries[i : i + CHUNK], resident, k) for i in range(0, len(queries), CHUNK)]
    if not parts:
        return np.zeros((0, k), np.float32), np.zeros((0, k), np.int32)
    values, rows = (np.concatenate([np.asarray(part[side]) for part in parts]) for side in (0, 1))
    return values, rows


def neighbours_of(query: SplitIndex, pool: SplitIndex, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Similarities and pool rows (n, k) of the training reports nearest to each image, a study of the pool once.

    Raises:
      InputError: a study of the query is in the pool: its own report would be found.
    """
    shared = {row.study_id for row in query.rows} & {row.study_id for row in pool.rows}
    if shared:
        raise InputError(
            f"{len(shared)} studies of {query.name} are in the pool of {pool.name} reports ({min(shared)} first), "
            "where they would find their own report; split the data again by study"
        )
    studies = pool.one_row_per_study()
    similarity, nearest = top_k(query.image_embeddings, pool.text_embeddings[studies], k)
    return similarity, studies[nearest]

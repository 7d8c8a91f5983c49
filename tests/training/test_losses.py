"""Eq. (13)-(15) against a double loop, in parts as devices compute it, and at the edges."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxr_jax.training.losses import contrastive_loss, cosine_similarity, l2_normalize, matching_log_probability

# Few shapes, for each compiles; many numbers.
batches = st.tuples(st.sampled_from([1, 3, 6]), st.just(5), st.integers(0, 2**16))
loss = jax.jit(contrastive_loss)


def embeddings(rows: int, width: int = 8, seed: int = 0):
    """z_t and z_v."""
    rng = np.random.default_rng(seed)
    return tuple(jnp.asarray(rng.normal(size=(rows, width)), jnp.float32) for _ in range(2))


def naive_loss(z_t, z_v, scale: float) -> float:
    """The formulas as printed, one pair at a time."""
    z_t, z_v = np.asarray(z_t, np.float64), np.asarray(z_v, np.float64)
    n = len(z_t)
    s = np.empty((n, n))
    for i in range(n):
        for j in range(n):
            s[i, j] = z_t[i] @ z_v[j] / (np.linalg.norm(z_t[i]) * np.linalg.norm(z_v[j]))
    total = 0.0
    for i in range(n):
        total += np.log(np.exp(scale * s[i, i]) / np.exp(scale * s[i, :]).sum())
        total += np.log(np.exp(scale * s[i, i]) / np.exp(scale * s[:, i]).sum())
    return -total / (2 * n)


def loss_in_parts(z_t, z_v, scale, parts: int):
    size = len(z_t) // parts
    firsts = range(0, len(z_t), size)
    return jnp.mean(
        jnp.stack([contrastive_loss(z_t[i : i + size], z_v[i : i + size], scale, z_t, z_v, i) for i in firsts])
    )


@given(batches, st.floats(0.1, 50))
def test_loss_equals_the_double_loop(batch, scale):
    z_t, z_v = embeddings(*batch)
    np.testing.assert_allclose(loss(z_t, z_v, jnp.float32(scale)), naive_loss(z_t, z_v, scale), rtol=1e-4, atol=1e-5)


def test_similarity_has_reports_in_rows_and_images_in_columns():
    z_t, z_v = jnp.eye(3), jnp.array([[0.0, 2.0, 0.0]])
    np.testing.assert_allclose(cosine_similarity(z_t, z_v), [[0.0], [1.0], [0.0]])


@pytest.mark.parametrize("axis", [0, 1])
def test_probabilities_sum_to_one_along_their_axis(axis):
    log_p = matching_log_probability(cosine_similarity(*embeddings(5)), jnp.float32(7), axis)
    np.testing.assert_allclose(np.exp(log_p).sum(axis=axis), np.ones(5), rtol=1e-5)


@pytest.mark.parametrize("parts", [2, 4])
def test_mean_of_the_parts_and_its_gradient_are_those_of_the_whole(parts):
    z_t, z_v = embeddings(8)
    split = partial(loss_in_parts, parts=parts)
    whole, in_parts = (
        jax.jit(jax.value_and_grad(f, argnums=(0, 1, 2)))(z_t, z_v, jnp.float32(14)) for f in (contrastive_loss, split)
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), whole, in_parts)


@pytest.mark.parametrize("value", [0.0, 1.0, 1e-20], ids=["zero", "equal", "tiny"])
def test_gradients_of_degenerate_vectors_are_finite(value):
    z = jnp.full((4, 8), value)
    gradients = jax.grad(contrastive_loss, argnums=(0, 1, 2))(z, z, jnp.float32(100))
    assert all(np.isfinite(g).all() for g in gradients)


@pytest.mark.parametrize("rows", [1, 4, 7])
def test_constant_embeddings_cost_log_n(rows):
    z = jnp.ones((rows, 8))
    np.testing.assert_allclose(contrastive_loss(z, z, jnp.float32(14)), np.log(rows), atol=1e-6)


def test_perfect_alignment_costs_nothing_and_a_wrong_pairing_costs_the_scale():
    z, scale = jnp.eye(6), jnp.float32(100)
    assert contrastive_loss(z, z, scale) < 1e-6
    np.testing.assert_allclose(contrastive_loss(z, jnp.roll(z, 1, axis=0), scale), 100, rtol=1e-5)


@given(batches)
def test_loss_ignores_the_order_of_the_pairs(batch):
    z_t, z_v = embeddings(*batch)
    order = np.random.default_rng(1).permutation(len(z_t))
    scale = jnp.float32(14)
    np.testing.assert_allclose(loss(z_t[order], z_v[order], scale), loss(z_t, z_v, scale), rtol=1e-4, atol=1e-5)


@given(batches, st.floats(1e-2, 1e2))
def test_loss_ignores_the_lengths_of_the_embeddings_and_which_side_is_text(batch, length):
    z_t, z_v = embeddings(*batch)
    scale = jnp.float32(14)
    np.testing.assert_allclose(
        loss(z_v, jnp.float32(length) * z_t, scale),
        loss(z_t, z_v, scale),
        rtol=1e-4,
        atol=1e-4,
    )


def test_normalisation_is_float32_whatever_comes_in():
    z = l2_normalize(jnp.asarray(embeddings(4)[0], jnp.bfloat16))
    assert z.dtype == jnp.float32
    np.testing.assert_allclose(np.linalg.norm(z, axis=-1), 1, rtol=1e-6)

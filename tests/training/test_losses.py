"""Eq. (13)-(15) against a double loop, in parts as devices compute it, and at the edges."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxr_jax.training import losses
from cxr_jax.training.losses import (
    Identity,
    Objective,
    contrastive_loss,
    cosine_similarity,
    l2_normalize,
    loss_floor,
    matching_log_probability,
    target_weights,
)

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
def test_an_anchors_probabilities_sum_to_one(axis):
    z = embeddings(5)
    log_p = matching_log_probability(cosine_similarity(z[axis], z[1 - axis]), jnp.float32(7))
    np.testing.assert_allclose(np.exp(log_p).sum(axis=1), np.ones(5), rtol=1e-5)


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


# Targets that know who belongs together, and the sigmoid loss

OBJECTIVES = [Objective(kind, positives) for kind in ("softmax", "sigmoid") for positives in ("pair", "group", "soft")]
BIAS = jnp.float32(-3)


def named(objective: Objective) -> str:
    return f"{objective.kind}-{objective.positives}"


def identity(rows: int, seed: int = 0) -> Identity:
    """Reports and studies that repeat, and labels that overlap; some reports have none."""
    rng = np.random.default_rng(seed)
    group, study = rng.integers(0, max(1, rows // 2), rows), rng.integers(0, 2 * rows, rows)
    labels = rng.integers(0, 2, (max(1, rows // 2), 5)).astype(np.uint8)[group]
    return Identity(*(jnp.asarray(x) for x in (group.astype(np.int32), study.astype(np.int32), labels)))


def part(of: Identity, first: int, size: int) -> Identity:
    return Identity(*(x[first : first + size] for x in of))


def naive_targets(objective: Objective, of: Identity) -> np.ndarray:
    n, y = len(of.group_id), np.zeros((len(of.group_id),) * 2)
    for i in range(n):
        for j in range(n):
            a, b = (set(np.flatnonzero(of.labels[k]).tolist()) for k in (i, j))
            joint = of.group_id[i] == of.group_id[j] or of.study_id[i] == of.study_id[j]
            if i == j or (objective.positives != "pair" and joint):
                y[i, j] = 1
            elif objective.positives == "soft" and a & b:
                y[i, j] = np.exp((len(a & b) / len(a | b) - 1) / objective.target_temperature)
    return y


def naive_objective(z_t, z_v, scale: float, objective: Objective, of: Identity, bias: float) -> float:
    z_t, z_v = (np.asarray(z, np.float64) / np.linalg.norm(z, axis=1, keepdims=True) for z in (z_t, z_v))
    n, y, logits = len(z_t), naive_targets(objective, of), scale * z_t @ z_v.T
    total = 0.0
    for i in range(n):
        for j in range(n):
            if objective.kind == "sigmoid":
                p = 1 / (1 + np.exp(-(logits[i, j] + bias)))
                total -= y[i, j] * np.log(p) + (1 - y[i, j]) * np.log(1 - p)
            else:
                total -= y[i, j] / y[i].sum() * np.log(np.exp(logits[i, j]) / np.exp(logits[i]).sum()) / 2
                total -= y[i, j] / y[:, j].sum() * np.log(np.exp(logits[i, j]) / np.exp(logits[:, j]).sum()) / 2
    return total / n


@pytest.mark.parametrize("objective", OBJECTIVES, ids=named)
@pytest.mark.parametrize("rows", [1, 7])
def test_every_objective_equals_the_double_loop(objective, rows):
    z_t, z_v = embeddings(rows, 5, seed=rows)
    of = identity(rows)
    found = contrastive_loss(z_t, z_v, jnp.float32(5), objective=objective, identity=of, bias=BIAS)
    np.testing.assert_allclose(found, naive_objective(z_t, z_v, 5, objective, of, float(BIAS)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("objective", OBJECTIVES, ids=named)
@pytest.mark.parametrize("cells", [losses.BLOCK_CELLS, 5 * 12], ids=["whole", "blocks"])
def test_parts_and_blocks_change_neither_loss_nor_gradient_nor_floor(objective, cells, monkeypatch):
    """Four devices, each with blocks of five rows of its six where the matrix is too large to be held."""
    z_t, z_v = embeddings(24)
    of = identity(24)
    args = z_t, z_v, jnp.float32(14), BIAS

    def whole(z_t, z_v, scale, bias):
        return contrastive_loss(z_t, z_v, scale, objective=objective, identity=of, bias=bias)

    def in_parts(z_t, z_v, scale, bias):
        pieces = [
            contrastive_loss(z_t[i : i + 6], z_v[i : i + 6], scale, z_t, z_v, i, objective, part(of, i, 6), of, bias)
            for i in range(0, 24, 6)
        ]
        return jnp.mean(jnp.stack(pieces))

    expected = jax.jit(jax.value_and_grad(whole, (0, 1, 2, 3)))(*args), loss_floor(objective, of)
    monkeypatch.setattr(losses, "BLOCK_CELLS", cells * 2)
    floors = [loss_floor(objective, part(of, i, 6), of, i) for i in range(0, 24, 6)]
    found = jax.jit(jax.value_and_grad(in_parts, (0, 1, 2, 3)))(*args), jnp.mean(jnp.stack(floors))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), found, expected)
    alone = jax.jit(jax.value_and_grad(whole, (0, 1, 2, 3)))(*args)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), alone, expected[0])


@pytest.mark.parametrize("objective", OBJECTIVES, ids=named)
def test_no_embeddings_fall_below_the_floor_and_the_best_come_close(objective):
    """Descent from several starts; equal reports have one embedding, as a text tower gives them."""
    of = identity(8, seed=1)._replace(study_id=jnp.arange(8, dtype=jnp.int32))
    floor = float(loss_floor(objective, of))

    def of_free(free):
        z_t, z_v, log_scale, bias = free
        given = z_t[of.group_id], z_v, jnp.exp(log_scale)
        return contrastive_loss(*given, objective=objective, identity=of, bias=bias)

    optimizer = optax.adam(0.05)

    @jax.jit
    def descend(free):
        def step(carry, _):
            free, state = carry
            updates, state = optimizer.update(jax.grad(of_free)(free), state)
            return (optax.apply_updates(free, updates), state), None

        (free, _), _ = jax.lax.scan(step, (free, optimizer.init(free)), length=1500)
        return of_free(free)

    ends = [float(descend((*embeddings(8, 16, seed), jnp.float32(np.log(5)), jnp.float32(-2)))) for seed in range(2)]
    assert floor - 1e-5 <= min(ends), (floor, ends)
    assert min(ends) < floor + (0.02 if objective.positives != "soft" else 0.25), (floor, ends)


def test_the_floor_of_pairs_is_what_equal_reports_cost():
    of = Identity(jnp.array([3, 3, 5, 3], jnp.int32), jnp.arange(4, dtype=jnp.int32), jnp.zeros((4, 0), jnp.uint8))
    for positives in ("pair", "group"):
        np.testing.assert_allclose(loss_floor(Objective(positives=positives), of), 0.75 * np.log(3), rtol=1e-5)
    assert float(loss_floor(Objective("sigmoid", "group"), of)) == 0
    alone = of._replace(group_id=jnp.arange(4, dtype=jnp.int32))
    assert all(float(loss_floor(objective, alone)) == 0 for objective in OBJECTIVES)


def test_a_study_and_equal_labels_make_positives_of_other_reports():
    of = Identity(
        jnp.array([0, 1, 2, 3], jnp.int32),
        jnp.array([7, 7, 8, 9], jnp.int32),
        jnp.array([[1, 0], [0, 1], [1, 1], [0, 0]], jnp.uint8),
    )
    rows = jnp.arange(4)
    group = target_weights(Objective(positives="group"), rows, 4, of, of)
    np.testing.assert_array_equal(group, [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    soft, half = target_weights(Objective(positives="soft", target_temperature=0.5), rows, 4, of, of), np.exp(-1)
    np.testing.assert_allclose(soft, [[1, 1, half, 0], [1, 1, half, 0], [half, half, 1, 0], [0, 0, 0, 1]], rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("objective", OBJECTIVES, ids=named)
def test_a_batch_of_32768_holds_no_square_of_it(objective):
    n = 32768

    def of(z_t, z_v, scale, bias, identity):
        return contrastive_loss(z_t, z_v, scale, objective=objective, identity=identity, bias=bias)

    z, number = jax.ShapeDtypeStruct((n, 256), jnp.float32), jax.ShapeDtypeStruct((n,), jnp.int32)
    scalar, labels = jax.ShapeDtypeStruct((), jnp.float32), jax.ShapeDtypeStruct((n, 14), jnp.uint8)
    lowered = jax.jit(jax.grad(of, (0, 1, 2, 3))).lower(z, z, scalar, scalar, Identity(number, number, labels))
    assert lowered.compile().memory_analysis().temp_size_in_bytes < 4 * n * n / 5

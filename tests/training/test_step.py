"""One step: its numbers, what it leaves alone, and that four devices do what one does."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from cxr_jax.retrieval.embedding import make_encode_step
from cxr_jax.training.losses import contrastive_loss
from cxr_jax.training.optim import FROZEN
from cxr_jax.training.step import Recipe, TrainState, init_state, make_recipe, make_train_step
from tests.tiny import tiny_batch, tiny_resolved

NO_DROPOUT = "text.dropout=0.0"


def sgd(recipe: Recipe) -> Recipe:
    """The recipe with plain SGD of rate 1: a step's change of the parameters is the gradient itself."""
    optimizer = optax.multi_transform({"train": optax.sgd(1.0), "frozen": optax.set_to_zero()}, recipe.labels)
    return Recipe(recipe.model, recipe.labels, recipe.schedule, optimizer)


def gradient(before: TrainState, after: TrainState):
    return jax.tree.map(lambda a, b: np.asarray(a) - np.asarray(b), before.params, after.params)


GOLDEN_STEP = {
    "losses": [2.3285069, 2.7551584, 2.6981089],
    "temperature": 0.07003386,
    "learning_rate": 1e-3,
    "parameters": 20.179092,
    "statistics": 8.641060,
}


def test_golden_step():
    """Three steps from seed 0. Update the numbers only with a change that is meant to alter what is computed, and say
    in its message why they moved."""
    config = tiny_resolved()
    recipe = make_recipe(config)
    state, step = init_state(recipe, config), jax.jit(make_train_step(recipe))
    losses = []
    for seed in range(3):
        state, metrics = step(state, tiny_batch(seed=seed), jax.random.key(0))
        losses.append(float(metrics["loss"]))
    found = {
        "losses": losses,
        "temperature": float(metrics["temperature"]),
        "learning_rate": float(metrics["learning_rate"]),
        "parameters": float(optax.tree.norm(state.params)),
        "statistics": float(optax.tree.norm(state.batch_stats)),
    }
    for name, value in GOLDEN_STEP.items():
        np.testing.assert_allclose(found[name], value, rtol=2e-4, err_msg=f"{name}: {found}")


def test_four_devices_compute_the_gradient_of_one_global_batch():
    """Losses alone would hide a wrong scale, so the parameters' gradients are compared, BatchNorm and all."""
    config, batch, key = tiny_resolved(NO_DROPOUT), tiny_batch(16), jax.random.key(0)
    single = sgd(make_recipe(config))
    state = init_state(single, config)
    alone, alone_metrics = jax.jit(make_train_step(single))(state, batch, key)

    devices = 4
    recipe = sgd(make_recipe(config, axis_name="devices"))
    step = jax.pmap(make_train_step(recipe, "devices"), axis_name="devices", in_axes=(None, 0, None))
    shards = jax.tree.map(lambda x: x.reshape(devices, -1, *x.shape[1:]), batch)
    # To the host at once: indexing on four devices is a computation of all four.
    together, metrics = jax.device_get(step(state, shards, key))

    np.testing.assert_allclose(metrics["loss"], np.full(devices, alone_metrics["loss"]), rtol=1e-5)
    expected = gradient(state, alone)
    for device in range(devices):
        found = gradient(state, jax.tree.map(lambda x, d=device: x[d], together))
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-5), found, expected)
    assert float(optax.tree.norm(expected)) > 0.1
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a[0], b, rtol=1e-4, atol=1e-5), together.batch_stats, alone.batch_stats
    )


def test_without_gathering_the_gradient_would_be_another():
    """The mistake that the test above guards against: each device contrasting only its own rows."""
    config, batch = tiny_resolved(NO_DROPOUT), tiny_batch(16)
    recipe = make_recipe(config)
    state = init_state(recipe, config)
    variables = {"params": state.params, "batch_stats": state.batch_stats}
    z_v, z_t, A_s = make_encode_step(recipe.model)(variables, batch)
    assert A_s.shape[0] == 16
    assert 0 < A_s.min() <= A_s.max() < 1
    scale = jnp.float32(10.0)
    whole = contrastive_loss(z_t, z_v, scale)
    parts = [contrastive_loss(z_t[i : i + 4], z_v[i : i + 4], scale) for i in range(0, 16, 4)]
    assert abs(float(whole) - float(np.mean(parts))) > 0.5


@pytest.mark.parametrize("frozen", [True, False])
def test_frozen_bert_is_bit_identical_after_steps(frozen):
    config = tiny_resolved(f"text.frozen={frozen}")
    recipe = make_recipe(config)
    state = init_state(recipe, config)
    # −0.0 + 0.0 is 0.0: a frozen −0.0 keeps its sign only where nothing is added to it.
    kernel = state.params["text"]["bert"]["embeddings"]["word_embeddings"]["embedding"]
    state.params["text"]["bert"]["embeddings"]["word_embeddings"]["embedding"] = kernel.at[0].set(-0.0)
    first = jax.tree.map(np.asarray, state.params)
    step = jax.jit(make_train_step(recipe))
    for seed in range(4):
        state, _ = step(state, tiny_batch(seed=seed), jax.random.key(0))
    same = jax.tree.map(lambda a, b: a.tobytes() == np.asarray(b).tobytes(), first, state.params)
    bert = jax.tree.leaves(same["text"].pop("bert"))
    assert all(bert) if frozen else not any(bert[:4])
    assert not any(jax.tree.leaves(same)), "every trained leaf moves"


@pytest.mark.parametrize("frozen", [True, False])
def test_frozen_batch_norm_keeps_statistics_scales_and_biases(frozen):
    config = tiny_resolved(f"image.frozen_batch_norm={frozen}")
    recipe = make_recipe(config)
    state = init_state(recipe, config)
    first = jax.tree.map(np.asarray, (state.batch_stats, state.params))
    step = jax.jit(make_train_step(recipe))
    for seed in range(2):
        state, _ = step(state, tiny_batch(seed=seed), jax.random.key(0))
    same = jax.tree.map(lambda a, b: a.tobytes() == np.asarray(b).tobytes(), first, (state.batch_stats, state.params))
    densenet = dict(jax.tree_util.tree_leaves_with_path(same[1]["vision"]["densenet"]))
    norms = [kept for path, kept in densenet.items() if "norm" in jax.tree_util.keystr(path)]
    kernels = [kept for path, kept in densenet.items() if "conv" in jax.tree_util.keystr(path)]
    assert all(norms) if frozen else not any(norms)
    assert set(jax.tree.leaves(same[0])) == {frozen}
    assert not any(kernels)


def test_no_gradient_is_computed_for_frozen_weights():
    """The compiled step of a frozen BERT needs far fewer operations than that of a trained one."""

    def flops(*overrides: str) -> float:
        config = tiny_resolved("image.block_sizes=(1,)", "text.max_tokens=32", *overrides)
        config["text"]["bert"] |= {"hidden_size": 64, "intermediate_size": 256, "num_hidden_layers": 2}
        recipe = make_recipe(config)
        step = jax.jit(make_train_step(recipe)).lower(init_state(recipe, config), tiny_batch(), jax.random.key(0))
        return step.compile().cost_analysis()["flops"]

    frozen, trained = flops("text.frozen=true"), flops("text.frozen=false")
    assert frozen < 0.85 * trained


def test_frozen_weights_have_no_optimizer_state():
    config = tiny_resolved()
    recipe = make_recipe(config)
    state = init_state(recipe, config)
    labels = jax.tree.leaves(recipe.labels)
    trained = sum(x.size for x, n in zip(jax.tree.leaves(state.params), labels, strict=True) if n != FROZEN)
    moments = sum(x.size for x in jax.tree.leaves(state.opt_state) if x.ndim)
    scalars = 2 * sum(x.ndim == 0 for x, n in zip(jax.tree.leaves(state.params), labels, strict=True) if n != FROZEN)
    assert 2 * trained - scalars <= moments <= 2 * trained


def test_dropout_follows_the_step_and_the_root_key():
    config = tiny_resolved("text.dropout=0.5")
    recipe = make_recipe(config)
    state, step = init_state(recipe, config), jax.jit(make_train_step(recipe))
    loss = lambda state, seed: float(step(state, tiny_batch(), jax.random.key(seed))[1]["loss"])  # noqa: E731
    assert loss(state, 0) == loss(state, 0)
    assert loss(state, 0) != loss(state, 1)
    assert loss(state, 0) != loss(state.replace(step=jnp.int32(1)), 0)


def test_a_batch_is_learnt_by_heart():
    config = tiny_resolved("optim.learning_rate=0.01", "num_steps=60", "optim.warmup_steps=5", "text.frozen=false")
    recipe = make_recipe(config)
    state, step = init_state(recipe, config), jax.jit(make_train_step(recipe))
    for _ in range(60):
        state, metrics = step(state, tiny_batch(), jax.random.key(0))
    assert float(metrics["loss"]) < 0.7 < np.log(8) / 2

"""One step: its numbers, what it leaves alone, and that four devices do what one does."""

import copy
import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxr_jax.models.dual_encoder import MAX_LOG_SCALE, inverse_temperature
from cxr_jax.training import step as steps
from cxr_jax.training.losses import Objective, contrastive_loss
from cxr_jax.training.optim import FROZEN, make_optimizer, parameter_labels
from cxr_jax.training.step import (
    Recipe,
    TrainState,
    count_parameters,
    init_state,
    make_recipe,
    make_train_step,
    parameters_by_part,
    share_of_equals,
    state_shapes,
)
from tests.tiny import tiny_batch, tiny_resolved

NO_DROPOUT = "text.dropout=0.0"
SHALLOW = "image.block_sizes=(1,)"  # quicker to compile


def sgd(recipe: Recipe) -> Recipe:
    """The recipe with plain SGD of rate 1: a step's change of the parameters is the gradient itself."""
    optimizer = optax.multi_transform({"train": optax.sgd(1.0), "frozen": optax.set_to_zero()}, recipe.labels)
    descending = copy.copy(recipe)
    object.__setattr__(descending, "optimizer", optimizer)  # past the check of Linear's type
    return descending


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
    batch["group_id"][[3, 15]] = 3  # equal reports that meet on no device
    single = sgd(make_recipe(config))
    state = init_state(single, config)
    alone, alone_metrics = jax.jit(make_train_step(single))(state, batch, key)

    devices = 4
    recipe = sgd(make_recipe(config, axis_name="devices"))
    step = jax.pmap(make_train_step(recipe, "devices"), axis_name="devices", in_axes=(None, 0, None))
    shards = jax.tree.map(lambda x: x.reshape(devices, len(x) // devices, *x.shape[1:]), batch)
    # To the host at once: indexing on four devices is a computation of all four.
    together, metrics = jax.device_get(step(state, shards, key))

    np.testing.assert_allclose(metrics["loss"], np.full(devices, alone_metrics["loss"]), rtol=1e-5)
    np.testing.assert_array_equal(metrics["equal_reports"], np.full(devices, 2 / 16, np.float32))
    for name in ("gradient_norm", "update_norm"):
        np.testing.assert_allclose(metrics[name], np.full(devices, alone_metrics[name]), rtol=1e-3)
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
    config, batch = tiny_resolved(NO_DROPOUT, SHALLOW), tiny_batch(16)
    recipe = make_recipe(config)
    state = init_state(recipe, config)
    variables = {"params": state.params, "batch_stats": state.batch_stats}
    out = jax.jit(recipe.model.apply)(variables, batch["image"], batch["token_ids"], batch["token_mask"])
    z_t, z_v = out["text_embedding"], out["image_embedding"]
    scale = jnp.float32(10.0)
    whole = contrastive_loss(z_t, z_v, scale)
    parts = [contrastive_loss(z_t[i : i + 4], z_v[i : i + 4], scale) for i in range(0, 16, 4)]
    assert abs(float(whole) - float(np.mean(parts))) > 0.5


@pytest.mark.parametrize("frozen", [True, False])
def test_frozen_bert_is_bit_identical_after_steps(frozen):
    config = tiny_resolved(SHALLOW, f"text.frozen={frozen}")
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
    config = tiny_resolved(SHALLOW, f"image.frozen_batch_norm={frozen}")
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
        config = tiny_resolved(SHALLOW, "text.max_tokens=32", *overrides)
        config["text"]["bert"] |= {"hidden_size": 64, "intermediate_size": 256, "num_hidden_layers": 2}
        recipe = make_recipe(config)
        step = jax.jit(make_train_step(recipe)).lower(init_state(recipe, config), tiny_batch(), jax.random.key(0))
        return step.compile().cost_analysis()["flops"]

    frozen, trained = flops("text.frozen=true"), flops("text.frozen=false")
    assert frozen < 0.85 * trained


def test_the_features_of_a_frozen_tower_are_as_good_as_its_tokens():
    """To the gradient; and BERT is not in the step any more."""
    config = tiny_resolved(SHALLOW, NO_DROPOUT, "text.num_prompts=0")
    recipe, batch = sgd(make_recipe(config)), tiny_batch()
    state = init_state(recipe, config)
    variables = {"params": state.params, "batch_stats": state.batch_stats}
    tokens = batch["token_ids"], batch["token_mask"]
    h = recipe.model.apply(variables, *tokens, method=lambda m, *tokens: m.text.pool(*tokens)[0])
    short = {name: x for name, x in batch.items() if name not in ("token_ids", "token_mask")}
    short["text_features"] = np.asarray(h, np.float32)
    step = jax.jit(make_train_step(recipe))
    (expected, _), (found, _) = (step(state, given, jax.random.key(0)) for given in (batch, short))
    assert_near(gradient(state, found), gradient(state, expected), 1e-6)
    costs = [step.lower(state, given, jax.random.key(0)).cost_analysis()["flops"] for given in (batch, short)]
    layers = jax.tree.leaves(state.params["text"]["bert"]["encoder"])
    assert costs[0] - costs[1] > 2 * batch["token_ids"].size * sum(x.size for x in layers if x.ndim > 1)


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
    config = tiny_resolved(SHALLOW, "text.dropout=0.5")
    recipe = make_recipe(config)
    state, step = init_state(recipe, config), jax.jit(make_train_step(recipe))
    loss = lambda state, seed: float(step(state, tiny_batch(), jax.random.key(seed))[1]["loss"])  # noqa: E731
    assert loss(state, 0) == loss(state, 0)
    assert loss(state, 0) != loss(state, 1)
    assert loss(state, 0) != loss(state.replace(step=jnp.int32(1)), 0)


def test_a_batch_is_learnt_by_heart():
    config = tiny_resolved(
        SHALLOW, "optim.learning_rate=0.01", "num_steps=60", "optim.warmup_steps=5", "text.frozen=false"
    )
    recipe = make_recipe(config)
    state, step = init_state(recipe, config), jax.jit(make_train_step(recipe))
    for _ in range(60):
        state, metrics = step(state, tiny_batch(), jax.random.key(0))
    assert float(metrics["loss"]) < 0.7 < np.log(8) / 2


# What it reports


def norm(tree) -> float:
    return float(np.sqrt(sum(np.sum(np.square(np.asarray(x, np.float64))) for x in jax.tree.leaves(tree))))


class Linear:
    """In the place of the model where only what becomes of its gradient is looked at: it compiles at once."""

    def apply(self, variables, image, token_ids, token_mask, train, rngs, mutable):
        params = variables["params"]
        bright = jnp.asarray(image, jnp.float32).reshape(len(image), -1)[:, :8] / 255
        words = (token_ids * token_mask)[:, :8] @ params["text"]["bert"]["kernel"] / 50
        out = {
            "image_embedding": bright @ params["vision"]["kernel"],
            "text_embedding": words @ params["text"]["kernel"],
            "scale": inverse_temperature(params["log_scale"]),
        }
        out |= {"bias": params["bias"]} if "bias" in params else {}
        return out, {"batch_stats": {"mean": 0.9 * variables["batch_stats"]["mean"] + 0.1 * bright.mean(0)}}


@pytest.fixture(scope="module")
def linear():
    """(recipe, state) of it, some steps on."""
    rng = np.random.default_rng(0)
    kernel = lambda *shape: jnp.asarray(rng.normal(size=shape), jnp.float32)  # noqa: E731
    params = {
        "log_scale": jnp.float32(2.5),
        "vision": {"kernel": kernel(8, 4)},
        "text": {"kernel": kernel(6, 4), "bert": {"kernel": 100 * kernel(8, 6)}},
    }
    labels = parameter_labels(params, freeze_bert=True)
    schedule = optax.constant_schedule(0.01)
    config = tiny_resolved()
    recipe = make_recipe(config)
    recipe = dataclasses.replace(
        recipe, labels=labels, schedule=schedule, optimizer=make_optimizer(labels, schedule, 0.3, 0.99, 1.0)
    )
    object.__setattr__(recipe, "model", Linear())  # past the check of its type
    state = TrainState(jnp.int32(3), params, {"mean": kernel(8)}, recipe.optimizer.init(params))
    step = jax.jit(make_train_step(recipe))
    for seed in range(2):
        state, _ = step(state, tiny_batch(seed=seed), jax.random.key(0))
    return recipe, state


def test_the_norms_are_of_the_gradient_and_of_the_change(linear):
    recipe, state = linear
    plain = sgd(recipe)
    descended, by_gradient = jax.jit(make_train_step(plain))(
        state.replace(opt_state=plain.optimizer.init(state.params)), tiny_batch(), jax.random.key(0)
    )
    length = norm(gradient(state, descended))
    assert length > 1  # so that AdamW's is clipped, which is not what is reported
    assert float(by_gradient["gradient_norm"]) == pytest.approx(length, rel=1e-4)
    assert float(by_gradient["update_norm"]) == pytest.approx(length, rel=1e-4)
    after, by_adamw = jax.jit(make_train_step(recipe))(state, tiny_batch(), jax.random.key(0))
    assert float(by_adamw["gradient_norm"]) == pytest.approx(length, rel=1e-4)
    assert float(by_adamw["update_norm"]) == pytest.approx(norm(gradient(state, after)), rel=1e-3)
    assert float(by_adamw["update_norm"]) < 0.1 * length
    assert all(value.dtype == jnp.float32 and value.shape == () for value in by_adamw.values())


counted = jax.jit(share_of_equals)


@given(st.lists(st.integers(0, 9), min_size=8, max_size=8))
def test_equal_reports_are_counted(groups):
    naive = np.mean([groups.count(group) > 1 for group in groups])
    assert float(counted(jnp.array(groups, jnp.int32))) == pytest.approx(naive)


def test_one_report_equals_no_other():
    assert float(counted(jnp.zeros(1, jnp.int32))) == 0


def test_parameters_are_counted_by_part():
    config = tiny_resolved()
    recipe = make_recipe(config)
    params = state_shapes(recipe, config).params
    parts = parameters_by_part(recipe, params)
    assert {"vision/densenet", "text/bert", "text/soft_prompts", "log_scale"} <= parts.keys()
    *rest, (every, trained) = parts.values()
    assert list(parts)[-1] == "all"
    assert (every, trained) == tuple(map(sum, zip(*rest, strict=True))) == count_parameters(recipe, params)
    assert every == sum(x.size for x in jax.tree.leaves(params))
    bert = sum(x.size for x in jax.tree.leaves(params["text"]["bert"]))
    assert parts["text/bert"] == (bert, 0)
    assert trained == every - bert


# What is not finite


def assert_same_bits(a, b):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert np.asarray(x).tobytes() == np.asarray(y).tobytes()


def test_a_step_that_is_not_finite_is_left_out(linear):
    recipe, state = linear
    skipping = jax.jit(make_train_step(recipe, skip_nan=True))
    kernel = state.params["vision"]["kernel"].at[0, 0].set(jnp.nan)
    poisoned = state.replace(params={**state.params, "vision": {"kernel": kernel}})
    after, metrics = skipping(poisoned, tiny_batch(), jax.random.key(0))
    assert not np.isfinite(metrics["loss"])
    assert int(after.step) == int(state.step) + 1
    assert_same_bits(after.replace(step=poisoned.step), poisoned)

    after, metrics = skipping(state, tiny_batch(), jax.random.key(0))
    plain, _ = jax.jit(make_train_step(recipe))(state, tiny_batch(), jax.random.key(0))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), after, plain)
    for name in ("params", "batch_stats", "opt_state"):
        assert norm(getattr(after, name)) != norm(getattr(state, name))


def test_a_finite_loss_with_a_gradient_that_is_not_is_left_out(linear, monkeypatch):
    # The root of 0 is finite, its slope is not.
    monkeypatch.setattr(
        steps,
        "contrastive_loss",
        lambda z_t, z_v, scale, *_, **__: contrastive_loss(z_t, z_v, scale) + jnp.sqrt(0 * z_t.sum()),
    )
    recipe, state = linear
    after, metrics = jax.jit(make_train_step(recipe, skip_nan=True))(state, tiny_batch(), jax.random.key(0))
    assert np.isfinite(metrics["loss"])
    assert not np.isfinite(metrics["gradient_norm"])
    assert_same_bits(after.replace(step=state.step), state)


# The temperature


def test_the_scale_stays_below_its_bound_and_comes_back_from_it(linear, monkeypatch):
    """Clipped in the model alone it had no gradient past the bound, and stayed there for good."""
    recipe, state = linear
    recipe = sgd(recipe)
    state = state.replace(opt_state=recipe.optimizer.init(state.params))

    def stepper(slope):
        monkeypatch.setattr(steps, "contrastive_loss", lambda z_t, z_v, scale, *_, **__: slope * jnp.log(scale))
        step = jax.jit(make_train_step(recipe))
        called = lambda state: step(state, tiny_batch(), jax.random.key(0))  # noqa: E731
        called(state)  # it looks up its loss when it is first called
        return called

    rise, fall = stepper(-3.0), stepper(0.5)
    for start in (2.0, MAX_LOG_SCALE, 9.0):
        after = state.replace(params={**state.params, "log_scale": jnp.float32(start)})
        for _ in range(2):
            after, metrics = rise(after)
            assert float(after.params["log_scale"]) <= MAX_LOG_SCALE + 1e-6
        assert float(after.params["log_scale"]) == pytest.approx(MAX_LOG_SCALE, abs=1e-6)
        assert float(metrics["temperature"]) >= 0.01
        after, _ = fall(after)
        assert float(after.params["log_scale"]) == pytest.approx(MAX_LOG_SCALE - 0.5, abs=1e-5)


# Who belongs together, and micro-batches

OBJECTIVES = [
    Objective("softmax", "group"),
    Objective("softmax", "soft"),
    Objective("sigmoid", "pair"),
    Objective("sigmoid", "soft"),
]


def batch_with_twins(size: int = 16):
    """A batch of equal reports, of images of one study, and of labels that overlap, wherever the devices cut it."""
    rng = np.random.default_rng(1)
    batch = tiny_batch(size)
    batch["group_id"] = rng.integers(0, size // 2, size, dtype=np.int32)
    batch["study_id"][[1, size - 1]] = 1
    batch["labels"] = rng.integers(0, 2, (size, 14), dtype=np.uint8)
    return batch


def with_(recipe: Recipe, **changes) -> Recipe:
    """The recipe with other fields, past the check of Linear's type."""
    varied = copy.copy(recipe)
    for name, value in changes.items():
        object.__setattr__(varied, name, value)
    return varied


def devices_and_one(recipe: Recipe, alone: Recipe, state: TrainState, batch, devices: int = 4):
    """((gradient, metrics) of the first of several devices, those of one device with the recipe `alone`)."""
    key = jax.random.key(0)
    one, one_metrics = jax.device_get(jax.jit(make_train_step(alone))(state, batch, key))
    step = jax.pmap(make_train_step(recipe, "devices"), axis_name="devices", in_axes=(None, 0, None))
    shards = jax.tree.map(lambda x: x.reshape(devices, len(x) // devices, *x.shape[1:]), batch)
    many, metrics = jax.tree.map(lambda x: x[0], jax.device_get(step(state, shards, key)))
    return (gradient(state, many), metrics), (gradient(state, one), one_metrics)


def assert_near(found, expected, tolerance: float):
    """Relative to the whole tree's norm: a leaf's own may be nothing."""
    off = jax.tree.map(lambda a, b: np.asarray(a, np.float64) - b, found, expected)
    assert norm(expected) > 0.1
    assert norm(off) < tolerance * norm(expected), norm(off) / norm(expected)


@pytest.mark.parametrize("micro_batch", [0, 2])
@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda of: f"{of.kind}-{of.positives}")
def test_four_devices_know_each_others_positives(linear, objective, micro_batch):
    recipe, state = linear
    params = {**state.params, "bias": jnp.float32(-2)} if objective.kind == "sigmoid" else state.params
    labels = parameter_labels(params, freeze_bert=True)
    recipe = sgd(with_(recipe, objective=objective, labels=labels))
    state = state.replace(params=params, opt_state=recipe.optimizer.init(params))
    micro = with_(recipe, micro_batch=micro_batch)
    (found, metrics), (expected, alone) = devices_and_one(micro, recipe, state, batch_with_twins())
    assert_near(found, expected, 1e-5)
    for name in ("loss", "loss_floor", "equal_reports", "temperature"):
        np.testing.assert_allclose(metrics[name], alone[name], rtol=1e-5, err_msg=name)
    assert float(alone["loss"]) > float(alone["loss_floor"])
    if objective.kind == "sigmoid":
        assert abs(float(expected["bias"])) > 1e-3


def test_micro_batches_have_the_gradient_of_the_whole_batch():
    """BatchNorm's statistics are frozen: else they are each micro-batch's own."""
    frozen = (NO_DROPOUT, "image.frozen_batch_norm=true", "loss.positives=group")
    config, batch, key = tiny_resolved(*frozen, SHALLOW), batch_with_twins(), jax.random.key(0)
    state = init_state(sgd(make_recipe(config)), config)
    steps_of = {
        size: jax.device_get(
            jax.jit(make_train_step(sgd(make_recipe(config | {"micro_batch": size}))))(state, batch, key)
        )
        for size in (0, 4)
    }
    expected, alone = steps_of.pop(0)
    for after, metrics in steps_of.values():
        assert_near(gradient(state, after), gradient(state, expected), 1e-5)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), metrics, alone)


@pytest.mark.parametrize(
    ("change", "tower", "micro_batch"), [("image.frozen=true", "vision", 3), ("text.frozen_tower=true", "text", 0)]
)
def test_a_frozen_tower_stays_to_the_bit_and_is_not_differentiated(change, tower, micro_batch):
    """With its BatchNorms' statistics: of three micro-batches' equal ones the mean might not be the same to the bit."""
    batch, key, flops, states = tiny_batch(9), jax.random.key(0), [], []
    changes = SHALLOW, "text.frozen=false", "text.dropout=0.5", "optim.warmup_steps=0"
    for more in ((change, f"micro_batch={micro_batch}"), (change,), ()):
        config = tiny_resolved(*changes, *more)
        recipe = make_recipe(config)
        state = state_shapes(recipe, config)
        lowered = jax.jit(make_train_step(recipe)).lower(state, batch, key)
        flops.append(lowered.cost_analysis()["flops"])
        if not states:
            state = init_state(recipe, config)
            states = [state, lowered.compile()(state, batch, key)[0]]
    before, after = (
        {tower: jax.tree.leaves(x) for tower, x in {**state.params, "stats": state.batch_stats}.items()}
        for state in states
    )
    same = {part: all(np.array_equal(x, y) for x, y in zip(before[part], after[part], strict=True)) for part in before}
    assert same == {"vision": False, "text": False, "log_scale": False} | {tower: True, "stats": tower == "vision"}
    assert flops[1] < 0.8 * flops[2]


def test_micro_batches_on_four_devices_have_the_gradient_of_the_whole_batch():
    frozen = (NO_DROPOUT, SHALLOW, "image.frozen_batch_norm=true", "loss.positives=group", "loss.kind=sigmoid")
    config = tiny_resolved(*frozen)
    alone, recipe = sgd(make_recipe(config)), sgd(make_recipe(config | {"micro_batch": 2}, axis_name="devices"))
    state = init_state(alone, config)
    (found, metrics), (expected, by_one) = devices_and_one(recipe, alone, state, batch_with_twins())
    assert_near(found, expected, 1e-5)
    np.testing.assert_allclose(metrics["loss"], by_one["loss"], rtol=1e-5)


def test_a_micro_batchs_statistics_are_its_own_and_the_running_ones_their_mean():
    config, batch, key = tiny_resolved(SHALLOW, "micro_batch=4"), tiny_batch(16), jax.random.key(0)
    recipe = make_recipe(config)
    state = init_state(recipe, config)
    after, metrics = jax.jit(make_train_step(recipe))(state, batch, key)
    apply = jax.jit(
        lambda image: recipe.model.apply(  # the image tower alone
            {"params": state.params, "batch_stats": state.batch_stats}, image, train=True, mutable=["batch_stats"]
        )[1]["batch_stats"]
    )
    parts = [apply(batch["image"][first : first + 4]) for first in range(0, 16, 4)]
    expected = jax.tree.map(lambda *x: np.mean(x, axis=0), *parts)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), after.batch_stats, expected)
    assert np.isfinite(metrics["loss"])


def test_the_parts_of_a_batch_have_dropout_of_their_own():
    config, batch = tiny_resolved(SHALLOW, "text.dropout=0.5", "micro_batch=4"), tiny_batch(8)
    for name in ("token_ids", "token_mask"):
        batch[name][:] = batch[name][0]
    recipe = make_recipe(config)
    variables = {"params": (state := init_state(recipe, config)).params, "batch_stats": state.batch_stats}
    out, _ = jax.jit(lambda batch: steps.embed_pairs(recipe, variables, batch, jax.random.key(0)))(batch)
    assert len(np.unique(out["text_embedding"].round(5), axis=0)) == 8


@pytest.mark.slow
def test_memory_does_not_grow_with_the_batch():
    """Temporaries, by XLA's own analysis; without micro-batches eight times the batch takes several times as much."""

    def temporaries(size: int, micro_batch: int) -> int:
        config = tiny_resolved(SHALLOW, f"micro_batch={micro_batch}", "image_size=64")
        recipe = make_recipe(config)
        batch = tiny_batch(size) | {"image": np.zeros((size, 64, 64, 1), np.uint8)}
        lowered = jax.jit(make_train_step(recipe), donate_argnums=0).lower(
            state_shapes(recipe, config), batch, jax.random.key(0)
        )
        return lowered.compile().memory_analysis().temp_size_in_bytes

    few = temporaries(64, 8)
    assert few < 1.1 * temporaries(16, 8)
    assert temporaries(64, 0) > 2 * few


@pytest.mark.slow
def test_reports_in_parts_have_the_gradient_of_the_whole():
    """A batch of two shares, the first rows of each short; alone, and as two micro-batches."""
    config = tiny_resolved(NO_DROPOUT, SHALLOW, "image.frozen_batch_norm=true")
    batch, key = tiny_batch(), jax.random.key(0)
    lengths = np.array([3, 8, 20, 24] * 2)
    batch["token_mask"] = (np.arange(24) < lengths[:, None]).astype(np.int32)
    shares = {name: batch[name].reshape(2, 2, 2, 24) for name in ("token_ids", "token_mask")}
    parts = {name: (x[:, 0, :, :8].reshape(4, 8), x[:, 1].reshape(4, 24)) for name, x in shares.items()}
    recipe = sgd(make_recipe(config))
    state = init_state(recipe, config)
    expected, metrics = jax.jit(make_train_step(recipe))(state, batch, key)
    in_two = with_(recipe, micro_batch=4)
    found, others = jax.jit(make_train_step(in_two))(state, batch | parts, key)
    assert_near(gradient(state, found), gradient(state, expected), 1e-5)
    np.testing.assert_allclose(others["loss"], metrics["loss"], rtol=1e-5)
    # As one share the parts are the first and the last four rows.
    order = np.argsort(lengths, kind="stable")
    batch = {name: x[order] for name, x in batch.items()}
    parts = {name: (batch[name][:4, :8], batch[name][4:]) for name in ("token_ids", "token_mask")}
    found, others = jax.jit(make_train_step(recipe))(state, batch | parts, key)
    assert_near(gradient(state, found), gradient(state, expected), 1e-5)

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxr_jax.models.dual_encoder import build_model, init_variables
from cxr_jax.training import step as steps
from cxr_jax.training.optim import (
    FROZEN,
    TRAIN,
    is_decayed,
    labels_of,
    learning_rate_schedule,
    make_optimizer,
    parameter_labels,
    rate_factors,
)
from cxr_jax.training.step import make_recipe
from tests.tiny import tiny_resolved

PARAMS = {
    "log_scale": jnp.float32(2.5),
    "vision": {"bert": {"kernel": jnp.ones((2, 3))}, "bias": jnp.ones(3)},
    "text": {
        "bert": {"embeddings": {"embedding": jnp.ones((50, 4))}, "LayerNorm": {"scale": jnp.ones(4)}},
        "soft_prompts": {"prompts": jnp.ones((2, 4))},
        "projections_0": {"dense": {"kernel": jnp.ones((4, 4)), "bias": jnp.ones(4)}},
    },
}


def optimizer(labels, learning_rate=0.1, weight_decay=0.0, clip_norm=1e9, b2=0.99, factors=None):
    schedule = optax.constant_schedule(learning_rate)
    return make_optimizer(labels, schedule, weight_decay, b2, clip_norm, factors)


def update(grads, freeze=True, **options):
    transform = optimizer(parameter_labels(PARAMS, freeze), **options)
    return transform.update(grads, transform.init(PARAMS), PARAMS)[0]


def leaves(tree):
    return {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


# Labels


def test_only_the_text_towers_bert_is_frozen():
    labels = leaves(parameter_labels(PARAMS, freeze_bert=True))
    assert labels.keys() == leaves(PARAMS).keys()
    assert {name for name, label in labels.items() if label == FROZEN} == {
        name for name in labels if name.startswith("['text']['bert']")
    }
    assert sum(label == FROZEN for label in labels.values()) == 2
    assert set(leaves(parameter_labels(PARAMS, freeze_bert=False)).values()) == {TRAIN}


def test_a_whole_tower_is_frozen_and_the_temperature_never():
    for towers in (["vision"], ["text"]):
        labels = leaves(parameter_labels(PARAMS, False, False, towers))
        frozen = {name for name, label in labels.items() if label == FROZEN}
        assert frozen == {name for name in labels if name.startswith(f"['{towers[0]}']")}
        assert len(frozen) > 1


@pytest.mark.parametrize(
    ("change", "frozen"),
    [
        ("image.frozen=true", {"vision"}),
        ("text.frozen_tower=true", {"text"}),
        ("text.frozen=true", {"text.bert"}),
        ("image.frozen_batch_norm=true", {"vision.densenet"}),
    ],
)
def test_a_configuration_says_what_is_frozen(tiny_params, change, frozen):
    config = tiny_resolved("image.block_sizes=(1, 2, 1)", "text.frozen=false", change)
    labels = jax.tree_util.tree_leaves_with_path(labels_of(tiny_params, config))
    names = [".".join(str(key.key) for key in path) for path, label in labels if label == FROZEN]
    (prefix,) = frozen
    of_prefix = [".".join(str(key.key) for key in path) for path, _ in labels]
    of_prefix = [name for name in of_prefix if name.startswith(f"{prefix}.")]
    assert names == [name for name in of_prefix if "norm" in name or prefix != "vision.densenet"]


# Schedule


def test_the_rate_rises_from_zero_and_ends_at_zero():
    rate = learning_rate_schedule(3e-4, 10, 100)
    assert rate(0) == 0
    assert float(rate(5)) == pytest.approx(1.5e-4)
    assert float(rate(10)) == pytest.approx(3e-4)
    assert float(rate(55)) == pytest.approx(1.5e-4)
    assert float(rate(100)) == pytest.approx(0, abs=1e-10)
    rates = [float(rate(step)) for step in range(101)]
    assert np.all(np.diff(rates[:11]) > 0)
    assert np.all(np.diff(rates[10:]) < 0)


@given(warmup=st.integers(0, 50), steps=st.integers(1, 60))
def test_any_warm_up_fits_into_any_run(warmup, steps):
    rate = learning_rate_schedule(1.0, warmup, steps)
    rates = [float(rate(step)) for step in range(steps + 1)]
    assert np.all(np.isfinite(rates))
    assert min(rates) >= 0
    assert max(rates[:steps]) > 0.49
    assert rates[-1] == pytest.approx(0, abs=1e-6)


# Optimiser


def test_frozen_weights_have_no_optimizer_state():
    state = optimizer(parameter_labels(PARAMS, True)).init(PARAMS)
    arrays = [leaf for leaf in jax.tree.leaves(state) if leaf.ndim]
    trained = [leaf for name, leaf in leaves(PARAMS).items() if not name.startswith("['text']['bert']") and leaf.ndim]
    assert len(arrays) == 2 * len(trained)
    assert sum(leaf.nbytes for leaf in arrays) == 2 * sum(leaf.nbytes for leaf in trained)
    everything = optimizer(parameter_labels(PARAMS, False)).init(PARAMS)
    frozen = PARAMS["text"]["bert"]
    grown = sum(leaf.nbytes for leaf in jax.tree.leaves(everything)) - sum(
        leaf.nbytes for leaf in jax.tree.leaves(state)
    )
    assert grown == 2 * sum(leaf.nbytes for leaf in jax.tree.leaves(frozen))


@pytest.mark.parametrize("freeze", [True, False])
def test_frozen_weights_are_not_updated(freeze):
    updates = leaves(update(jax.tree.map(jnp.ones_like, PARAMS), freeze, weight_decay=0.1))
    for name, value in updates.items():
        assert bool(jnp.all(value == 0)) == (freeze and name.startswith("['text']['bert']")), name


def test_the_clip_sees_the_trained_gradient_only():
    # AdamW's first step does not depend on the gradient's length; the second does, where one of the two was clipped.
    grads = jax.tree.map(lambda x: jnp.full_like(x, 1e-3), PARAMS)
    huge = grads | {"text": grads["text"] | {"bert": jax.tree.map(lambda x: x * 1e6, grads["text"]["bert"])}}
    for freeze, same in ((True, True), (False, False)):
        transform = optimizer(parameter_labels(PARAMS, freeze), clip_norm=0.1)
        results = []
        for second in (grads, huge):
            _, state = transform.update(grads, transform.init(PARAMS), PARAMS)
            results.append(transform.update(second, state, PARAMS)[0]["vision"]["bias"])
        assert bool(jnp.all(results[0] == results[1])) == same


def test_long_gradients_are_clipped():
    grads = jax.tree.map(jnp.zeros_like, PARAMS)
    grads["vision"]["bias"] = jnp.array([0.0, 3.0, 4.0])  # a norm of 5
    transform = optimizer(parameter_labels(PARAMS, True), clip_norm=1.0)
    _, state = transform.update(grads, transform.init(PARAMS), PARAMS)
    (first_moment,) = (
        leaf for name, leaf in leaves(state).items() if ".mu" in name and name.endswith("['vision']['bias']")
    )
    np.testing.assert_allclose(first_moment, [0.0, 0.06, 0.08], rtol=1e-5)  # a tenth of the gradient over 5


def test_decay_takes_matrices_that_are_multiplied_with():
    updates = leaves(update(jax.tree.map(jnp.zeros_like, PARAMS), freeze=False, learning_rate=0.1, weight_decay=0.5))
    decayed = {"['vision']['bert']['kernel']", "['text']['bert']['embeddings']['embedding']"} | {
        "['text']['projections_0']['dense']['kernel']"
    }
    for name, value in updates.items():
        np.testing.assert_allclose(value, -0.05 if name in decayed else 0.0, rtol=1e-6, err_msg=name)


def test_the_first_step_is_adams():
    grads = jax.tree.map(lambda x: jnp.full_like(x, -7.0), PARAMS)
    for name, value in leaves(update(grads, freeze=False, learning_rate=0.1)).items():
        np.testing.assert_allclose(value, 0.1, rtol=1e-5, err_msg=name)


# Rates


@pytest.fixture(scope="module")
def tiny_params():
    config = tiny_resolved("image.block_sizes=(1, 2, 1)")
    return jax.eval_shape(lambda: init_variables(build_model(config), jax.random.key(0), 32))["params"]


def test_frozen_batch_norm_is_every_norm_of_densenet_and_nothing_else(tiny_params):
    frozen = {n for n, label in leaves(parameter_labels(tiny_params, False, True)).items() if label == FROZEN}
    expected = {n for n in leaves(tiny_params) if n.startswith("['vision']['densenet']") and "norm" in n}
    assert frozen == expected
    assert len(frozen) == 2 * (1 + 2 * 4 + 2 + 1)  # the stem's, two a dense layer, two transitions', the last


def test_what_is_decayed_of_a_whole_model(tiny_params):
    """Matrices and kernels; neither vectors, nor the prompts, nor what BERT looks up by word, position and type."""
    decayed = leaves(is_decayed(tiny_params))
    assert decayed.keys() == leaves(tiny_params).keys()
    names = {name for name, value in leaves(tiny_params).items() if value.ndim > 1}
    spared = {name for name in names if not decayed[name]}
    embeddings = "['text']['bert']['embeddings']"
    assert spared == {
        "['text']['soft_prompts']['prompts']",
        f"{embeddings}['word_embeddings']['embedding']",
        f"{embeddings}['position_embeddings']['embedding']",
        f"{embeddings}['token_type_embeddings']['embedding']",
    }
    assert {name for name, value in decayed.items() if value} == names - spared
    assert "['text']['bert']['encoder']['layer']['0']['attention']['self']['query']['kernel']" in names - spared
    assert "['vision']['densenet']['conv0']['kernel']" in names - spared


def test_bert_has_a_rate_of_its_own(tiny_params):
    factors = leaves(rate_factors(tiny_params, image_rate=0.5, text_rate=0.25, layer_decay=0.1, bert_rate=0.04))
    for name, factor in {
        "['log_scale']": 1,
        "['vision']['head']['kernel']": 0.5,
        "['text']['head']['kernel']": 0.25,
        "['text']['soft_prompts']['prompts']": 0.25,
        "['text']['bert']['encoder']['layer']['0']['output']['dense']['kernel']": 0.004,
        "['text']['bert']['embeddings']['word_embeddings']['embedding']": 0.0004,
    }.items():
        assert factors[name] == pytest.approx(factor), name


def test_a_configuration_says_which_rate_bert_has(monkeypatch):
    asked = []

    def factors(params, *rates, real=rate_factors):
        asked.append(rates)
        return real(params, *rates)

    monkeypatch.setattr(steps, "rate_factors", factors)
    changes = "optim.learning_rate=1e-3", "optim.image_rate=0.5", "optim.text_rate=0.25", "optim.layer_decay=0.75"
    for rate in (2e-5, 0.0):
        make_recipe(tiny_resolved(*changes, f"optim.bert_learning_rate={rate}"))
    assert asked == [(0.5, 0.25, 0.75, pytest.approx(0.02)), (0.5, 0.25, 0.75, 0)]


def test_each_layer_down_learns_slower(tiny_params):
    factors = leaves(rate_factors(tiny_params, image_rate=0.5, text_rate=0.25, layer_decay=0.1))
    assert factors.keys() == leaves(tiny_params).keys()
    for name, factor in {
        "['log_scale']": 1,
        "['vision']['head']['kernel']": 0.5,
        "['vision']['multi_scale']['depthwise3']['kernel']": 0.5,
        "['vision']['densenet']['norm5']['scale']": 0.5,
        "['vision']['densenet']['denseblock3_denselayer1']['conv1']['kernel']": 0.05,
        "['vision']['densenet']['transition2']['conv']['kernel']": 0.005,
        "['vision']['densenet']['denseblock2_denselayer2']['norm1']['bias']": 0.005,
        "['vision']['densenet']['conv0']['kernel']": 5e-5,
        "['text']['soft_prompts']['prompts']": 0.25,
        "['text']['bert']['encoder']['layer']['0']['output']['dense']['kernel']": 0.025,
        "['text']['bert']['embeddings']['word_embeddings']['embedding']": 0.0025,
    }.items():
        assert factors[name] == pytest.approx(factor), name
    assert set(leaves(rate_factors(tiny_params)).values()) == {1.0}


def test_a_leafs_update_is_its_factor_times_the_plain_one():
    grads = jax.tree.map(lambda x: jnp.full_like(x, -7.0), PARAMS)
    factors = rate_factors(PARAMS, image_rate=0.5, text_rate=2.0)
    for freeze in (True, False):
        plain = leaves(update(grads, freeze, weight_decay=0.5))
        scaled = leaves(update(grads, freeze, weight_decay=0.5, factors=factors))
        for name, factor in leaves(factors).items():
            np.testing.assert_allclose(scaled[name], factor * plain[name], rtol=1e-6, err_msg=name)


def test_rates_of_one_leave_the_optimizers_state_as_it_was():
    labels = parameter_labels(PARAMS, True)
    states = [optimizer(labels, factors=factors).init(PARAMS) for factors in (None, rate_factors(PARAMS))]
    assert jax.tree.structure(states[0]) == jax.tree.structure(states[1])

"""Eq. (1)-(7): against FlaxBertModel, against NumPy, and what must not matter."""

import math
from functools import partial

import flax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import BertConfig, FlaxBertModel

from cxr_jax.models.text import AttentionPooling, ProjectionLayer, SoftPrompts, TextEncoder, masked_mean

BERT = BertConfig(
    vocab_size=50,
    hidden_size=16,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=32,
    max_position_embeddings=12,
)
TOKEN_IDS = np.random.default_rng(0).integers(1, 50, (3, 6), np.int32)
TOKEN_MASK = np.array([[1] * 6, [1] * 4 + [0] * 2, [1] + [0] * 5], np.int32)


def encoder(**changes) -> TextEncoder:
    return TextEncoder(**({"bert": BERT, "num_prompts": 4, "embed_dim": 8} | changes))


def init(model):
    return jax.jit(model.init)(jax.random.key(0), TOKEN_IDS, TOKEN_MASK)


def apply(model, variables, token_ids=TOKEN_IDS, token_mask=TOKEN_MASK, train=False, **kwargs):
    return jax.jit(partial(model.apply, train=train))(variables, token_ids, token_mask, **kwargs)


def scrambled(variables, seed: int = 1):
    """Noise on every parameter, so that nothing starts at zero or one."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda x: x + jnp.asarray(rng.normal(size=x.shape, scale=0.3), x.dtype), variables)


@pytest.fixture(scope="module")
def trained():
    """A model and parameters away from their starting point."""
    model = encoder()
    return model, scrambled(init(model))


def layer_norm(x, parameters, eps):
    x = (x - x.mean(axis=-1, keepdims=True)) / np.sqrt(x.var(axis=-1, keepdims=True) + eps)
    return x * np.asarray(parameters["scale"]) + np.asarray(parameters["bias"])


def test_without_prompts_it_is_flax_bert_model():
    reference = FlaxBertModel(BERT, add_pooling_layer=False, _do_init=False)
    model = encoder(num_prompts=0)
    variables = scrambled(init(model))

    def contextualize(model):
        E = model.bert_module.embeddings.word_embeddings(TOKEN_IDS)
        return model.contextualize(E, TOKEN_MASK)[0]

    H = jax.jit(partial(model.apply, method=contextualize))(variables)
    expected = jax.jit(lambda bert: reference(TOKEN_IDS, TOKEN_MASK, params=bert).last_hidden_state)(
        variables["params"]["bert"]
    )
    np.testing.assert_allclose(H, expected, atol=1e-5)
    assert np.abs(expected).max() > 0.5


@pytest.fixture(scope="module")
def embed(trained):
    model, variables = trained
    return jax.jit(lambda token_ids: model.apply(variables, token_ids, TOKEN_MASK)[0])


@given(st.lists(st.integers(0, 49), min_size=18, max_size=18))
def test_padding_does_not_matter(embed, ids):
    other = np.where(TOKEN_MASK, TOKEN_IDS, np.reshape(ids, (3, 6))).astype(np.int32)
    np.testing.assert_array_equal(embed(other), embed(TOKEN_IDS))


def test_more_padding_does_not_matter(trained):
    model, variables = trained
    short, _ = apply(model, variables, TOKEN_IDS[:, :4], TOKEN_MASK[:, :4])
    long, _ = apply(model, variables)
    np.testing.assert_allclose(long[1:], short[1:], atol=1e-5)
    assert np.abs(long[0] - short[0]).max() > 1e-3


def test_prompts_are_never_masked(trained):
    """They reach the embedding of a report with no real token at all, by gradient."""
    model, variables = trained
    empty = np.zeros_like(TOKEN_MASK)

    def first_value(prompts):
        params = variables["params"] | {"soft_prompts": variables["params"]["soft_prompts"] | {"prompts": prompts}}
        return model.apply({"params": params}, TOKEN_IDS, empty)[0][0, 0]

    gradient = jax.jit(jax.grad(first_value))(variables["params"]["soft_prompts"]["prompts"])
    assert (np.abs(gradient).max(axis=-1) > 1e-6).all()


def test_eq_2_and_3_scaled_prompts(trained):
    """α(x) = P softmax((W_q mean(E)) (W_k P_i)ᵀ / √d), one report at a time; weights average 1."""
    _, variables = trained
    parameters = jax.tree.map(np.asarray, variables["params"]["soft_prompts"])
    E = np.random.default_rng(2).normal(size=(3, 6, 16)).astype(np.float32)
    prompts, alpha = SoftPrompts(4).apply({"params": parameters}, jnp.asarray(E), TOKEN_MASK)
    P = parameters["prompts"]
    for i, length in enumerate([6, 4, 1]):
        query = E[i, :length].mean(axis=0) @ parameters["W_q"]["kernel"]
        scores = np.array([query @ (p @ parameters["W_k"]["kernel"]) for p in P]) / np.sqrt(16)
        expected = 4 * np.exp(scores) / np.exp(scores).sum()
        np.testing.assert_allclose(alpha[i], expected, rtol=1e-4)
        np.testing.assert_allclose(prompts[i], expected[:, None] * P, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(np.mean(alpha, axis=-1), 1, rtol=1e-5)
    assert np.std(alpha) > 0.05


def test_training_starts_as_plain_prompt_tuning():
    scaled, plain = encoder(), encoder(scaled_prompts=False)
    variables = init(scaled)
    z, out = apply(scaled, variables)
    np.testing.assert_array_equal(out["prompt_scale"], np.ones((3, 4)))

    prompts = variables["params"]["soft_prompts"]
    plain_params = variables["params"] | {"soft_prompts": {"prompts": prompts["prompts"]}}
    plain_z, plain_out = apply(plain, {"params": plain_params})
    np.testing.assert_allclose(plain_z, z, atol=1e-6)
    assert plain_out == {}


def test_eq_5_masked_mean():
    H = np.random.default_rng(3).normal(size=(3, 6, 16)).astype(np.float32)
    h = masked_mean(jnp.asarray(H), TOKEN_MASK)
    np.testing.assert_allclose(h, [H[0].mean(axis=0), H[1, :4].mean(axis=0), H[2, 0]], rtol=1e-5, atol=1e-6)
    assert not masked_mean(jnp.asarray(H), np.zeros_like(TOKEN_MASK)).any()


def test_attention_pooling_starts_at_the_mean_and_leaves_padding_out(key):
    H = jax.random.normal(key, (3, 6, 16))
    module = AttentionPooling()
    h, variables = module.init_with_output(key, H, TOKEN_MASK)
    np.testing.assert_allclose(h, masked_mean(H, TOKEN_MASK), rtol=1e-4, atol=1e-6)

    variables = scrambled(variables)
    u, x = np.asarray(variables["params"]["u"]["kernel"])[:, 0], np.asarray(H)
    for i, length in enumerate([6, 4, 1]):
        weight = np.exp(x[i, :length] @ u / np.sqrt(16))
        expected = weight / weight.sum() @ x[i, :length]
        np.testing.assert_allclose(module.apply(variables, H, TOKEN_MASK)[i], expected, rtol=1e-4, atol=1e-5)


def test_eq_6_and_7_projection_layer(key):
    h = np.random.default_rng(4).normal(size=(3, 16)).astype(np.float32)
    module = ProjectionLayer()
    variables = scrambled(module.init(key, jnp.asarray(h)))
    dense, norm = variables["params"]["dense"], variables["params"]["norm"]
    a = h @ np.asarray(dense["kernel"]) + np.asarray(dense["bias"])
    gelu = a * (1 + np.vectorize(math.erf)(a / np.sqrt(2))) / 2
    expected = layer_norm(gelu + h, norm, 1e-5)
    np.testing.assert_allclose(module.apply(variables, jnp.asarray(h)), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("layers", [0, 1, 3])
def test_k_projection_layers(layers):
    model = encoder(projection_layers=layers)
    variables = jax.eval_shape(lambda: model.init(jax.random.key(0), TOKEN_IDS, TOKEN_MASK))
    names = [name for name in variables["params"] if name.startswith("projections")]
    assert len(names) == layers


@pytest.mark.parametrize(("prompts", "fits"), [(6, True), (7, False)])
def test_more_prompts_and_tokens_than_positions_are_refused(prompts, fits):
    """The look-up alone would clamp, and repeat the last position in silence."""
    model = encoder(num_prompts=prompts)
    init = lambda: model.init(jax.random.key(0), TOKEN_IDS, TOKEN_MASK)  # noqa: E731
    if fits:
        jax.eval_shape(init)
    else:
        with pytest.raises(ValueError, match=r"7 prompts and 6 tokens pass BERT's 12 positions"):
            jax.eval_shape(init)


def spread(model, variables, train: bool) -> float:
    """How far two dropout keys move the embeddings."""
    a, b = (apply(model, variables, train=train, rngs={"dropout": jax.random.key(i)})[0] for i in (1, 2))
    return float(np.abs(a - b).max())


def test_dropout_acts_in_training_only_and_asks_for_a_key(trained):
    model, variables = trained
    assert spread(model, variables, train=False) == 0
    assert spread(model, variables, train=True) > 1e-3
    with pytest.raises(flax.errors.InvalidRngError, match='needs PRNG for "dropout"'):
        apply(model, variables, train=True)


@pytest.mark.parametrize("bert_dropout", [False, True])
def test_berts_own_dropout_is_off_where_bert_is_frozen(trained, bert_dropout):
    _, variables = trained
    moved = spread(encoder(dropout=0.0, bert_dropout=bert_dropout), variables, train=True)
    assert moved > 1e-3 if bert_dropout else moved == 0


def test_bfloat16_stays_close_and_keeps_parameters_in_float32(trained):
    model, variables = trained
    z, _ = apply(encoder(dtype=jnp.bfloat16), variables)
    assert z.dtype == jnp.bfloat16
    expected, _ = apply(model, variables)
    np.testing.assert_allclose(z.astype(jnp.float32), expected, atol=0.1 * np.abs(expected).max())
    fresh = jax.eval_shape(lambda: encoder(dtype=jnp.bfloat16).init(jax.random.key(0), TOKEN_IDS, TOKEN_MASK))
    assert {x.dtype for x in jax.tree.leaves(fresh)} == {jnp.dtype("float32")}

"""Eq. (8)-(12) against NumPy, one formula a test, and the switches that take them out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cxr_jax.models.densenet import DenseNet
from cxr_jax.models.vision import (
    AdaptivePooling,
    ChannelAttention,
    MultiScaleConv,
    SpatialAttention,
    VisionEncoder,
)

OFF = {"multi_scale": False, "channel_attention": False, "spatial_attention": False, "pooling": "mean"}


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def pad(x, border: int):
    return np.pad(x, ((0, 0), (border, border), (border, border), (0, 0)))


def encoder(**changes) -> VisionEncoder:
    return VisionEncoder(
        **({"block_sizes": (1, 1), "growth_rate": 4, "multi_scale_width": 4, "embed_dim": 6} | changes)
    )


@pytest.fixture
def feature_map(key):
    return jax.random.normal(key, (2, 4, 5, 8))


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (2, 32, 32, 1), np.uint8)


def init_and_apply(model, image):
    return jax.jit(model.init_with_output)(jax.random.key(0), image)


def backbone(variables, image):
    own = {name: tree["densenet"] for name, tree in variables.items()}
    return jax.jit(DenseNet((1, 1), 4).apply)(own, jnp.asarray(image / 255, jnp.float32))


def random_init(module, *inputs):
    """Parameters that are nowhere zero, so that a formula with a missing bias fails."""
    shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), *inputs))
    rng = np.random.default_rng(1)
    return jax.tree.map(lambda x: rng.normal(size=x.shape, scale=0.3).astype(np.float32), shapes)


def test_eq_8_and_9_depthwise_and_pointwise_convolutions(feature_map):
    module = MultiScaleConv(width=3)
    variables = random_init(module, feature_map)
    scales = []
    for size in (3, 5):
        depthwise = variables["params"][f"depthwise{size}"]
        pointwise = variables["params"][f"pointwise{size}"]
        x, y = pad(feature_map, size // 2), np.zeros(feature_map.shape)
        for i in range(size):
            for j in range(size):
                y += x[:, i : i + 4, j : j + 5] * depthwise["kernel"][i, j, 0]
        scales.append((y + depthwise["bias"]) @ pointwise["kernel"][0, 0] + pointwise["bias"])
    np.testing.assert_allclose(module.apply(variables, feature_map), np.concatenate(scales, -1), rtol=1e-4, atol=1e-5)


def test_eq_10_channel_attention(feature_map):
    module = ChannelAttention()
    variables = random_init(module, feature_map)
    W1, W2 = variables["params"]["W1"], variables["params"]["W2"]
    assert W1["kernel"].shape == (8, 2)
    hidden = np.maximum(np.asarray(feature_map).mean(axis=(1, 2)) @ W1["kernel"] + W1["bias"], 0)
    s = sigmoid(hidden @ W2["kernel"] + W2["bias"])
    np.testing.assert_allclose(module.apply(variables, feature_map)[:, 0, 0], s, rtol=1e-4)


def test_eq_11_spatial_attention(feature_map):
    module = SpatialAttention()
    variables = random_init(module, feature_map)
    conv = variables["params"]["conv"]
    x = np.asarray(feature_map)
    pooled = pad(np.stack([x.mean(axis=-1), x.max(axis=-1)], axis=-1), 3)
    A_s = np.zeros((2, 4, 5))
    for i in range(7):
        for j in range(7):
            A_s += pooled[:, i : i + 4, j : j + 5] @ conv["kernel"][i, j, :, 0]
    np.testing.assert_allclose(module.apply(variables, feature_map)[..., 0], sigmoid(A_s + conv["bias"]), rtol=1e-4)


def test_eq_12_adaptive_pooling(feature_map):
    v, w = AdaptivePooling().apply({"params": {"theta": jnp.float32(-1.5)}}, feature_map)
    np.testing.assert_allclose(w, sigmoid(-1.5), rtol=1e-5)
    x = np.asarray(feature_map)
    expected = sigmoid(-1.5) * x.mean(axis=(1, 2)) + (1 - sigmoid(-1.5)) * x.max(axis=(1, 2))
    np.testing.assert_allclose(v, expected, rtol=1e-4, atol=1e-6)


def test_gated_pooling_chooses_a_weight_for_each_image(feature_map):
    module = AdaptivePooling(gated=True)
    variables = random_init(module, feature_map)
    v, w = module.apply(variables, feature_map)
    x, gate = np.asarray(feature_map), variables["params"]["gate"]
    expected = sigmoid(x.mean(axis=(1, 2)) @ gate["kernel"] + gate["bias"])
    assert w.shape == (2, 1)
    assert w[0, 0] != w[1, 0]
    np.testing.assert_allclose(w, expected, rtol=1e-4)
    np.testing.assert_allclose(v, w * x.mean(axis=(1, 2)) + (1 - w) * x.max(axis=(1, 2)), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("gated", [False, True])
def test_pooling_starts_half_and_half(key, feature_map, gated):
    (_, w), _ = AdaptivePooling(gated).init_with_output(key, feature_map)
    np.testing.assert_array_equal(w, np.full(w.shape, 0.5))


def test_the_parts_make_the_embedding(image):
    """F_att = F_m ⊙ s ⊙ A_s, both attentions being of F_m, then pooling and the head."""
    model = encoder()
    (z, out), variables = init_and_apply(model, image)
    params = variables["params"]
    x = backbone(variables, image)
    F_m = MultiScaleConv(4).apply({"params": params["multi_scale"]}, x)
    s = ChannelAttention().apply({"params": params["channel_attention"]}, F_m)
    A_s = SpatialAttention().apply({"params": params["spatial_attention"]}, F_m)
    v, w = AdaptivePooling().apply({"params": params["adaptive_pooling"]}, F_m * s * A_s)
    np.testing.assert_allclose(z, v @ params["head"]["kernel"], rtol=1e-4, atol=1e-6)
    expected = {"channel_attention": s, "spatial_attention": A_s, "pooling_weight": w}
    assert out.keys() == expected.keys()
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4), out, expected)


@pytest.mark.parametrize("pooling", ["adaptive", "gated", "mean"])
def test_what_the_places_give_sums_to_the_embedding(image, pooling):
    model = encoder(pooling=pooling)
    (z, out), variables = init_and_apply(model, image)
    z_with, out_with = model.apply(variables, image, places=True)
    places = out_with.pop("places")
    assert places.ndim == 4
    assert places.shape[1] > 1
    np.testing.assert_allclose(places.sum(axis=(1, 2)), z, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(z_with, z, rtol=1e-5)
    assert out_with.keys() == out.keys()
    assert np.ptp(places, axis=(1, 2)).max() > 0


def test_all_parts_off_is_densenet_mean_and_a_linear_head(image):
    model = encoder(**OFF)
    (z, out), variables = init_and_apply(model, image)
    assert out == {}
    assert variables["params"].keys() == {"densenet", "head"}
    x = backbone(variables, image)
    np.testing.assert_allclose(z, x.mean(axis=(1, 2)) @ variables["params"]["head"]["kernel"], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("switch", "parameters", "intermediate"),
    [
        ({"multi_scale": False}, "multi_scale", None),
        ({"channel_attention": False}, "channel_attention", "channel_attention"),
        ({"spatial_attention": False}, "spatial_attention", "spatial_attention"),
        ({"pooling": "mean"}, "adaptive_pooling", "pooling_weight"),
    ],
)
def test_each_switch_takes_out_its_part_alone(image, switch, parameters, intermediate):
    def trees(model):
        (_, out), variables = jax.eval_shape(lambda: model.init_with_output(jax.random.key(0), image))
        return variables["params"].keys(), out.keys()

    (on, on_out), (off, off_out) = trees(encoder()), trees(encoder(**switch))
    assert on - off == {parameters}
    assert on_out - off_out == ({intermediate} if intermediate else set())


@pytest.mark.parametrize("changes", [{}, {"pooling": "gated"}, OFF], ids=["paper", "gated", "plain"])
def test_one_image_says_nothing_about_another(image, changes):
    """Out of training an image's embedding does not depend on its batch."""
    model = encoder(**changes)
    (z, _), variables = init_and_apply(model, image)
    np.testing.assert_allclose(jax.jit(model.apply)(variables, image[:1])[0], z[:1], rtol=1e-4, atol=1e-6)
    assert np.abs(z[0] - z[1]).max() > 1e-3

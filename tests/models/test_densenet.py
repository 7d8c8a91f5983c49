"""DenseNet121 as torchvision has it: size, shapes, padding, BatchNorm. Its numbers are held by test_parity."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cxr_jax.models.densenet import DenseNet, GreyConv, max_pool_3x3


def shapes(model: DenseNet, size: int):
    image = jax.ShapeDtypeStruct((2, size, size, 1), jnp.float32)
    return jax.eval_shape(lambda x: model.init_with_output(jax.random.key(0), x), image)


@pytest.mark.parametrize(("size", "side"), [(312, 9), (224, 7)])
def test_densenet121_has_torchvisions_size_and_map(size, side):
    features, variables = shapes(DenseNet(), size)
    assert features.shape == (2, side, side, 1024)
    assert sum(x.size for x in jax.tree.leaves(variables["params"])) == 6_953_856


@pytest.mark.parametrize(
    ("block_sizes", "growth_rate", "channels"),
    [((1,), 4, 12), ((2, 2), 8, 32), ((6, 12, 32, 32), 32, 1664)],
    ids=["one block", "two blocks", "DenseNet169"],
)
def test_variants(block_sizes, growth_rate, channels):
    features, _ = shapes(DenseNet(block_sizes, growth_rate), 64)
    assert features.shape[1:] == (32 >> len(block_sizes), 32 >> len(block_sizes), channels)


def test_stem_is_the_colour_convolution_of_three_normalised_channels(key):
    """Borders included: there the kernel reaches into zeros, which are the mean's grey and not black."""
    mean, std = np.float32([0.5, 0.4, 0.3]), np.float32([0.2, 0.25, 0.5])
    grey = jax.random.uniform(key, (2, 10, 12, 1))
    stem, variables = GreyConv(5, tuple(mean.tolist()), tuple(std.tolist())).init_with_output(key, grey)
    padded = np.pad((np.asarray(grey) - mean) / std, ((0, 0), (3, 3), (3, 3), (0, 0)))
    kernel = np.asarray(variables["params"]["kernel"])
    expected = [
        [np.einsum("bhwc,hwcf->bf", padded[:, 2 * i : 2 * i + 7, 2 * j : 2 * j + 7], kernel) for j in range(6)]
        for i in range(5)
    ]
    np.testing.assert_allclose(stem, np.transpose(expected, (2, 0, 1, 3)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(2, 8, 8, 3), (1, 7, 10, 2), (1, 1, 1, 1)])
def test_max_pool_and_its_gradient_are_flaxs(key, shape):
    """Windows are centred on 2i. SAME would centre them on 2i + 1 where the side is even."""

    def reference(x):
        return nn.max_pool(x, (3, 3), strides=(2, 2), padding=((1, 1), (1, 1)))

    x = jax.random.normal(key, shape)
    np.testing.assert_array_equal(max_pool_3x3(x), reference(x))
    ours, theirs = (jax.grad(lambda x, f=f: jnp.sum(jnp.sin(f(x))))(x) for f in (max_pool_3x3, reference))
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_batch_norm_moves_a_tenth_of_the_way_as_torchs(key):
    model = DenseNet((1,), 4)
    image = 3 + jax.random.normal(key, (4, 16, 16, 1))
    variables = jax.jit(model.init)(key, image)
    apply = partial(model.apply, train=True, mutable=["batch_stats", "intermediates"], capture_intermediates=True)
    _, state = jax.jit(apply)(variables, image)
    stem = np.asarray(state["intermediates"]["conv0"]["__call__"][0])
    statistics = state["batch_stats"]["norm0"]
    np.testing.assert_allclose(statistics["mean"], 0.9 * 0 + 0.1 * stem.mean(axis=(0, 1, 2)), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(statistics["var"], 0.9 * 1 + 0.1 * stem.var(axis=(0, 1, 2)), rtol=1e-4)


def test_batch_statistics_are_used_in_training_only(key):
    model = DenseNet((1,), 4)
    image = jax.random.normal(key, (2, 16, 16, 1))
    variables = jax.jit(model.init)(key, image)
    apply = jax.jit(partial(model.apply, mutable=["batch_stats"]), static_argnums=2)
    beside_another, alone = (lambda train, x=x: apply(variables, x, train)[0][0] for x in (image, image[:1]))
    np.testing.assert_allclose(beside_another(False), alone(False), atol=1e-5)
    assert np.abs(beside_another(True) - alone(True)).max() > 1e-2


def test_bfloat16_keeps_parameters_and_statistics_in_float32(key):
    model = DenseNet((1,), 4, dtype=jnp.bfloat16)
    image = jax.random.normal(key, (2, 16, 16, 1))
    variables = jax.jit(model.init)(key, image)
    features, state = jax.jit(partial(model.apply, train=True, mutable=["batch_stats"]))(variables, image)
    assert features.dtype == jnp.bfloat16
    assert {x.dtype for x in jax.tree.leaves((variables, state))} == {jnp.dtype("float32")}

"""DenseNet121 as torchvision has it: size, shapes, padding, BatchNorm. Its numbers are held by test_parity."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cxr_jax.models.densenet import DenseNet


def shapes(model: DenseNet, size: int):
    image = jax.ShapeDtypeStruct((2, size, size, 3), jnp.float32)
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


def test_stem_pads_both_sides(key):
    """Window i of the stem is centred on pixel 2i, that of the max pooling on 2i of the stem's output.

    XLA's SAME would put them at 2i + 1: 312 px would still give 9 × 9, but every imported weight would sit one off.
    """
    model = DenseNet((1,), 1)
    image = jax.random.uniform(key, (1, 12, 12, 3))
    variables = jax.jit(model.init)(key, image)
    copy_red = jnp.zeros((7, 7, 3, 2)).at[3, 3, 0, 0].set(1)
    variables["params"]["conv0"]["kernel"] = copy_red
    _, state = model.apply(variables, image, capture_intermediates=True)
    captured = state["intermediates"]

    stem = np.asarray(captured["conv0"]["__call__"][0])[0, :, :, 0]
    np.testing.assert_allclose(stem, image[0, ::2, ::2, 0], atol=1e-6)

    pooled = np.asarray(captured["denseblock1_denselayer1"]["__call__"][0])[0, :, :, 0]
    window = lambda i: slice(max(2 * i - 1, 0), 2 * i + 2)  # noqa: E731
    expected = [[stem[window(i), window(j)].max() for j in range(3)] for i in range(3)]
    np.testing.assert_allclose(pooled, expected, rtol=1e-4)


def test_batch_norm_moves_a_tenth_of_the_way_as_torchs(key):
    model = DenseNet((1,), 4)
    image = 3 + jax.random.normal(key, (4, 16, 16, 3))
    variables = jax.jit(model.init)(key, image)
    apply = partial(model.apply, train=True, mutable=["batch_stats", "intermediates"], capture_intermediates=True)
    _, state = jax.jit(apply)(variables, image)
    stem = np.asarray(state["intermediates"]["conv0"]["__call__"][0])
    statistics = state["batch_stats"]["norm0"]
    np.testing.assert_allclose(statistics["mean"], 0.9 * 0 + 0.1 * stem.mean(axis=(0, 1, 2)), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(statistics["var"], 0.9 * 1 + 0.1 * stem.var(axis=(0, 1, 2)), rtol=1e-4)


def test_batch_statistics_are_used_in_training_only(key):
    model = DenseNet((1,), 4)
    image = jax.random.normal(key, (2, 16, 16, 3))
    variables = jax.jit(model.init)(key, image)
    apply = jax.jit(partial(model.apply, mutable=["batch_stats"]), static_argnums=2)
    beside_another, alone = (lambda train, x=x: apply(variables, x, train)[0][0] for x in (image, image[:1]))
    np.testing.assert_allclose(beside_another(False), alone(False), atol=1e-5)
    assert np.abs(beside_another(True) - alone(True)).max() > 1e-2


def test_bfloat16_keeps_parameters_and_statistics_in_float32(key):
    model = DenseNet((1,), 4, dtype=jnp.bfloat16)
    image = jax.random.normal(key, (2, 16, 16, 3))
    variables = jax.jit(model.init)(key, image)
    features, state = jax.jit(partial(model.apply, train=True, mutable=["batch_stats"]))(variables, image)
    assert features.dtype == jnp.bfloat16
    assert {x.dtype for x in jax.tree.leaves((variables, state))} == {jnp.dtype("float32")}

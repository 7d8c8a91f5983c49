"""DenseNet's dense block against plain Flax: values, gradients, statistics, devices; and what it costs."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.typing import DTypeLike

from cxr_jax.models import dense_block
from cxr_jax.models.densenet import DenseNet, GreyConv, he_normal, max_pool_3x3
from cxr_jax.models.vision import VisionEncoder

SIZES = {"block_sizes": (3, 2), "growth_rate": 4}


class PlainDenseNet(nn.Module):
    """DenseNet as its paper's figures have it: Flax's own modules, and a concatenation a layer."""

    block_sizes: tuple[int, ...]
    growth_rate: int
    frozen_norm: bool = False
    axis_name: str | None = None
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, grey, train=False):
        frozen, growth, conv = (
            self.frozen_norm or not train,
            self.growth_rate,
            partial(nn.Conv, use_bias=False, kernel_init=he_normal),
        )

        def norm_relu(x, name, scope=None):
            norm = nn.BatchNorm(
                frozen, momentum=0.9, epsilon=1e-5, axis_name=self.axis_name, dtype=self.dtype, name=name, parent=scope
            )
            return nn.relu(norm(x))

        class PlainLayer(nn.Module):
            dtype: DTypeLike

            @nn.compact
            def __call__(self, x):
                y = conv(4 * growth, (1, 1), dtype=self.dtype, name="conv1")(norm_relu(x, "norm1", self))
                y = conv(growth, (3, 3), padding=1, dtype=self.dtype, name="conv2")(norm_relu(y, "norm2", self))
                return jnp.concatenate([x, y], axis=-1)

        class PlainTransition(nn.Module):
            dtype: DTypeLike

            @nn.compact
            def __call__(self, x):
                x = conv(x.shape[-1] // 2, (1, 1), dtype=self.dtype, name="conv")(norm_relu(x, "norm", self))
                return nn.avg_pool(x, (2, 2), strides=(2, 2))

        stem = GreyConv(2 * growth, DenseNet.mean, DenseNet.std, self.dtype, name="conv0")
        x = max_pool_3x3(norm_relu(stem(grey), "norm0", self))
        for block, depth in enumerate(self.block_sizes, start=1):
            for layer in range(1, depth + 1):
                x = PlainLayer(self.dtype, name=f"denseblock{block}_denselayer{layer}")(x)
            if block < len(self.block_sizes):
                x = PlainTransition(self.dtype, name=f"transition{block}")(x)
        return norm_relu(x, "norm5", self)


def problem(count: int = 3, dtype=np.float32):
    """Images, and variables that are nowhere at their initial values."""
    rng = np.random.default_rng(0)
    image = rng.uniform(size=(count, 36, 36, 1)).astype(dtype)
    shapes = jax.eval_shape(lambda: PlainDenseNet(**SIZES).init(jax.random.key(0), jnp.zeros((1, 36, 36, 1))))

    def draw(path, x):
        spread = rng.normal(size=x.shape)
        name = path[-1].key
        values = spread * (2 / np.prod(x.shape[:-1])) ** 0.5 if name == "kernel" else 0.3 * spread
        return (values + (name in ("scale", "var")) if name != "var" else np.exp(values)).astype(dtype)

    return image, jax.tree_util.tree_map_with_path(draw, shapes)


def differentiated(model, variables, image, train=True):
    """The loss's gradients, the map and what became of the statistics. The loss is of no symmetry."""

    def loss(params, image):
        y, updated = model.apply({**variables, "params": params}, image, train, mutable=["batch_stats"])
        weights = jnp.cos(jnp.arange(y.size, dtype=y.dtype)).reshape(y.shape)
        total = jnp.sum(jnp.sin(y.astype(weights.dtype)) * weights)
        return total.astype(jnp.promote_types(y.dtype, jnp.float32)), (y, updated)

    (d_params, d_image), (y, updated) = jax.grad(loss, (0, 1), has_aux=True)(variables["params"], image)
    return {"params": d_params, "image": d_image, "map": y, "statistics": updated}


def distances(found, expected, least: float = 0.0):
    """Of each leaf, over its norm, or over a share `least` of the tree's."""

    def norm(x):
        return float(np.linalg.norm(np.asarray(x, np.float64)))

    whole = float(optax.tree.norm(jax.tree.map(lambda x: np.asarray(x, np.float64), expected)))
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    assert whole > 0
    pairs = zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True)
    return [norm(np.asarray(a, np.float64) - b) / max(norm(b), least * whole) for a, b in pairs]


def run(model, variables, image, train=True):
    return jax.device_get(jax.jit(partial(differentiated, model, train=train))(variables, image))


def test_the_variables_are_plain_flaxs_to_the_bit(key):
    image = jnp.zeros((1, 36, 36, 1))
    ours, plain = (jax.jit(model(**SIZES).init)(key, image) for model in (DenseNet, PlainDenseNet))
    assert jax.tree.structure(ours) == jax.tree.structure(plain)
    jax.tree.map(np.testing.assert_array_equal, ours, plain)


@pytest.mark.parametrize("remat", ["none", "layers", "blocks"])
@pytest.mark.parametrize("changes", [{}, {"frozen_norm": True}], ids=["trained", "frozen"])
def test_gradients_are_plain_flaxs_in_float64(changes, remat):
    """There rounding hides nothing."""
    with jax.enable_x64(True):
        image, variables = problem(dtype=np.float64)
        expected = run(PlainDenseNet(**SIZES, **changes, dtype=jnp.float64), variables, image)
        found = run(DenseNet(**SIZES, **changes, dtype=jnp.float64, remat=remat), variables, image)
    for name, tree in expected.items():
        assert max(distances(found[name], tree)) < 1e-9, name


@pytest.mark.parametrize("train", [True, False])
def test_gradients_are_plain_flaxs_in_float32(train):
    image, variables = problem()
    expected = run(PlainDenseNet(**SIZES), variables, image, train)
    found = run(DenseNet(**SIZES), variables, image, train)
    for name, tree in expected.items():
        assert max(distances(found[name], tree, least=1e-2)) < 1e-5, name


@pytest.mark.slow
def test_in_bfloat16_the_gradient_is_off_by_no_more_than_plain_flaxs():
    image, variables = problem()
    exact = run(PlainDenseNet(**SIZES), variables, image)
    plain = run(PlainDenseNet(**SIZES, dtype=jnp.bfloat16), variables, image)
    found = run(DenseNet(**SIZES, dtype=jnp.bfloat16), variables, image)
    for name, tree in exact.items():
        ours, theirs = (np.linalg.norm(distances(other[name], tree, least=1e-2)) for other in (found, plain))
        assert ours < 1.25 * theirs, (name, ours, theirs)


@pytest.mark.slow
def test_four_devices_have_plain_flaxs_gradients_each():
    """Before they are averaged: what reaches another device's images through the moments must be there."""
    image, variables = problem(8)
    shards = image.reshape(4, 2, *image.shape[1:])

    def each(model):
        function = jax.pmap(partial(differentiated, model), axis_name="devices", in_axes=(None, 0))
        return jax.device_get(function(variables, shards))

    expected, found = (each(model(**SIZES, axis_name="devices")) for model in (PlainDenseNet, DenseNet))
    for name, tree in expected.items():
        assert max(distances(found[name], tree, least=1e-2)) < 1e-5, name
    moved = run(DenseNet(**SIZES), variables, image)["statistics"]
    assert max(distances(jax.tree.map(lambda x: x[0], found["statistics"]), moved)) < 1e-5


def test_a_large_maps_kernel_gradient_is_the_same(key, monkeypatch):
    monkeypatch.setattr(dense_block, "LARGE_MAP", 1)
    image, variables = problem()
    found = run(DenseNet(**SIZES), variables, image)
    monkeypatch.setattr(dense_block, "LARGE_MAP", 10**9)
    assert max(distances(found["params"], run(DenseNet(**SIZES), variables, image)["params"], least=1e-2)) < 1e-5


def test_a_gradient_that_is_no_number_stays_none():
    """As in plain Flax: the step that finds it is stopped or skipped by its norm."""
    image, variables = problem()
    image[0, 0, 0, 0] = np.nan
    found = run(DenseNet(**SIZES), variables, image)
    assert not np.isfinite(float(optax.tree.norm(found["params"])))


@pytest.mark.slow
def test_what_the_image_towers_gradient_costs():
    """By XLA's own analysis, at batch 4 and 312 px. Layer by layer it was 23.8 GB, 134 GFLOP and 1,426 MiB."""
    model = VisionEncoder()
    image = jax.ShapeDtypeStruct((4, 312, 312, 1), jnp.uint8)
    variables = jax.eval_shape(lambda: model.init(jax.random.key(0), jnp.zeros(image.shape, image.dtype)))

    def loss(params, batch_stats, image):
        variables = {"params": params, "batch_stats": batch_stats}
        (z, _), updated = model.apply(variables, image, train=True, mutable=["batch_stats"])
        return jnp.sum(jnp.sin(z)), updated

    jax.config.update("jax_disable_most_optimizations", False)
    try:
        gradient = jax.jit(jax.grad(loss, has_aux=True))
        compiled = gradient.lower(variables["params"], variables["batch_stats"], image).compile()
    finally:
        jax.config.update("jax_disable_most_optimizations", True)
    cost, memory = compiled.cost_analysis(), compiled.memory_analysis()
    assert cost["bytes accessed"] < 13.5e9
    assert cost["flops"] < 131e9
    assert memory.temp_size_in_bytes < 450 * 2**20

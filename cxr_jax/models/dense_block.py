"""DenseNet's dense block (Huang et al. 2017) as one function with a gradient of its own.

The numbers of the same layers written one by one, at half the memory traffic, which is what bounds their speed:

- A channel's mean and variance are computed once, where the channel is, and not by every later layer that reads it.
- All layers write into one buffer instead of concatenating anew.
- For the backward pass the buffer and the 1×1 convolutions' outputs are kept; BN and ReLU are computed again.
- The backward pass walks the layers in reverse, with one buffer of gradients. What reaches a channel's mean and
  variance is summed over its readers, and passed on once, when the channel's own gradient is complete.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from cxr_jax.types import FeatureMap

EPSILON = 1e-5  # torch's, added to the variance
# Places of a map from which on XLA's gradient of a 3×3 kernel is the slower one on a CPU.
LARGE_MAP = 2048


class Moments(NamedTuple):
    """Mean and (biased) variance of each channel, in float32; or the loss's gradients for them."""

    mean: Float[Array, " C"]
    var: Float[Array, " C"]

    def of(self, first: int, last: int) -> "Moments":
        """Those of the channels [first, last)."""
        return Moments(self.mean[first:last], self.var[first:last])


class Affine(NamedTuple):
    """A BatchNorm's scale and bias, or the loss's gradients for them."""

    scale: Float[Array, " C"]
    bias: Float[Array, " C"]


class Layer(NamedTuple):
    """A dense layer's parameters, or the loss's gradients for them: BN-ReLU-1×1-BN-ReLU-3×3, C to K to G channels."""

    norm1: Affine
    conv1: Float[Array, "1 1 C K"]
    norm2: Affine
    conv2: Float[Array, "3 3 K G"]


def moments(x: FeatureMap, axis_name: str | None = None) -> Moments:
    """Over batch and places, and over the devices of `axis_name`, in float32."""
    x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    mean, of_square = x.mean(axis=(0, 1, 2)), jnp.square(x).mean(axis=(0, 1, 2))
    if axis_name is not None:
        mean, of_square = lax.pmean(jnp.stack([mean, of_square]), axis_name)
    return Moments(mean, jnp.maximum(of_square - jnp.square(mean), 0))


def norm_relu(x: FeatureMap, by: Moments, norm: Affine) -> FeatureMap:
    """ReLU((x − mean) / √(var + ε) · scale + bias) in float32 and `flax.linen.BatchNorm`'s order, then of x's type."""
    factor = norm.scale * lax.rsqrt(by.var + EPSILON)
    return jax.nn.relu((x - _row(by.mean)) * _row(factor) + _row(norm.bias)).astype(x.dtype)


def dense_block(
    x: FeatureMap,
    layers: Sequence[Layer],
    running: Sequence[tuple[Moments, Moments]] | None = None,
    axis_name: str | None = None,
    remat: str = "none",
) -> tuple[Float[Array, "B H W D"], Moments | None, tuple[Moments, ...]]:
    """(B, H, W, C) → (B, H, W, C + layers · G): x, and behind it each layer's G channels, computed in x's type.

    Args:
      x: what the first layer reads.
      layers: their parameters, in float32.
      running: what each layer's two BatchNorms normalise by; None for the batch's own moments.
      axis_name: the device axis over which the batch's moments are averaged.
      remat: "layers" computes the 1×1 convolutions again in the backward pass, "blocks" the whole block, of which
        nothing but x is kept. (XLA:CPU undoes the latter.)

    Returns:
      The map; the batch's moments of its channels, None where `running` is given; and those of each layer's K channels
      between its convolutions. The latter have no gradient: they are for running averages.
    """
    block = partial(_dense_block, axis_name, remat == "layers")
    return (jax.checkpoint(block) if remat == "blocks" else block)(x, tuple(layers), running)


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _dense_block(axis_name: str | None, recompute: bool, x: Any, layers: Any, running: Any) -> Any:
    return _forward(axis_name, recompute, x, layers, running)[0]


def _forward(axis_name: str | None, recompute: bool, x: Any, layers: Any, running: Any) -> Any:
    """`dense_block`'s result, and what `_backward` needs of it."""
    first, growth = x.shape[-1], layers[0].conv2.shape[-1]
    buffer = jnp.pad(x, ((0, 0), (0, 0), (0, 0), (0, len(layers) * growth)))
    batch: Any = None if running else moments(x, axis_name)
    used, bottlenecks = [], []
    for number, layer in enumerate(layers):
        channels = first + number * growth
        by1 = running[number][0] if running else batch
        bottleneck = _conv1(norm_relu(buffer[..., :channels], by1, layer.norm1), layer.conv1)
        by2 = running[number][1] if running else moments(bottleneck, axis_name)
        y = _conv2(norm_relu(bottleneck, by2, layer.norm2), layer.conv2)
        buffer = lax.dynamic_update_slice_in_dim(buffer, y, channels, axis=3)
        if not running:
            batch = jax.tree.map(lambda *parts: jnp.concatenate(parts), batch, moments(y, axis_name))
        used.append((by1, by2))
        bottlenecks.append(None if recompute else bottleneck)
    return (buffer, batch, tuple(by2 for _, by2 in used)), (buffer, batch, layers, used, bottlenecks)


def _backward(axis_name: str | None, recompute: bool, residuals: Any, gradients: Any) -> Any:
    """The loss's gradients for x and the layers; `running` has none."""
    buffer, batch, layers, used, bottlenecks = residuals
    d_buffer, d_batch, _ = gradients
    d_layers, awaited = [], d_buffer[0, 0, 0, 0]
    for layer, by, bottleneck in zip(reversed(layers), reversed(used), reversed(bottlenecks), strict=True):
        channels, growth = layer.conv1.shape[2], layer.conv2.shape[-1]
        by1, by2 = (_after(awaited, moments_used) for moments_used in by)
        x, (y, dy) = buffer[..., :channels], (v[..., channels : channels + growth] for v in (buffer, d_buffer))
        if batch is not None:
            own = channels, channels + growth
            # Written down once, or each of both uses would read the whole buffers (XLA:TPU; a CPU drops the barrier).
            dy = lax.optimization_barrier(dy + _through_moments(y, batch.of(*own), d_batch.of(*own), axis_name))

        a1 = norm_relu(x, by1, layer.norm1)
        if recompute:
            bottleneck = _conv1(a1, layer.conv1)
        a2 = norm_relu(bottleneck, by2, layer.norm2)

        d_a2, d_conv2 = _conv2_gradients(a2, layer.conv2, dy)
        d_bottleneck, d_norm2, d_by2 = _norm_relu_gradients(bottleneck, by2, layer.norm2, d_a2)
        if batch is not None:
            d_bottleneck = d_bottleneck + _through_moments(bottleneck, by2, d_by2, axis_name)
        d_a1, d_conv1 = _conv1_gradients(a1, layer.conv1, d_bottleneck)
        d_x, d_norm1, d_by1 = _norm_relu_gradients(x, by1, layer.norm1, d_a1, d_buffer[..., :channels])

        # In place: a sum of slices would be carried along, and added up anew for each layer.
        d_buffer = lax.dynamic_update_slice_in_dim(d_buffer, d_x, 0, axis=3)
        if batch is not None:
            d_batch = jax.tree.map(jnp.add, d_batch.of(0, channels), d_by1)
        d_layers.append(Layer(d_norm1, d_conv1, d_norm2, d_conv2))
        awaited = d_conv2[0, 0, 0, 0]

    first = layers[0].conv1.shape[2]
    dx = d_buffer[..., :first]
    if batch is not None:
        dx = dx + _through_moments(buffer[..., :first], batch.of(0, first), d_batch, axis_name)
    return dx, tuple(reversed(d_layers)), None


_dense_block.defvjp(_forward, _backward)


def _row(values: Float[Array, " C"]) -> Float[Array, "1 1 1 C"]:
    return values[None, None, None]


def _after(awaited: Float[Array, ""], by: Moments) -> Moments:
    """`by`, in a form with which nothing can be computed before `awaited`, a finite number, is there.

    What the backward pass computes again would else be computed in the forward pass, and kept: XLA:CPU drops
    optimization barriers. Where a gradient is not finite the moments become NaN, as what follows does anyhow.
    """
    return Moments(by.mean + 0 * awaited, by.var)


def _norm_relu_gradients(
    x: FeatureMap, by: Moments, norm: Affine, d_out: FeatureMap, others: FeatureMap | float = 0.0
) -> tuple[FeatureMap, Affine, Moments]:
    """`norm_relu`'s gradients: for x with the moments held, for scale and bias, and for the moments.

    Args:
      others: what else is to be added to x's. Added here, before it is rounded, it costs no pass over the map.
    """
    inverse = lax.rsqrt(by.var + EPSILON)
    factor, centred = norm.scale * inverse, x - _row(by.mean)
    d = jnp.where(centred * _row(factor) + _row(norm.bias) > 0, d_out, 0).astype(centred.dtype)
    d_bias, d_scale = d.sum(axis=(0, 1, 2)), (d * centred).sum(axis=(0, 1, 2)) * inverse
    d_by = Moments(-factor * d_bias, -0.5 * factor * inverse * d_scale)
    return (d * _row(factor) + others).astype(x.dtype), Affine(d_scale, d_bias), d_by


def _through_moments(x: FeatureMap, of_x: Moments, d_of_x: Moments, axis_name: str | None) -> FeatureMap:
    """x's gradient through its moments, summed over the axis's devices as `lax.pmean`'s gradient is."""
    count = x.size // x.shape[-1]
    if axis_name is not None:
        d_of_x = Moments(*lax.psum(jnp.stack(d_of_x), axis_name))
        count *= lax.axis_size(axis_name)
    d_x = _row(d_of_x.mean) + 2 * _row(d_of_x.var) * (x - _row(of_x.mean))
    return (d_x / count).astype(x.dtype)


def _conv1(x: FeatureMap, kernel: Float[Array, "1 1 C K"]) -> Float[Array, "B H W K"]:
    """1×1: the matrix product that it is."""
    return x @ kernel[0, 0].astype(x.dtype)


def _conv1_gradients(
    x: FeatureMap, kernel: Float[Array, "1 1 C K"], d_out: Float[Array, "B H W K"]
) -> tuple[FeatureMap, Float[Array, "1 1 C K"]]:
    """For x and for the kernel. The latter of matrices: XLA:CPU would copy a map's transpose."""
    d_kernel = jnp.einsum("nc,nk->ck", _matrix(x), _matrix(d_out))
    return d_out @ kernel[0, 0].T.astype(x.dtype), d_kernel[None, None].astype(kernel.dtype)


def _conv2(x: FeatureMap, kernel: Float[Array, "3 3 C G"]) -> Float[Array, "B H W G"]:
    """3×3, zero-padded by 1."""
    padding, layout = ((1, 1), (1, 1)), ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(x, kernel.astype(x.dtype), (1, 1), padding, dimension_numbers=layout)


def _conv2_gradients(
    x: FeatureMap, kernel: Float[Array, "3 3 C G"], d_out: Float[Array, "B H W G"]
) -> tuple[FeatureMap, Float[Array, "3 3 C G"]]:
    """For x and for the kernel."""
    d_x, d_kernel = jax.vjp(_conv2, x, kernel)[1](d_out)
    if x.shape[1] * x.shape[2] >= LARGE_MAP:
        of_products = partial(_kernel_gradient_of_products, dtype=kernel.dtype)
        d_kernel = lax.platform_dependent(x, d_out, cpu=of_products, default=lambda *_: d_kernel)
    return d_x, d_kernel


def _kernel_gradient_of_products(
    x: FeatureMap, d_out: Float[Array, "B H W G"], dtype: DTypeLike
) -> Float[Array, "3 3 C G"]:
    """`_conv2`'s gradient for its kernel: for each of nine places, d_out shifted times x."""
    height, width = x.shape[1:3]
    padded = jnp.pad(d_out, ((0, 0), (1, 1), (1, 1), (0, 0)))
    shifted = [padded[:, 2 - i : 2 - i + height, 2 - j : 2 - j + width] for i in range(3) for j in range(3)]
    products = jnp.stack([jnp.einsum("ng,nk->gk", _matrix(d), _matrix(x)) for d in shifted])
    return products.reshape(3, 3, *products.shape[1:]).swapaxes(2, 3).astype(dtype)


def _matrix(x: FeatureMap) -> Float[Array, "N C"]:
    """A map's places as the rows of a matrix."""
    return x.reshape(-1, x.shape[-1])

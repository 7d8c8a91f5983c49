"""DenseNet's dense block (Huang et al. 2017) as one function with a gradient of its own.

The same numbers as layer by layer, for a fraction of the memory traffic, which is what bounds this network's speed:

- A channel's mean and variance are computed once, when the channel is, and not by every later layer that reads it.
- All layers write into one buffer, where plain DenseNet concatenates anew in each.
- Of the forward pass the buffer and each layer's 1×1 convolution are kept; BN and ReLU are computed again.
- The backward pass walks the layers in reverse with one gradient of the buffer. What reaches a channel's mean and
  variance is summed over its readers, and applied once, when the channel's own gradient is complete.
"""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from cxr_jax.types import FeatureMap

EPSILON = 1e-5  # torch's, added to the variance
LARGE_MAP = 2048  # places from which on XLA:CPU's gradient of a 3×3 kernel is the slower one


class Moments(NamedTuple):
    """Mean and (biased) variance of each channel, float32; or their gradients."""

    mean: Float[Array, " C"]
    var: Float[Array, " C"]


class Affine(NamedTuple):
    """A BatchNorm's scale and bias, or their gradients."""

    scale: Float[Array, " C"]
    bias: Float[Array, " C"]


class Layer(NamedTuple):
    """One dense layer's parameters, or their gradients: BN-ReLU-1×1-BN-ReLU-3×3, C to K to G channels."""

    norm1: Affine
    conv1: Float[Array, "1 1 C K"]
    norm2: Affine
    conv2: Float[Array, "3 3 K G"]


def moments(x: FeatureMap, axis_name: str | None = None) -> Moments:
    """Over batch and places, and over the devices of `axis_name`, in float32."""
    x = x.astype(jnp.float32)
    both = jnp.stack([x.mean(axis=(0, 1, 2)), jnp.square(x).mean(axis=(0, 1, 2))])
    mean, of_square = both if axis_name is None else lax.pmean(both, axis_name)
    return Moments(mean, jnp.maximum(of_square - jnp.square(mean), 0))


def norm_relu(x: FeatureMap, of: Moments, norm: Affine) -> FeatureMap:
    """ReLU of (x − mean) / √(var + ε) · scale + bias, in float32 and in `flax.linen.BatchNorm`'s order; of x's type."""
    factor = norm.scale * lax.rsqrt(of.var + EPSILON)
    return jax.nn.relu((x - _row(of.mean)) * _row(factor) + _row(norm.bias)).astype(x.dtype)


def dense_block(
    x: FeatureMap,
    layers: Sequence[Layer],
    running: Sequence[tuple[Moments, Moments]] | None = None,
    axis_name: str | None = None,
    recompute: bool = False,
) -> tuple[FeatureMap, Moments | None, tuple[Moments, ...]]:
    """(B, H, W, C) → (B, H, W, C + layers · G): x, and behind it each layer's G channels, computed in x's type.

    Args:
      x: what the first layer reads.
      layers: their parameters, in float32.
      running: what each layer's two BatchNorms normalise by; None for the batch's own moments.
      axis_name: the device axis over which the batch's moments are averaged.
      recompute: keeps the 1×1 convolutions' outputs no longer than the forward pass needs them.

    Returns:
      The map, the batch's moments of its channels (None where `running` is given), and those of each layer's K channels
      between its convolutions. The latter have no gradient: they are for running averages.
    """
    return _dense_block(x, tuple(layers), running, axis_name, recompute)


@partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def _dense_block(x, layers, running, axis_name, recompute):
    return _forward(x, layers, running, axis_name, recompute)[0]


def _forward(x, layers, running, axis_name, recompute):
    first, growth = x.shape[-1], layers[0].conv2.shape[-1]
    buffer = jnp.pad(x, ((0, 0), (0, 0), (0, 0), (0, len(layers) * growth)))
    of = None if running else moments(x, axis_name)
    used, bottlenecks = [], []
    for number, layer in enumerate(layers):
        channels = first + number * growth
        of1 = running[number][0] if running else of
        bottleneck = _conv1(norm_relu(buffer[..., :channels], of1, layer.norm1), layer.conv1)
        of2 = running[number][1] if running else moments(bottleneck, axis_name)
        y = _conv2(norm_relu(bottleneck, of2, layer.norm2), layer.conv2)
        buffer = lax.dynamic_update_slice_in_dim(buffer, y, channels, axis=3)
        used.append((of1, of2))
        bottlenecks.append(bottleneck)
        if not running:
            of = jax.tree.map(lambda old, new: jnp.concatenate([old, new]), of, moments(y, axis_name))
    residuals = (buffer, of, layers, used, None if recompute else bottlenecks)
    return (buffer, of, tuple(of2 for _, of2 in used)), residuals


def _backward(axis_name, recompute, residuals, gradients):
    buffer, of, layers, used, bottlenecks = residuals
    d_buffer, d_of, _ = gradients
    d_layers, awaited = [], d_buffer[0, 0, 0, 0]
    for number in reversed(range(len(layers))):
        layer, (of1, of2) = layers[number], used[number]
        channels = layer.conv1.shape[2]
        bottleneck = None if recompute else bottlenecks[number]
        of1, of2 = _after(awaited, of1), _after(awaited, of2)
        x, y, dy = buffer[..., :channels], buffer[..., channels : channels + layer.conv2.shape[-1]], d_buffer[..., channels:]
        if of is not None:
            own, d_own = ([m[channels:] for m in both] for both in (of, d_of))
            of, d_of = (Moments(*(m[:channels] for m in both)) for both in (of, d_of))
            dy = dy + _through_moments(y, Moments(*own), Moments(*d_own), axis_name)
        a1 = norm_relu(x, of1, layer.norm1)
        if recompute:
            bottleneck = _conv1(a1, layer.conv1)
        a2 = norm_relu(bottleneck, of2, layer.norm2)
        d_a2, d_conv2 = _conv2_gradients(a2, layer.conv2, dy)
        d_bottleneck, d_norm2, d_of2 = _norm_relu_gradient(bottleneck, of2, layer.norm2, d_a2)
        if of is not None:
            d_bottleneck = d_bottleneck + _through_moments(bottleneck, of2, d_of2, axis_name)
        d_a1, d_conv1 = _conv1_gradients(a1, layer.conv1, d_bottleneck)
        awaited = d_conv1[0, 0, 0, 0]
        d_x, d_norm1, d_of1 = _norm_relu_gradient(x, of1, layer.norm1, d_a1)
        if of is not None:
            d_of = jax.tree.map(jnp.add, d_of, d_of1)
        d_buffer = d_buffer[..., :channels] + d_x
        d_layers.append(Layer(d_norm1, d_conv1, d_norm2, d_conv2))
    if of is not None:
        x = buffer[..., : of.mean.shape[0]]
        d_buffer = d_buffer + _through_moments(x, of, d_of, axis_name)
    return d_buffer, tuple(reversed(d_layers)), None


_dense_block.defvjp(_forward, _backward)


def _conv1(x, kernel):
    """1×1, as the matrix product that it is."""
    return x @ kernel[0, 0].astype(x.dtype)


def _conv1_gradients(x, kernel, d_out):
    """For x and for the kernel. Of matrices: XLA:CPU would copy a map's transpose."""
    d_x = d_out @ kernel[0, 0].T.astype(x.dtype)
    rows, d_rows = (v.reshape(-1, v.shape[-1]) for v in (x, d_out))
    return d_x, jnp.einsum("nc,nk->ck", rows, d_rows)[None, None].astype(kernel.dtype)


def _after(awaited, of):
    """Moments with which no compiler can compute before `awaited`, a finite number, is there.

    What the backward pass computes again would else be computed in the forward pass, and kept: XLA:CPU drops
    optimization barriers. Where a gradient is not finite the moments become NaN, as all that follows would.
    """
    return Moments(of.mean + 0 * awaited, of.var)


def _conv2(x, kernel):
    """3×3, zero-padded by 1."""
    return lax.conv_general_dilated(
        x, kernel.astype(x.dtype), (1, 1), ((1, 1), (1, 1)), dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def _conv2_gradients(x, kernel, d_out):
    """For x and for the kernel."""
    d_x, d_kernel = jax.vjp(_conv2, x, kernel)[1](d_out)
    if x.shape[1] * x.shape[2] < LARGE_MAP:
        return d_x, d_kernel
    return d_x, lax.platform_dependent(x, d_out, cpu=_conv2_kernel_gradient_of_matrices, default=lambda *_: d_kernel)


def _conv2_kernel_gradient_of_matrices(x, d_out):
    """A matrix product for each of the kernel's nine places: XLA:CPU's own takes up to twice as long."""
    height, width = x.shape[1:3]
    padded = jnp.pad(d_out, ((0, 0), (1, 1), (1, 1), (0, 0)))
    places = [padded[:, i : i + height, j : j + width] for i in (2, 1, 0) for j in (2, 1, 0)]
    rows = x.reshape(-1, x.shape[-1])
    products = [jnp.einsum("ng,nk->gk", place.reshape(-1, place.shape[-1]), rows) for place in places]
    return jnp.stack(products).reshape(3, 3, *products[0].shape).swapaxes(2, 3).astype(jnp.float32)


def _norm_relu_gradient(x, of, norm, d_out):
    """`norm_relu`'s gradients for x with the moments held, for scale and bias, and for the moments."""
    inverse = lax.rsqrt(of.var + EPSILON)
    centred = x - _row(of.mean)
    # A product, not a choice: XLA's CPU code for the latter branches at every number.
    d = d_out * (centred * _row(norm.scale * inverse) + _row(norm.bias) > 0)
    d_bias, d_scale = d.sum(axis=(0, 1, 2)), (d * centred).sum(axis=(0, 1, 2)) * inverse
    factor = norm.scale * inverse
    d_of = Moments(-factor * d_bias, -0.5 * factor * inverse * d_scale)
    return (d * _row(factor)).astype(x.dtype), Affine(d_scale, d_bias), d_of


def _through_moments(x, of, d_of, axis_name):
    """x's gradient through its moments, over all devices of the axis, whose losses add up as under `lax.pmean`."""
    count = x.size // x.shape[-1]
    if axis_name is not None:
        d_of, count = lax.psum(d_of, axis_name), count * lax.axis_size(axis_name)
    return ((_row(d_of.mean) + 2 * _row(d_of.var) * (x - _row(of.mean))) / count).astype(x.dtype)


def _row(values):
    """(C) → (1, 1, 1, C)."""
    return values[None, None, None]

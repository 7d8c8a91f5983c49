"""DenseNet (Huang et al. 2017) as torchvision builds it: same padding, same epsilon, same names.

Padding is explicit everywhere: XLA's SAME pads only the right and lower side where the stride is 2.
"""

from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from cxr_jax.models.dense_block import Affine, Layer, Moments, dense_block, moments, norm_relu
from cxr_jax.types import FeatureMap

# torch's Conv2d initialisation in torchvision's DenseNet.
he_normal = nn.initializers.he_normal()


class PointwiseConv(nn.Module):
    """A 1×1 convolution as the matrix product that it is: twice as fast as XLA's convolution on a CPU."""

    features: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: FeatureMap) -> Float[Array, "B H W {self.features}"]:
        """(B, H, W, C) → (B, H, W, features). The kernel keeps a convolution's shape, (1, 1, C, features)."""
        kernel = self.param("kernel", he_normal, (1, 1, x.shape[-1], self.features))
        return x.astype(self.dtype) @ kernel[0, 0].astype(self.dtype)


class GreyConv(nn.Module):
    """DenseNet's 7×7 stem on a grey image: the numbers of three equal, normalised channels at a third of the work.

    Channel c is (g − mean_c) / std_c, so the three kernels fold into one on g, less what they make of a constant image.
    The constant's map is not constant: at the borders the kernel reaches into the zero padding.
    """

    features: int
    mean: Sequence[float]
    std: Sequence[float]
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, grey: Float[Array, "B H W 1"]) -> Float[Array, "B h w {self.features}"]:
        """Grey in [0, 1] to (B, ⌈H/2⌉, ⌈W/2⌉, features). The kernel keeps its shape for colour, (7, 7, 3, features)."""
        kernel = self.param("kernel", he_normal, (7, 7, 3, self.features))
        centre = sum(self.mean) / 3  # of the grey values: keeps both terms small, which bfloat16 needs
        on_grey = jnp.einsum("hwcf,c->hwf", kernel, 1 / jnp.asarray(self.std))
        on_one = jnp.einsum("hwcf,c->hwf", kernel, (centre - jnp.asarray(self.mean)) / jnp.asarray(self.std))
        # One convolution of two channels: a constant of its own would cost its gradient a pass over the batch's maps.
        centred = grey - centre
        return lax.conv_general_dilated(
            jnp.concatenate([centred, jnp.ones_like(centred)], axis=-1).astype(self.dtype),
            jnp.stack([on_grey, on_one], axis=2).astype(self.dtype),
            window_strides=(2, 2),
            padding=((3, 3), (3, 3)),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )


def max_pool_3x3(x: FeatureMap) -> Float[Array, "B h w C"]:
    """3×3 maxima at stride 2, padded by 1 with −∞: `nn.max_pool`'s numbers.

    That on a TPU, where it moves a third of the bytes; else rows, then columns, by slices: XLA's own gradient
    (select-and-scatter) takes four times as long on a CPU.
    """
    return lax.platform_dependent(x, tpu=_max_pool_by_windows, default=_max_pool_by_slices)


def _max_pool_by_windows(x: FeatureMap) -> Float[Array, "B h w C"]:
    return nn.max_pool(x, (3, 3), strides=(2, 2), padding=((1, 1), (1, 1)))


def _max_pool_by_slices(x: FeatureMap) -> Float[Array, "B h w C"]:
    x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-jnp.inf)
    for axis in (1, 2):
        last = 2 * ((x.shape[axis] - 3) // 2)
        first, second, third = (lax.slice_in_dim(x, i, last + i + 1, stride=2, axis=axis) for i in range(3))
        x = jnp.maximum(jnp.maximum(first, second), third)
    return x


class Norm(nn.Module):
    """BatchNorm and ReLU, under `flax.linen.BatchNorm`'s names, with moments that are computed elsewhere."""

    channels: int

    def setup(self) -> None:
        """Scale, bias and the running averages, in float32."""
        self.scale = self.param("scale", nn.initializers.ones, (self.channels,))
        self.bias = self.param("bias", nn.initializers.zeros, (self.channels,))
        self.running_mean = self.variable("batch_stats", "mean", jnp.zeros, (self.channels,))
        self.running_var = self.variable("batch_stats", "var", jnp.ones, (self.channels,))

    def __call__(self, x: FeatureMap, batch: Moments | None) -> FeatureMap:
        """(B, H, W, C) → (B, H, W, C), by the batch's moments, which are remembered; by the running ones for None."""
        if batch is not None:
            self.remember(batch)
        return norm_relu(x, self.running() if batch is None else batch, self.affine())

    def affine(self) -> Affine:
        """Scale and bias."""
        return Affine(jnp.asarray(self.scale), jnp.asarray(self.bias))

    def running(self) -> Moments:
        """The running averages of mean and variance."""
        return Moments(jnp.asarray(self.running_mean.value), jnp.asarray(self.running_var.value))

    def remember(self, batch: Moments) -> None:
        """Moves the running averages a tenth of the way: torch's momentum 0.1, Flax's 0.9."""
        if not self.is_initializing():
            for average, value in zip((self.running_mean, self.running_var), batch, strict=True):
                average.value = 0.9 * average.value + 0.1 * lax.stop_gradient(value)


class Kernel(nn.Module):
    """A bias-free convolution's kernel, under `flax.linen.Conv`'s name."""

    shape: Sequence[int]

    @nn.compact
    def __call__(self) -> Float[Array, "h w C F"]:
        """The kernel, in float32."""
        return jnp.asarray(self.param("kernel", he_normal, tuple(self.shape)))


class DenseLayer(nn.Module):
    """The variables of BN-ReLU-1×1-BN-ReLU-3×3 from `channels` to `growth_rate`; `dense_block` computes with them."""

    channels: int
    growth_rate: int

    def setup(self) -> None:
        """The parts, under torchvision's names."""
        width = 4 * self.growth_rate
        self.norm1, self.conv1 = Norm(self.channels), Kernel((1, 1, self.channels, width))
        self.norm2, self.conv2 = Norm(width), Kernel((3, 3, width, self.growth_rate))

    def parameters(self) -> Layer:
        """All that is learnt."""
        return Layer(self.norm1.affine(), self.conv1(), self.norm2.affine(), self.conv2())

    def running(self) -> tuple[Moments, Moments]:
        """The running averages of both norms."""
        return self.norm1.running(), self.norm2.running()

    def remember(self, batch1: Moments, batch2: Moments) -> None:
        """Moves the running averages of both norms."""
        self.norm1.remember(batch1)
        self.norm2.remember(batch2)


class Transition(nn.Module):
    """BN-ReLU-1×1 to half the channels, then a 2×2 average: half the side."""

    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: FeatureMap, batch: Moments | None) -> Float[Array, "B H//2 W//2 C//2"]:
        """(B, H, W, C) → (B, H/2, W/2, C/2), by the batch's moments or the running ones (see Norm)."""
        x = Norm(x.shape[-1], name="norm")(x, batch)
        return nn.avg_pool(PointwiseConv(x.shape[-1] // 2, self.dtype, name="conv")(x), (2, 2), strides=(2, 2))


class DenseNet(nn.Module):
    """Image to feature map. The defaults are DenseNet121: 312 × 312 gives 9 × 9 × 1024.

    Attributes:
      block_sizes: dense layers in each block.
      growth_rate: channels that each layer adds.
      mean, std: of the three (equal) input channels, ImageNet's by default.
      frozen_norm: BatchNorm keeps its running statistics, in training too.
      axis_name: the device axis over which BatchNorm's statistics are averaged, or None for one device.
      dtype: of the computation; parameters and BatchNorm's statistics stay float32.
      remat: what of its dense blocks is computed again in the backward pass (see dense_block).
    """

    block_sizes: Sequence[int] = (6, 12, 24, 16)
    growth_rate: int = 32
    mean: Sequence[float] = (0.485, 0.456, 0.406)
    std: Sequence[float] = (0.229, 0.224, 0.225)
    frozen_norm: bool = False
    axis_name: str | None = None
    dtype: DTypeLike = jnp.float32
    remat: str = "none"

    @nn.compact
    def __call__(self, grey: Float[Array, "B H W 1"], train: bool = False) -> Float[Array, "B h w F"]:
        """Grey images in [0, 1] to their last feature map, after the final BN and ReLU."""
        by_batch = train and not self.frozen_norm
        x = GreyConv(2 * self.growth_rate, self.mean, self.std, self.dtype, name="conv0")(grey)
        x = max_pool_3x3(Norm(x.shape[-1], name="norm0")(x, moments(x, self.axis_name) if by_batch else None))
        for block, depth in enumerate(self.block_sizes, start=1):
            layers = [
                DenseLayer(
                    x.shape[-1] + i * self.growth_rate, self.growth_rate, name=f"denseblock{block}_denselayer{i + 1}"
                )
                for i in range(depth)
            ]
            parameters = [layer.parameters() for layer in layers]
            running = None if by_batch else [layer.running() for layer in layers]
            x, batch, inner = dense_block(x, parameters, running, self.axis_name, self.remat)
            if batch is not None:
                for layer, batch2 in zip(layers, inner, strict=True):
                    layer.remember(batch.of(0, layer.channels), batch2)
            if block < len(self.block_sizes):
                x = Transition(self.dtype, name=f"transition{block}")(x, batch)
        return Norm(x.shape[-1], name="norm5")(x, batch)

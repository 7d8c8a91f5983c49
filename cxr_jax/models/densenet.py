"""DenseNet (Huang et al. 2017) as torchvision builds it: same padding, same epsilon, same names.

Padding is explicit everywhere: XLA's SAME pads only the right and lower side where the stride is 2.
"""

from collections.abc import Callable, Sequence
from functools import partial

import flax.linen as nn
import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array, Float

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
        on_one = jnp.einsum("hwcf,c->hwf", kernel, (jnp.asarray(self.mean) - centre) / jnp.asarray(self.std))
        convolve = partial(
            lax.conv_general_dilated,
            window_strides=(2, 2),
            padding=((3, 3), (3, 3)),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        of_grey = convolve((grey - centre).astype(self.dtype), on_grey[:, :, None].astype(self.dtype))
        of_one = convolve(jnp.ones((1, *grey.shape[1:])), on_one[:, :, None])
        return of_grey - of_one.astype(self.dtype)


def max_pool_3x3(x: FeatureMap) -> Float[Array, "B h w C"]:
    """3×3 maxima at stride 2, padded by 1 with −∞: `nn.max_pool`'s numbers.

    Rows, then columns, by slices: XLA's own gradient (select-and-scatter) takes four times as long on a CPU.
    """
    x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-jnp.inf)
    for axis in (1, 2):
        last = 2 * ((x.shape[axis] - 3) // 2)
        first, second, third = (lax.slice_in_dim(x, i, last + i + 1, stride=2, axis=axis) for i in range(3))
        x = jnp.maximum(jnp.maximum(first, second), third)
    return x


class DenseLayer(nn.Module):
    """BN-ReLU-1×1-BN-ReLU-3×3; its `growth_rate` new channels are appended to the input."""

    growth_rate: int
    norm: Callable[..., nn.Module]
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: FeatureMap) -> Float[Array, "B H W C+{self.growth_rate}"]:
        """(B, H, W, C) → (B, H, W, C + growth_rate)."""
        y = nn.relu(self.norm(name="norm1")(x))
        y = PointwiseConv(4 * self.growth_rate, self.dtype, name="conv1")(y)
        y = nn.relu(self.norm(name="norm2")(y))
        conv = nn.Conv(
            self.growth_rate, (3, 3), padding=1, use_bias=False, dtype=self.dtype, kernel_init=he_normal, name="conv2"
        )
        y = conv(y)
        return jnp.concatenate([x, y], axis=-1)


class Transition(nn.Module):
    """BN-ReLU-1×1 to half the channels, then a 2×2 average: half the side."""

    norm: Callable[..., nn.Module]
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: FeatureMap) -> Float[Array, "B H//2 W//2 C//2"]:
        """(B, H, W, C) → (B, H/2, W/2, C/2)."""
        x = PointwiseConv(x.shape[-1] // 2, self.dtype, name="conv")(nn.relu(self.norm(name="norm")(x)))
        return nn.avg_pool(x, (2, 2), strides=(2, 2))


class DenseNet(nn.Module):
    """Image to feature map. The defaults are DenseNet121: 312 × 312 gives 9 × 9 × 1024.

    Attributes:
      block_sizes: dense layers in each block.
      growth_rate: channels that each layer adds.
      mean, std: of the three (equal) input channels, ImageNet's by default.
      frozen_norm: BatchNorm keeps its running statistics, in training too.
      axis_name: the device axis over which BatchNorm's statistics are averaged, or None for one device.
      dtype: of the computation; parameters and BatchNorm's statistics stay float32.
    """

    block_sizes: Sequence[int] = (6, 12, 24, 16)
    growth_rate: int = 32
    mean: Sequence[float] = (0.485, 0.456, 0.406)
    std: Sequence[float] = (0.229, 0.224, 0.225)
    frozen_norm: bool = False
    axis_name: str | None = None
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, grey: Float[Array, "B H W 1"], train: bool = False) -> Float[Array, "B h w F"]:
        """Grey images in [0, 1] to their last feature map, after the final BN and ReLU."""
        norm = partial(
            nn.BatchNorm,
            use_running_average=self.frozen_norm or not train,
            momentum=0.9,  # torch's momentum 0.1, which counts the other way
            epsilon=1e-5,
            axis_name=self.axis_name,
            dtype=self.dtype,
        )
        x = GreyConv(2 * self.growth_rate, self.mean, self.std, self.dtype, name="conv0")(grey)
        x = max_pool_3x3(nn.relu(norm(name="norm0")(x)))
        for block, depth in enumerate(self.block_sizes, start=1):
            for layer in range(1, depth + 1):
                x = DenseLayer(self.growth_rate, norm, self.dtype, name=f"denseblock{block}_denselayer{layer}")(x)
            if block < len(self.block_sizes):
                x = Transition(norm, self.dtype, name=f"transition{block}")(x)
        return nn.relu(norm(name="norm5")(x))

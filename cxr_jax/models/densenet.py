"""DenseNet (Huang et al. 2017) as torchvision builds it: same padding, same epsilon, same names."""

from collections.abc import Callable, Sequence
from functools import partial

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from cxr_jax.types import FeatureMap

# torch's Conv2d initialisation in torchvision's DenseNet.
he_normal = nn.initializers.he_normal()


class DenseLayer(nn.Module):
    """BN-ReLU-1×1-BN-ReLU-3×3; its `growth_rate` new channels are appended to the input."""

    growth_rate: int
    conv: Callable[..., nn.Module]
    norm: Callable[..., nn.Module]

    @nn.compact
    def __call__(self, x: FeatureMap) -> Float[Array, "B H W C+{self.growth_rate}"]:
        """(B, H, W, C) → (B, H, W, C + growth_rate)."""
        y = nn.relu(self.norm(name="norm1")(x))
        y = self.conv(4 * self.growth_rate, (1, 1), name="conv1")(y)
        y = nn.relu(self.norm(name="norm2")(y))
        y = self.conv(self.growth_rate, (3, 3), padding=1, name="conv2")(y)
        return jnp.concatenate([x, y], axis=-1)


class Transition(nn.Module):
    """BN-ReLU-1×1 to half the channels, then a 2×2 average: half the side."""

    conv: Callable[..., nn.Module]
    norm: Callable[..., nn.Module]

    @nn.compact
    def __call__(self, x: FeatureMap) -> Float[Array, "B H//2 W//2 C//2"]:
        """(B, H, W, C) → (B, H/2, W/2, C/2)."""
        x = self.conv(x.shape[-1] // 2, (1, 1), name="conv")(nn.relu(self.norm(name="norm")(x)))
        return nn.avg_pool(x, (2, 2), strides=(2, 2))


class DenseNet(nn.Module):
    """Image to feature map. The defaults are DenseNet121: 312 × 312 gives 9 × 9 × 1024.

    Attributes:
      block_sizes: dense layers in each block.
      growth_rate: channels that each layer adds.
      axis_name: the device axis over which BatchNorm's statistics are averaged, or None for one device.
      dtype: of the computation; parameters and BatchNorm's statistics stay float32.
    """

    block_sizes: Sequence[int] = (6, 12, 24, 16)
    growth_rate: int = 32
    axis_name: str | None = None
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, image: Float[Array, "B H W 3"], train: bool = False) -> Float[Array, "B h w C"]:
        """Normalised images to their last feature map, after the final BN and ReLU."""
        conv = partial(nn.Conv, use_bias=False, padding=0, dtype=self.dtype, kernel_init=he_normal)
        norm = partial(
            nn.BatchNorm,
            use_running_average=not train,
            momentum=0.9,  # torch's momentum 0.1, which counts the other way
            epsilon=1e-5,
            axis_name=self.axis_name,
            dtype=self.dtype,
        )
        # Explicit padding as in torch: XLA's SAME pads the right and lower side and would give 10 × 10 at 312.
        x = conv(2 * self.growth_rate, (7, 7), strides=(2, 2), padding=3, name="conv0")(image.astype(self.dtype))
        x = nn.relu(norm(name="norm0")(x))
        x = nn.max_pool(x, (3, 3), strides=(2, 2), padding=((1, 1), (1, 1)))
        for block, depth in enumerate(self.block_sizes, start=1):
            for layer in range(1, depth + 1):
                x = DenseLayer(self.growth_rate, conv, norm, name=f"denseblock{block}_denselayer{layer}")(x)
            if block < len(self.block_sizes):
                x = Transition(conv, norm, name=f"transition{block}")(x)
        return nn.relu(norm(name="norm5")(x))

"""The image tower, Eq. (8)-(12): DenseNet, multi-scale convolutions, dual attention, adaptive pooling."""

from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from cxr_jax.models.densenet import DenseNet
from cxr_jax.types import FeatureMap, Image


class DepthwiseConv(nn.Module):
    """A size × size convolution of each channel by itself.

    XLA's grouped convolution, but on a CPU, where a sum of shifted products takes a sixth of its time, gradients
    included; on an H200 that takes ten times as long (docs/benchmarks.md). The numbers are the same.
    """

    size: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: FeatureMap) -> FeatureMap:
        """(B, H, W, C) → (B, H, W, C), zero-padded. The kernel keeps a grouped convolution's shape, (s, s, 1, C)."""
        size, channels = self.size, x.shape[-1]
        kernel = self.param("kernel", nn.initializers.lecun_normal(), (size, size, 1, channels))
        bias = self.param("bias", nn.initializers.zeros, (channels,))
        y = lax.platform_dependent(x, jnp.asarray(kernel), cpu=_depthwise_as_shifts, default=_depthwise_grouped)
        return (y + bias[None, None, None]).astype(self.dtype)


def _depthwise_as_shifts(x: FeatureMap, kernel: Float[Array, "s s 1 C"]) -> Float[Array, "B H W C"]:
    """Summed in float32, as a convolution accumulates, whatever the computation's type."""
    size, (height, width) = kernel.shape[0], x.shape[1:3]
    border = size // 2
    padded = jnp.pad(x, ((0, 0), (border, border), (border, border), (0, 0))).astype(_at_least_float32(x))
    shifts = ((i, j) for i in range(size) for j in range(size))
    return sum(
        (padded[:, i : i + height, j : j + width] * kernel[i, j, None, None] for i, j in shifts),
        jnp.zeros((), padded.dtype),
    )


def _depthwise_grouped(x: FeatureMap, kernel: Float[Array, "s s 1 C"]) -> Float[Array, "B H W C"]:
    layout, channels = ("NHWC", "HWIO", "NHWC"), x.shape[-1]
    y = lax.conv_general_dilated(
        x, kernel.astype(x.dtype), (1, 1), "SAME", dimension_numbers=layout, feature_group_count=channels
    )
    return y.astype(_at_least_float32(x))


def _at_least_float32(x: FeatureMap) -> DTypeLike:
    return jnp.promote_types(x.dtype, jnp.float32)


class MultiScaleConv(nn.Module):
    """Eq. (8) and (9): depth-wise 3×3 and 5×5, each point-wise to `width` channels, concatenated: F_m."""

    width: int = 128
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: FeatureMap) -> Float[Array, "B H W 2*{self.width}"]:
        """(B, H, W, C) → (B, H, W, 2·width)."""
        scales = []
        for size in (3, 5):
            depthwise = DepthwiseConv(size, self.dtype, name=f"depthwise{size}")
            pointwise = nn.Conv(self.width, (1, 1), dtype=self.dtype, name=f"pointwise{size}")
            scales.append(pointwise(depthwise(x)))
        return jnp.concatenate(scales, axis=-1)


class ChannelAttention(nn.Module):
    """Eq. (10): s = σ(W₂ ReLU(W₁ GAP(F_m))), with W₁ to a quarter of the channels."""

    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, F_m: FeatureMap) -> Float[Array, "B 1 1 C"]:
        """(B, H, W, C) → one weight in (0, 1) a channel."""
        channels = F_m.shape[-1]
        s = nn.relu(nn.Dense(channels // 4, dtype=self.dtype, name="W1")(F_m.mean(axis=(1, 2))))
        return nn.sigmoid(nn.Dense(channels, dtype=self.dtype, name="W2")(s))[:, None, None, :]


class SpatialAttention(nn.Module):
    """Eq. (11): A_s = σ(conv7×7([mean; max] over the channels of F_m))."""

    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, F_m: FeatureMap) -> Float[Array, "B H W 1"]:
        """(B, H, W, C) → one weight in (0, 1) a place."""
        pooled = jnp.concatenate([F_m.mean(axis=-1, keepdims=True), F_m.max(axis=-1, keepdims=True)], axis=-1)
        return nn.sigmoid(nn.Conv(1, (7, 7), padding=3, dtype=self.dtype, name="conv")(pooled))


class AdaptivePooling(nn.Module):
    """Eq. (12): w · GAP(F_att) + (1 − w) · GMP(F_att), w = σ(θ).

    `gated` lets each image choose its own w, as the paper's words have it: θ is then linear in GAP(F_att), from 0.
    """

    gated: bool = False
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, F_att: FeatureMap) -> tuple[Float[Array, "B C"], Float[Array, "..."]]:
        """(B, H, W, C) → (B, C), and w: a scalar, or (B, 1) where gated."""
        average, maximum = F_att.mean(axis=(1, 2)), F_att.max(axis=(1, 2))
        if self.gated:
            zeros = nn.initializers.zeros
            theta = nn.Dense(1, kernel_init=zeros, dtype=self.dtype, name="gate")(average)
        else:
            theta = self.param("theta", nn.initializers.zeros, ()).astype(self.dtype)
        w = nn.sigmoid(theta)
        return w * average + (1 - w) * maximum, w


def pooling_shares(F_att: FeatureMap, w: Float[Array, "..."]) -> FeatureMap:
    """What each place gives to Eq. (12)'s pooled vector, (B, H, W, C): they sum to it over places.

    Every place has its part of the mean, the greatest of a channel that of the maximum; equals share it.
    """
    w = jnp.broadcast_to(w, (F_att.shape[0], 1))[:, None, None, :]
    greatest = (F_att == F_att.max(axis=(1, 2), keepdims=True)).astype(F_att.dtype)
    count = F_att.shape[1] * F_att.shape[2]
    return F_att * (w / count + (1 - w) * greatest / greatest.sum(axis=(1, 2), keepdims=True))


class VisionEncoder(nn.Module):
    """Eq. (8)-(12) on top of DenseNet, and a bias-free head to the shared space.

    Each part of the paper's head can be switched off; with all of them off this is the plain DenseNet of its Table 3,
    pooled by the mean. `pooling` is "adaptive", "gated" (see AdaptivePooling) or "mean"; `remat` is DenseNet's.
    """

    block_sizes: Sequence[int] = (6, 12, 24, 16)
    growth_rate: int = 32
    multi_scale: bool = True
    multi_scale_width: int = 128
    channel_attention: bool = True
    spatial_attention: bool = True
    pooling: str = "adaptive"
    embed_dim: int = 256
    mean: Sequence[float] = (0.485, 0.456, 0.406)
    std: Sequence[float] = (0.229, 0.224, 0.225)
    frozen_norm: bool = False
    axis_name: str | None = None
    dtype: DTypeLike = jnp.float32
    remat: str = "none"

    @nn.compact
    def __call__(
        self, image: Image, train: bool = False, places: bool = False
    ) -> tuple[Float[Array, "B E"], dict[str, Array]]:
        """Grey images to embeddings, not yet normalised, and the intermediates worth a look.

        Those are, where the parts are on: `spatial_attention` (B, h, w, 1), `channel_attention` (B, 1, 1, C) and
        `pooling_weight`, w of Eq. (12); and where `places` is asked for, `places` (B, h, w, E): what each place of the
        last map gives to the embedding, which is their sum.
        """
        out: dict[str, Array] = {}
        backbone = DenseNet(
            self.block_sizes,
            self.growth_rate,
            self.mean,
            self.std,
            self.frozen_norm,
            self.axis_name,
            self.dtype,
            self.remat,
            name="densenet",
        )
        F_m = backbone(jnp.asarray(image, jnp.float32) / 255, train)
        if self.multi_scale:
            F_m = MultiScaleConv(self.multi_scale_width, self.dtype, name="multi_scale")(F_m)
        F_att = F_m
        if self.channel_attention:
            out["channel_attention"] = ChannelAttention(self.dtype, name="channel_attention")(F_m)
            F_att = F_att * out["channel_attention"]
        if self.spatial_attention:
            out["spatial_attention"] = SpatialAttention(self.dtype, name="spatial_attention")(F_m)
            F_att = F_att * out["spatial_attention"]
        if self.pooling == "mean":
            v = F_att.mean(axis=(1, 2))
        else:
            pool = AdaptivePooling(self.pooling == "gated", self.dtype, name="adaptive_pooling")
            v, out["pooling_weight"] = pool(F_att)
        head = nn.Dense(self.embed_dim, use_bias=False, dtype=self.dtype, name="head")
        if places:
            out["places"] = head(pooling_shares(F_att, out.get("pooling_weight", jnp.ones(()))))
        return head(v), out

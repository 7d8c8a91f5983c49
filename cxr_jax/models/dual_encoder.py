"""The two towers and the temperature between them."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from transformers import BertConfig

from cxr_jax.models.text import TextEncoder
from cxr_jax.models.vision import VisionEncoder
from cxr_jax.types import Image, Scalar, TokenIds, TokenMask

MAX_SCALE = 100.0  # CLIP's clip of 1/τ
# A little below its logarithm: at the clip itself, and past it, the parameter has no gradient and would stay for good.
MAX_LOG_SCALE = float(np.log(MAX_SCALE)) - 1e-6


def l2_normalize(z: Float[Array, "... E"]) -> Float[Array, "... E"]:
    """z / ‖z‖ along the last axis, in float32; a zero vector stays zero and has a finite gradient."""
    z = z.astype(jnp.float32)
    return z * jax.lax.rsqrt(jnp.maximum(jnp.sum(jnp.square(z), axis=-1, keepdims=True), 1e-12))


def inverse_temperature(log_scale: Float[Array | np.ndarray, ""]) -> Scalar:
    """1/τ, by which cosines are multiplied, of the parameter `log_scale`: at most MAX_SCALE."""
    return jnp.minimum(jnp.exp(jnp.asarray(log_scale)), MAX_SCALE)


class DualEncoder(nn.Module):
    """Images and reports to one space. Either input may be missing."""

    vision: VisionEncoder
    text: TextEncoder
    initial_temperature: float = 0.07
    initial_bias: float | None = None  # SigLIP's b, where the loss is a sigmoid's

    @nn.compact
    def __call__(
        self,
        image: Image | None = None,
        token_ids: TokenIds | tuple[Any, ...] | None = None,
        token_mask: TokenMask | tuple[Any, ...] | None = None,
        train: bool = False,
        text_features: Float[Array, "B D"] | None = None,
    ) -> dict[str, Array]:
        """Everything computed, by name.

        Reports may come in parts, tuples of `token_ids` and `token_mask`, each part padded to a length of its own.
        `text_features`: h of Eq. (5), in place of the report that it was computed of.

        `scale`: 1/τ; `bias`: b, where the model has one. With an image `image_embedding` (B, E), with a report
        `text_embedding` (B, E), both float32 of unit norm, and the towers' intermediates (see VisionEncoder and
        TextEncoder).
        """
        log_scale = self.param("log_scale", lambda _: jnp.log(jnp.float32(1 / self.initial_temperature)))
        out = {"scale": inverse_temperature(log_scale)}
        if self.initial_bias is not None:
            out["bias"] = self.param("bias", lambda _: jnp.float32(self.initial_bias))
        if image is not None:
            z_v, intermediates = self.vision(image, train)
            out |= intermediates | {"image_embedding": l2_normalize(z_v)}
        if text_features is not None:
            out["text_embedding"] = l2_normalize(self.text.project(text_features, train))
        elif token_ids is not None:
            mask: Any = jax.tree.map(jnp.ones_like, token_ids) if token_mask is None else token_mask
            whole = not isinstance(token_ids, tuple)
            parts: Any = [(token_ids, mask)] if whole else zip(token_ids, mask, strict=True)
            encoded = [self.text(ids, of, train) for ids, of in parts]
            z_t, intermediates = jax.tree.map(lambda *x: jnp.concatenate(x), *encoded)
            out |= intermediates | {"text_embedding": l2_normalize(z_t)}
        return out


def build_model(config: Mapping[str, Any], axis_name: str | None = None) -> DualEncoder:
    """The model that a resolved configuration describes (see cxr_jax.config for its keys)."""
    image, text, dtype = config["image"], config["text"], jnp.dtype(config["compute_dtype"])
    vision = VisionEncoder(
        block_sizes=tuple(image["block_sizes"]),
        growth_rate=image["growth_rate"],
        multi_scale=image["multi_scale"],
        multi_scale_width=image["multi_scale_width"],
        channel_attention=image["channel_attention"],
        spatial_attention=image["spatial_attention"],
        pooling=image["pooling"],
        embed_dim=config["embed_dim"],
        mean=tuple(image["mean"]),
        std=tuple(image["std"]),
        frozen_norm=image["frozen_batch_norm"] or image["frozen"],
        axis_name=axis_name,
        dtype=dtype,
        remat=config["remat"],
    )
    encoder = TextEncoder(
        bert=BertConfig(**text["bert"]),
        num_prompts=text["num_prompts"],
        scaled_prompts=text["scaled_prompts"],
        pooling=text["pooling"],
        projection_layers=text["projection_layers"],
        dropout=0.0 if text["frozen_tower"] else text["dropout"],  # it computes one thing, in training too
        bert_dropout=not (text["frozen"] or text["frozen_tower"]),
        embed_dim=config["embed_dim"],
        dtype=dtype,
        remat=config["remat"],
    )
    sigmoid = config["loss"]["kind"] == "sigmoid"
    return DualEncoder(vision, encoder, config["temperature"], config["loss"]["bias"] if sigmoid else None)


def init_variables(model: DualEncoder, key: Array, image_size: int) -> dict[str, Any]:
    """Fresh parameters and BatchNorm statistics: {"params": …, "batch_stats": …}."""
    image = np.zeros((1, image_size, image_size, 1), np.uint8)
    tokens = np.ones((1, 4), np.int32)
    return dict(model.init(key, image, tokens, tokens))


def variable_shapes(model: DualEncoder, image_size: int) -> dict[str, Any]:
    """`init_variables`' shapes and types, without computing it."""
    return jax.eval_shape(lambda: init_variables(model, jax.random.key(0), image_size))

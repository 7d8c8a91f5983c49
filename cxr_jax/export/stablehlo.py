"""Both encoders as StableHLO that runs with jax alone: no source of this package, of Flax or of transformers."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict, unflatten_dict
from jax import export

from cxr_jax.models.dual_encoder import build_model

PLATFORMS = ("cpu", "cuda", "tpu")
LOCATIONS = "jax_traceback_in_locations_limit"


def export_encoders(config: Mapping[str, Any], variables: Any) -> dict[str, export.Exported]:
    """{"image_encoder", "text_encoder"} of a resolved configuration, for any batch size B on any of PLATFORMS.

    The weights are an argument, {dotted name: array} as `ExportFolder` writes it, and not constants: model.safetensors
    holds them already, and both encoders take all of it.

      image_encoder: (weights, uint8 (B, S, S, 1)) → float32 (B, E), S = `image_size`.
      text_encoder: (weights, int32 (B, L), int32 (B, L)) → float32 (B, E), token ids and mask, L = `text.max_tokens`.
    """
    model, side, length = build_model(config), config["image_size"], config["text"]["max_tokens"]

    def image_encoder(weights: dict[str, jax.Array], image: jax.Array) -> jax.Array:
        out: Any = model.apply(unflatten_dict(weights, sep="."), image)
        return out["image_embedding"]

    def text_encoder(weights: dict[str, jax.Array], token_ids: jax.Array, token_mask: jax.Array) -> jax.Array:
        out: Any = model.apply(unflatten_dict(weights, sep="."), token_ids=token_ids, token_mask=token_mask)
        return out["text_embedding"]

    weights = {
        name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for name, leaf in flatten_dict(variables, sep=".").items()
    }
    (batch,) = export.symbolic_shape("batch")
    image = jax.ShapeDtypeStruct((batch, side, side, 1), jnp.uint8)
    tokens = jax.ShapeDtypeStruct((batch, length), jnp.int32)
    with _no_source_paths():
        return {
            "image_encoder": export.export(jax.jit(image_encoder), platforms=PLATFORMS)(weights, image),
            "text_encoder": export.export(jax.jit(text_encoder), platforms=PLATFORMS)(weights, tokens, tokens),
        }


@contextmanager
def _no_source_paths() -> Iterator[None]:
    """Leaves out where in this machine's files each operation was written, which jax otherwise keeps."""
    limit = getattr(jax.config, LOCATIONS)
    jax.config.update(LOCATIONS, 0)
    try:
        yield
    finally:
        jax.config.update(LOCATIONS, limit)

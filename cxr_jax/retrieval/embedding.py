"""Streams a split through both encoders, and keeps what comes out as its index."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from cxr_jax.data import images, pipeline
from cxr_jax.models.dual_encoder import DualEncoder
from cxr_jax.retrieval.store import Row, SplitIndex, first_rows
from cxr_jax.runtime import parallel
from cxr_jax.types import Batch

THUMBNAIL = 256  # pixels, long side


def make_encode_step(model: DualEncoder) -> Callable[[Any, Batch], tuple[Array, Array, Array]]:
    """The step (variables, batch) → (image embeddings, text embeddings, spatial attention).

    The embeddings are float32 (B, E) of unit norm; the last is A_s of Eq. (11), float32 (B, h, w), 0 × 0 without it.
    """

    def encode_step(variables: Any, batch: Batch) -> tuple[Array, Array, Array]:
        out: Any = model.apply(variables, batch["image"], batch["token_ids"], batch["token_mask"])
        count = len(batch["token_ids"])
        A_s = out.get("spatial_attention", jnp.zeros((count, 0, 0, 1)))[:, :, :, 0].astype(jnp.float32)
        return out["image_embedding"], out["text_embedding"], A_s

    return encode_step


def embed_split(
    encode: Callable[..., Any],
    variables: Any,
    split: pipeline.Split,
    tokens: tuple[np.ndarray, np.ndarray],
    config: Mapping[str, Any],
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> tuple[pipeline.Split, np.ndarray, np.ndarray, np.ndarray]:
    """The split, its image and text embeddings, each float32 (n, E) of unit norm, and A_s, uint8 (n, h, w) of 0 to 1.

    A row is an image; where data.view is mean, a study: its images' mean embedding, and the rest of its first image.

    Args:
      encode: `parallel.pmap(make_encode_step(model))`.
      variables: replicated.
    """
    devices = parallel.num_local_devices()
    batch_size = -(-min(config["batch_size"], len(split)) // devices) * devices
    threads = config["data"]["num_threads"]
    parts = []
    for batch in progress(pipeline.eval_batches(split, tokens, batch_size, config["image_size"], threads)):
        encoded = parallel.unshard(encode(variables, parallel.shard(dict(batch))))
        parts.append([outputs[batch["weight"] > 0] for outputs in encoded])
    z_v, z_t, A_s = (np.concatenate(side) for side in zip(*parts, strict=True))
    attention = np.round(255 * np.nan_to_num(A_s)).astype(np.uint8)
    if config["data"]["view"] != "mean":
        return split, z_v, z_t, attention
    first = first_rows(split.study_ids)
    return split.take(first), mean_by_study(z_v, split.study_ids), z_t[first], attention[first]


def mean_by_study(embeddings: np.ndarray, study_ids: Sequence[str]) -> np.ndarray:
    """The mean embedding of each study, (n, E) → (studies, E), scaled to unit norm; in the order of `first_rows`."""
    _, first, study = np.unique(np.asarray(study_ids), return_index=True, return_inverse=True)
    sums = np.zeros((len(first), embeddings.shape[1]), np.float32)
    np.add.at(sums, study, embeddings)
    norms = np.linalg.norm(sums, axis=1, keepdims=True)
    return (sums / np.maximum(norms, 1e-12))[np.argsort(first)]


def index_split(
    step: int,
    split: pipeline.Split,
    image_embeddings: np.ndarray,
    text_embeddings: np.ndarray,
    attention: np.ndarray | None = None,
) -> SplitIndex:
    """A split's embeddings with all that retrieval shows of it."""
    rows = [
        Row(image_id, study_id, patient_id, report, tuple(sorted(labels)), int(group))
        for image_id, study_id, patient_id, report, labels, group in zip(
            split.image_ids,
            split.study_ids,
            split.patient_ids,
            split.reports,
            split.labels,
            split.group_ids,
            strict=True,
        )
    ]
    thumbnails = [thumbnail(images.decode(split.encoded_image(row))) for row in range(len(split))]
    return SplitIndex(split.name, step, rows, image_embeddings, text_embeddings, thumbnails, attention)


def thumbnail(image: np.ndarray) -> bytes:
    """uint8 (H, W) as a JPEG of at most THUMBNAIL pixels on its long side."""
    long_side = max(image.shape)
    return images.encode_jpeg(images.shrink(image, max(1, round(THUMBNAIL * min(image.shape) / long_side))))

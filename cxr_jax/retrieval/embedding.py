"""Streams a split through both encoders, and keeps what comes out as its index."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from cxr_jax.data import pipeline
from cxr_jax.data.tokens import TextFeatures, Tokens
from cxr_jax.models.dual_encoder import DualEncoder, l2_normalize
from cxr_jax.retrieval.rows import Lazily, Row, first_rows
from cxr_jax.retrieval.store import SplitIndex
from cxr_jax.runtime import parallel, processes
from cxr_jax.types import Image, TokenIds, TokenMask

Launched = TypeVar("Launched")


class Encoders(NamedTuple):
    """Both towers over this process's devices, by `parallel.pmap_locally`; variables and batches are sharded.

    `image`: (variables, uint8 (B, S, S, 1)) → (float32 (B, E) of unit norm, A_s of Eq. (11), float32 (B, h, w), 0 × 0
    without it). `text_features`: (variables, token ids, mask) → h of Eq. (5), (B, D). `text`: (variables, h) → float32
    (B, E) of unit norm. `lengths`: those, ascending, to the shortest of which that holds them texts are cut.
    """

    image: Any
    text_features: Any
    text: Any
    lengths: tuple[int, ...] = ()


class Texts(NamedTuple):
    """Reports as tokens, a row a report; and each distinct text's first row, (m,), the number of every row's text."""

    tokens: Tokens
    first: np.ndarray
    numbers: np.ndarray

    @classmethod
    def of(cls, tokens: Tokens) -> "Texts":
        """Texts that repeat, also at a study's images, found."""
        _, first, numbers = np.unique(tokens.token_ids, axis=0, return_index=True, return_inverse=True)
        return cls(tokens, first, numbers.reshape(-1))


def make_encoders(model: DualEncoder) -> Encoders:
    """The encoders of a model."""
    functions = encode_images, encode_text_features, encode_texts
    return Encoders(*(parallel.pmap_locally(partial(function, model)) for function in functions))


def compiled_encoders(
    model: DualEncoder, config: Mapping[str, Any], variables: Any, lengths: tuple[int, ...] = ()
) -> Encoders:
    """`make_encoders`, compiled for replicated variables like these, and batches of `batch_size`.

    Args:
      lengths: of texts, beside text.max_tokens.
    """
    size, side, width = batch_size(config), config["image_size"], config["text"]["bert"]["hidden_size"]
    longest = config["text"]["max_tokens"]
    lengths = (*sorted(length for length in set(lengths) if length < longest), longest)
    encoders = make_encoders(model)

    def compiled(encoder: Any, dtype: Any, *shape: int, inputs: int = 1) -> Any:
        return parallel.compiled(encoder, variables, *[parallel.shard(np.zeros((size, *shape), dtype))] * inputs)[0]

    readers = {length: compiled(encoders.text_features, np.int32, length, inputs=2) for length in lengths}
    return Encoders(
        compiled(encoders.image, np.uint8, side, side, 1),
        lambda variables, ids, mask: readers[ids.shape[-1]](variables, ids, mask),
        compiled(encoders.text, jnp.dtype(config["compute_dtype"]), width),
        lengths,
    )


def encode_images(model: DualEncoder, variables: Any, image: Image) -> tuple[Array, Array]:
    """`Encoders.image`, for one device."""
    out: Any = model.apply(variables, image)
    A_s = out.get("spatial_attention", jnp.zeros((len(image), 0, 0, 1)))[:, :, :, 0].astype(jnp.float32)
    return out["image_embedding"], A_s


def encode_text_features(model: DualEncoder, variables: Any, token_ids: TokenIds, token_mask: TokenMask) -> Array:
    """`Encoders.text_features`, for one device."""
    h: Any = model.apply(variables, token_ids, token_mask, method=lambda m, *tokens: m.text.pool(*tokens)[0])
    return h


def encode_texts(model: DualEncoder, variables: Any, h: Array) -> Array:
    """`Encoders.text`, for one device."""
    z: Any = model.apply(variables, h, method=lambda m, h: m.text.project(h))
    return l2_normalize(z)


def embed_split(
    encoders: Encoders,
    variables: Any,
    split: pipeline.Split,
    texts: Texts,
    config: Mapping[str, Any],
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
    features: np.ndarray | None = None,
) -> tuple[pipeline.Split, np.ndarray, np.ndarray, np.ndarray]:
    """The split, its image and text embeddings, each float32 (n, E) of unit norm, and A_s, uint8 (n, h, w) of 0 to 1.

    A row is an image; where data.view is mean, a study: its images' mean embedding, and the rest of its first image.
    The processes of a job share the rows, and each gets all of the result.

    Args:
      variables: replicated.
      progress: wraps the batches, of images and of texts.
      features: `text_features` of these texts, where they are at hand.
    """
    rows = parallel.own_rows(len(split))
    part = split.take(rows), texts.tokens.take(rows)
    z_v, A_s = _embed_images(encoders, variables, *part, config, progress)
    attention = np.round(255 * np.nan_to_num(A_s)).astype(np.uint8)
    z_v, attention = (parallel.gather_rows(x, len(split)) for x in (z_v, attention))
    if features is None:
        features = text_features(encoders, variables, texts, config, progress)
    z_t = _embed_texts(encoders, variables, texts, config, features)
    if config["data"]["view"] != "mean":
        return split, z_v, z_t, attention
    first = first_rows(split.study_ids)
    return split.take(first), mean_by_study(z_v, split.study_ids), z_t[first], attention[first]


def batch_size(config: Mapping[str, Any]) -> int:
    """Of what is embedded at a time in this process: training's share, filled up to all of its devices."""
    devices = parallel.num_local_devices()
    return -(-config["batch_size"] // (devices * processes.count())) * devices


def _embed_images(
    encoders: Encoders,
    variables: Any,
    split: pipeline.Split,
    tokens: Tokens,
    config: Mapping[str, Any],
    progress: Callable[[Iterable[Any]], Iterable[Any]],
) -> tuple[np.ndarray, np.ndarray]:
    threads = config["data"]["num_threads"]
    batches = pipeline.eval_batches(split, tokens, batch_size(config), config["image_size"], threads)
    outputs = (encoders.image(variables, parallel.shard(batch["image"])) for batch in progress(batches))
    z_v, A_s = (np.concatenate(part)[: len(split)] for part in zip(*_one_ahead(outputs), strict=True))
    return z_v, A_s


def text_features(
    encoders: Encoders,
    variables: Any,
    texts: Texts,
    config: Mapping[str, Any],
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> np.ndarray:
    """h of Eq. (5), (m, D), of this process's share of the distinct texts, each read once, the shortest first."""
    own = texts.tokens.take(texts.first[parallel.own_rows(len(texts.first))])
    lengths = own.token_mask.sum(axis=1)
    by_length = np.argsort(lengths, kind="stable")
    size = batch_size(config)

    def batches() -> Iterator[Tokens]:
        for start in range(0, len(by_length), size):
            rows = by_length[start : start + size]
            longest = lengths[rows[-1]]
            cut = next((length for length in encoders.lengths if length >= longest), own.token_ids.shape[1])
            yield Tokens(*(parallel.shard(pipeline.filled(part[rows, :cut], size)) for part in own))

    outputs = (encoders.text_features(variables, *batch) for batch in progress(batches()))
    h = np.concatenate(list(_one_ahead(outputs)))[: len(by_length)]
    return h[np.argsort(by_length)]


def features_of_all(encoders: Encoders, variables: Any, tokens: Tokens, config: Mapping[str, Any]) -> TextFeatures:
    """`text_features` of every row, in every process."""
    texts = Texts.of(tokens)
    h = text_features(encoders, variables, texts, config).astype(np.float32)
    return TextFeatures(parallel.gather_rows(h, len(texts.first))[texts.numbers])


def _embed_texts(
    encoders: Encoders, variables: Any, texts: Texts, config: Mapping[str, Any], features: np.ndarray
) -> np.ndarray:
    size = batch_size(config)
    batches = (features[start : start + size] for start in range(0, len(features), size))
    outputs = (encoders.text(variables, parallel.shard(pipeline.filled(h, size))) for h in batches)
    z_t = np.concatenate(list(_one_ahead(outputs)))[: len(features)]
    return parallel.gather_rows(z_t, len(texts.first))[texts.numbers]


def _one_ahead(outputs: Iterable[Any]) -> Iterator[Any]:
    return map(parallel.unshard, one_ahead(outputs))


def one_ahead(launched: Iterable[Launched]) -> Iterator[Launched]:
    """Each once the next is under way: what the devices compute is fetched while they are at the next batch."""
    behind: deque[Launched] = deque()
    for output in launched:
        behind.append(output)
        if len(behind) > 1:
            yield behind.popleft()
    yield from behind


def mean_by_study(embeddings: np.ndarray, study_ids: Sequence[str]) -> np.ndarray:
    """The mean embedding of each study, (n, E) → (studies, E), scaled to unit norm; in the order of `first_rows`."""
    _, first, study = np.unique(np.asarray(study_ids), return_index=True, return_inverse=True)
    sums = np.zeros((len(first), embeddings.shape[1]), np.float32)
    np.add.at(sums, study, embeddings)
    norms = np.linalg.norm(sums, axis=1, keepdims=True)
    return (sums / np.maximum(norms, 1e-12))[np.argsort(first)]


def index_split(
    step: int,
    checkpoint: str,
    split: pipeline.Split,
    image_embeddings: np.ndarray,
    text_embeddings: np.ndarray,
    attention: np.ndarray | None = None,
) -> SplitIndex:
    """A split's embeddings with all that retrieval shows of it.

    Args:
      checkpoint: `training.checkpoint.identity` of the variables that embedded it.
    """
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
    thumbnails = Lazily(len(split), split.thumbnail)
    return SplitIndex(
        split.name, step, rows, image_embeddings, text_embeddings, thumbnails, attention, checkpoint=checkpoint
    )

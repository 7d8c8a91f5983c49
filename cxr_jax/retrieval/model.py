"""The Python door: a trained model as an object that embeds images and reports and retrieves one by the other."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from transformers import PreTrainedTokenizerBase

from cxr_jax.data import images, pipeline, reports
from cxr_jax.errors import InputError
from cxr_jax.evaluation.zero_shot import margins, probability
from cxr_jax.export.folder import FILES, ExportFolder
from cxr_jax.models.dual_encoder import MAX_SCALE
from cxr_jax.retrieval.prompts import Prompts, as_questions
from cxr_jax.retrieval.store import Row, SplitIndex, first_rows, top_k
from cxr_jax.runtime import parallel
from cxr_jax.runtime.run_folder import RunFolder
from cxr_jax.training.checkpoint import Checkpoints
from cxr_jax.training.step import make_recipe, state_shapes
from cxr_jax.weights import hub

BEST_METRIC = "val_recall_mean"
THUMBNAIL = 256  # pixels, long side
Images = Sequence[str | Path | np.ndarray] | np.ndarray


@dataclasses.dataclass(frozen=True)
class Neighbour:
    """A retrieved training example and its cosine similarity to the query."""

    similarity: float
    row: Row
    thumbnail: bytes


class Model:
    """A run's best checkpoint, its tokenizer, and its training split as the pool to retrieve from, where it has one."""

    def __init__(
        self, config: Mapping[str, Any], variables: Any, tokenizer: PreTrainedTokenizerBase, pool: SplitIndex | None
    ):
        self.config, self.variables, self.tokenizer, self._pool = config, variables, tokenizer, pool
        self._encode = jax.jit(make_recipe(config).model.apply)
        self._studies = np.zeros(0, np.int64) if pool is None else pool.one_row_per_study()

    @property
    def pool(self) -> SplitIndex:
        """The training split's index.

        Raises:
          InputError: the model was exported without it.
        """
        if self._pool is None:
            raise InputError(
                "this export holds no pool of reports to retrieve from; export the run again with --with_index"
            )
        return self._pool

    def encode_image(self, paths_or_arrays: Images, batch_size: int = 32) -> np.ndarray:
        """Radiographs to embeddings.

        Args:
          paths_or_arrays: image files of any mode, or grey uint8 arrays (H, W) or (H, W, 1) of any size.

        Returns:
          float32 (n, embed_dim), unit norm.

        Raises:
          InputError: a file cannot be read, or an array is not grey uint8.
        """
        side = self.config["image_size"]
        square = [images.fit_square(_grey(image), side)[:, :, None] for image in paths_or_arrays]

        def encode(image: np.ndarray) -> jax.Array:
            return self._encode(self.variables, image)["image_embedding"]

        return self._in_batches(encode, [np.array(square, np.uint8).reshape(-1, side, side, 1)], batch_size)

    def encode_text(self, texts: Sequence[str], batch_size: int = 32) -> np.ndarray:
        """Reports or sentences to embeddings, float32 (n, embed_dim), unit norm.

        Raises:
          InputError: `texts` is a single string, or one of them is blank.
        """
        if isinstance(texts, str):
            raise InputError("encode_text takes a list of strings; wrap the one string in a list")
        for number, text in enumerate(texts):
            if not text.strip():
                raise InputError(f"text {number} is empty; there is nothing to embed")
        tokens = reports.tokenize(self.tokenizer, texts, self.config["text"]["max_tokens"], self.config["data"]["xxxx"])

        def encode(ids: np.ndarray, mask: np.ndarray) -> jax.Array:
            return self._encode(self.variables, token_ids=ids, token_mask=mask)["text_embedding"]

        return self._in_batches(encode, tokens, batch_size)

    @property
    def scale(self) -> float:
        """1/τ, by which cosines are multiplied."""
        return float(min(np.exp(self.variables["params"]["log_scale"]), MAX_SCALE))

    def zero_shot(self, images: Images, prompts: Prompts) -> dict[str, np.ndarray]:
        """How probable each label is of each image, by which of two opposite sentences the image lies nearer to.

        Args:
          images: as `encode_image` takes them.
          prompts: {label: (sentences that affirm it, sentences that deny it)}, or labels, for default sentences.

        Returns:
          {label: float32 (n,)}: good for ranking images; no calibrated risk.

        Raises:
          InputError: an image cannot be read, or a label has no sentences.
        """
        questions = as_questions(prompts)
        chances = probability(margins(self.encode_image(images), questions, self.encode_text, self.scale))
        return {question.name: chances[:, i].astype(np.float32) for i, question in enumerate(questions)}

    def retrieve(self, image: str | Path | np.ndarray, top_k: int = 5) -> list[Neighbour]:
        """The training studies whose reports lie nearest to an image, nearest first; the first one's is its report."""
        targets = self.pool.text_embeddings  # first: without a pool nothing need be embedded
        return self.nearest(self.encode_image([image]), targets, top_k)[0]

    def retrieve_images(self, text: str, top_k: int = 5) -> list[Neighbour]:
        """The training images that lie nearest to a text, one a study, nearest first."""
        targets = self.pool.image_embeddings
        return self.nearest(self.encode_text([text]), targets, top_k)[0]

    def nearest(self, queries: np.ndarray, targets: np.ndarray, k: int) -> list[list[Neighbour]]:
        """For each query (n, E) the k nearest studies by `targets`, the pool's image or text embeddings."""
        similarity, found = top_k(queries, targets[self._studies], k)
        rows = self._studies[found]
        pool = self.pool
        return [
            [Neighbour(float(s), pool.rows[r], pool.thumbnails[r]) for s, r in zip(*line, strict=True)]
            for line in zip(similarity, rows, strict=True)
        ]

    def _in_batches(
        self, encode: Callable[..., jax.Array], arrays: Sequence[np.ndarray], batch_size: int
    ) -> np.ndarray:
        # Every batch is filled up to one size, so that the encoder is compiled once.
        count, parts = len(arrays[0]), [np.zeros((0, self.config["embed_dim"]), np.float32)]
        for start in range(0, count, batch_size):
            batch = [array[start : start + batch_size] for array in arrays]
            filled = [np.concatenate([a, np.repeat(a[-1:], batch_size - len(a), axis=0)]) for a in batch]
            parts.append(np.asarray(encode(*filled), np.float32)[: len(batch[0])])
        return np.concatenate(parts)


def load(workdir: str | Path) -> Model:
    """The model of a run's folder or of an export's, either of which may have been moved, or of an export on the hub.

    Raises:
      InputError: there is neither, or the run is unfinished, or a file is damaged.
    """
    root = hub.fetch(workdir, FILES)
    export = ExportFolder(root)
    return _load_export(export) if export.is_one() else _load_run(RunFolder(root))


def _load_run(run: RunFolder) -> Model:
    config = run.load_config()
    pool = SplitIndex.load(run.index, "train")
    variables = load_variables(run, config, pool.step)
    return Model(config, variables, reports.load_tokenizer(run.tokenizer), pool)


def _load_export(export: ExportFolder) -> Model:
    config = export.load_config()
    shapes = state_shapes(make_recipe(config), config)
    variables = export.load_variables({"params": shapes.params, "batch_stats": shapes.batch_stats})
    pool = SplitIndex.load(export.index, "train") if export.index.is_dir() else None
    if pool is not None and pool.step != export.step():
        raise InputError(
            f"{export.index}: is of step {pool.step} and the weights of step {export.step()}; export both again"
        )
    return Model(config, variables, reports.load_tokenizer(export.tokenizer), pool)


def load_variables(run: RunFolder, config: Mapping[str, Any], step: int) -> dict[str, Any]:
    """{"params", "batch_stats"} of a checkpoint."""
    checkpoints = Checkpoints(run.checkpoints, BEST_METRIC)
    state, _ = checkpoints.restore(step, state_shapes(make_recipe(config), config))
    checkpoints.close()
    return {"params": state.params, "batch_stats": state.batch_stats}


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
        parts.append([each[batch["weight"] > 0] for each in encoded])
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


def _grey(image: str | Path | np.ndarray) -> np.ndarray:
    if not isinstance(image, np.ndarray):
        return images.read_grey(image)
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] != 1):
        raise InputError(f"image array is {image.dtype} {image.shape}; give grey uint8 (H, W) or (H, W, 1)")
    return image if image.ndim == 2 else image[:, :, 0]

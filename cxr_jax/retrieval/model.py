"""The Python API: a trained model as an object that embeds images and reports and retrieves one by the other."""

import dataclasses
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

import jax
import numpy as np
from PIL import Image
from transformers import PreTrainedTokenizerBase

from cxr_jax.data import images
from cxr_jax.data.pipeline import filled
from cxr_jax.data.tokens import tokenize
from cxr_jax.errors import InputError
from cxr_jax.models.dual_encoder import build_model, inverse_temperature
from cxr_jax.retrieval.abstention import UNCHECKED, Checks
from cxr_jax.retrieval.draft import NEIGHBOURS, Draft, Drafter, Neighbours, SentencePool
from cxr_jax.retrieval.heat import Heat
from cxr_jax.retrieval.prompts import Prompts, as_questions
from cxr_jax.retrieval.regions import Regions
from cxr_jax.retrieval.rows import Lazily, Row
from cxr_jax.retrieval.search import Candidates
from cxr_jax.retrieval.store import SplitIndex
from cxr_jax.retrieval.voting import Thresholds
from cxr_jax.retrieval.zero_shot import margins, probability
from cxr_jax.training.checkpoint import identity

Images = Any  # what `images.grey_of` takes, one or several; what is none of that is refused by name
BATCH = 32  # images or texts encoded at a time, at most
HALF = (
    "draft.method=compose: the model has no thresholds chosen on a validation split (an export without "
    "index/draft.json), so a draft says what half of the neighbours' votes are for; export the run again --with_index"
)


class DraftWarning(UserWarning):
    """A draft was made of an image that is doubted, or was not checked."""


@dataclasses.dataclass(frozen=True)
class Neighbour:
    """A retrieved training example and its cosine similarity to the query."""

    similarity: float
    row: Row
    thumbnail: bytes


class Model:
    """A run's best checkpoint, its tokenizer, and its training split as the pool to retrieve from, where it has one.

    The pool's embeddings are put on the device by the first search and stay there.

    Args:
      step: the checkpoint's, where there is no pool that knows it.
      thresholds: what gives drafts' votes theirs, once one is asked for (`loading.of_validation`); the majority has its
        way where None, which standard error says at the first draft by `compose`.
      checks: what gives those before a draft, once one is asked for (`loading.checks_of`); none where None.

    Raises:
      InputError: the pool is of another checkpoint.
    """

    _said = False  # that there are no thresholds

    def __init__(
        self,
        config: Mapping[str, Any],
        variables: Any,
        tokenizer: PreTrainedTokenizerBase,
        pool: SplitIndex | None,
        step: int = 0,
        thresholds: Callable[["Model"], Thresholds] | None = None,
        checks: Callable[["Model"], Checks | None] | None = None,
    ):
        self.config, self.variables, self.tokenizer, self._pool = config, variables, tokenizer, pool
        self._thresholds, self._checks = thresholds, checks
        self.step = step if pool is None else pool.step
        self._encode = jax.jit(build_model(config).apply)
        if pool is not None and pool.checkpoint:
            pool.check_checkpoint(pool.step, identity(variables), "the model")

    @property
    def has_pool(self) -> bool:
        """Whether there is a training split's index; an export may be without."""
        return self._pool is not None

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

    @property
    def reports(self) -> Lazily[str]:
        """The pool's reports, by row, each read when it is asked for."""
        return self.pool.reports

    def with_pool(self, pool: SplitIndex) -> "Model":
        """The same model, compiled as it is, with another pool (`corpus.read_pool`), and its own thresholds and limits.

        Raises:
          InputError: the pool is of another checkpoint.
        """
        own = self._thresholds
        if own is not None and self.has_pool:
            own = lambda _: self.drafter.thresholds  # noqa: E731
        checks = self._checks_of_another_pool if self.has_pool else None
        model = Model(self.config, self.variables, self.tokenizer, pool, thresholds=own, checks=checks)
        model._encode = self._encode
        return model

    def _checks_of_another_pool(self, _: "Model") -> Checks | None:
        return None if self.checks is None else self.checks.of_another_pool()

    def encode_image(self, paths_or_arrays: Images, batch_size: int = BATCH) -> np.ndarray:
        """Radiographs to embeddings.

        Args:
          paths_or_arrays: what `images.grey_of` takes, one or several: files, PIL images, arrays of any size; or an
            array (N, H, W) or (N, H, W, C) of several.

        Returns:
          float32 (n, embed_dim), unit norm; n = 1 of a single image.

        Raises:
          InputError: an image cannot be read, or is none.
        """
        side = self.config["image_size"]

        def encode(image: np.ndarray) -> jax.Array:
            return self._encode(self.variables, image)["image_embedding"]

        squares = np.array(self.squares(paths_or_arrays), np.uint8)
        return self._in_batches(encode, [squares.reshape(-1, side, side, 1)], batch_size)

    def squares(self, paths_or_arrays: Images) -> list[np.ndarray]:
        """What the model sees of images as `encode_image` takes them: uint8 (image_size, image_size) each."""
        side = self.config["image_size"]
        return [images.fit_square(images.grey_of(image), side) for image in _one_by_one(paths_or_arrays)]

    def encode_text(self, texts: Any, batch_size: int = BATCH) -> np.ndarray:
        """Reports or sentences, one or several, to embeddings, float32 (n, embed_dim), unit norm.

        Raises:
          InputError: one of them is blank, or no string.
        """
        if not isinstance(texts, Iterable):
            raise InputError(f"texts are a {type(texts).__name__}; give strings")
        texts = [texts] if isinstance(texts, str) else list(texts)
        for number, text in enumerate(texts):
            if not isinstance(text, str):
                raise InputError(f"text {number} is a {type(text).__name__}; give strings")
            if not text.strip():
                raise InputError(f"text {number} is empty; there is nothing to embed")
        tokens = tokenize(self.tokenizer, texts, self.config["text"]["max_tokens"], self.config["data"]["xxxx"])

        def encode(ids: np.ndarray, mask: np.ndarray) -> jax.Array:
            return self._encode(self.variables, token_ids=ids, token_mask=mask)["text_embedding"]

        return self._in_batches(encode, tokens, batch_size)

    @property
    def scale(self) -> float:
        """1/τ, by which cosines are multiplied."""
        return float(inverse_temperature(self.variables["params"]["log_scale"]))

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

    def retrieve(self, image: Any, top_k: int = 5, recall: float = 1.0) -> list[Neighbour]:
        """The training studies whose reports lie nearest to an image, nearest first; the first one's is its report.

        Args:
          recall: less than 1 for an approximate search, see `search.top_k`.
        """
        return self.retrieve_each([image], top_k, recall)[0]

    def retrieve_each(
        self, images: Images, top_k: int = 5, recall: float = 1.0, find: str = "reports", text: str = ""
    ) -> list[list[Neighbour]]:
        """`retrieve` for each of several images, encoded and searched for together.

        Args:
          find: "reports", or "images" for the studies whose images lie nearest.
          text: what is looked for besides: the query is then the sum of the image's embedding and this one's, scaled to
            unit norm.
        """
        studies = (
            self._pictures if find == "images" else self._reports
        )  # first: without a pool nothing need be embedded
        queries = self.encode_image(images)
        if text:
            queries = queries + self.encode_text([text])
            queries /= np.maximum(np.linalg.norm(queries, axis=1, keepdims=True), 1e-12)
        return self._nearest(queries, studies, top_k, recall)

    def retrieve_embedded(self, embeddings: np.ndarray, top_k: int = 5) -> list[list[Neighbour]]:
        """The same of images' embeddings, float32 (n, embed_dim)."""
        return self._nearest(embeddings, self._reports, top_k, 1.0)

    def draft(self, image: Any, method: str = "", abstain: bool = False) -> Draft:
        """A draft of an image's report, `draft_each`."""
        return self.draft_each([image], method, abstain)[0]

    def draft_each(self, images: Images, method: str = "", abstain: bool = False) -> list[Draft]:
        """Drafts of several images' reports, each sentence with the neighbours that say the same, and the contrary.

        What is doubted of an image stands in its draft's `doubts`, and becomes a `DraftWarning` each.

        Args:
          images: as `encode_image` takes them.
          method: as draft.method, which it is where "" is given. `sentences` embeds the pool's sentences first, once.
          abstain: withhold the drafts of images that are doubted: they say nothing.

        Raises:
          InputError: an image cannot be read, or there is no such method.
        """
        _ = self._reports  # first: without a pool nothing need be embedded
        squares = self.squares(images)
        embeddings = self.encode_image(squares)
        neighbours = self.neighbours(embeddings)
        drafts = self.draft_embedded(embeddings, method or self.config["draft"]["method"], neighbours)
        if abstain and self.checks is None:
            warnings.warn(UNCHECKED, DraftWarning, stacklevel=2)
        doubts = self.doubts(squares, embeddings, neighbours)
        for number, lines in enumerate(doubts):
            for line in lines:
                warnings.warn(f"image {number}: {line}", DraftWarning, stacklevel=2)
        return [draft.doubted(lines, abstain) for draft, lines in zip(drafts, doubts, strict=True)]

    def doubts_each(self, images: Images) -> list[tuple[str, ...]]:
        """Why each of several images, as `encode_image` takes them, is doubted: `doubts`."""
        squares = self.squares(images)
        embeddings = self.encode_image(squares)
        return self.doubts(squares, embeddings, self.neighbours(embeddings))

    def doubts(
        self, squares: Sequence[np.ndarray], embeddings: np.ndarray, neighbours: Neighbours
    ) -> list[tuple[str, ...]]:
        """Why each image is doubted, a line a reason (`abstention.reasons`); nothing where there are no `checks`.

        Args:
          squares: `squares`.
          embeddings: theirs, float32 (n, embed_dim).
          neighbours: theirs.
        """
        if self.checks is None:
            return [()] * len(embeddings)
        return self.checks.doubts(squares, embeddings, self.drafter.agreement(neighbours))

    @cached_property
    def checks(self) -> Checks | None:
        """What is checked of an image before a draft; None of an index of before, which holds no limits for it."""
        return None if self._checks is None else self._checks(self)

    def neighbours(self, embeddings: np.ndarray) -> Neighbours:
        """Those that vote on drafts of images, whose embeddings are float32 (n, embed_dim)."""
        similarity, nearest = self._reports.top_k(embeddings, NEIGHBOURS)
        return Neighbours(self._studies[nearest], similarity)

    def draft_embedded(self, embeddings: np.ndarray, method: str, neighbours: Neighbours | None = None) -> list[Draft]:
        """`draft_each` of images' embeddings, float32 (n, embed_dim).

        Args:
          neighbours: `neighbours` of these, where they are at hand.
        """
        neighbours = self.neighbours(embeddings) if neighbours is None else neighbours
        if method == "compose" and self._thresholds is None and not self._said:
            print(HALF, file=sys.stderr, flush=True)
            self._said = True
        if method != "sentences":
            return self.drafter.drafts(method, neighbours)
        pool, candidates = self._sentences
        similarity, nearest = candidates.top_k(embeddings, NEIGHBOURS)
        return self.drafter.drafts(method, neighbours, pool, Neighbours(nearest, similarity))

    @cached_property
    def drafter(self) -> Drafter:
        """What drafts are made by."""
        return Drafter(self.reports, self.scale, None if self._thresholds is None else self._thresholds(self))

    @cached_property
    def _sentences(self) -> tuple[SentencePool, Candidates]:
        pool = SentencePool(self.reports, self._studies.tolist())
        return pool, Candidates(self.encode_text(pool.texts))

    @cached_property
    def regions(self) -> Regions:
        """Where it sees what sentences say.

        Raises:
          InputError: what may be shown is kept in a file that is damaged.
        """
        return Regions(self)

    def region(self, image: Any, text: Any) -> Heat:
        """Where in an image a sentence is seen, float32 (h, w) in the image's frame; the higher, the more: `regions`.

        Raises:
          InputError: the image cannot be read, or the maps of what the sentence affirms have not passed their test.
        """
        return self.regions.of(image, text)

    def retrieve_images(self, text: str, top_k: int = 5, recall: float = 1.0) -> list[Neighbour]:
        """The training images that lie nearest to a text, one a study, nearest first."""
        return self.retrieve_images_each([text], top_k, recall)[0]

    def retrieve_images_each(self, texts: Sequence[str], top_k: int = 5, recall: float = 1.0) -> list[list[Neighbour]]:
        """`retrieve_images` for each of several texts, encoded and searched for together."""
        pictures = self._pictures
        return self._nearest(self.encode_text(texts), pictures, top_k, recall)

    @cached_property
    def _studies(self) -> np.ndarray:
        return self.pool.one_row_per_study()

    @cached_property
    def _reports(self) -> Candidates:
        return Candidates(self.pool.text_embeddings, self._studies)

    @cached_property
    def _pictures(self) -> Candidates:
        if not np.any(self.pool.image_embeddings[:1]):
            raise InputError(f"the pool, {self.pool.name}, holds reports without images; take the run's own (train)")
        return Candidates(self.pool.image_embeddings, self._studies)

    def _nearest(self, queries: np.ndarray, studies: Candidates, k: int, recall: float) -> list[list[Neighbour]]:
        similarity, nearest = studies.top_k(queries, k, recall)
        rows, pool = self._studies[nearest], self.pool
        return [
            [Neighbour(float(s), pool.rows[r], pool.thumbnails[r]) for s, r in zip(*line, strict=True)]
            for line in zip(similarity, rows, strict=True)
        ]

    def _in_batches(
        self, encode: Callable[..., jax.Array], arrays: Sequence[np.ndarray], batch_size: int
    ) -> np.ndarray:
        # The last batch is filled up to 1, 2, 4, … rows, so that the encoder is compiled for few sizes.
        count, parts = len(arrays[0]), [np.zeros((0, self.config["embed_dim"]), np.float32)]
        for start in range(0, count, batch_size):
            batch = [array[start : start + batch_size] for array in arrays]
            rows = len(batch[0])
            size = min(1 << (rows - 1).bit_length(), batch_size)
            parts.append(np.asarray(encode(*(filled(array, size) for array in batch)), np.float32)[:rows])
        return np.concatenate(parts)


def _one_by_one(given: Images) -> Iterable[Any]:
    """Each image of one or several."""
    if isinstance(given, str | os.PathLike | Image.Image):
        return [given]
    if hasattr(given, "__array__"):  # NumPy's, JAX's, torch's
        array = np.asarray(given)
        one = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (1, 3, 4))
        return [array] if one or array.ndim < 2 else array
    if isinstance(given, bytes) or not isinstance(given, Iterable):
        raise InputError(f"image is a {type(given).__name__}; give a file's path, a PIL image or an array, or several")
    return given

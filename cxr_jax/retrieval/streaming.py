"""Image files and texts, any number of them, through a model's encoders: on all devices, in a window of memory."""

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import numpy as np

from cxr_jax.data import images
from cxr_jax.data.encoders import cores, in_order
from cxr_jax.data.pipeline import filled
from cxr_jax.data.tokens import tokenize
from cxr_jax.errors import InputError
from cxr_jax.models.dual_encoder import build_model
from cxr_jax.retrieval.embedding import make_encoders, one_ahead
from cxr_jax.retrieval.model import Model
from cxr_jax.runtime import parallel

PER_DEVICE = 32  # images or texts of a device at a time
WINDOW = 16  # batches of texts that are sorted by length together
SHORTEST = 16  # tokens that texts are padded to at least: 16, 32, 64, … and text.max_tokens


@dataclasses.dataclass(frozen=True)
class Batch:
    """What became of a run of inputs, by their numbers among all: each has an embedding or a fault."""

    start: int  # the first of the run
    rows: np.ndarray  # int64 (n,), ascending
    embeddings: np.ndarray  # float32 (n, E) of unit norm, of these rows
    faults: dict[int, str]  # the line that says which input cannot be read, why, and what to do
    warnings: dict[int, tuple[str, ...]]  # what had to be guessed or left out, of images that have an embedding

    @property
    def count(self) -> int:
        """How many inputs it is of."""
        return len(self.rows) + len(self.faults)


class StreamingEncoder:
    """A model's encoders over this process's devices, for streams of inputs.

    Inputs are encoded `batch_size` at a time over all devices, the last ones filled up to 1, 2, 4, … rows a device,
    so that few programs are compiled. A stream that starts at a multiple of `window` gives, from there on, the batches
    of one that started at 0.

    Args:
      batch_size: filled up to a multiple of the devices; 0 for PER_DEVICE on each.
    """

    def __init__(self, model: Model, batch_size: int = 0):
        self._devices = parallel.num_local_devices()
        self.batch_size = -(-(batch_size or PER_DEVICE * self._devices) // self._devices) * self._devices
        self.window = WINDOW * self.batch_size
        self._config, self._tokenizer = model.config, model.tokenizer
        self._encoders = make_encoders(build_model(model.config))
        self._variables = parallel.replicate(model.variables)

    def images(self, files: Sequence[Path], start: int = 0) -> Iterator[Batch]:
        """Radiographs' embeddings, `batch_size` files at a time, equal to `Model.encode_image`'s.

        Files are read by threads, two batches ahead at most. What cannot be read is a fault of its batch.

        Args:
          start: the first file to encode.
        """
        threads = ThreadPoolExecutor(cores(), thread_name_prefix="read")
        try:
            squares = in_order(threads, self._square, itertools.islice(files, start, None), 2 * self.batch_size)
            for first, rows, output, faults, warned in one_ahead(self._launched(squares, start)):
                yield Batch(first, rows, self._fetched(output, len(rows)), faults, warned)
        finally:
            threads.shutdown(cancel_futures=True)

    def _launched(self, squares: Iterator[Any], start: int) -> Iterator[Any]:
        side = self._config["image_size"]
        while read := list(itertools.islice(squares, self.batch_size)):
            good = [row for row, (square, _) in enumerate(read) if square is not None]
            faults = {start + row: said for row, (square, said) in enumerate(read) if square is None}
            warned = {start + row: read[row][1] for row in good if read[row][1]}
            output = None
            if good:
                pixels = np.stack([read[row][0] for row in good]).reshape(-1, side, side, 1)
                output = self._encoders.image(self._variables, self._filled(pixels))[0]
            yield start, start + np.array(good, np.int64), output, faults, warned
            start += len(read)

    def _square(self, file: Path) -> tuple[np.ndarray | None, Any]:
        """An image as the tower reads it, uint8 (S, S), and its warnings; or nothing, and why."""
        try:
            picture = images.read(file)
        except InputError as error:
            return None, str(error)
        return images.fit_square(picture.grey, self._config["image_size"]), picture.warnings

    def texts(self, texts: Sequence[str], start: int = 0) -> Iterator[Batch]:
        """Texts' embeddings, a window at a time, equal to `Model.encode_text`'s.

        Within a window texts are sorted by length and padded to the longest of their batch, up to a power of two. A
        blank text is a fault. Equal texts are encoded as often as they come: give `distinct` ones.

        Args:
          start: the first text to encode.
        """
        for first, rows, outputs, faults in one_ahead(self._launched_texts(texts, start)):
            embeddings = np.zeros((len(rows), self._config["embed_dim"]), np.float32)
            for places, output in outputs:
                embeddings[places] = self._fetched(output, len(places))
            yield Batch(first, rows, embeddings, faults, {})

    def _launched_texts(self, texts: Sequence[str], first: int) -> Iterator[Any]:
        longest, xxxx = self._config["text"]["max_tokens"], self._config["data"]["xxxx"]
        for start in range(first, len(texts), self.window):
            part = texts[start : start + self.window]
            good = [row for row, text in enumerate(part) if text.strip()]
            faults = {
                start + row: f"text {start + row} is empty; there is nothing to embed"
                for row, text in enumerate(part)
                if not text.strip()
            }
            tokens = tokenize(self._tokenizer, [part[row] for row in good], longest, xxxx)
            lengths = tokens.token_mask.sum(axis=1)
            by_length, outputs = np.argsort(lengths, kind="stable"), []
            for first in range(0, len(good), self.batch_size):
                places = by_length[first : first + self.batch_size]
                length = min(max(_power_of_two(int(lengths[places[-1]])), SHORTEST), longest)
                ids, mask = (self._filled(x[places, :length]) for x in tokens)
                h = self._encoders.text_features(self._variables, ids, mask)
                outputs.append((places, self._encoders.text(self._variables, h)))
            yield start, start + np.array(good, np.int64), outputs, faults

    def _filled(self, rows: np.ndarray) -> Any:
        """Sharded, and filled up with the last one."""
        of_device = _power_of_two(-(-len(rows) // self._devices))
        size = min(of_device * self._devices, self.batch_size)
        return parallel.shard(filled(rows, size))

    def _fetched(self, output: jax.Array | None, count: int) -> np.ndarray:
        if output is None:
            return np.zeros((0, self._config["embed_dim"]), np.float32)
        embeddings: np.ndarray = parallel.unshard(output)[:count]
        return embeddings


def collect(batches: Iterable[Batch]) -> Batch:
    """All of a stream of at least one batch as one."""
    parts = list(batches)
    return Batch(
        parts[0].start,
        np.concatenate([part.rows for part in parts]),
        np.concatenate([part.embeddings for part in parts]),
        {row: said for part in parts for row, said in part.faults.items()},
        {row: said for part in parts for row, said in part.warnings.items()},
    )


def distinct(inputs: Sequence[Any]) -> tuple[list[Any], np.ndarray]:
    """(Each distinct one of hashable inputs, in the order of their first, and int64 (n,), which of them each is)."""
    numbers: dict[Any, int] = {}
    which = np.array([numbers.setdefault(one, len(numbers)) for one in inputs], np.int64)
    return list(numbers), which


def _power_of_two(number: int) -> int:
    """The least one that is not less."""
    return 1 << (number - 1).bit_length()

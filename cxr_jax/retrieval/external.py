"""Images and reports that no run has seen, embedded as a split is."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cxr_jax.data import images
from cxr_jax.data.notes import Notes
from cxr_jax.data.records import Record
from cxr_jax.data.reports import group_ids
from cxr_jax.errors import InputError
from cxr_jax.retrieval.model import Model
from cxr_jax.retrieval.rows import Lazily, Row
from cxr_jax.retrieval.store import SplitIndex
from cxr_jax.retrieval.streaming import StreamingEncoder, collect, distinct
from cxr_jax.training.checkpoint import identity


class Embedder:
    """A model as the encoder of sets and corpora, compiled once for all of them.

    Args:
      step: of its checkpoint; 0 where it does not matter.
    """

    def __init__(self, model: Model, step: int = 0):
        self.model, self.step, self.checkpoint = model, step, identity(model.variables)
        self._stream = StreamingEncoder(model)

    def images(
        self,
        files: Sequence[Path],
        notes: Notes,
        progress: Callable[[Iterable[Any], int], Iterable[Any]] = lambda batches, _: batches,
    ) -> tuple[np.ndarray, np.ndarray]:
        """The files that can be read, int64 (m,), and their embeddings, float32 (m, E) of unit norm.

        The notes count the others, and what had to be guessed of an image.

        Args:
          progress: wraps the batches, of which it is told how many there are.

        Raises:
          InputError: none can be read.
        """
        count = -(-len(files) // self._stream.batch_size)
        found = collect(progress(self._stream.images(files), count))
        for row in found.faults:
            notes.add("images cannot be read, and are left out", str(files[row]))
        for row, warnings in found.warnings.items():
            for warning in warnings:
                notes.add(f"images: {warning}", str(files[row]))
        if not len(found.rows):
            raise InputError(f"none of {len(files)} images can be read; the first: {found.faults[0]}")
        return found.rows, found.embeddings

    def texts(self, texts: Sequence[str]) -> np.ndarray:
        """float32 (n, E) of unit norm, each distinct text encoded once; zeros for a blank one."""
        each, which = distinct(texts)
        embeddings = np.zeros((len(each), self.model.config["embed_dim"]), np.float32)
        if each:
            found = collect(self._stream.texts(each))
            embeddings[found.rows] = found.embeddings
        return embeddings[which]

    def index(
        self, name: str, records: Sequence[Record], reports: Sequence[str], image_embeddings: np.ndarray
    ) -> SplitIndex:
        """A set's embeddings beside what is known of it, as an index has them; a thumbnail is read when asked for.

        Args:
          reports: '' where there is none, whose text embedding is zero.
        """
        rows = [
            Row(record.image_id, record.study_id, record.patient_id, report, record.labels, int(group))
            for record, report, group in zip(records, reports, group_ids(reports), strict=True)
        ]
        thumbnails = Lazily(len(rows), lambda row: images.thumbnail(images.read(records[row].image).grey))
        texts = self.texts(reports)
        return SplitIndex(name, self.step, rows, image_embeddings, texts, thumbnails, checkpoint=self.checkpoint)

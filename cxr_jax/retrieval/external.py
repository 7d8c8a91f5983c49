"""Images and reports that no run has seen, embedded as a split is."""

import io
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cxr_jax.data import images
from cxr_jax.data.notes import Notes
from cxr_jax.data.records import Record
from cxr_jax.data.reports import group_ids
from cxr_jax.errors import InputError
from cxr_jax.retrieval.model import BATCH, Model
from cxr_jax.retrieval.rows import Lazily, Row
from cxr_jax.retrieval.search import top_k
from cxr_jax.retrieval.store import SplitIndex
from cxr_jax.training.checkpoint import identity

SAME, SAME_PIXELS, SIDE = 0.995, 2.0, 64  # cosine; greys of 255; pixels


def embed_images(
    model: Model, files: Sequence[Path], notes: Notes, progress: Callable[[Iterable[Any]], Iterable[Any]] = iter
) -> tuple[np.ndarray, np.ndarray]:
    """The files that can be read, int64 (m,), and their embeddings, float32 (m, E) of unit norm.

    The notes count the others, and what had to be guessed of an image.

    Raises:
      InputError: none can be read.
    """

    def read(file: Path) -> Any:
        try:
            return images.read(file)
        except InputError as error:
            return error

    kept, parts, fault = [], [np.zeros((0, model.config["embed_dim"]), np.float32)], ""
    with ThreadPoolExecutor() as threads:
        for start in progress(range(0, len(files), BATCH)):
            pictures = list(threads.map(read, files[start : start + BATCH]))
            good = [i for i, picture in enumerate(pictures) if not isinstance(picture, InputError)]
            for i, picture in enumerate(pictures):
                if i not in good:
                    fault = fault or str(picture)
                    notes.add("images cannot be read, and are left out", str(files[start + i]))
                    continue
                for warning in picture.warnings:
                    notes.add(f"images: {warning}", str(files[start + i]))
            kept += [start + i for i in good]
            if good:
                parts.append(model.encode_image([pictures[i].grey for i in good]))
    if not kept:
        raise InputError(f"none of {len(files)} images can be read; the first: {fault}")
    return np.array(kept, np.int64), np.concatenate(parts)


def embed_texts(model: Model, texts: Sequence[str]) -> np.ndarray:
    """float32 (n, E) of unit norm, each distinct text encoded once; zeros for a blank one."""
    distinct = list(dict.fromkeys(text for text in texts if text.strip()))
    embeddings = np.zeros((len(distinct) + 1, model.config["embed_dim"]), np.float32)
    if distinct:
        embeddings[:-1] = model.encode_text(distinct)
    place = {text: i for i, text in enumerate(distinct)}
    return embeddings[[place.get(text, -1) for text in texts]]


def index_records(
    model: Model, name: str, step: int, records: Sequence[Record], reports: Sequence[str], embeddings: np.ndarray
) -> SplitIndex:
    """A set's embeddings beside what is known of it, as an index has them; a thumbnail is read when asked for.

    Args:
      reports: '' where there is none, whose text embedding is zero.
      embeddings: of the images.
    """
    rows = [
        Row(record.image_id, record.study_id, record.patient_id, report, record.labels, int(group))
        for record, report, group in zip(records, reports, group_ids(reports), strict=True)
    ]
    thumbnails = Lazily(len(rows), lambda row: images.thumbnail(images.read(records[row].image).grey))
    texts = embed_texts(model, reports)
    return SplitIndex(name, step, rows, embeddings, texts, thumbnails, checkpoint=identity(model.variables))


def taken(index: SplitIndex, rows: Sequence[int] | np.ndarray) -> SplitIndex:
    """Some rows of an index, in memory."""
    rows = np.asarray(rows, np.int64)
    return SplitIndex(
        index.name,
        index.step,
        [index.rows[i] for i in rows.tolist()],
        index.image_embeddings[rows],
        index.text_embeddings[rows],
        Lazily(len(rows), lambda row: index.thumbnails[int(rows[row])]),
        None if index.attention is None else index.attention[rows],
        index.checkpoint,
        index.place,
    )


def same_pictures(query: SplitIndex, train: SplitIndex) -> list[tuple[int, int]]:
    """(Row of the query, row of `train`) where the nearest training image is the very same picture.

    Its embedding must be nearly the same, and then its thumbnail, whose pixels are compared: so a picture that was
    turned or cut is not found.
    """
    similarity, nearest = top_k(query.image_embeddings, train.image_embeddings, 1)
    alike = np.flatnonzero(similarity[:, 0] > SAME).tolist()
    pairs = [(i, int(nearest[i, 0])) for i in alike]
    return [(i, row) for i, row in pairs if _difference(query.thumbnails[i], train.thumbnails[row]) <= SAME_PIXELS]


def _difference(one: bytes, other: bytes) -> float:
    """The mean difference of two JPEGs' greys, at SIDE × SIDE."""
    small = (Image.open(io.BytesIO(jpeg)).convert("L").resize((SIDE, SIDE)) for jpeg in (one, other))
    first, second = (np.asarray(image, np.float64) for image in small)
    return float(np.abs(first - second).mean())

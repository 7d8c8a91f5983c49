"""Embeddings on the way to a file: stored as they come, so that a stream that was killed goes on from there."""

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from cxr_jax.files import whole, write_json
from cxr_jax.retrieval.streaming import Batch, collect

ABOUT = "about.json"


class Parts:
    """`folder/KIND/000000/` and so on: the embeddings of `window` inputs each, whole or not there.

    What is there of another `about` is taken away.

    Args:
      about: all that decides what is stored: the checkpoint, the inputs, the batches.
    """

    def __init__(self, folder: Path, window: int, about: Mapping[str, Any]):
        self.folder, self.window = folder, window
        self.begun_anew = False  # whether parts of something else were there
        try:
            there = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            there = None
        if there != about:
            kinds = [kind for kind in folder.iterdir() if kind.is_dir()]
            self.begun_anew = bool(kinds)
            for kind in kinds:
                shutil.rmtree(kind)
            write_json(folder / ABOUT, dict(about))
        self._opened = lru_cache(maxsize=64)(self._open)

    def done(self, kind: str, count: int) -> int:
        """How many of `count` inputs are stored, from the first on without a gap."""
        for start in range(0, count, self.window):
            try:
                embeddings, _ = self._open(kind, start // self.window)
                if len(embeddings) != min(self.window, count - start):
                    return start
            except (OSError, ValueError, EOFError):  # not there; or of a machine whose power was cut
                return start
        return count

    def store(self, kind: str, batches: Iterable[Batch]) -> Iterator[int]:
        """Stores a stream's batches, of whole windows from the first on; yields how many inputs each was of."""
        waiting: list[Batch] = []
        for batch in batches:
            waiting.append(batch)
            if sum(one.count for one in waiting) >= self.window:
                self._write(kind, collect(waiting))
                waiting = []
            yield batch.count
        if waiting:
            self._write(kind, collect(waiting))

    def _write(self, kind: str, batch: Batch) -> None:
        (self.folder / kind).mkdir(exist_ok=True)
        embeddings = np.full((batch.count, batch.embeddings.shape[1]), np.nan, np.float32)
        embeddings[batch.rows - batch.start] = batch.embeddings
        with whole(self._place(kind, batch.start // self.window)) as part:
            part.mkdir()
            np.save(part / "embeddings.npy", embeddings)
            write_json(part / "said.json", {"faults": batch.faults, "warnings": batch.warnings})

    def said(self, kind: str, count: int) -> tuple[dict[int, str], dict[int, Sequence[str]]]:
        """The faults and the warnings of `count` inputs, all stored, by their numbers."""
        faults: dict[int, str] = {}
        warnings: dict[int, Sequence[str]] = {}
        for number in range(-(-count // self.window)):
            _, said = self._open(kind, number)
            faults |= {int(row): line for row, line in said["faults"].items()}
            warnings |= {int(row): lines for row, lines in said["warnings"].items()}
        return faults, warnings

    def take(self, kind: str, inputs: np.ndarray) -> np.ndarray:
        """The embeddings of these inputs, float32 (n, E), NaN where there is none, also of input -1."""
        first, _ = self._opened(kind, 0)
        rows = np.full((len(inputs), first.shape[1]), np.nan, np.float32)
        parts = np.where(inputs < 0, -1, inputs // self.window)
        for number in np.unique(parts[parts >= 0]).tolist():
            of_part = np.flatnonzero(parts == number)
            embeddings, _ = self._opened(kind, number)
            rows[of_part] = embeddings[inputs[of_part] % self.window]
        return rows

    def _open(self, kind: str, number: int) -> tuple[np.ndarray, dict[str, Any]]:
        place = self._place(kind, number)
        said = json.loads((place / "said.json").read_text(encoding="utf-8"))
        return np.lib.format.open_memmap(place / "embeddings.npy", mode="r"), said

    def _place(self, kind: str, number: int) -> Path:
        return self.folder / kind / f"{number:06d}"

"""A split's embeddings, reports and thumbnails, in memory and on disk."""

import dataclasses
import json
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cxr_jax.errors import InputError
from cxr_jax.files import whole


def first_rows(ids: Sequence[str]) -> np.ndarray:
    """int64: the first row of each distinct id, in ascending order."""
    return np.sort(np.unique(np.asarray(ids), return_index=True)[1])


@dataclasses.dataclass(frozen=True)
class Row:
    """One example of a split, without its pixels."""

    image_id: str
    study_id: str
    patient_id: str
    report: str
    labels: tuple[str, ...]
    group_id: int


@dataclasses.dataclass(frozen=True)
class SplitIndex:
    """A split as one checkpoint embeds it; row i is the same example in all of them.

    `image_embeddings` and `text_embeddings` are float32 (n, E) of unit norm, `thumbnails` JPEGs, `attention` A_s of
    Eq. (11) as uint8 (n, h, w), None where the model has none. It is kept as `<name>.npz` and `<name>.jsonl`.
    """

    name: str
    step: int
    rows: list[Row]
    image_embeddings: np.ndarray
    text_embeddings: np.ndarray
    thumbnails: list[bytes]
    attention: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def one_row_per_study(self) -> np.ndarray:
        """The first row of each study: a study's report counts once, however many images it has."""
        return first_rows([row.study_id for row in self.rows])

    def save(self, folder: Path) -> None:
        """Writes both files; the arrays last, so that a broken-off save is not taken for a whole one."""
        folder.mkdir(parents=True, exist_ok=True)
        with whole(folder / f"{self.name}.jsonl") as part, part.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(dataclasses.asdict(row), ensure_ascii=False) + "\n" for row in self.rows)
        with whole(folder / f"{self.name}.npz") as part, part.open("wb") as file:
            np.savez(
                file,
                step=self.step,
                image_embeddings=self.image_embeddings,
                text_embeddings=self.text_embeddings,
                attention=np.zeros((len(self), 0, 0), np.uint8) if self.attention is None else self.attention,
                thumbnails=np.frombuffer(b"".join(self.thumbnails), np.uint8),
                thumbnail_ends=np.cumsum([len(thumbnail) for thumbnail in self.thumbnails]),
            )

    @classmethod
    def load(cls, folder: Path, name: str) -> "SplitIndex":
        """Reads both files.

        Raises:
          InputError: the run has no such split, or a file is damaged.
        """
        if not (folder / f"{name}.npz").is_file():
            there = ", ".join(sorted(f.stem for f in folder.glob("*.npz"))) or "none"
            raise InputError(f"{folder / name}.npz: there is no split {name} in this run's index (there: {there})")
        try:
            with (folder / f"{name}.npz").open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                pixels, ends = arrays["thumbnails"].tobytes(), arrays["thumbnail_ends"].tolist()
                step, images, texts = int(arrays["step"]), arrays["image_embeddings"], arrays["text_embeddings"]
                # Older indices have none.
                attention = arrays["attention"] if "attention" in arrays.files else np.zeros((len(images), 0, 0))
            with (folder / f"{name}.jsonl").open(encoding="utf-8") as lines:
                rows = [Row(**fields | {"labels": tuple(fields["labels"])}) for fields in map(json.loads, lines)]
            if not len(rows) == len(images) == len(texts) == len(ends) == len(attention):
                raise ValueError(
                    f"{len(rows)} rows, {len(images)} images, {len(texts)} reports, {len(ends)} thumbnails"
                )
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise InputError(
                f"{folder / name}.npz: damaged ({error}); remove {folder} and train again to rebuild"
            ) from error
        thumbnails = [pixels[a:b] for a, b in zip([0, *ends[:-1]], ends, strict=True)]
        return cls(name, step, rows, images, texts, thumbnails, attention if attention.size else None)

"""A split's embeddings, reports and thumbnails: in memory, or mapped from the files of its index."""

import dataclasses
import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from cxr_jax.errors import InputError
from cxr_jax.files import whole
from cxr_jax.retrieval import npz
from cxr_jax.retrieval.mapped import OpenFolder, checksums
from cxr_jax.retrieval.rows import Columns, Lazily, Row, row_of

LAYOUT = 2  # the first one is `npz`'s
RETRIES = 8  # to open an index that is being replaced
ABOUT = "index.json"
REBUILD = "remove it, and the run's own training command makes it anew (of an export: export it again)"
ARRAYS: dict[str, tuple[Any, int]] = {  # their types and ranks
    "image_embeddings": (np.float32, 2),
    "text_embeddings": (np.float32, 2),
    "attention": (np.uint8, 3),
    "studies": (np.int32, 1),
    "study_ids": (np.bytes_, 1),
    "group_ids": (np.int32, 1),
    "row_offsets": (np.int64, 1),
    "thumbnail_offsets": (np.int64, 1),
}


@dataclasses.dataclass(frozen=True)
class SplitIndex:
    """A split as one checkpoint embeds it; row i is the same example in all of them.

    `image_embeddings` and `text_embeddings` are float32 (n, E) of unit norm, `thumbnails` JPEGs, `attention` A_s of
    Eq. (11) as uint8 (n, h, w), None where the model has none. `checkpoint` is `training.checkpoint.identity` of the
    variables, "" where it is not known, `place` where all this was read from.
    """

    name: str
    step: int
    rows: list[Row] | Lazily[Row]
    image_embeddings: np.ndarray
    text_embeddings: np.ndarray
    thumbnails: list[bytes] | Lazily[bytes]
    attention: np.ndarray | None = None
    checkpoint: str = ""
    place: Path | None = None
    stored_columns: Columns | None = None

    def __len__(self) -> int:
        return len(self.image_embeddings)

    @cached_property
    def columns(self) -> Columns:
        """Studies and groups of all rows, read of none."""
        return Columns.of(self.rows) if self.stored_columns is None else self.stored_columns

    def one_row_per_study(self) -> np.ndarray:
        """The first row of each study: a study's report counts once, however many images it has."""
        return self.columns.first_rows()

    @property
    def reports(self) -> Lazily[str]:
        """The reports, by row, each read when it is asked for."""
        return Lazily(len(self), lambda row: self.rows[row].report)

    def take(self, rows: Sequence[int] | np.ndarray) -> "SplitIndex":
        """These rows of it, in memory but for the thumbnails, each of which is read when it is asked for."""
        rows = np.asarray(rows, np.int64)
        return dataclasses.replace(
            self,
            rows=[self.rows[row] for row in rows.tolist()],
            image_embeddings=self.image_embeddings[rows],
            text_embeddings=self.text_embeddings[rows],
            thumbnails=Lazily(len(rows), lambda row: self.thumbnails[int(rows[row])]),
            attention=None if self.attention is None else self.attention[rows],
            stored_columns=None,
        )

    def check_checkpoint(self, step: int, checkpoint: str, whose: str) -> None:
        """Holds the checkpoint against `whose`, for only vectors of one can be compared.

        Raises:
          InputError: it is another.
        """
        if self.step != step or (self.checkpoint and checkpoint and self.checkpoint != checkpoint):
            raise InputError(
                f"{self.place or self.name}: is of another checkpoint (step {self.step}, {self.checkpoint or '?'}) "
                f"than {whose} (step {step}, {checkpoint or '?'}), whose vectors are not comparable; {REBUILD}"
            )

    def save(self, folder: Path) -> None:
        """Writes `folder/<name>/`, whole or not at all, in place of what is there; one process at a time."""
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob(f".{self.name}.*"):  # by one that was killed
            shutil.rmtree(left, ignore_errors=True)
        with whole(folder / self.name) as part:
            part.mkdir()
            arrays = {
                "image_embeddings": np.asarray(self.image_embeddings, np.float32),
                "text_embeddings": np.asarray(self.text_embeddings, np.float32),
                "attention": self.attention,
                **vars(self.columns),
                "row_offsets": _write(part / "rows.jsonl", map(_line, self.rows)),
                "thumbnail_offsets": _write(part / "thumbnails.bin", self.thumbnails),
            }
            for name, array in arrays.items():
                if array is not None and (name != "attention" or array.size):
                    np.save(part / f"{name}.npy", array)
            about = {"layout": LAYOUT, "split": self.name, "step": self.step, "checkpoint": self.checkpoint}
            sums = {file.name: checksums(file) for file in sorted(part.iterdir())}
            text = json.dumps(about | {"crc32": sums}, indent=2)
            (part / ABOUT).write_text(text + "\n", encoding="utf-8")
        npz.remove(folder, self.name)

    @classmethod
    def load(cls, folder: Path, name: str) -> "SplitIndex":
        """Opens a split's files; what they hold is read when it is asked for.

        They are held against their checksums, each file up to 16 MiB whole, of larger ones 16 MiB. All are of one
        `save`, also where another is going on.

        Raises:
          InputError: the run has no such split, or a file is damaged.
        """
        place = folder / name
        if name not in splits_in(folder):
            there = ", ".join(splits_in(folder)) or "none"
            raise InputError(f"{place}: there is no split {name} in this run's index (there: {there})")
        if not (place / ABOUT).is_file():
            return cls(name, **npz.load(folder, name))
        for _ in range(RETRIES):
            opened = OpenFolder(place)
            try:
                with _damaged(place):
                    return cls._of(opened, name)
            except InputError:
                if opened.is_there():
                    raise
            finally:
                opened.close()
        raise InputError(f"{place}: is written anew all the time; try again when that is done")

    @classmethod
    def _of(cls, opened: OpenFolder, name: str) -> "SplitIndex":
        with opened.file(ABOUT) as file:
            about = json.load(file)
        if type(about["step"]) is not int or not isinstance(about["checkpoint"], str):
            raise ValueError(f"step {about['step']!r} and checkpoint {about['checkpoint']!r} are none")
        if about["layout"] != LAYOUT or about["split"] != name:
            raise ValueError(f"holds split {about['split']} in layout {about['layout']}, not {name} in {LAYOUT}")
        for file_name, sums in about.get("crc32", {}).items():  # the first of this layout have none
            opened.check(file_name, sums)
        has_attention = opened.has("attention.npy")
        arrays = {
            key: opened.array(f"{key}.npy", *of) for key, of in ARRAYS.items() if key != "attention" or has_attention
        }
        line_ends, pixel_ends = arrays.pop("row_offsets"), arrays.pop("thumbnail_offsets")
        columns = Columns(**{key: arrays.pop(key) for key in ("studies", "study_ids", "group_ids")})
        rows = (*arrays.values(), columns.studies, columns.group_ids, line_ends[1:], pixel_ends[1:])
        studies, count = columns.studies, len(columns.study_ids)
        if len(set(map(len, rows))) > 1 or len(columns.first_rows()) != count:
            raise ValueError(f"its files are of {', '.join(str(len(part)) for part in rows)} rows")
        if len(studies) and not 0 <= studies.min() <= studies.max() < count:
            raise ValueError(f"studies.npy counts from {studies.min()} to {studies.max()}, and there are {count}")
        if arrays["image_embeddings"].shape != arrays["text_embeddings"].shape:
            raise ValueError("image and text embeddings are of different widths")
        place = opened.place
        lines = opened.bytes("rows.jsonl", line_ends)
        pixels = opened.bytes("thumbnails.bin", pixel_ends)
        return cls(
            name=name,
            step=about["step"],
            rows=Lazily(len(line_ends) - 1, partial(_row, place, lines, line_ends)),
            thumbnails=Lazily(len(pixel_ends) - 1, partial(_blob, pixels, pixel_ends)),
            checkpoint=about["checkpoint"],
            place=place,
            stored_columns=columns,
            **arrays,
        )


def splits_in(folder: Path) -> list[str]:
    """The splits whose index a folder holds, in either layout."""
    return sorted({file.parent.name for file in folder.glob(f"[!.]*/{ABOUT}")} | set(npz.splits_in(folder)))


@contextmanager
def _damaged(place: Path) -> Iterator[None]:
    try:
        yield
    except npz.FAULTS as error:
        raise InputError(f"{place}: damaged ({' '.join(str(error).split())}); {REBUILD}") from error


def _write(file: Path, blobs: Iterable[bytes]) -> np.ndarray:
    """Writes them one after the other; the offsets of their begins, and of the last one's end, int64 (n + 1,)."""
    lengths = [0]
    with file.open("wb") as out:
        lengths += map(out.write, blobs)
    return np.cumsum(lengths, dtype=np.int64)


def _line(row: Row) -> bytes:
    return (json.dumps(dataclasses.asdict(row), ensure_ascii=False) + "\n").encode()


def _blob(data: np.ndarray, offsets: np.ndarray, i: int) -> bytes:
    return data[offsets[i] : offsets[i + 1]].tobytes()


def _row(place: Path, data: np.ndarray, offsets: np.ndarray, i: int) -> Row:
    with _damaged(place / "rows.jsonl"):
        return row_of(_blob(data, offsets, i))

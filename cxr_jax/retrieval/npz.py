"""An index as runs of before kept it, `<name>.npz` and `<name>.jsonl`: read whole into memory, no longer written."""

import struct
import zipfile
import zlib
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np

from cxr_jax.errors import InputError
from cxr_jax.retrieval.rows import row_of

# What reading a damaged file comes to, in NumPy's reading of headers and in zipfile.
FAULTS = (
    OSError, ValueError, KeyError, TypeError, IndexError, AttributeError, EOFError, OverflowError, SyntaxError,
    TokenError, RuntimeError, struct.error, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


def splits_in(folder: Path) -> list[str]:
    """The splits that are there."""
    return [file.stem for file in folder.glob("[!.]*.npz")]


def remove(folder: Path, name: str) -> None:
    """Takes away a split that has been written anew."""
    for suffix in (".npz", ".jsonl"):
        (folder / f"{name}{suffix}").unlink(missing_ok=True)


def load(folder: Path, name: str) -> dict[str, Any]:
    """What a `SplitIndex` consists of.

    Raises:
      InputError: a file is damaged.
    """
    file = folder / f"{name}.npz"
    try:
        with file.open("rb") as opened, np.load(opened, allow_pickle=False) as arrays:
            pixels, ends = arrays["thumbnails"].tobytes(), arrays["thumbnail_ends"].tolist()
            step, images, texts = int(arrays["step"]), arrays["image_embeddings"], arrays["text_embeddings"]
            # The oldest have none.
            attention = arrays["attention"] if "attention" in arrays.files else np.zeros((len(images), 0, 0))
        with file.with_suffix(".jsonl").open(encoding="utf-8") as lines:
            rows = [row_of(line) for line in lines]
        if not len(rows) == len(images) == len(texts) == len(ends) == len(attention):
            raise ValueError(f"{len(rows)} rows, {len(images)} images, {len(texts)} reports, {len(ends)} thumbnails")
    except FAULTS as error:
        raise InputError(
            f"{file}: damaged ({' '.join(str(error).split())}); remove {folder} and train again to rebuild"
        ) from error
    return {
        "step": step,
        "rows": rows,
        "image_embeddings": images,
        "text_embeddings": texts,
        "thumbnails": [pixels[a:b] for a, b in zip([0, *ends][:-1], ends, strict=True)],
        "attention": attention if attention.size else None,
        "place": file,
    }

"""Files that appear whole or not at all, under names that no other process uses while they are written."""

import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def whole(file: Path) -> Iterator[Path]:
    """A name beside `file` to write to; what stands there at the end becomes `file`, after a fault nothing does."""
    part = file.with_name(f".{file.name}.{os.getpid()}.{uuid.uuid4().hex[:8]}")
    try:
        yield part
        part.replace(file)
    finally:
        if part.is_dir():
            shutil.rmtree(part)
        part.unlink(missing_ok=True)


def write_text(file: Path, text: str) -> None:
    """UTF-8 text, whole or not at all."""
    with whole(file) as part:
        part.write_text(text, encoding="utf-8")


def write_json(file: Path, value: Any) -> None:
    """JSON, whole or not at all."""
    write_text(file, json.dumps(value, indent=2, ensure_ascii=False) + "\n")

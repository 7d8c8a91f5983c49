"""Files and folders that appear whole or not at all, under names that no other process uses while they are written."""

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
    """A name beside `file` to write to; what stands there at the end becomes `file`, after a fault nothing does.

    It may be a folder, made within, in place of the one that is there: for an instant there is neither.
    """
    part = file.with_name(f".{file.name}.{os.getpid()}.{uuid.uuid4().hex[:8]}")
    aside = part.with_name(f"{part.name}.old")
    try:
        yield part
        if part.is_dir() and file.is_dir():
            file.rename(aside)
        part.replace(file)
    finally:
        if part.is_dir():
            shutil.rmtree(part)
        part.unlink(missing_ok=True)
        if aside.is_dir() and not file.exists():
            aside.rename(file)
        # On NFS a file that someone has open stays, under another name, until it is closed.
        shutil.rmtree(aside, ignore_errors=True)


def write_text(file: Path, text: str) -> None:
    """UTF-8 text, whole or not at all."""
    with whole(file) as part:
        part.write_text(text, encoding="utf-8")


def write_json(file: Path, value: Any) -> None:
    """JSON, whole or not at all."""
    write_text(file, json.dumps(value, indent=2, ensure_ascii=False) + "\n")

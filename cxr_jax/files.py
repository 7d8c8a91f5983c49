"""Files and folders that appear whole or not at all, under names that no other process uses while they are written."""

import ctypes
import json
import math
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_HERE, _EXCHANGE = -100, 2  # AT_FDCWD, RENAME_EXCHANGE of Linux


@contextmanager
def whole(file: Path) -> Iterator[Path]:
    """A name beside `file` to write to; what stands there at the end becomes `file`, after a fault nothing does.

    It may be a folder, made within, in place of the one that is there: the two change places at once, where the system
    can do that (Linux, on disks of its own); else there is neither for an instant.
    """
    part = file.with_name(f".{file.name}.{os.getpid()}.{uuid.uuid4().hex[:8]}")
    aside = part.with_name(f"{part.name}.old")
    try:
        yield part
        if part.is_dir() and file.is_dir():
            if _exchange(part, file):
                return
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


def _exchange(one: Path, other: Path) -> bool:
    """Has two folders change names, as one act; False where the system cannot."""
    try:
        renameat2 = ctypes.CDLL(None).renameat2
    except (AttributeError, OSError):  # no glibc, or none of its last ten years
        return False
    return renameat2(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _EXCHANGE) == 0


def write_text(file: Path, text: str) -> None:
    """UTF-8 text, whole or not at all."""
    with whole(file) as part:
        part.write_text(text, encoding="utf-8")


def write_lines(file: Path, values: Iterable[Any]) -> None:
    """JSON, an object a line, whole or not at all; null as in `write_json`."""
    write_text(file, "".join(_json(value) + "\n" for value in values))


def write_json(file: Path, value: Any) -> None:
    """JSON, whole or not at all; null where a number is NaN or infinite, which JSON has no word for."""
    write_text(file, _json(value, indent=2) + "\n")


def _json(value: Any, indent: int | None = None) -> str:
    return json.dumps(_finite(value), indent=indent, ensure_ascii=False, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list | tuple) else value

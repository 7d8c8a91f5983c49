"""What libraries say of odd files: left unsaid where it matters not, and on one line where the reader passes it on."""

import contextlib
import logging
import threading
import warnings
from collections.abc import Iterator

_lock, _undo = threading.Lock(), contextlib.ExitStack()
_within = 0


@contextlib.contextmanager
def quiet(*loggers: str) -> Iterator[None]:
    """No warning is shown, and none of `loggers` writes anything.

    Both are the whole process's: of threads that are within at one time, the last one to leave undoes it.
    """
    global _within
    with _lock:
        if not _within:
            _undo.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")
        _within += 1
        for logger in map(logging.getLogger, loggers):
            _undo.callback(logger.setLevel, logger.level)
            logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        with _lock:
            _within -= 1
            if not _within:
                _undo.close()


def one_line(text: object, longest: int = 300) -> str:
    """Text that may have come out of a damaged file, on one line that a terminal can show."""
    line = " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())
    return line if len(line) <= longest else f"{line[:longest]}…"

"""What libraries say of odd files: left unsaid where it matters not, and on one line where the reader passes it on."""

import contextlib
import logging
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def quiet(*loggers: str) -> Iterator[None]:
    """No warning is shown, and none of `loggers` writes anything."""
    own = [logging.getLogger(name) for name in loggers]
    levels = [logger.level for logger in own]
    try:
        for logger in own:
            logger.setLevel(logging.CRITICAL + 1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(own, levels, strict=True):
            logger.setLevel(level)


def one_line(text: object, longest: int = 300) -> str:
    """Text that may have come out of a damaged file, on one line that a terminal can show."""
    line = " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())
    return line if len(line) <= longest else f"{line[:longest]}…"

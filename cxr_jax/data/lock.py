"""One process at a time: a lock on a file that the system lets go of when its holder ends, however it ends."""

import contextlib
import fcntl
import os
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

POLL_SECONDS = 0.5


@contextlib.contextmanager
def hold(file: Path, doing: str) -> Iterator[bool]:
    """Holds the lock `file` for the body, and takes the file away after it; says on stderr, once, whom it waits for.

    Yields:
      Whether it is held. False where the file system knows no locks: then the body may run in several processes at
      once, and must still be right.

    Args:
      doing: what the other does, for the line, such as "preparing this data set".

    Raises:
      OSError: the file cannot be made.
    """
    said = False
    while True:
        with _open(file) as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if not said:
                    print(f"{file.parent}: {_holder(stream)} is {doing}; waiting for it", file=sys.stderr, flush=True)
                    said = True
                time.sleep(POLL_SECONDS)
                continue
            except OSError:  # ENOSYS, ENOLCK, EOPNOTSUPP
                held = False
            else:
                if not _is_named(file, stream):
                    continue  # the one before took it away, and who comes next would lock another of that name
                stream.truncate(0)
                print(f"process {os.getpid()} on {socket.gethostname()}", file=stream, flush=True)
                held = True
            try:
                yield held
            finally:
                file.unlink(missing_ok=True)
            return


def _open(file: Path) -> TextIO:
    while True:
        file.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):  # its folder went with the one before
            return open(file, "a+", encoding="utf-8")


def _holder(stream: TextIO) -> str:
    stream.seek(0)
    return stream.readline().strip() or "another process"


def _is_named(file: Path, stream: TextIO) -> bool:
    """Whether the name still is of the file that was opened under it."""
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.stat(file), os.fstat(stream.fileno()))
    return False

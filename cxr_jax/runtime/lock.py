"""One run in a folder at a time: a lock that says who holds it, and that a crash does not leave behind for ever."""

import contextlib
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cxr_jax.errors import InputError
from cxr_jax.runtime import processes

BEAT_SECONDS = 5
STALE_SECONDS = 45  # without a sign of life from another machine; from this one the process table tells at once


@contextlib.contextmanager
def hold(file: Path, what: str) -> Iterator[None]:
    """Holds the lock `file`, whose folder exists, for the body.

    Where another machine's process holds it and gives no sign of life, it is taken over after STALE_SECONDS.

    Args:
      what: that is locked, for the message.

    Raises:
      InputError: another process that is alive holds it; the line names it.
    """
    mine = {"host": socket.gethostname(), "pid": os.getpid(), "started": _started(os.getpid())}
    while not _take(file, mine):
        holder = _read(file)
        if holder is None:
            continue  # it was released just now
        if _is_alive(file, holder):
            raise InputError(
                f"{what}: process {holder['pid']} on {holder['host']} is at work there since {holder['since']}; wait "
                f"for it or stop it, or name another folder"
            )
        _remove(file)
    stop = threading.Event()
    beat = threading.Thread(target=_beat, args=(file, stop), name="lock", daemon=True)
    beat.start()
    release = lambda: _release(file, mine)  # noqa: E731
    processes.FAREWELLS.append(release)
    try:
        yield
    finally:
        processes.FAREWELLS.remove(release)
        stop.set()
        beat.join()
        release()


def _take(file: Path, mine: dict[str, Any]) -> bool:
    part = file.with_name(f".{file.name}.{uuid.uuid4().hex}")
    part.write_text(json.dumps(mine | {"since": time.strftime("%Y-%m-%d %H:%M:%S")}), encoding="utf-8")
    try:
        os.link(part, file)  # the one call that makes or refuses, on NFS as well
        return True
    except FileExistsError:
        return False
    finally:
        part.unlink()


def _read(file: Path) -> dict[str, Any] | None:
    try:
        holder = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError:
        holder = {}
    unknown = {"host": socket.gethostname(), "pid": 0, "started": "", "since": ""}
    return unknown | (holder if isinstance(holder, dict) else {})


def _is_alive(file: Path, holder: dict[str, Any]) -> bool:
    if holder["host"] == socket.gethostname():
        return holder["pid"] > 0 and _started(holder["pid"]) == holder["started"] is not None
    # Another machine's clock is not ours: what counts is whether its beats still come.
    first, deadline = _beaten(file), time.monotonic() + STALE_SECONDS
    while time.monotonic() < deadline:
        if _beaten(file) != first:
            return _beaten(file) is not None
        time.sleep(BEAT_SECONDS / 5)
    return False


def _started(pid: int) -> str | None:
    """When a process of this machine started, so that its number's next owner is not taken for it; None without one."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        pass  # there, and another user's
    except OSError:
        return None
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:  # not Linux
        return "unknown"


def _beaten(file: Path) -> int | None:
    try:
        return file.stat().st_mtime_ns
    except FileNotFoundError:
        return None


def _beat(file: Path, stop: threading.Event) -> None:
    while not stop.wait(BEAT_SECONDS):
        with contextlib.suppress(OSError):
            os.utime(file)


def _remove(file: Path) -> None:
    """Takes a dead holder's lock away: of several that try, one."""
    aside = file.with_name(f".{file.name}.{uuid.uuid4().hex}")
    with contextlib.suppress(FileNotFoundError):
        file.rename(aside)
        aside.unlink()


def _release(file: Path, mine: dict[str, Any]) -> None:
    holder = _read(file)
    if holder is not None and all(holder[key] == value for key, value in mine.items()):
        file.unlink(missing_ok=True)

"""From image files to what is stored of them, over all cores: processes that end when the one that uses them does."""

import contextlib
import itertools
import os
import pickle
import queue
import subprocess
import sys
import traceback
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

from cxr_jax.data import children, images
from cxr_jax.errors import InputError

MIN_IMAGES = 64  # for an encoder of its own: to start one takes as long as to encode so many small ones
AHEAD = 4  # images that are given out for each encoder, done or not: what waits for a slow one is bounded
# Signals to the whole group, Ctrl-C or a scheduler's, are the caller's to act upon: these end with their input.
PROGRAM = (
    "import signal\n"
    "for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1): signal.signal(number, signal.SIG_IGN)\n"
    "from cxr_jax.data.encoders import serve\n"
    "serve()"
)


class Encoded(NamedTuple):
    """What is stored of an image: its bytes, a thumbnail's (`images.thumbnail`), its size in pixels, its warnings."""

    image: bytes
    thumbnail: bytes
    height: int
    width: int
    warnings: tuple[str, ...] = ()


class Unreadable(NamedTuple):
    """An image that cannot be read: the line that says which, why, and what to do."""

    reason: str


def encode_file(path: Path, stored_size: int, stored_format: str) -> Encoded:
    """An image file read, shrunk to a short side of `stored_size` pixels, and encoded as `stored_format`.

    Raises:
      InputError: as `images.read`.
    """
    picture = images.read(path)
    image = images.shrink(picture.grey, stored_size)
    encoded = images.ENCODERS[stored_format](image)
    # Of what will be read from it again: JPEG loses something.
    kept = image if stored_format == "png" else images.decode(encoded)
    height, width = image.shape
    return Encoded(encoded, images.thumbnail(kept), height, width, picture.warnings)


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def encode_files(
    paths: Iterable[Path], stored_size: int, stored_format: str, workers: int
) -> contextlib.AbstractContextManager[Iterator[Encoded | Unreadable]]:
    """A context of `encode_file`'s results, in the order of `paths`, whatever the number of `workers`.

    One worker is this process itself. What `encode_file` refuses comes as Unreadable.

    Raises:
      InputError: an encoder was killed.
    """
    if workers <= 1:
        return contextlib.nullcontext(_encode_or_say(path, stored_size, stored_format) for path in paths)
    return _pool([(path, stored_size, stored_format) for path in paths], workers)


def _encode_or_say(path: Path, stored_size: int, stored_format: str) -> Encoded | Unreadable:
    try:
        return encode_file(path, stored_size, stored_format)
    except InputError as error:
        return Unreadable(str(error))


@contextlib.contextmanager
def _pool(tasks: list[tuple[Path, int, str]], workers: int) -> Iterator[Iterator[Encoded | Unreadable]]:
    encoders = [children.start(PROGRAM) for _ in range(workers)]
    idle: queue.SimpleQueue[subprocess.Popen[bytes]] = queue.SimpleQueue()
    for encoder in encoders:
        idle.put(encoder)

    def encode(task: tuple[Path, int, str]) -> Encoded | Unreadable:
        encoder = idle.get()
        try:
            return _request(encoder, task)
        finally:
            idle.put(encoder)

    threads = ThreadPoolExecutor(workers, thread_name_prefix="encode")
    try:
        yield in_order(threads, encode, tasks, AHEAD * workers)
    finally:
        for encoder in encoders:
            encoder.kill()  # they hold nothing that could be left half done
        threads.shutdown(cancel_futures=True)
        for encoder in encoders:
            with contextlib.suppress(BrokenPipeError):
                encoder.communicate()


def in_order(threads: ThreadPoolExecutor, encode: Any, tasks: Iterable[Any], ahead: int) -> Iterator[Any]:
    """`encode` of each task, in the order of tasks, at most `ahead` of them given out before their turn."""
    rest = iter(tasks)
    pending: deque[Future[Any]] = deque(threads.submit(encode, task) for task in itertools.islice(rest, ahead))
    while pending:
        encoded = pending.popleft().result()
        pending.extend(threads.submit(encode, task) for task in itertools.islice(rest, 1))
        yield encoded


def _request(encoder: subprocess.Popen[bytes], task: tuple[Path, int, str]) -> Encoded | Unreadable:
    requests, replies = cast(IO[bytes], encoder.stdin), cast(IO[bytes], encoder.stdout)
    try:
        pickle.dump(task, requests)
        requests.flush()
        fault, reply = pickle.load(replies)
    except (EOFError, BrokenPipeError, pickle.UnpicklingError) as killed:
        raise InputError(
            f"{task[0]}: its encoder was killed while it was read, for want of memory perhaps; start again with fewer "
            "--workers, and what is finished is kept"
        ) from killed
    if fault:
        raise RuntimeError(f"{task[0]}: an encoder failed:\n{reply}")
    return reply


def serve() -> None:
    """An encoder's whole life: requests from standard input, replies to standard output, until its caller is gone.

    The system closes the input when the caller ends, however it ends; so no encoder outlives it by more than an image.
    """
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no reply
    while True:
        try:
            task = pickle.load(sys.stdin.buffer)
        except (EOFError, pickle.UnpicklingError):
            return
        try:
            reply: tuple[str, Any] = "", _encode_or_say(*task)
        except Exception:
            reply = "bug", traceback.format_exc()
        try:
            pickle.dump(reply, replies)
            replies.flush()
        except BrokenPipeError:
            os._exit(0)

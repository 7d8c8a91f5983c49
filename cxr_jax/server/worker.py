"""A decoder's whole life: bytes of unknown origin in, pixels and JSON out. It runs alone, within limits of its own.

A request is a byte, SQUARE or PICTURE, and a framed upload; a reply is a framed JSON object and a framed blob. A frame
is its length, four bytes, and as many bytes. Nothing is pickled. Nothing is written to a disk: readers that want a path
get a file in memory, and a crash leaves no core.
"""

import json
import os
import resource
import signal
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image

from cxr_jax.data import dicom, images
from cxr_jax.data.dicom_file import MAX_PIXELS
from cxr_jax.errors import InputError
from cxr_jax.server.refusals import READ, UNREADABLE, UNSUPPORTED, is_raster, refusal, said_of

SQUARE, PICTURE = b"S", b"P"  # what the model sees, and what the page shows
PICTURE_SIDE = 2048  # pixels, at most
READY = b"R"
# Signals to the whole group, Ctrl-C or a scheduler's, are the server's to act upon: a decoder ends with its input.
PROGRAM = (
    "import signal, sys\n"
    "for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1): signal.signal(number, signal.SIG_IGN)\n"
    "from cxr_jax.server.worker import serve\n"
    "serve(int(sys.argv[1]), int(sys.argv[2]))"
)


def write_frame(file: IO[bytes], data: bytes | bytearray) -> None:
    """Writes one frame."""
    file.write(struct.pack(">I", len(data)))
    file.write(data)


def read_frame(file: IO[bytes], longest: int) -> bytes:
    """Reads one frame.

    Raises:
      EOFError: the other side is gone, or what it writes is no frame of at most `longest` bytes.
    """
    head = file.read(4)
    size = struct.unpack(">I", head)[0] if len(head) == 4 else longest + 1
    data = file.read(size) if size <= longest else b""
    if size > longest or len(data) < size:
        raise EOFError
    return data


def serve(side: int, memory: int) -> None:
    """Answers requests until standard input ends.

    Args:
      side: of the model's square, in pixels.
      memory: bytes that may be asked of the system.
    """
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no reply
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    Image.MAX_IMAGE_PIXELS = MAX_PIXELS // 2  # Pillow refuses twice as many
    requests = sys.stdin.buffer
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    replies.write(READY)
    replies.flush()
    while kind := requests.read(1):
        try:
            header, blob = answer(kind, read_frame(requests, 2**32), side)
        except EOFError:
            return
        write_frame(replies, json.dumps(header).encode())
        write_frame(replies, blob)
        replies.flush()


def answer(kind: bytes, data: bytes, side: int) -> tuple[dict[str, Any], bytes]:
    """What is said of an upload, {"warnings"} or {"status", "error"}, and its pixels: side × side grey, or a PNG."""
    with _in_memory(data) as path:
        is_dicom = dicom.is_dicom(path)
        if not is_dicom and not is_raster(data[:16]):
            return {"status": UNSUPPORTED, "error": f"not an image that can be read; {READ}"}, b""
        try:
            picture = images.read(path)
            if kind == SQUARE:
                pixels = images.fit_square(picture.grey, side).tobytes()
            else:
                pixels = images.encode_png(_at_most(picture.grey, PICTURE_SIDE))
        except (InputError, MemoryError) as error:
            if isinstance(error, MemoryError) or isinstance(error.__cause__, MemoryError):
                return {"status": UNREADABLE, "error": "needs more memory than a decoder has; shrink the image"}, b""
            status, line = refusal(str(error), str(path), is_dicom)
            return {"status": status, "error": line}, b""
    return {"warnings": said_of(picture.warnings, is_dicom)}, pixels


def _at_most(grey: np.ndarray, side: int) -> np.ndarray:
    height, width = grey.shape
    return images.shrink(grey, max(1, round(side * min(height, width) / max(height, width))))


@contextmanager
def _in_memory(data: bytes) -> Iterator[Path]:
    """A path that leads to these bytes, and to nothing once it is left."""
    with os.fdopen(os.memfd_create("image"), "wb") as file:
        file.write(data)
        file.flush()
        yield Path(f"/proc/self/fd/{file.fileno()}")

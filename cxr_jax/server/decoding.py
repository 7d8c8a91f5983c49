"""Uploads to pixels, in processes that a bad file may take down: one that dies or is too slow is replaced."""

import asyncio
import contextlib
import json
import queue
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import IO, Any, NamedTuple, cast

import numpy as np

from cxr_jax.data import children
from cxr_jax.server import worker
from cxr_jax.server.limits import MIB, Limits, RefusedError
from cxr_jax.server.refusals import TOO_SLOW, UNREADABLE

NONE = "no decoder could be started; try again"
LONGEST_REPLY = 64 * MIB  # of what a decoder may send back


class Decoded(NamedTuple):
    """An upload's pixels, as `worker.answer` gives them, and what is to be said of it."""

    pixels: bytes
    warnings: list[str]


class Decoders:
    """As many decoders as decode at a time; they are started at once and end when they are closed.

    Args:
      side: of the model's square, in pixels.
    """

    def __init__(self, count: int, side: int, limits: Limits):
        self.side, self._limits = side, limits
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="decode")
        self._lock, self._closed = threading.Lock(), False
        self._all = {_Decoder(side, limits) for _ in range(count)}
        self._idle: queue.SimpleQueue[_Decoder] = queue.SimpleQueue()
        for decoder in self._all:
            self._idle.put(decoder)

    async def square(self, data: bytes | bytearray) -> tuple[np.ndarray, list[str]]:
        """What the model sees of an upload, uint8 (side, side), and its warnings.

        Raises:
          RefusedError: it cannot be read, or not in time.
        """
        decoded = await self._decode(worker.SQUARE, data)
        if len(decoded.pixels) != self.side**2:
            raise RefusedError(UNREADABLE, "the image cannot be read; send another")
        return np.frombuffer(decoded.pixels, np.uint8).reshape(self.side, self.side), decoded.warnings

    async def picture(self, data: bytes | bytearray) -> Decoded:
        """What is looked at, as a PNG of at most `worker.PICTURE_SIDE` pixels a side; raises as `square`."""
        return await self._decode(worker.PICTURE, data)

    def close(self) -> None:
        """Ends them; what is being decoded is refused."""
        with self._lock:
            self._closed = True
            for decoder in self._all:
                decoder.process.kill()  # they hold nothing that could be left half done
        self._threads.shutdown(cancel_futures=True)
        for decoder in self._all:
            decoder.end()

    async def _decode(self, kind: bytes, data: bytes | bytearray) -> Decoded:
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._ask, kind, data)

    def _ask(self, kind: bytes, data: bytes | bytearray) -> Decoded:
        decoder, fine = self._idle.get(), False
        try:
            if decoder.process.poll() is not None:  # killed since, for want of memory perhaps: not by this file
                decoder = self._instead_of(decoder)
                if decoder.process.poll() is not None:
                    raise RefusedError(503, NONE)
            header, pixels = decoder.ask(kind, data)
            fine = True
        finally:
            self._idle.put(decoder if fine else self._instead_of(decoder))
        if "error" in header:
            raise RefusedError(int(header["status"]), str(header["error"]))
        return Decoded(pixels, [str(warning) for warning in header["warnings"]])

    def _instead_of(self, decoder: "_Decoder") -> "_Decoder":
        with self._lock:
            if self._closed:
                return decoder
            decoder.end()
            try:
                new = _Decoder(self.side, self._limits)
            except OSError:  # no process, no memory: the ended one keeps its place, and is replaced when it is its turn
                return decoder
            self._all = self._all - {decoder} | {new}
            return new


class _Decoder:
    """One process, which answers one request after the other."""

    def __init__(self, side: int, limits: Limits):
        self.process = children.start(worker.PROGRAM, str(side), str(limits.decoder_memory), silent=True)
        self._limits, self._ready = limits, False

    def ask(self, kind: bytes, data: bytes | bytearray) -> tuple[dict[str, Any], bytes]:
        """A reply's two parts; raises a RefusedError where the process has to be replaced."""
        requests, replies = cast(IO[bytes], self.process.stdin), cast(IO[bytes], self.process.stdout)
        if not self._ready:  # the time to start is not the image's
            with self._killed_after(self._limits.start_seconds):
                self._ready = replies.read(1) == worker.READY
            if not self._ready:
                raise RefusedError(503, NONE)
        fault: Exception | None = None
        with self._killed_after(self._limits.decode_seconds) as too_slow:
            try:
                requests.write(kind)
                worker.write_frame(requests, data)
                requests.flush()
                reply = json.loads(worker.read_frame(replies, MIB)), worker.read_frame(replies, LONGEST_REPLY)
            except (EOFError, OSError, ValueError) as error:
                fault = error
        if too_slow.is_set():
            line = f"decoding took longer than {self._limits.decode_seconds:g} s; send a smaller image"
            raise RefusedError(TOO_SLOW, line) from fault
        if fault is not None:
            raise RefusedError(UNREADABLE, "the image ended its decoder; it is damaged or too large") from fault
        return reply

    @contextlib.contextmanager
    def _killed_after(self, seconds: float) -> Iterator[threading.Event]:
        late = threading.Event()

        def kill() -> None:
            late.set()
            self.process.kill()

        timer = threading.Timer(seconds, kill)
        timer.daemon = True
        timer.start()
        try:
            yield late
        finally:
            timer.cancel()
            timer.join()  # it has killed by now, or never will

    def end(self) -> None:
        """Ends the process and closes its pipes."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(OSError):  # what was written, but not sent
                cast(IO[bytes], pipe).close()

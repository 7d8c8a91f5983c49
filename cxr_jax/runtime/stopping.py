"""Stopping before the end: SIGTERM, SIGUSR1 (Slurm's `--signal`), Ctrl-C, or the end of the hours allotted.

Signals are heard at once, by a thread, even while the program compiles: the main thread would hear of them only when it
is back in Python.
"""

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Iterator
from types import TracebackType
from typing import NoReturn

from cxr_jax.errors import Preempted, exit_code_and_message
from cxr_jax.runtime import processes

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


class Stopper:
    """Listens while it is entered. `wanted` says that the program is to stop; where and how is the program's affair.

    Args:
      max_hours: after which it is to stop; 0 for no limit.
    """

    def __init__(self, max_hours: float = 0):
        self.max_hours = max_hours
        self.reason = ""
        self._interrupted = False
        self._losing_nothing = ""
        self._lock = threading.Lock()

    @property
    def wanted(self) -> bool:
        """Whether a signal has come, or the time is over."""
        return bool(self.reason)

    def error(self, message: str) -> Preempted | KeyboardInterrupt:
        """What to raise once all is saved: KeyboardInterrupt after Ctrl-C, else Preempted."""
        if self._interrupted:
            return KeyboardInterrupt(message)
        return Preempted(f"{self.reason}; {message}" if self.reason else message)

    @contextlib.contextmanager
    def losing_nothing(self, phase: str) -> Iterator[None]:
        """A phase that is not waited for: it leaves nothing half done, or is begun again where it was broken off.

        A stop that comes while it lasts, or has come before, ends the process, and its job's others, at once.
        """
        with self._lock:
            self._losing_nothing = phase
        if self.wanted:
            self._end()
        try:
            yield
        finally:
            with self._lock:
                self._losing_nothing = ""

    def __enter__(self) -> "Stopper":
        self._reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)
        try:
            self._previous = {number: signal.signal(number, lambda *_: None) for number in SIGNALS}
            self._previous_fd = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        except ValueError:  # not in the main thread, where signals cannot be handled
            self._previous = {}
        self._listener = threading.Thread(target=self._listen, name="signals", daemon=True)
        self._listener.start()
        self._timer = threading.Timer(self.max_hours * 3600, self._stop, [f"--max_hours {self.max_hours:g} are over"])
        self._timer.daemon = True
        if self.max_hours:
            self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        if self._previous:
            signal.set_wakeup_fd(self._previous_fd)
            for number, handler in self._previous.items():
                signal.signal(number, handler)
        self._writer.close()
        self._listener.join()
        self._reader.close()

    def _listen(self) -> None:
        while numbers := self._reader.recv(16):
            for number in numbers:
                if number in SIGNALS:
                    self._hear(signal.Signals(number))

    def _hear(self, number: signal.Signals) -> None:
        if number == signal.SIGINT:
            if self._interrupted:  # the second Ctrl-C does not wait
                os._exit(130)
            self._interrupted = True
        self._stop(number.name)

    def _stop(self, reason: str) -> None:
        with self._lock:
            self.reason = self.reason or reason
            phase = self._losing_nothing
        if phase:
            self._end()

    def _end(self) -> NoReturn:
        message = f"while {self._losing_nothing}; the same command goes on from there"
        processes.end(*exit_code_and_message(self.error(message)))

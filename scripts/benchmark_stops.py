#!/usr/bin/env python3
"""Seconds from SIGTERM to the process's end, by what a run was doing: on the phantom, at its full size.

    python scripts/benchmark_stops.py --workdir runs/stops [--processes 2]

A run of 40 steps is started, stopped in one phase, and started again to be stopped in the next; the last start must
finish it. With --processes the signal goes to the last process alone. The folder must be new.
"""

import argparse
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from cxr_jax.errors import ArgumentParser, InputError, run_command

LIMIT = 20.0
SETTINGS = ["num_steps=40", "eval_every=20", "log_every=1", "optim.warmup_steps=5"]
# What is printed when a phase is about to begin (data preparation shows only on a terminal: the set's first file is
# waited for), and how long after it the signal comes.
PHASES = {
    "preparing the data": ("", 5.0),
    "compiling": (": a new run", 2.0),
    "training": ("step 10/40", 0.5),
    "validating": ("step 20/40", 1.0),
    "indexing": ("step 40: validation loss", 8.0),
}


class Processes:
    """The run's processes, and what they print."""

    def __init__(self, workdir: Path, count: int):
        self.cache = workdir / "cache"
        changes = [f"--config.{change}" for change in (*SETTINGS, f"data.cache={self.cache}")]
        command = [sys.executable, "-m", "cxr_jax.train", "--config", "configs/phantom.py"]
        command += ["--workdir", str(workdir / "run"), *changes]
        self.begun = time.monotonic()
        self._text, self._news = "", threading.Condition()
        self.running = [
            subprocess.Popen(
                command,
                env=os.environ | (joined if count > 1 else {}),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
            for joined in variables(count)
        ]
        self._readers = [threading.Thread(target=self._read, args=(p.stdout,), daemon=True) for p in self.running]
        for reader in self._readers:
            reader.start()

    def _read(self, stream: IO[bytes]) -> None:
        while part := os.read(stream.fileno(), 4096):
            with self._news:
                self._text += part.decode(errors="replace")
                self._news.notify_all()

    def wait_for(self, text: str) -> None:
        """Until one of them has printed a text; an empty one: until a file is in the cache.

        Raises:
          InputError: they end before.
        """
        with self._news:
            while not (text in self._text if text else any(self.cache.rglob("*.*"))):
                if all(process.poll() is not None for process in self.running):
                    raise InputError(f"the run ended before {text!r}: {self._text[-2000:]}")
                self._news.wait(0.2)

    def wait(self) -> tuple[list[int], float, str]:
        """(Exit codes, seconds until the last has ended, the last line that says how it ended.)"""
        begun = time.monotonic()
        codes = [process.wait() for process in self.running]
        seconds = time.monotonic() - begun
        for reader in self._readers:
            reader.join()
        lines = self._text.replace("\r", "\n").strip().splitlines()
        # A resource tracker may have the very last word, about the semaphores of drawing processes.
        return codes, seconds, next((line for line in reversed(lines) if "preempted" in line), lines[-1])


def variables(count: int) -> list[dict[str, str]]:
    """What each process of a job on this machine needs to join."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    job = {"JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": str(count)}
    return [job | {"JAX_PROCESS_ID": str(i)} for i in range(count)]


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workdir", required=True, type=Path)
    parser.add_argument("--processes", type=int, default=1, metavar="N")
    arguments = parser.parse_args(argv)
    if arguments.workdir.exists():
        raise InputError(f"--workdir {arguments.workdir}: is there already; name a new folder")
    print(
        "| stopped while | seconds from SIGTERM to the end | exit code | its last line |\n|---|---|---|---|", flush=True
    )
    slow = []
    for phase, (text, later) in PHASES.items():
        job = Processes(arguments.workdir, arguments.processes)
        job.wait_for(text)
        time.sleep(later)
        job.running[-1].terminate()
        codes, seconds, line = job.wait()
        print(f"| {phase} | {seconds:.1f} | {', '.join(map(str, codes))} | {line} |", flush=True)
        slow += [phase] if seconds > LIMIT or set(codes) != {75} else []
    codes, _, line = Processes(arguments.workdir, arguments.processes).wait()
    print(f"\nstarted once more: exit code {', '.join(map(str, codes))}; {line}")
    if slow or set(codes) != {0}:
        raise InputError(f"not stopped with 75 within {LIMIT:g} s, or not finished: {', '.join(slow) or 'the end'}")


if __name__ == "__main__":
    run_command(main)

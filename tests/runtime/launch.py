"""Starts several processes that join over the loopback, as a launcher on a cluster would."""

import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass

ALONE = {
    name: value
    for name, value in os.environ.items()
    if not name.startswith(("JAX_", "SLURM_", "OMPI_", "TPU_", "XLA_FLAGS"))
} | {"JAX_PLATFORMS": "cpu", "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}


@dataclass
class Ended:
    """How a process ended: exit code (negative: a signal's number), what it printed, seconds that were waited."""

    code: int
    out: str
    err: str
    seconds: float


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def jax_variables(index: int, count: int, port: int) -> dict[str, str]:
    return {
        "JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{port}",
        "JAX_NUM_PROCESSES": str(count),
        "JAX_PROCESS_ID": str(index),
    }


def slurm_variables(index: int, count: int, port: int) -> dict[str, str]:
    """What srun sets on one node; JAX makes the coordinator's port from the job's number."""
    return {
        "SLURM_JOB_ID": str(port),
        "SLURM_NTASKS": str(count),
        "SLURM_PROCID": str(index),
        "SLURM_LOCALID": str(index),
        "SLURM_STEP_NODELIST": "127.0.0.1",
        "SLURM_STEP_NUM_NODES": "1",
    }


def start(command: list[str], environment: dict[str, str] | None = None) -> subprocess.Popen[str]:
    """A Python module with its arguments, alone unless `environment` says otherwise."""
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, "-m", *command], env=ALONE | (environment or {}), stdout=pipe, stderr=pipe, text=True
    )


def start_job(command: list[str], count: int, variables=jax_variables, extra=None) -> list[subprocess.Popen[str]]:
    port = free_port()
    return [start(command, variables(i, count, port) | (extra or {})) for i in range(count)]


def wait(running: list[subprocess.Popen[str]], timeout: float = 300) -> list[Ended]:
    """Waits for all; what is left after `timeout` seconds is killed, and its code is then -9."""
    begun, ended = time.monotonic(), []
    for process in running:
        try:
            out, err = process.communicate(timeout=max(0.1, timeout - (time.monotonic() - begun)))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            out, err = process.communicate()
        ended.append(Ended(process.returncode, out, err, time.monotonic() - begun))
    return ended


def run_job(command: list[str], count: int, variables=jax_variables, timeout: float = 300, extra=None) -> list[Ended]:
    return wait(start_job(command, count, variables, extra), timeout)

"""Joining under launchers as they are: what Slurm, Open MPI and Cloud TPU VMs set, and what they do not."""

import http.server
import importlib.util
import os
import signal
import socket
import threading

import pytest
from jax._src.clusters import SlurmCluster

from cxr_jax.errors import InputError
from cxr_jax.runtime import processes
from cxr_jax.runtime.processes import Launcher, launcher
from tests.runtime.launch import free_port, jax_variables, run_job, slurm_variables, start, wait

PROGRAMS = "tests.runtime.programs"
METADATA = {
    "agent-worker-number": "1",
    "worker-network-endpoints": "a:1:10.0.0.1,b:2:10.0.0.2",
    "tpu-env": "ZONE: 'z'\nWORKER_ID: '1'",
}


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        # mpirun in a job of one task, and of more than mpirun starts.
        (slurm_variables(0, 1, 1) | {"OMPI_COMM_WORLD_SIZE": "2"}, Launcher("Open MPI", 2)),
        (slurm_variables(0, 8, 1) | {"OMPI_COMM_WORLD_SIZE": "1"}, Launcher("Open MPI", 1)),
        ({"TPU_WORKER_HOSTNAMES": "a", "MEGASCALE_NUM_SLICES": "2"}, Launcher("Cloud TPU", 2)),
    ],
)
def test_the_innermost_launcher_counts(environment, expected):
    assert launcher(environment) == expected


def test_a_coordinator_has_a_port():
    with pytest.raises(InputError, match="JAX_COORDINATOR_ADDRESS = host: has no port; give HOST:PORT"):
        launcher(jax_variables(0, 2, 1) | {"JAX_COORDINATOR_ADDRESS": "host"})


def test_two_steps_of_a_job_meet_at_different_ports():
    job = slurm_variables(0, 2, 123456)
    ports = {processes.slurm_port(job | {"SLURM_STEP_ID": str(step)}) for step in range(100)}
    assert len(ports) == 100
    assert min(ports) >= 61440
    assert max(ports) <= 65535


def test_the_first_step_meets_where_jax_says(monkeypatch):
    for name, value in slurm_variables(0, 2, 123456).items():
        monkeypatch.setenv(name, value)
    assert SlurmCluster.get_coordinator_address(None, None) == f"127.0.0.1:{processes.slurm_port(os.environ)}"


@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        ({"SLURM_NTASKS": "4", "SLURM_JOB_ID": "7"}, "(this process was not started by srun)"),
        ({"OMPI_COMM_WORLD_SIZE": "2"}, "(Open MPI 5 names no coordinator to JAX without the package mpi4py)"),
    ],
)
@pytest.mark.skipif(bool(importlib.util.find_spec("mpi4py")), reason="mpi4py is there")
def test_the_reason_is_said_why_tasks_cannot_meet(environment, reason):
    (ended,) = wait([start([PROGRAMS, "meet"], environment)], timeout=60)
    assert ended.code == 2
    assert reason in ended.err


def test_a_stop_is_not_waited_for_until_the_others_come(tmp_path):
    command = ["cxr_jax.train", "--config", "configs/phantom.py", "--workdir", str(tmp_path / "run")]
    with socket.create_server(("127.0.0.1", 0)) as coordinator:  # that is called, and does not answer
        coordinator.settimeout(60)
        process = start(command, jax_variables(1, 2, coordinator.getsockname()[1]))
        with coordinator.accept()[0]:
            process.send_signal(signal.SIGTERM)
            (ended,) = wait([process], timeout=20)
    assert ended.code == 75
    assert (
        ended.err
        == "preempted: SIGTERM; while joining the job's other processes; the same command goes on from there\n"
    )


def test_one_that_waits_in_vain_says_for_whom(tmp_path):
    program = tmp_path / "late.py"
    program.write_text(
        "from cxr_jax.runtime import processes\nprocesses.JOIN_SECONDS = 2\nprocesses.join()\n", encoding="utf-8"
    )
    port = free_port()
    environment = jax_variables(1, 2, port) | {"PYTHONPATH": str(tmp_path)}
    (ended,) = wait([start(["late"], environment)], timeout=60)
    assert ended.code == 1
    assert ended.err.startswith("error: JAX_NUM_PROCESSES says 2 tasks, but not all have met at 127.0.0.1:")
    assert ended.err.count("\n") == 1


SLOW_SAVE = """
import pathlib, sys, time, types
from cxr_jax.errors import run_command
from cxr_jax.runtime import processes
from cxr_jax.runtime.stopping import Stopper
from cxr_jax.training.loop import Best, Loop

def close():
    time.sleep(2)
    pathlib.Path(sys.argv[1]).touch()

def main():
    processes.join()
    with Stopper() as stopper, processes.together():
        checkpoints = types.SimpleNamespace(close=close) if processes.is_primary() else None
        loop = Loop({}, "", None, None, (), None, checkpoints, [], stopper, 0, Best(), 0, True)
        loop._stop(3)

run_command(main)
"""


@pytest.mark.slow
def test_who_has_nothing_to_save_does_not_end_the_one_that_saves(tmp_path):
    (tmp_path / "slow_save.py").write_text(SLOW_SAVE, encoding="utf-8")
    saved = tmp_path / "saved"
    ended = run_job(["slow_save", str(saved)], 2, timeout=60, extra={"PYTHONPATH": str(tmp_path)})
    assert [process.code for process in ended] == [75, 75], ended
    assert saved.exists()


class Metadata(http.server.BaseHTTPRequestHandler):
    """The metadata server of the second host of a slice of two."""

    def do_GET(self):
        value = METADATA.get(self.path.rpartition("/")[2])
        self.send_response(404 if value is None else 200)
        self.end_headers()
        self.wfile.write((value or "").encode())

    def log_message(self, *arguments):
        pass


@pytest.fixture
def tpu_machine(monkeypatch):
    """This machine has TPU chips, says jax, and asks this address for its metadata."""
    monkeypatch.setattr("jax._src.clusters.cloud_tpu_cluster.running_in_cloud_tpu_vm", True)
    monkeypatch.delenv("TPU_SKIP_MDS_QUERY", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return lambda port: monkeypatch.setenv("GCE_METADATA_IP", f"127.0.0.1:{port}")


def test_a_tpu_vm_asks_its_metadata_server(tpu_machine):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Metadata) as server:
        threading.Thread(target=server.serve_forever).start()
        tpu_machine(server.server_port)
        assert processes.tpu_vm() == Launcher("Cloud TPU", 2)
        server.shutdown()


def test_tpu_chips_without_a_metadata_server_are_alone(tpu_machine):
    tpu_machine(free_port())
    assert processes.tpu_vm() is None


def test_a_machine_without_tpu_chips_asks_nobody():
    assert processes.tpu_vm() is None

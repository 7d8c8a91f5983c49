"""Joining and ending together, by real processes over the loopback."""

import pytest

from cxr_jax.errors import InputError
from cxr_jax.runtime.processes import Launcher, launcher
from tests.runtime.launch import jax_variables, run_job, slurm_variables, start, wait

PROGRAMS = "tests.runtime.programs"
SLURM = slurm_variables(0, 2, 12345)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, None),
        (jax_variables(1, 2, 1234), Launcher("JAX_NUM_PROCESSES", 2)),
        (SLURM, Launcher("Slurm", 2)),
        ({"OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_RANK": "1"}, Launcher("Open MPI", 4)),
        ({"TPU_WORKER_HOSTNAMES": "a,b,c"}, Launcher("Cloud TPU", 3)),
        ({"TPU_WORKER_HOSTNAMES": ""}, None),
        (SLURM | jax_variables(0, 3, 1), Launcher("JAX_NUM_PROCESSES", 3)),
    ],
)
def test_the_launcher_is_known_by_its_variables(environment, expected):
    assert launcher(environment) == expected


@pytest.mark.parametrize("missing", list(jax_variables(0, 2, 1)))
def test_all_three_variables_or_none(missing):
    environment = jax_variables(0, 2, 1)
    del environment[missing]
    with pytest.raises(InputError, match=f"{missing} is not; set all of JAX_COORDINATOR_ADDRESS"):
        launcher(environment)


def test_a_count_is_a_number():
    with pytest.raises(InputError, match="SLURM_NTASKS = two: is no whole number"):
        launcher({"SLURM_NTASKS": "two"})


@pytest.mark.parametrize("variables", [jax_variables, slurm_variables])
def test_processes_join_and_the_primary_goes_first(variables):
    ended = run_job([PROGRAMS, "meet"], 2, variables, timeout=60)
    assert [process.code for process in ended] == [0, 0], ended
    assert [process.out[:14] for process in ended] == ["process 0 of 2", "process 1 of 2"]
    first, second = (float(process.out.split()[-1]) for process in ended)
    assert first < second


def test_what_is_not_to_join_does_not():
    process = wait([start([PROGRAMS, "meet", "off"], jax_variables(1, 2, 1))], timeout=60)[0]
    assert process.out.startswith("process 0 of 1")


@pytest.mark.parametrize(
    ("mode", "environment", "message"),
    [
        ("on", {}, "error: --distributed on: no launcher says how many tasks; start it by srun or mpirun"),
        ("on", {"SLURM_NTASKS": "1"}, "error: --distributed on: Slurm says 1 task"),
        # As in an sbatch script that forgot srun, and under an Open MPI that JAX does not know.
        ("auto", {"SLURM_NTASKS": "4", "SLURM_JOB_ID": "7"}, "error: Slurm says 4 tasks, but they cannot be joined"),
        ("auto", {"OMPI_COMM_WORLD_SIZE": "2"}, "error: Open MPI says 2 tasks, but they cannot be joined"),
    ],
)
def test_a_job_that_cannot_be_joined_is_refused_in_one_line(mode, environment, message):
    process = wait([start([PROGRAMS, "meet", mode], environment)], timeout=60)[0]
    assert process.code == 2
    assert process.err.startswith(message)
    assert process.err.count("\n") == 1


@pytest.mark.parametrize("who", [0, 1])
@pytest.mark.parametrize(
    ("program", "code", "message"),
    [("fail", 2, "error: a.csv: no such file; mend the path"), ("crash", 1, "error: RuntimeError: a bug")],
)
def test_a_fault_in_one_process_ends_all_with_its_message(program, code, message, who):
    ended = run_job([PROGRAMS, program, str(who)], 2, timeout=30)
    assert [process.code for process in ended] == [code, code], ended
    assert f"{message} (process {who} of 2, " in ended[who].err
    assert ended[1 - who].err.startswith(f"ended by another process: {message} (process {who} of 2, ")
    assert ended[1 - who].err.count("\n") == 1


def test_what_breaks_because_another_ends_is_no_fault_of_its_own():
    ended = run_job([PROGRAMS, "break_down"], 2, timeout=60)
    assert [process.code for process in ended] == [75, 75], ended
    assert ended[0].err.startswith("ended by another process: preempted: SIGTERM (process 1 of 2, ")
    assert ended[0].err.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize("who", [0, 1])
def test_a_process_that_is_killed_is_not_waited_for(who):
    ended = run_job([PROGRAMS, "vanish", str(who)], 2, timeout=60)
    assert ended[who].code == -9
    assert ended[1 - who].code not in (0, -9)
    assert max(process.seconds for process in ended) < 40

"""Signals and the end of the allotted time, by real processes."""

import signal
import time

import pytest

from tests.runtime.launch import start, start_job, wait

PROGRAMS = "tests.runtime.programs"


@pytest.mark.parametrize(
    ("number", "code", "message"),
    [
        (signal.SIGTERM, 75, "preempted: SIGTERM; checkpoint of step 3 is saved\n"),
        (signal.SIGUSR1, 75, "preempted: SIGUSR1; checkpoint of step 3 is saved\n"),
        (signal.SIGINT, 130, "interrupted: checkpoint of step 3 is saved\n"),
    ],
)
def test_a_signal_is_left_to_the_program(number, code, message):
    process = start([PROGRAMS, "phase", "loop"])
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    ended = wait([process], 30)[0]
    assert (ended.code, ended.out, ended.err) == (code, "saved\n", message)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 75), (signal.SIGINT, 130)])
def test_a_phase_that_loses_nothing_ends_at_once_even_within_a_call_that_python_cannot_interrupt(number, code):
    process = start([PROGRAMS, "phase", "losing_nothing"])
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.3)
    begun = time.monotonic()
    process.send_signal(number)
    ended = wait([process], 30)[0]
    assert ended.code == code
    assert time.monotonic() - begun < 5
    assert "while compiling; the same command goes on from there" in ended.err


def test_the_hours_end():
    ended = wait([start([PROGRAMS, "phase", "loop", "0.0001"])], 30)[0]
    assert ended.code == 75
    assert ended.err.startswith("preempted: --max_hours 0.0001 are over; checkpoint of step 3")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_that_comes_when_all_is_done_changes_no_exit_code(number):
    programs = start([PROGRAMS, "leave", str(int(number))]), start([PROGRAMS, "leave", str(int(number)), "saved"])
    assert [ended.code for ended in wait(list(programs), 30)] == [0, 75]


def test_the_second_interrupt_does_not_wait():
    process = start([PROGRAMS, "keep_on"])
    assert process.stdout.readline() == "ready\n"
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        time.sleep(0.3)
    assert wait([process], 30)[0].code == 130


def test_one_process_that_ends_at_once_takes_the_other_along():
    job = start_job([PROGRAMS, "phase", "losing_nothing"], 2)
    assert [process.stdout.readline() for process in job] == ["ready\n", "ready\n"]
    time.sleep(0.3)
    job[1].send_signal(signal.SIGTERM)
    ended = wait(job, 30)
    assert [process.code for process in ended] == [75, 75]
    assert "(process 1 of 2, " in ended[0].err

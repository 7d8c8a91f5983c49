"""A folder's lock, by real processes, some of which are killed."""

import json
import os
import signal
import time

import pytest

from cxr_jax.errors import InputError
from cxr_jax.runtime import lock
from tests.runtime.launch import start, wait


@pytest.fixture
def file(tmp_path):
    return tmp_path / "run.lock"


def held_elsewhere(file):
    process = start(["tests.runtime.programs", "keep", str(file)])
    assert process.stdout.readline() == "held\n"
    return process


def test_the_second_is_refused_by_name(file):
    process = held_elsewhere(file)
    refused = rf"--workdir x: process {process.pid} on .* is at work there since 2.*; wait for it or stop it"
    with pytest.raises(InputError, match=refused), lock.hold(file, "--workdir x"):
        pytest.fail("held twice")
    process.send_signal(signal.SIGTERM)
    wait([process], 30)
    with lock.hold(file, "--workdir x"):
        assert json.loads(file.read_text())["pid"] == os.getpid()
    assert list(file.parent.iterdir()) == []


def test_a_killed_holder_leaves_nothing_behind_for_ever(file):
    process = held_elsewhere(file)
    process.kill()
    wait([process], 30)
    assert file.is_file()
    with lock.hold(file, "x"):
        assert json.loads(file.read_text())["pid"] == os.getpid()


def test_a_number_that_another_process_has_by_now_is_not_the_holder(file):
    with lock.hold(file, "x"):
        record = json.loads(file.read_text())
    file.write_text(json.dumps(record | {"started": "1"}))
    with lock.hold(file, "x"):
        pass


@pytest.mark.parametrize("text", ["", "{", "[]", "{}"])
def test_a_damaged_lock_is_taken_over(file, text):
    file.write_text(text)
    with lock.hold(file, "x"):
        assert json.loads(file.read_text())["pid"] == os.getpid()


def test_another_machines_lock_holds_while_its_beats_come(file, monkeypatch):
    monkeypatch.setattr(lock, "STALE_SECONDS", 0.5)
    monkeypatch.setattr(lock, "BEAT_SECONDS", 0.05)
    with lock.hold(file, "x"):
        record = json.loads(file.read_text())
        file.write_text(json.dumps(record | {"host": "elsewhere"}))
        begun = time.monotonic()
        with pytest.raises(InputError, match="on elsewhere is at work"), lock.hold(file, "x"):
            pytest.fail("held twice")
        assert time.monotonic() - begun < 0.4
    # Its beats have stopped, and it was not released: the record is not this process's.
    with lock.hold(file, "x"):
        assert json.loads(file.read_text())["pid"] == os.getpid()


def test_a_fault_inside_releases(file):
    with pytest.raises(RuntimeError), lock.hold(file, "x"):
        raise RuntimeError("inside")
    assert not file.exists()

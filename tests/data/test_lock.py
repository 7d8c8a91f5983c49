import subprocess
import sys
import threading

from cxr_jax.data import lock

HOLDER = """
import sys, time
from pathlib import Path
from cxr_jax.data import lock
with lock.hold(Path(sys.argv[1]), "testing"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_the_file_goes_when_the_body_is_through(tmp_path):
    file = tmp_path / "new" / "a.lock"
    with lock.hold(file, "testing") as held:
        assert held
        assert f"process {lock.os.getpid()} on " in file.read_text()
    assert not file.exists()


def test_a_killed_holder_leaves_no_lock_and_the_next_says_once_whom_it_waits_for(tmp_path, capsys):
    file = tmp_path / "a.lock"
    with subprocess.Popen([sys.executable, "-c", HOLDER, file], stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"held\n"
        killer = threading.Timer(1.5, holder.kill)
        killer.start()
        with lock.hold(file, "testing") as held:
            assert held
            assert holder.wait() < 0
    (line,) = capsys.readouterr().err.splitlines()
    assert f"process {holder.pid} on " in line
    assert line.endswith("is testing; waiting for it")


def test_of_many_one_at_a_time_holds_it_though_each_takes_the_file_away(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "POLL_SECONDS", 0.001)
    inside, most = [], []

    def enter():
        for _ in range(20):
            with lock.hold(tmp_path / "a.lock", "testing"):
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=enter) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 80


def test_without_locks_in_the_file_system_the_body_runs_and_is_told(tmp_path, monkeypatch):
    def unsupported(*_):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(lock.fcntl, "flock", unsupported)
    with lock.hold(tmp_path / "a.lock", "testing") as held:
        assert not held

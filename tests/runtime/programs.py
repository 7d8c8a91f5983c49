"""Programs for tests that need processes of their own: python -m tests.runtime.programs NAME [ARGUMENT …]."""

import atexit
import hashlib
import os
import sys
import time
from pathlib import Path

from cxr_jax.errors import InputError, Preempted, run_command
from cxr_jax.runtime import lock, processes
from cxr_jax.runtime.stopping import Stopper


def meet(mode="auto"):
    """Says who is there, one after the other where the primary goes first."""
    processes.join(mode)
    with processes.together():
        with processes.primary_first("one"):
            print(f"process {processes.index()} of {processes.count()} at {time.monotonic()}", flush=True)


def fail(who):
    """One process meets bad input; the other waits for it."""
    processes.join()
    with processes.together():
        if processes.index() == int(who):
            raise InputError("a.csv: no such file; mend the path")
        processes.barrier("never reached by all")


def crash(who):
    """As `fail`, by a bug."""
    processes.join()
    with processes.together():
        if processes.index() == int(who):
            raise RuntimeError("a bug")
        processes.barrier("never reached by all")


def break_down():
    """The second is preempted; the first sees a broken connection before it hears why."""
    processes.POLL_SECONDS = 60
    processes.join()
    with processes.together():
        if processes.index() == 1:
            raise Preempted("SIGTERM")
        time.sleep(5)
        raise RuntimeError("connection closed by peer")


def vanish(who):
    """As `fail`, by SIGKILL."""
    processes.join()
    with processes.together():
        if processes.index() == int(who):
            os.kill(os.getpid(), 9)
        processes.barrier("never reached by all")


def keep(file):
    """Holds a lock until it is told to stop."""
    with lock.hold(Path(file), "--workdir x"), Stopper() as stopper:
        print("held", flush=True)
        while not stopper.wanted:
            time.sleep(0.01)


def phase(name, max_hours="0"):
    """Waits in a phase that loses nothing, in C where no handler in Python can run; or in one that is finished."""
    processes.join()
    with Stopper(float(max_hours)) as stopper, processes.together():
        print("ready", flush=True)
        if name == "losing_nothing":
            with stopper.losing_nothing("compiling"):
                hashlib.pbkdf2_hmac("sha512", b"", b"", 10**9)
        while not stopper.wanted:
            time.sleep(0.01)
        print("saved", flush=True)
        raise stopper.error("checkpoint of step 3 is saved")


def leave(number, error=""):
    """Is told to stop once more, when all is done and Python shuts down."""
    atexit.register(lambda: os.kill(os.getpid(), int(number)))
    with Stopper():
        if error:
            raise Preempted(error)


def keep_on():
    """Does not care that it is to stop."""
    with Stopper():
        print("ready", flush=True)
        time.sleep(60)


if __name__ == "__main__":
    run_command(lambda: globals()[sys.argv[1]](*sys.argv[2:]))

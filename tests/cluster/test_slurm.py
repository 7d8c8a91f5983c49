"""scripts/cluster/slurm_train.sh under a real Slurm, where one answers: preempted, queued again, and no more."""

import os
import shutil
import subprocess
import sys
import time

import pytest

from tests.cluster.stubs import INHERITED, ROOT
from tests.runtime.launch import ALONE

SECONDS = 120


def slurm_answers() -> bool:
    if not all(map(shutil.which, ("sbatch", "srun", "scontrol", "sinfo"))):
        return False
    answer = subprocess.run(["sinfo", "-h", "-t", "idle", "-o", "%n"], capture_output=True, text=True, check=False)
    return answer.returncode == 0 and bool(answer.stdout.strip())


def call(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def wait_for(text: str, log, count: int) -> None:
    deadline = time.monotonic() + SECONDS
    while not log.exists() or log.read_text("utf-8").count(text) < count:
        assert time.monotonic() < deadline, log.read_text("utf-8") if log.exists() else "it has not started"
        time.sleep(0.5)


@pytest.mark.slow
def test_a_preempted_job_is_queued_again_and_goes_on(tmp_path):
    if not slurm_answers():
        pytest.skip("there is no Slurm here that has an idle node")
    python, log = tmp_path / "python", tmp_path / "log"
    program = f"cd {ROOT}\nexec {sys.executable} -m tests.runtime.programs phase wait\n"
    python.write_text(f"#!/bin/bash\n{program}", "utf-8")
    python.chmod(0o755)
    options = ["--nodes=1", "--gpus-per-node=0", "--ntasks-per-node=2", "--cpus-per-task=1", "--time=10"]
    job = subprocess.run(
        ["sbatch", "--parsable", *options, f"--output={log}", "scripts/cluster/slurm_train.sh", "--workdir", "x"],
        env=INHERITED | ALONE | {"PYTHON": str(python), "MAX_REQUEUES": "1", "PATH": os.environ["PATH"]},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    try:
        wait_for("ready", log, 2)
        call("scancel", "--signal=USR1", job)
        wait_for("is queued again, for start 2 of at most 2", log, 1)
        while "JobState=PENDING" not in call("scontrol", "show", "job", job):
            time.sleep(0.5)
        call("scontrol", "update", f"JobId={job}", "StartTime=now")  # Slurm would wait two minutes
        wait_for("ready", log, 4)
        call("scancel", "--signal=USR1", job)
        wait_for("not queued again: this was start 2, and MAX_REQUEUES is 1", log, 1)
    finally:
        subprocess.run(["scancel", job], check=False)
    assert log.read_text("utf-8").count("preempted: SIGUSR1; checkpoint of step 3 is saved (process") == 4

"""The cluster's scripts: they parse, call what there is, and go on after exit code 75 and no other."""

import importlib
import re
import shutil
import subprocess

import pytest

from cxr_jax import config as configuration
from tests.cluster.stubs import ROOT, SCRIPTS, run_script, stub

FILES = sorted(SCRIPTS.iterdir())
SHELL = [file for file in FILES if file.suffix == ".sh"]
SLURM = {"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "a[1-2]", "SLURM_NTASKS": "8", "SLURM_NTASKS_PER_NODE": "4"}
GPUS = {"SLURM_GPUS_PER_NODE": "h100:4", "SLURM_CPUS_PER_TASK": "6", "PYTHON": "python"}
TPU = {"TPU": "t", "ZONE": "z", "ACCELERATOR": "v6e-16", "RUNTIME": "r", "REPOSITORY": "/a b", "POLL_SECONDS": "0"}


def of_files(files):
    return pytest.mark.parametrize("file", files, ids=lambda file: file.name)


@of_files(SHELL)
def test_it_parses(file):
    subprocess.run(["bash", "-n", str(file)], check=True)


@of_files(SHELL)
@pytest.mark.skipif(not shutil.which("shellcheck"), reason="shellcheck is not installed")
def test_shellcheck_finds_nothing(file):
    found = subprocess.run(["shellcheck", "-x", str(file)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert not found.stdout


@of_files(FILES)
def test_lines_are_short(file):
    assert max(map(len, file.read_text("utf-8").splitlines())) <= 120


@of_files(FILES)
def test_commands_options_and_keys_are_there(file, capsys):
    """Options of cxr_jax's own commands have underscores or are one word; those of Slurm and gcloud are named here."""
    text = file.read_text("utf-8")
    known = {"gcloud", "--zone", "--format", "--force", "--quiet", "--worker", "--command", "--spot", "--time"}
    known |= {f"--{name}" for name in ("requeue", "output", "signal", "nodes", "ntasks", "dependency", "jobset")}
    for command in {"cxr_jax.train", *re.findall(r"-m,? (cxr_jax\.\w+)", text)}:
        with pytest.raises(SystemExit):
            importlib.import_module(command).main(["--help"])
        known |= set(re.findall(r"--[a-z_]+", capsys.readouterr().out))
    used = set(re.findall(r"(?<![\w-])--[a-z_]+(?![\w-])", text)) - {"--config"}
    assert used <= known, used - known
    keys = set(re.findall(r"--config\.([a-z_.]+)", text)) | set(re.findall(r"`(data\.\w+)`", text))
    assert keys <= configuration.SCHEMA.keys()


@pytest.mark.parametrize("script", ["slurm_train.sh", "slurm_prepare.sh"])
@pytest.mark.parametrize(
    ("code", "before", "queued"),
    [(0, 0, False), (1, 0, False), (2, 0, False), (130, 0, False), (75, 0, True), (75, 2, True), (75, 3, False)],
)
def test_a_slurm_job_is_queued_again_after_75_alone_and_not_for_ever(tmp_path, script, code, before, queued):
    stub(tmp_path, "srun", f"exit {code}")
    stub(tmp_path, "scontrol")
    environment = SLURM | GPUS | {"SLURM_RESTART_COUNT": str(before), "MAX_REQUEUES": "3"}
    ended = run_script(tmp_path, script, ["--config", "a b.py"], environment)
    assert ended.code == code
    assert [call for call in ended.calls if call.startswith("scontrol")] == ["scontrol requeue 7"] * queued
    assert len(ended.calls) == 1 + queued
    if code == 75:
        said = "job 7 is queued again" if queued else "not queued again: this was start 4, and MAX_REQUEUES is 3"
        assert said in ended.err


def test_a_job_that_cannot_be_queued_again_says_so(tmp_path):
    stub(tmp_path, "srun", "exit 75")
    stub(tmp_path, "scontrol", "exit 1")
    ended = run_script(tmp_path, "slurm_train.sh", [], SLURM | GPUS)
    assert ended.code == 75
    assert "submit the same command once more" in ended.err


def test_a_slurm_job_passes_its_arguments_on_whole(tmp_path):
    stub(tmp_path, "srun", f'printf "%s|" "$SRUN_CPUS_PER_TASK" "$@" > {tmp_path / "arguments"}')
    ended = run_script(tmp_path, "slurm_train.sh", ["--config", "a b.py", "--config.seed=1"], SLURM | GPUS)
    assert ended.code == 0, ended.err
    arguments = (tmp_path / "arguments").read_text("utf-8").split("|")
    assert arguments[0] == "6"
    assert arguments[arguments.index("python") : -1] == [
        "python",
        "-m",
        "cxr_jax.train",
        "--config",
        "a b.py",
        "--config.seed=1",
    ]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"SLURM_GPUS_PER_TASK": "1"}, "error: --gpus-per-task hides from JAX the devices"),
        ({"SLURM_GPUS_PER_NODE": "8"}, "error: --ntasks-per-node=4, --gpus-per-node=8: a task uses one GPU"),
    ],
)
def test_gpus_that_would_lie_idle_are_refused(tmp_path, asked, message):
    stub(tmp_path, "srun")
    ended = run_script(tmp_path, "slurm_train.sh", [], SLURM | GPUS | asked)
    assert (ended.code, ended.calls) == (2, [])
    assert ended.err.startswith(message)
    assert ended.err.count("\n") == 1


def test_one_task_may_have_all_gpus_of_its_node(tmp_path):
    stub(tmp_path, "srun")
    ended = run_script(
        tmp_path, "slurm_train.sh", [], SLURM | GPUS | {"SLURM_NTASKS": "1", "SLURM_NTASKS_PER_NODE": "1"}
    )
    assert ended.code == 0, ended.err
    assert len(ended.calls) == 1


def gcloud(folder, states, codes):
    """A gcloud whose queued resource is in one state after the other, the last for ever; training ends likewise."""
    next_of = (
        'next() { line=$(head -n 1 "$1"); if [ "$(wc -l < "$1")" -gt 1 ]; then sed -i 1d "$1"; fi; echo "$line"; }'
    )
    for name, lines in (("states", states), ("codes", codes)):
        (folder / name).write_text("".join(f"{line}\n" for line in lines), "utf-8")
    cases = f'*describe*) next "{folder}/states" ;;\n*cxr_jax.train*) exit "$(next "{folder}/codes")" ;;'
    stub(folder, "gcloud", f"{next_of}\ncase $* in\n{cases}\nesac")


def verbs(ended):
    named = (re.search(r"queued-resources (create|delete)|cxr_jax\.train|mount", call) for call in ended.calls)
    return [found[0].split()[-1] for found in named if found]


@pytest.mark.parametrize(
    ("states", "codes", "code", "expected"),
    [
        (["ACTIVE"], [0], 0, ["cxr_jax.train"]),
        # Asked for, waited for, set up, trained.
        (["", "WAITING_FOR_RESOURCES", "ACTIVE"], [0], 0, ["create", "mount", "cxr_jax.train"]),
        # Preempted, and the slice is there.
        (["ACTIVE"], [75, 0], 0, ["cxr_jax.train"] * 2),
        # Preempted by the slice's going: what is left of it is removed, and another asked for.
        (
            ["ACTIVE", "SUSPENDED", "", "ACTIVE"],
            [75, 0],
            0,
            ["cxr_jax.train", "delete", "create", "mount", "cxr_jax.train"],
        ),
        # A slice that went while gcloud spoke to it looks like a fault.
        (
            ["ACTIVE", "SUSPENDED", "SUSPENDED", "", "ACTIVE"],
            [1, 0],
            0,
            ["cxr_jax.train", "delete", "create", "mount", "cxr_jax.train"],
        ),
        (["ACTIVE"], [2], 2, ["cxr_jax.train"]),
        (["ACTIVE"], [1], 1, ["cxr_jax.train"]),
        (["ACTIVE"], [130], 130, ["cxr_jax.train"]),
        # Killed, or the connection lost: the others ended with it.
        (["ACTIVE"], [255, 134, 0], 0, ["cxr_jax.train"] * 3),
        (["ACTIVE"], [75], 75, ["cxr_jax.train"] * 3),
    ],
)
def test_a_tpu_run_starts_over_while_it_is_preempted(tmp_path, states, codes, code, expected):
    gcloud(tmp_path, states, codes)
    environment = TPU | {"SETUP": "sudo mount /shared", "MAX_RESTARTS": "2"}
    ended = run_script(tmp_path, "tpu_train.sh", ["--config", "a b.py"], environment)
    assert (ended.code, verbs(ended)) == (code, expected), ended.err


def test_a_tpu_run_passes_its_arguments_on_whole(tmp_path):
    gcloud(tmp_path, ["ACTIVE"], [0])
    ended = run_script(tmp_path, "tpu_train.sh", ["--config", "a b.py"], TPU)
    assert ended.calls[-1].endswith(r"--command=cd /a\ b && exec .venv/bin/python -m cxr_jax.train --config a\ b.py")
    assert "--worker=all" in ended.calls[-1]


def test_a_tpu_run_names_all_that_is_not_set(tmp_path):
    stub(tmp_path, "gcloud")
    ended = run_script(tmp_path, "tpu_train.sh", [], {"TPU": "t", "ZONE": "z", "RUNTIME": "r"})
    assert (ended.code, ended.calls) == (2, [])
    assert ended.err.startswith("error: ACCELERATOR REPOSITORY: not set")

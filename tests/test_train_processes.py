"""Training by several real processes that join over the loopback: one writer, agreed stops, the same losses."""

import json
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from cxr_jax.retrieval.store import SplitIndex
from cxr_jax.runtime.metric_writers import TIMINGS
from tests.runtime.launch import run_job, start, start_job, wait

TINY = "tests.train_tiny"
# As many devices in all, so that dropout draws the same masks; augmentation on, which once depended on the processes.
CHANGES = ["data.augment=true", "text.dropout=0.2", "text.frozen=false", "text.length_buckets=2"]


def lines(folder: Path) -> list[dict]:
    read = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key not in TIMINGS} for line in read]


def assert_equal_to_rounding(one: list[dict], other: list[dict]) -> None:
    assert [sorted(line) for line in one] == [sorted(line) for line in other]
    for a, b in zip(one, other, strict=True):
        for key in a:
            if not key.startswith("val_recall"):  # of nine images, which rounding may rank otherwise
                np.testing.assert_allclose(a[key], b[key], rtol=2e-4, atol=1e-6, err_msg=f"{key} of step {a['step']}")


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def alone(cache, tmp_path_factory):
    """The run of one process with four devices."""
    folder = tmp_path_factory.mktemp("alone") / "run"
    ended = wait([start([TINY, str(folder), str(cache), "devices=4", *CHANGES])], 600)[0]
    assert ended.code == 0, ended.err
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 4])
def test_several_processes_train_as_one_and_write_once(alone, cache, tmp_path, count):
    folder = tmp_path / "run"
    ended = run_job([TINY, str(folder), str(cache), f"devices={4 // count}", *CHANGES], count, timeout=600)
    assert [process.code for process in ended] == [0] * count, [process.err[-2000:] for process in ended]
    assert_equal_to_rounding(lines(folder), lines(alone))
    assert sorted(p.name for p in folder.iterdir()) == sorted(p.name for p in alone.iterdir())
    assert all("a new run" not in process.out for process in ended[1:])
    indices = [SplitIndex.load(run / "index", "test") for run in (folder, alone)]
    np.testing.assert_allclose(*(index.image_embeddings for index in indices), atol=1e-3)


@pytest.mark.slow
def test_a_signal_to_one_process_stops_both_and_the_run_goes_on_alone(alone, cache, tmp_path):
    folder = tmp_path / "run"
    job = start_job([TINY, str(folder), str(cache), "devices=2", "num_steps=400", "eval_every=400", *CHANGES], 2)
    metrics = folder / "metrics.jsonl"
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and not (metrics.is_file() and metrics.read_text().count("\n") > 5):
        time.sleep(0.1)
    job[1].send_signal(signal.SIGTERM)
    ended = wait(job, 60)
    assert [process.code for process in ended] == [75, 75], [process.err[-2000:] for process in ended]
    assert max(process.seconds for process in ended) < 20
    assert "is saved; the same command goes on from there" in ended[0].err
    step = max(int(place.name) for place in (folder / "checkpoints").iterdir() if place.name.isdigit())
    steps = [line["step"] for line in lines(folder)]
    assert steps == list(range(1, step + 1))
    resumed = wait(
        [start([TINY, str(folder), str(cache), "devices=4", f"num_steps={step + 3}", "eval_every=400", *CHANGES])], 300
    )[0]
    assert resumed.code == 0, resumed.err
    assert [line["step"] for line in lines(folder)] == [*range(1, step + 4), step + 3]
    history = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    assert [entry["processes"] for entry in history] == [2, 1]
    assert history[1]["changed"]["num_steps"] == [400, step + 3]


@pytest.mark.slow
def test_two_processes_begin_with_the_model_that_one_has_read(alone, cache, tmp_path):
    folder, changes = tmp_path / "run", [*CHANGES, f"init_from={alone}", "num_steps=2"]
    ended = run_job([TINY, str(folder), str(cache), "devices=2", *changes], 2, timeout=600)
    assert [process.code for process in ended] == [0, 0], [process.err[-2000:] for process in ended]
    best = SplitIndex.load(alone / "index", "train").step
    theirs = [line for line in lines(alone) if line["step"] == best and "val_loss" in line]
    ours = [line | {"step": best} for line in lines(folder) if line["step"] == 0]
    assert_equal_to_rounding(ours, theirs)
    assert json.loads((folder / "config.json").read_text())["init_taken"]["step"] == best


@pytest.mark.slow
def test_bad_input_ends_both(cache, tmp_path):
    ended = run_job([TINY, str(tmp_path / "run"), str(cache), "batch_size=64"], 2, timeout=120)
    assert [process.code for process in ended] == [2, 2]
    assert any("batch_size = 64 is larger than the training split" in process.err for process in ended)


@pytest.mark.slow
def test_two_jobs_in_one_folder(cache, tmp_path):
    folder = tmp_path / "run"
    first = start([TINY, str(folder), str(cache), "num_steps=100000"])
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and not (folder / "run.lock").is_file():
        time.sleep(0.1)
    second = wait([start([TINY, str(folder), str(cache), "num_steps=100000"])], 120)[0]
    first.kill()
    wait([first], 30)
    assert second.code == 2
    assert f"process {first.pid} on " in second.err
    assert "is at work there since" in second.err

"""A run that is killed or preempted at random moments ends as if it had never been: bit for bit.

CXR_KILLS=20 python -m pytest -m slow -s tests/test_train_killed.py makes it twenty of each kind, for one process and
for two, and prints a line each; a start takes a quarter of a minute.
"""

import json
import os
import random
import shutil
import signal
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from cxr_jax.runtime.metric_writers import TIMINGS
from cxr_jax.training.checkpoint import Checkpoints, newest_step
from cxr_jax.training.step import make_recipe, state_shapes
from tests.runtime.launch import start_job, wait

TINY = "tests.train_tiny"
CHANGES = ["num_steps=60", "eval_every=20", "checkpoint_every=5", "data.augment=true", "text.dropout=0.2"]
TRAINING_SECONDS = 3  # about as long as the steps take
KILLS = int(os.environ.get("CXR_KILLS", "1"))


def metrics(folder: Path) -> list[dict]:
    read = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key not in TIMINGS} for line in read]


def contents(folder: Path) -> dict[str, bytes]:
    """The final state, the iterator, the best step, and the index, as bytes by name."""
    config = json.loads((folder / "config.json").read_text())
    recipe = make_recipe(config)
    checkpoints = Checkpoints(folder / "checkpoints", recipe.labels)
    state, data = checkpoints.restore_newest(state_shapes(recipe, config))
    checkpoints.close()
    leaves = {f"state {i}": np.asarray(x).tobytes() for i, x in enumerate(jax.tree.leaves(state))}
    index = {}
    for name in ("train", "val", "test"):
        index |= {f"{name} {file.name}": file.read_bytes() for file in (folder / "index" / name).iterdir()}
    return leaves | index | {"data": json.dumps(data, sort_keys=True).encode()}


def start_processes(folder: Path, cache: Path, count: int):
    """The run's processes, once all of them have come to its begin."""
    running = start_job([TINY, str(folder), str(cache), *CHANGES], count)
    assert [process.stdout.readline() for process in running] == ["started\n"] * count
    return running


def finish(folder: Path, cache: Path, count: int) -> float:
    """Trains to the end; returns the seconds that it took from its begin."""
    ended = wait(start_processes(folder, cache, count), 600)
    assert [process.code for process in ended] == [0] * count, ended
    return max(process.seconds for process in ended)


@pytest.fixture(scope="module", params=[1, 2], ids=["alone", "two_processes"])
def whole(request, tmp_path_factory):
    """(Number of processes, cache, folder of an uninterrupted run, its seconds)."""
    cache, folder = tmp_path_factory.mktemp("cache"), tmp_path_factory.mktemp("whole")
    return request.param, cache, folder / "run", finish(folder / "run", cache, request.param)


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -9), (signal.SIGTERM, 75)], ids=["killed", "preempted"])
def test_at_random_moments(whole, tmp_path, number, code):
    count, cache, expected, seconds = whole
    folder, moments, hits = tmp_path / "run", random.Random(int(number) + count), 0
    while hits < KILLS:
        running, where = start_processes(folder, cache, count), "the begin"
        moment = moments.uniform(0, seconds)
        if hits % 2 == 0:  # restoring and compiling take most of the time; half shall meet steps and saves
            while (line := running[0].stderr.readline()) and not line.startswith("step "):
                pass
            # No line: the steps were done before, and the index alone is left.
            where, moment = line.partition(":")[0] or "the end", moments.uniform(0, TRAINING_SECONDS)
        time.sleep(moment)
        # All die with their machines; a signal to one stops all.
        for process in running if number == signal.SIGKILL else [moments.choice(running)]:
            process.send_signal(number)
        ended = wait(running, 120)
        codes = {process.code for process in ended}
        assert codes in ({0}, {code}), ended
        waited = max(process.seconds for process in ended)
        print(
            f"{number.name} {moment:.1f} s after {where} of {count} process(es): exit code {codes.pop()} after "
            f"{waited:.1f} s; newest checkpoint of step {newest_step(folder / 'checkpoints')}"
        )
        assert number == signal.SIGKILL or waited < 20
        if ended[0].code == 0:  # it was faster: once more from the start
            assert contents(folder) == contents(expected)
            shutil.rmtree(folder)
        else:
            hits += 1
    finish(folder, cache, count)
    assert metrics(folder) == metrics(expected)
    assert contents(folder) == contents(expected)

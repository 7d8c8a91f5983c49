"""A run that is killed or preempted at random moments ends as if it had never been: bit for bit.

CXR_KILLS=20 makes it twenty of each; each start takes a quarter of a minute.
"""

import json
import os
import random
import signal
import subprocess
from pathlib import Path

import jax
import numpy as np
import pytest

from cxr_jax.runtime.metric_writers import TIMINGS
from cxr_jax.training.checkpoint import Checkpoints
from cxr_jax.training.step import make_recipe, state_shapes
from tests.runtime.launch import start, wait

TINY = "tests.train_tiny"
CHANGES = ["num_steps=60", "eval_every=20", "checkpoint_every=5", "data.augment=true", "text.dropout=0.2"]
KILLS = int(os.environ.get("CXR_KILLS", "2"))


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
        with np.load(folder / "index" / f"{name}.npz") as arrays:
            index |= {f"{name} {key}": arrays[key].tobytes() for key in arrays.files}
    return leaves | index | {"data": json.dumps(data, sort_keys=True).encode()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """(Cache, folder of an uninterrupted run, seconds that it took once its programs were compiled)."""
    cache, folder = tmp_path_factory.mktemp("cache"), tmp_path_factory.mktemp("whole")
    for name in ("first", "run"):
        ended = wait([start([TINY, str(folder / name), str(cache), *CHANGES])], 600)[0]
        assert ended.code == 0, ended.err
    return cache, folder / "run", ended.seconds


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -9), (signal.SIGTERM, 75)], ids=["killed", "preempted"])
def test_at_random_moments(whole, tmp_path, number, code):
    cache, expected, seconds = whole
    folder, moments, hits = tmp_path / "run", random.Random(int(number)), 0
    while hits < KILLS:
        process = start([TINY, str(folder), str(cache), *CHANGES])
        assert process.stdout.readline() == "started\n"
        try:
            process.wait(moments.uniform(0, seconds))
        except subprocess.TimeoutExpired:
            process.send_signal(number)
            hits += 1
        ended = wait([process], 120)[0]
        assert ended.code in (0, code), ended.err
        assert number != signal.SIGTERM or ended.code == 0 or ended.seconds < 20
        if ended.code == 0:  # it was faster: once more from the start
            assert contents(folder) == contents(expected)
            for file in sorted(folder.rglob("*"), reverse=True):
                file.rmdir() if file.is_dir() else file.unlink()
    ended = wait([start([TINY, str(folder), str(cache), *CHANGES])], 600)[0]
    assert ended.code == 0, ended.err
    assert metrics(folder) == metrics(expected)
    assert contents(folder) == contents(expected)

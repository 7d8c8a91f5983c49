import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cxr_jax.errors import InputError
from cxr_jax.training.checkpoint import Checkpoints


def state(step):
    rng = np.random.default_rng(step)
    return {
        "step": np.int32(step),
        "params": {"kernel": rng.normal(size=(4, 3)).astype(np.float32), "half": jnp.bfloat16(rng.normal(size=5))},
        "moments": [np.float32(rng.normal()), rng.integers(0, 9, 3, np.int32)],
    }


def iterator(step):
    return {"iterator": {"next_index": step, "nested": {"text": "a"}}}


def save_all(folder, scores):
    checkpoints = Checkpoints(folder, "score")
    for step, score in scores.items():
        checkpoints.save(step, state(step), iterator(step), {"score": score, "other": 1.0})
    checkpoints.close()
    return Checkpoints(folder, "score")


def assert_restored(checkpoints, step):
    restored, data = checkpoints.restore(step, state(0))
    assert data == iterator(step)
    expected = state(step)
    assert jax.tree.structure(restored) == jax.tree.structure(expected)
    for found, wanted in zip(jax.tree.leaves(restored), jax.tree.leaves(expected), strict=True):
        assert found.dtype == wanted.dtype
        np.testing.assert_array_equal(np.asarray(found), np.asarray(wanted))


def kept(folder):
    return sorted(int(path.name) for path in folder.iterdir() if path.name.isdigit())


@pytest.mark.parametrize(
    ("scores", "best", "expected"),
    [
        ({10: 0.1, 20: 0.9, 30: 0.3, 40: 0.2}, 20, [20, 40]),
        ({10: 0.1, 20: 0.2, 30: 0.3}, 30, [30]),
        ({10: 0.5, 20: 0.2}, 10, [10, 20]),
        ({5: 0.0}, 5, [5]),
    ],
)
def test_the_newest_and_the_best_are_kept(tmp_path, scores, best, expected):
    checkpoints = save_all(tmp_path, scores)
    assert (checkpoints.latest_step(), checkpoints.best_step()) == (max(scores), best)
    assert kept(tmp_path) == expected
    for step in expected:
        assert_restored(checkpoints, step)
    checkpoints.close()


def test_an_empty_folder_has_no_step(tmp_path):
    checkpoints = Checkpoints(tmp_path / "new" / "checkpoints", "score")
    assert checkpoints.latest_step() is None
    assert checkpoints.best_step() is None
    checkpoints.close()


def test_a_moved_folder_can_be_read(tmp_path):
    save_all(tmp_path / "one", {10: 0.5}).close()
    shutil.move(tmp_path / "one", tmp_path / "two")
    checkpoints = Checkpoints(tmp_path / "two", "score")
    assert_restored(checkpoints, 10)
    checkpoints.close()


def test_a_later_run_keeps_the_best_of_an_earlier_one(tmp_path):
    save_all(tmp_path, {10: 0.9, 20: 0.1}).close()
    checkpoints = save_all(tmp_path, {30: 0.2})
    assert (checkpoints.latest_step(), checkpoints.best_step()) == (30, 10)
    assert kept(tmp_path) == [10, 30]
    checkpoints.close()


def test_a_half_written_checkpoint_is_not_taken_for_a_whole_one(tmp_path):
    save_all(tmp_path, {10: 0.5}).close()
    # What a killed job leaves: Orbax writes under another name and renames at the end.
    shutil.copytree(tmp_path / "10", tmp_path / "20.orbax-checkpoint-tmp-1")
    checkpoints = Checkpoints(tmp_path, "score")
    assert checkpoints.latest_step() == 10
    assert_restored(checkpoints, 10)
    checkpoints.close()


def refused(folder, like):
    checkpoints = Checkpoints(folder, "score")
    with pytest.raises(InputError, match=r"10: checkpoint (cannot be read|is of another model)") as error:
        checkpoints.restore(10, like)
    assert "\n" not in str(error.value)
    checkpoints.close()


def test_a_damaged_checkpoint_is_refused(tmp_path):
    save_all(tmp_path, {10: 0.5}).close()
    for file in (tmp_path / "10" / "state").rglob("*"):
        if file.is_file() and file.stat().st_size > 20:
            file.write_bytes(file.read_bytes()[:20])
    refused(tmp_path, state(0))


def test_a_checkpoint_without_its_iterator_is_refused(tmp_path):
    save_all(tmp_path, {10: 0.5}).close()
    shutil.rmtree(tmp_path / "10" / "data")
    refused(tmp_path, state(0))


@pytest.mark.parametrize("change", ["shape", "more", "fewer"])
def test_another_models_checkpoint_is_refused(tmp_path, change):
    save_all(tmp_path, {10: 0.5}).close()
    like = state(0)
    if change == "shape":
        like["params"]["kernel"] = np.zeros((5, 3), np.float32)
    elif change == "more":
        like["params"]["extra"] = np.zeros(3, np.float32)
    else:
        del like["params"]["half"]
    refused(tmp_path, like)

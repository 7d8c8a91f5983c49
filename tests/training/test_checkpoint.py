"""Checkpoints on disk: what is kept, what is written once, and what becomes of damage."""

import os
import resource
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cxr_jax.errors import InputError
from cxr_jax.training.checkpoint import SAMPLED, Checkpoints, identity, merge, newest_step, restore_variables, split
from cxr_jax.training.optim import FROZEN, TRAIN
from cxr_jax.training.step import TrainState
from tests.runtime.launch import ALONE

LABELS = {"vision": {"kernel": TRAIN, "half": TRAIN}, "text": {"bert": {"kernel": FROZEN}, "prompts": TRAIN}}
ALL_TRAINED = jax.tree.map(lambda _: TRAIN, LABELS)


def state(step, moments=3):
    rng, frozen = np.random.default_rng(step), np.random.default_rng(99)
    params = {
        "vision": {"kernel": rng.normal(size=(4, 3)).astype(np.float32), "half": jnp.bfloat16(rng.normal(size=5))},
        "text": {
            # −0.0 too: equal to 0.0, and of other bits.
            "bert": {"kernel": np.append(frozen.normal(size=6), -0.0).astype(np.float32)},
            "prompts": rng.normal(size=(2, 3)).astype(np.float32),
        },
    }
    opt_state = [{"mu": np.float32(rng.normal())}, rng.integers(0, 2**60, moments, np.int64).astype(np.int32)]
    return TrainState(np.int32(step), params, {"mean": rng.normal(size=3).astype(np.float32)}, opt_state)


def data(step):
    return {"iterator": {"next_index": step, "nested": {"text": "a"}}, "best": {"step": None, "score": None}}


@contextmanager
def opened(folder, labels=LABELS):
    checkpoints = Checkpoints(folder, labels)
    yield checkpoints
    checkpoints.close()


def save_all(folder, steps, best=None, labels=LABELS):
    with opened(folder, labels) as checkpoints:
        for step in steps:
            checkpoints.save(step, state(step), data(step), best)


def assert_same_bits(found, wanted):
    assert jax.tree.structure(found) == jax.tree.structure(wanted)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        assert a.dtype == b.dtype
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()


def assert_newest(folder, step, labels=LABELS):
    with opened(folder, labels) as checkpoints:
        restored = checkpoints.restore_newest(state(0))
    assert restored is not None
    assert restored[1] == data(step)
    assert_same_bits(restored[0], state(step))


def assert_one_line(error):
    assert "\n" not in str(error.value)


def kept(folder):
    return sorted(int(path.name) for path in folder.iterdir() if path.name.isdigit())


def damage(folder):
    files = [file for file in folder.rglob("*") if file.is_file() and file.stat().st_size > 20]
    assert files
    for file in files:
        file.write_bytes(file.read_bytes()[:20])


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Checkpoints of 10, 20 and 30, the first the best; to be copied."""
    folder = tmp_path_factory.mktemp("saved") / "checkpoints"
    save_all(folder, (10, 20, 30), best=10)
    return folder


@pytest.fixture
def folder(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "checkpoints")


# What is kept


@pytest.mark.parametrize(
    ("best_at", "expected"),
    [
        ({10: None, 20: None, 30: None}, [20, 30]),  # no validation yet
        ({10: 10, 20: 20, 30: 20, 40: 20, 50: 20}, [20, 40, 50]),
        ({10: 10, 20: 10, 30: 30, 40: 40}, [30, 40]),
        ({10: 10, 20: 10, 30: 30, 40: 30, 50: 30}, [30, 40, 50]),  # the best of before goes
    ],
)
def test_the_newest_two_and_the_best_are_kept(tmp_path, best_at, expected):
    with opened(tmp_path) as checkpoints:
        for step, best in best_at.items():
            checkpoints.save(step, state(step), data(step), best)
        checkpoints.wait()
        assert checkpoints.newest_step() == newest_step(tmp_path) == max(best_at)
    assert kept(tmp_path) == expected
    for step in expected:
        variables = restore_variables(tmp_path, step, variables_of(state(0)), LABELS)
        assert_same_bits(variables, variables_of(state(step)))


def test_a_later_run_keeps_the_best_of_an_earlier_one(folder):
    save_all(folder, (40, 50), best=10)
    assert kept(folder) == [10, 40, 50]
    assert_newest(folder, 50)


def test_an_empty_folder_has_no_step(tmp_path):
    with opened(tmp_path / "new" / "checkpoints") as checkpoints:
        assert checkpoints.newest_step() is None
        assert checkpoints.restore_newest(state(0)) is None
    assert newest_step(tmp_path / "new" / "checkpoints") is newest_step(tmp_path / "missing") is None


def test_a_moved_folder_can_be_read(folder, tmp_path):
    moved = Path(shutil.move(folder, tmp_path / "elsewhere"))
    assert_newest(moved, 30)
    assert_same_bits(restore_variables(moved, 10, variables_of(state(0)), LABELS), variables_of(state(10)))


# What is trained and what is frozen


def test_split_and_merge_are_each_others_inverse():
    params = state(1).params
    trained, frozen = split(params, LABELS)
    assert list(frozen) == ["text"]
    assert list(frozen["text"]) == ["bert"]
    assert list(trained["text"]) == ["prompts"]
    assert_same_bits(merge(trained, frozen), params)
    assert split(params, ALL_TRAINED) == (params, {})


def test_what_is_frozen_is_written_once(tmp_path):
    save_all(tmp_path, (10,))
    written = {file: file.stat().st_mtime_ns for file in (tmp_path / "frozen").rglob("*")}
    assert written
    save_all(tmp_path, (20, 30, 40))  # another start, and the checkpoint of the first gone
    assert kept(tmp_path) == [30, 40]
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "frozen").rglob("*")} == written
    assert_newest(tmp_path, 40)


def test_without_frozen_parameters_there_is_no_such_folder(tmp_path):
    save_all(tmp_path, (10,), labels=ALL_TRAINED)
    assert not (tmp_path / "frozen").exists()
    assert_newest(tmp_path, 10, ALL_TRAINED)


def test_frozen_parameters_that_a_killed_run_half_wrote_are_written_anew(tmp_path):
    (tmp_path / "frozen").mkdir(parents=True)
    (tmp_path / "frozen" / "manifest.ocdbt").write_bytes(b"half")
    save_all(tmp_path, (10,))
    assert_newest(tmp_path, 10)


def test_lost_frozen_parameters_are_named(folder):
    shutil.rmtree(folder / "frozen")
    with opened(folder) as checkpoints, pytest.raises(InputError, match="frozen: checkpoint cannot be read") as error:
        checkpoints.restore_newest(state(0))
    assert_one_line(error)
    assert kept(folder) == [10, 20, 30]  # they are good, and are not set aside for it


# Damage


def test_a_damaged_newest_is_set_aside_and_the_one_before_used(folder, capsys):
    damage(folder / "30" / "state")
    assert_newest(folder, 20)
    warning = capsys.readouterr().err
    assert warning.startswith(f"warning: {folder / '30'}: checkpoint cannot be read (")
    assert warning.endswith("set aside as 30.damaged, the one before it is used\n")
    assert warning.count("\n") == 1
    assert kept(folder) == [10, 20]
    assert (folder / "30.damaged").is_dir()
    # The run goes on, and comes by the step again.
    save_all(folder, (30, 40), best=10)
    assert kept(folder) == [10, 30, 40]
    assert_newest(folder, 40)


def test_a_newest_damaged_twice_is_set_aside_twice(folder, capsys):
    for _ in range(2):
        damage(folder / "30" / "state")
        assert_newest(folder, 20)
        save_all(folder, (30,), best=10)
    assert_newest(folder, 30)
    assert capsys.readouterr().err.count("warning: ") == 2


def test_a_newest_without_its_iterator_is_damaged(folder, capsys):
    shutil.rmtree(folder / "30" / "data")
    assert_newest(folder, 20)
    assert "30.damaged" in capsys.readouterr().err


def test_where_all_are_damaged_one_line_says_so(folder, capsys):
    for step in (10, 20, 30):
        damage(folder / str(step) / "state")
    with opened(folder) as checkpoints, pytest.raises(InputError) as error:
        checkpoints.restore_newest(state(0))
    assert f"{folder / '10'}: checkpoint cannot be read (" in str(error.value)
    assert f"it is the only one: remove {folder} to begin anew" in str(error.value)
    assert_one_line(error)
    assert capsys.readouterr().err.count("warning: ") == 2


@pytest.mark.parametrize("change", ["shape", "more", "fewer", "more frozen", "frozen shape"])
def test_another_models_checkpoints_are_refused(folder, change):
    like, labels = state(0), jax.tree.map(lambda x: x, LABELS)
    if change == "shape":
        like.params["vision"]["kernel"] = np.zeros((5, 3), np.float32)
    elif change == "more":
        like.params["vision"]["extra"], labels["vision"]["extra"] = np.zeros(3, np.float32), TRAIN
    elif change == "fewer":
        del like.params["vision"]["half"], labels["vision"]["half"]
    elif change == "more frozen":
        like.params["text"]["bert"]["extra"], labels["text"]["bert"]["extra"] = np.zeros(3, np.float32), FROZEN
    else:
        like.params["text"]["bert"]["kernel"] = np.zeros(8, np.float32)
    with opened(folder, labels) as checkpoints, pytest.raises(InputError) as error:
        checkpoints.restore_newest(like)
    assert_one_line(error)
    assert "of another model; use the run's own config.json" in str(error.value)
    assert kept(folder) == [10, 20, 30]  # nothing is wrong with them


def test_half_written_checkpoints_are_not_taken_for_whole_ones(folder):
    # What a killed job leaves: Orbax writes under another name and renames at the end.
    shutil.copytree(folder / "30", folder / "40.orbax-checkpoint-tmp-1")
    damage(folder / "40.orbax-checkpoint-tmp-1")
    assert newest_step(folder) == 30
    assert_newest(folder, 30)
    assert not list(folder.glob("*tmp*"))


def save_on_a_full_disk(folder):
    """What the process of the next test runs: no file can grow past 100 kB."""
    checkpoints = Checkpoints(Path(folder), LABELS)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
    checkpoints.save(20, state(20, moments=200_000), data(20), None)
    checkpoints.wait()  # it is written in the background


def test_a_full_disk_ends_in_one_line_with_the_earlier_checkpoints_whole(tmp_path):
    small, large = state(10, moments=200_000), state(20, moments=200_000)
    with opened(tmp_path) as checkpoints:
        checkpoints.save(10, small, data(10), None)
    program = (
        "import sys; from cxr_jax.errors import run_command;"
        "from tests.training.test_checkpoint import save_on_a_full_disk;"
        "run_command(lambda: save_on_a_full_disk(sys.argv[1]))"
    )
    ended = subprocess.run([sys.executable, "-c", program, tmp_path], env=ALONE, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith(f"error: {tmp_path}: checkpoint cannot be written (Failed to write "), ended.stderr
    assert ended.stderr.endswith("); make room there, the earlier ones are whole\n"), ended.stderr
    assert ended.stderr.count("\n") == 1, ended.stderr  # nothing but the line
    assert "File too large" in ended.stderr
    with opened(tmp_path) as again:
        assert again.newest_step() == newest_step(tmp_path) == 10
        restored = again.restore_newest(small)
        assert_same_bits(restored[0], small)
        again.save(20, large, data(20), None)
    assert kept(tmp_path) == [10, 20]


# The model's own part


def variables_of(state):
    return {"params": state.params, "batch_stats": state.batch_stats}


@pytest.mark.skipif(not Path("/proc/self/io").is_file(), reason="needs Linux's count of bytes read")
def test_the_optimizers_state_is_not_read(tmp_path):
    megabytes = 8

    def read(function):
        before = int(Path("/proc/self/io").read_text().split()[1])
        function()
        return (int(Path("/proc/self/io").read_text().split()[1]) - before) / 1e6

    like = state(10, moments=megabytes * 250_000)
    with opened(tmp_path) as checkpoints:
        checkpoints.save(10, like, data(10), None)
        checkpoints.wait()
        assert read(lambda: checkpoints.restore_newest(like)) > megabytes  # what is read is counted
    variables = []
    assert read(lambda: variables.append(restore_variables(tmp_path, 10, variables_of(like), LABELS))) < 1
    assert_same_bits(variables[0], variables_of(like))


def test_shapes_will_do(folder):
    shapes = jax.eval_shape(lambda: variables_of(jax.tree.map(jnp.asarray, state(0))))
    assert_same_bits(restore_variables(folder, 30, shapes, LABELS), variables_of(state(30)))


@pytest.mark.parametrize("change", ["missing", "damaged", "shape", "frozen"])
def test_variables_that_cannot_be_restored(folder, change):
    like = variables_of(state(0))
    if change == "missing":
        shutil.rmtree(folder / "30")
    elif change == "damaged":
        damage(folder / "30" / "state")
    elif change == "shape":
        like["params"]["vision"]["kernel"] = np.zeros((4, 2), np.float32)
    else:
        damage(folder / "frozen")
    with pytest.raises(InputError, match=r"(30|frozen): checkpoint (cannot be read|is of another model)") as error:
        restore_variables(folder, 30, like, LABELS)
    assert_one_line(error)
    assert os.path.isdir(folder / "20")


def test_a_checkpoints_identity_hangs_on_its_values_names_and_shapes():
    rng = np.random.default_rng(0)
    params = {"a": {"kernel": rng.normal(size=(30, 1000)).astype(np.float32)}, "b": np.float32(1)}
    given = identity({"params": params})
    assert len(given) == 16
    assert given == identity({"params": jax.tree.map(jnp.asarray, dict(reversed(params.items())))})
    kernel = params["a"]["kernel"]
    assert kernel.size > 2 * SAMPLED
    for other in (
        {**params, "b": np.float32(1.0000001)},
        {**params, "a": {"kernel": np.nextafter(kernel, 9)}},
        {**params, "a": {"kernel": kernel.reshape(1000, 30)}},
        {**params, "a": {"bias": kernel}},
        {**params, "c": np.zeros(0, np.float32)},
    ):
        assert identity({"params": other}) != given

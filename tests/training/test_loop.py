"""The loop, with a step and a validation that take no time: when it saves, what is best, how it stops and goes on."""

import json
import time
import types
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cxr_jax.errors import InputError, Preempted
from cxr_jax.runtime import parallel
from cxr_jax.runtime.metric_writers import TIMINGS, JsonLines, read_lines
from cxr_jax.runtime.stopping import Stopper
from cxr_jax.training import loop as loops
from cxr_jax.training.checkpoint import Checkpoints
from cxr_jax.training.loop import BEST_METRIC, Best, Loop, Profile, Stopped, is_validated
from cxr_jax.training.optim import TRAIN
from cxr_jax.training.step import TrainState

CONFIG = {
    "seed": 0,
    "num_steps": 9,
    "batch_size": 8,
    "log_every": 2,
    "eval_every": 3,
    "checkpoint_every": 0,
    "checkpoint_minutes": 0.0,
    "nan": "stop",
    "profile_steps": "",
    "init_from": "",
}
SCORES = {3: 0.5, 6: 0.2, 9: 0.4}
LABELS = {"w": TRAIN}
STUDIES = [f"study{row}" for row in range(80)]


class Batches:
    """Batch n has the number n in its pixels and the rows from 8 (n − 1) on."""

    def __init__(self, nan_at=0, before=lambda number: None):
        self.number, self.nan_at, self.before = 0, nan_at, before

    def __next__(self):
        self.number += 1
        self.before(self.number)
        value = np.nan if self.number == self.nan_at else self.number
        tokens = np.zeros((8, 2), np.int32)
        return {
            "image": np.full((8, 1, 1, 1), value, np.float32),
            "token_ids": tokens,
            "token_mask": tokens,
            "group_id": np.arange(8, dtype=np.int32),
            "study_id": np.arange(8, dtype=np.int32),
            "labels": np.zeros((8, 0), np.uint8),
            "row": np.arange(8) + 8 * (self.number - 1),
            "weight": np.ones(8, np.float32),
        }

    def get_state(self):
        return {"number": self.number}

    def set_state(self, state):
        self.number = state["number"]


def step(state, batch, key):
    """Its parameter depends on all batches and their order."""
    number = jax.lax.pmean(batch["image"].mean(), parallel.AXIS)
    params = {"w": 0.5 * state.params["w"] + number + jax.random.uniform(jax.random.fold_in(key, state.step))}
    metrics = {
        "loss": number,
        "loss_floor": 0 * number,
        "gradient_norm": 2 * number,
        "temperature": 0.07 + 0 * number,
        "learning_rate": number,
    }
    return state.replace(step=state.step + 1, params=params), metrics


@pytest.fixture(scope="module")
def train_step():
    return parallel.pmap(step, in_axes=(0, 0, None))


class Recorder(Checkpoints):
    """Writes nothing: {step: (the state's step, what is kept beside it, best)}."""

    def __init__(self):
        self.saved, self.closed = {}, False

    def save(self, step, state, data, best):
        self.saved[step] = int(state.step), json.loads(json.dumps(data)), best

    def close(self):
        self.closed = True


class Writer:
    def __init__(self):
        self.lines, self.closed = [], False

    def write(self, step, values):
        self.lines.append({"step": step, **values})

    def close(self):
        self.closed = True


def fresh_state():
    return TrainState(np.int32(0), {"w": np.float32(0)}, {}, {"mu": np.zeros(3, np.float32)})


def make_loop(train_step, folder, batches=None, scores=SCORES, stopper=None, during=lambda step: None, **options):
    """A loop whose validation scores the step by `scores`; `during` is called in the midst of it."""

    def validate(state, check):
        number = int(parallel.unreplicate(state.step))
        check()
        during(number)
        check()
        score = scores[number]
        recalls = {f"val_recall@{k}": score for k in loops.RECALL_RANKS}
        return {
            "val_loss": float(parallel.unreplicate(state.params["w"])),
            "val_loss_floor": 0.0,
            **recalls,
            BEST_METRIC: score,
        }

    given = {
        "config": CONFIG | options.pop("config", {}),
        "folder": folder,
        "train_step": train_step,
        "batches": batches or Batches(),
        "study_ids": STUDIES,
        "validate": validate,
        "checkpoints": Recorder(),
        "writers": [Writer()],
        "stopper": stopper or Stopper(),
        "first_step": 0,
        "best": Best(),
        "skipped": 0,
        "validated": True,
    }
    return Loop(**(given | options))


def start(loop, state=None):
    return loop.run(parallel.replicate(fresh_state() if state is None else state))


def timeless(lines):
    return [{name: value for name, value in line.items() if name not in TIMINGS} for line in lines]


# Log, validate, save


def test_a_whole_run(train_step, tmp_path, capsys):
    loop = make_loop(train_step, tmp_path)
    assert start(loop) == 3
    lines = loop.writers[0].lines
    assert [line["step"] for line in lines if "loss" in line] == [1, 2, 4, 6, 8, 9]
    assert [line["step"] for line in lines if "val_loss" in line] == [3, 6, 9]
    assert all(line["loss"] == line["step"] for line in lines if "loss" in line)
    assert list(loop.checkpoints.saved) == [3, 6, 9]
    assert loop.checkpoints.closed
    for number, (at, data, best) in loop.checkpoints.saved.items():
        assert at == number
        assert data == {"iterator": {"number": number}, "best": {"step": 3, "score": 0.5}, "skipped": 0}
        assert best == 3
    out, err = capsys.readouterr()
    w = next(line["val_loss"] for line in lines if "val_loss" in line)
    said = f"step 3: validation loss {w:.3f} (floor 0.000), image → report recall@1/5/10 0.500/0.500/0.500"
    assert out.splitlines()[0] == said
    assert len(out.splitlines()) == 3
    assert [line.partition(":")[0] for line in err.splitlines()] == [f"step {n}/9" for n in (1, 2, 4, 6, 8, 9)]
    assert "loss 9.000 (floor 0.000), lr 9.0e+00, τ 0.0700, " in err


def test_checkpoints_by_step_are_apart_from_validations(train_step, tmp_path):
    loop = make_loop(train_step, tmp_path, config={"checkpoint_every": 2})
    start(loop)
    best = {step: best for step, (_, _, best) in loop.checkpoints.saved.items()}
    assert best == {2: None, 3: 3, 4: 3, 6: 3, 8: 3, 9: 3}
    assert loop.checkpoints.saved[2][1]["best"] == {"step": None, "score": None}


def test_checkpoints_by_time(train_step, tmp_path, monkeypatch):
    now = 0.0

    def later(_):
        nonlocal now
        now += 25

    monkeypatch.setattr(loops, "time", types.SimpleNamespace(monotonic=lambda: now))
    loop = make_loop(
        train_step,
        tmp_path,
        Batches(before=later),
        config={"checkpoint_minutes": 1.0, "eval_every": 5},
        scores={5: 0.0, 9: 0.0},
    )
    start(loop)
    # Each minute begins anew with a checkpoint, a validation's as well.
    assert list(loop.checkpoints.saved) == [3, 5, 8, 9]


def test_neither_by_time_nor_by_step_unless_it_is_asked_for(train_step, tmp_path, monkeypatch):
    monkeypatch.setattr(loops, "time", types.SimpleNamespace(monotonic=iter(range(0, 10**9, 10**6)).__next__))
    loop = make_loop(train_step, tmp_path, config={"eval_every": 100}, scores={9: 0.0})
    start(loop)
    assert list(loop.checkpoints.saved) == [9]


def test_what_is_saved_without_validation_is_never_the_best(train_step, tmp_path):
    checkpoints = Checkpoints(tmp_path / "checkpoints", LABELS)
    loop = make_loop(
        train_step,
        tmp_path,
        checkpoints=checkpoints,
        config={"checkpoint_every": 1, "eval_every": 4},
        scores={4: 0.1, 8: 0.05, 9: 0.02},
    )
    assert start(loop) == 4
    kept = sorted(int(place.name) for place in (tmp_path / "checkpoints").iterdir() if place.name.isdigit())
    assert kept == [4, 8, 9]


@pytest.mark.parametrize(
    ("scores", "best"), [([0.1, 0.3, 0.2], 2), ([0.3, 0.3], 1), ([float("nan"), 0.0], 2), ([0.0], 1), ([-1.0], 1)]
)
def test_the_best_is_the_first_of_the_highest(scores, best):
    found = Best()
    for step, score in enumerate(scores, 1):
        found.consider(step, score)
    assert found.step == best


def test_when_a_step_is_validated():
    for init_from, first in (("", []), ("runs/theirs", [0])):
        config = {"eval_every": 4, "num_steps": 10, "init_from": init_from}
        assert [step for step in range(11) if is_validated(step, config)] == [*first, 4, 8, 10]


def test_what_began_elsewhere_is_kept_and_validated_before_the_first_step(train_step, tmp_path):
    loop = make_loop(train_step, tmp_path, scores=SCORES | {0: 0.6}, kept=False, validated=False)
    assert start(loop) == 0  # better than all that training made of it
    assert list(loop.checkpoints.saved) == [0, 3, 6, 9]
    assert loop.checkpoints.saved[0] == (0, {"iterator": {"number": 0}, "best": {"step": None, "score": None},
                                             "skipped": 0}, None)  # fmt: skip
    assert [line["step"] for line in loop.writers[0].lines if "val_loss" in line] == [0, 3, 6, 9]
    assert {best for _, _, best in list(loop.checkpoints.saved.values())[1:]} == {0}


def test_a_stop_before_the_first_step_leaves_what_began_elsewhere(train_step, tmp_path):
    stopper = Stopper()

    def stop(_):
        stopper.reason = "SIGTERM"

    loop = make_loop(train_step, tmp_path, stopper=stopper, during=stop, kept=False, validated=False, scores={0: 0.6})
    with pytest.raises(Preempted, match="checkpoint of step 0 is saved"):
        start(loop)
    assert list(loop.checkpoints.saved) == [0]
    assert loop.writers[0].lines == []


# Stopping and going on


def resumable(train_step, folder, batches, **options):
    """As train puts it together: (loop, state), from the newest checkpoint where there is one."""
    checkpoints = Checkpoints(folder / "checkpoints", LABELS)
    restored = checkpoints.restore_newest(fresh_state())
    state, data = restored or (fresh_state(), None)
    best = Best()
    if data is not None:
        batches.set_state(data["iterator"])
        best = best if data["best"]["step"] is None else Best(**data["best"])
    first, metrics_file = int(state.step), folder / "metrics.jsonl"
    writer = JsonLines(metrics_file, first)
    validated = not is_validated(first, CONFIG) or any(
        line["step"] == first and BEST_METRIC in line for line in read_lines(metrics_file)
    )
    loop = make_loop(
        train_step,
        folder,
        batches,
        checkpoints=checkpoints,
        writers=[writer],
        first_step=first,
        best=best,
        skipped=data["skipped"] if data else 0,
        validated=validated,
        **options,
    )
    return loop, state


def outcome(folder):
    checkpoints = Checkpoints(folder / "checkpoints", LABELS)
    state, data = checkpoints.restore_newest(fresh_state())
    checkpoints.close()
    return (
        [np.asarray(x).tobytes() for x in jax.tree.leaves(state)],
        data,
        timeless(read_lines(folder / "metrics.jsonl")),
    )


@pytest.fixture(scope="module")
def whole(train_step, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    loop, state = resumable(train_step, folder, Batches())
    assert start(loop, state) == 3
    return outcome(folder)


@pytest.mark.parametrize("where", ["step 1", "step 4", "step 6", "step 9", "validation 3", "validation 9"])
def test_a_run_that_is_stopped_and_goes_on_equals_an_uninterrupted_one(train_step, tmp_path, whole, where):
    kind, number = where.split()
    stopper = Stopper()

    def stop(at):
        if at == int(number):
            stopper.reason = "SIGTERM"

    nothing = lambda at: None  # noqa: E731
    batches = Batches(before=stop if kind == "step" else nothing)
    during = stop if kind == "validation" else nothing
    loop, state = resumable(train_step, tmp_path, batches, stopper=stopper, during=during)
    with pytest.raises(Preempted, match=f"^SIGTERM; checkpoint of step {number} is saved; the same command goes on"):
        start(loop, state)
    broken = read_lines(tmp_path / "metrics.jsonl")
    assert not any(line["step"] == int(number) and "val_loss" in line for line in broken)

    loop, state = resumable(train_step, tmp_path, Batches())
    assert (loop.first_step, loop.validated) == (int(number), not is_validated(int(number), CONFIG))
    assert start(loop, state) == 3
    assert outcome(tmp_path) == whole


@pytest.mark.parametrize("number", [2, 5, 8])
def test_a_run_that_crashes_and_goes_on_equals_an_uninterrupted_one(train_step, tmp_path, whole, number):
    def crash(at):
        if at == number:
            raise RuntimeError("a bug")

    loop, state = resumable(train_step, tmp_path, Batches(before=crash))
    with pytest.raises(RuntimeError, match="a bug"):
        start(loop, state)
    loop.checkpoints.wait()
    loop, state = resumable(train_step, tmp_path, Batches())
    assert loop.first_step == {2: 0, 5: 3, 8: 6}[number]
    assert start(loop, state) == 3
    assert outcome(tmp_path) == whole


def test_a_checkpoint_between_validations_changes_nothing(train_step, tmp_path, whole):
    loop, state = resumable(train_step, tmp_path, Batches(), config={"checkpoint_every": 1})
    assert start(loop, state) == 3
    assert outcome(tmp_path) == whole


def test_a_stop_saves_without_validating(train_step, tmp_path):
    stopper, validations = Stopper(), []

    def stop(at):
        if at == 3:
            stopper.reason = "SIGUSR1"

    loop = make_loop(train_step, tmp_path, Batches(before=stop), stopper=stopper, during=validations.append)
    with pytest.raises(Preempted, match="SIGUSR1"):
        start(loop)
    assert validations == []
    assert list(loop.checkpoints.saved) == [3]
    assert loop.checkpoints.saved[3][2] is None
    assert loop.checkpoints.closed
    assert loop.writers[0].closed


def test_ctrl_c_is_no_preemption(train_step, tmp_path):
    stopper = Stopper()
    stopper.reason, stopper._interrupted = "SIGINT", True
    loop = make_loop(train_step, tmp_path, stopper=stopper)
    with pytest.raises(KeyboardInterrupt, match="checkpoint of step 1 is saved"):
        start(loop)


def test_a_validation_that_is_made_up_and_stopped_again_saves_nothing_twice(train_step, tmp_path):
    stopper = Stopper()
    stopper.reason = "SIGTERM"
    state = fresh_state().replace(step=np.int32(3))
    loop = make_loop(train_step, tmp_path, stopper=stopper, first_step=3, validated=False)
    with pytest.raises(Preempted, match="checkpoint of step 3 is saved"):
        start(loop, state)
    assert loop.checkpoints.saved == {}
    assert loop.writers[0].lines == []


def test_stopped_is_what_ends_a_validation(train_step, tmp_path):
    stopper, raised = Stopper(), []

    def validate(state, check):
        stopper.reason = "SIGTERM"
        try:
            check()
        except Stopped as error:
            raised.append(error)
            raise

    loop = make_loop(train_step, tmp_path, stopper=stopper)
    loop.validate = validate
    with pytest.raises(Preempted):
        start(loop)
    assert len(raised) == 1


# What is not finite


@pytest.mark.parametrize(("nan_at", "good"), [(1, 0), (4, 3), (6, 3), (9, 6)])
def test_a_loss_that_is_not_finite_ends_the_run_in_one_line(train_step, tmp_path, nan_at, good):
    loop = make_loop(train_step, tmp_path, Batches(nan_at))
    with pytest.raises(InputError) as error:
        start(loop)
    studies = ", ".join(f"study{row}" for row in range(8 * nan_at - 8, 8 * nan_at))
    assert str(error.value).startswith(
        f"step {nan_at}: the loss is nan and the gradient's norm nan; the last good checkpoint is of step {good}; the "
        f"batch's studies: {studies}; lower optim.learning_rate"
    )
    assert "\n" not in str(error.value)
    assert max(loop.checkpoints.saved, default=0) == good


def test_no_checkpoint_is_written_of_what_is_not_finite_when_it_stops(train_step, tmp_path):
    stopper = Stopper()

    def stop(at):
        if at == 5:
            stopper.reason = "SIGTERM"

    loop = make_loop(train_step, tmp_path, Batches(nan_at=5, before=stop), stopper=stopper)
    with pytest.raises(InputError, match="step 5: the loss is nan"):
        start(loop)
    assert list(loop.checkpoints.saved) == [3]


def test_an_infinite_gradient_of_a_finite_loss_ends_the_run(tmp_path):
    def infinite(state, batch, key):
        state, metrics = step(state, batch, key)
        return state, metrics | {"gradient_norm": jnp.where(metrics["loss"] == 2, jnp.inf, 1.0)}

    loop = make_loop(parallel.pmap(infinite, in_axes=(0, 0, None)), tmp_path)
    with pytest.raises(InputError, match=r"step 2: the loss is 2\.0 and the gradient's norm inf; .*of step 0;"):
        start(loop)


def test_where_such_steps_are_left_out_the_run_goes_on_and_counts_them(train_step, tmp_path, capsys):
    loop = make_loop(train_step, tmp_path, Batches(nan_at=5), config={"nan": "skip"}, skipped=2)
    assert start(loop) == 3
    # Step 5 is not logged, and is counted.
    counts = {line["step"]: line["skipped"] for line in loop.writers[0].lines if "loss" in line}
    assert counts == {1: 2, 2: 2, 4: 2, 6: 3, 8: 3, 9: 3}
    assert {step: data["skipped"] for step, (_, data, _) in loop.checkpoints.saved.items()} == {3: 2, 6: 3, 9: 3}
    line = "step 5: the loss is nan and the gradient's norm nan; its update is left out, as 2 before it"
    assert capsys.readouterr().out.splitlines().count(line) == 1


# What one sees of where the time goes


def test_validations_and_checkpoints_are_left_out_of_the_meter(train_step, tmp_path, monkeypatch):
    left_out = []

    class Meter(loops.Meter):
        def read(self):
            left_out.append(self._left_out)
            self._left_out = 0.0
            return super().read()

    monkeypatch.setattr(loops, "Meter", Meter)
    loop = make_loop(train_step, tmp_path, during=lambda _: time.sleep(0.1), config={"log_every": 1, "num_steps": 6})
    start(loop)
    assert [seconds > 0.09 for seconds in left_out] == [False, False, False, True, False, False]


class Traces:
    def __init__(self, monkeypatch):
        self.calls = []
        monkeypatch.setattr(jax.profiler, "start_trace", lambda folder: self.calls.append(("start", Path(folder).name)))
        monkeypatch.setattr(jax.profiler, "stop_trace", lambda: self.calls.append("stop"))


@pytest.mark.parametrize(
    ("steps", "first", "started_before"),
    [("", 1, []), ("2:3", 1, [2, 4]), ("1:1", 1, [1, 2]), ("2:9", 4, [4]), ("2:3", 5, [])],
)
def test_the_steps_that_are_profiled(monkeypatch, tmp_path, steps, first, started_before):
    traces, changes = Traces(monkeypatch), []
    with Profile(steps, tmp_path / "profile") as profile:
        for step in range(first, 7):
            count = len(traces.calls)
            profile.before(step)
            changes += [step] if len(traces.calls) > count else []
    assert changes == started_before
    assert traces.calls == [("start", "profile"), "stop"][: 2 * bool(started_before)]


@pytest.mark.slow
def test_a_trace_is_written(train_step, tmp_path):
    start(make_loop(train_step, tmp_path, config={"profile_steps": "2:3"}))
    assert list((tmp_path / "profile").rglob("*.xplane.pb"))

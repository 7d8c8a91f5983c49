"""Whole runs on a tiny phantom: what they leave behind, that they resume exactly, that they can be moved and used."""

import dataclasses
import json
import re
import shutil
import signal
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file, save_file

import cxr_jax
from cxr_jax import evaluate
from cxr_jax import train as train_module
from cxr_jax.data import images, pipeline
from cxr_jax.data.pipeline import load_splits
from cxr_jax.data.tokens import TextFeatures, Tokens
from cxr_jax.errors import InputError, Preempted
from cxr_jax.evaluation.text_metrics import score_names
from cxr_jax.export import __main__ as export
from cxr_jax.retrieval import abstention
from cxr_jax.retrieval.embedding import make_encoders
from cxr_jax.retrieval.model import DraftWarning, Model
from cxr_jax.retrieval.store import SplitIndex
from cxr_jax.runtime import parallel
from cxr_jax.runtime.metric_writers import TIMINGS
from cxr_jax.runtime.run_folder import RunFolder
from cxr_jax.runtime.stopping import Stopper
from cxr_jax.train import Validation, train
from cxr_jax.training.checkpoint import Checkpoints
from cxr_jax.training.loop import BEST_METRIC, Loop
from cxr_jax.training.optim import FROZEN
from cxr_jax.training.step import init_state, make_recipe, state_shapes
from cxr_jax.weights.towers import resolve_towers
from tests.retrieval.test_npz import save_old
from tests.tiny import tiny_config, tiny_resolved

WEIGHTS = Path(__file__).parent / "weights" / "torchvision.safetensors"


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def config(cache):
    # All that draws random numbers, which a resumed run must repeat too, and all that makes the loss another.
    drawn = "data.augment=true", "text.dropout=0.2", "data.augment_text=('section', 'leave_out', 'shuffle')"
    joint = "loss.positives=soft", "loss.kind=sigmoid", "loss.bias=-3", "micro_batch=1", "data.sampler=unique_groups"
    return tiny_config(f"data.cache={cache}", *drawn, *joint)


@pytest.fixture(scope="module")
def run(config, tmp_path_factory) -> RunFolder:
    return train(config, tmp_path_factory.mktemp("runs") / "whole")


@pytest.fixture(scope="module")
def model(run) -> Model:
    return cxr_jax.load(run.root)


def final_state(run: RunFolder):
    config = run.load_config()
    recipe = make_recipe(config)
    checkpoints = Checkpoints(run.checkpoints, recipe.labels)
    restored = checkpoints.restore_newest(state_shapes(recipe, config))
    checkpoints.close()
    assert restored is not None
    return restored


def same_bits(a, b) -> bool:
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return all(np.asarray(x).tobytes() == np.asarray(y).tobytes() for x, y in pairs)


def without_clock(run: RunFolder) -> list[dict]:
    return [{k: v for k, v in line.items() if k not in TIMINGS} for line in run.metrics()]


def assert_same_outcome(run: RunFolder, expected: RunFolder):
    """Parameters, optimiser, statistics, iterator, best, metrics and index, to the bit."""
    (state, data), (expected_state, expected_data) = final_state(run), final_state(expected)
    assert data == expected_data
    assert same_bits(state, expected_state)
    assert without_clock(run) == without_clock(expected)
    names = index_files(expected)
    assert index_files(run) == names
    for name in names:
        assert (run.index / name).read_bytes() == (expected.index / name).read_bytes(), name


def index_files(run: RunFolder) -> list[str]:
    return sorted(str(file.relative_to(run.index)) for file in run.index.rglob("*") if file.is_file())


def history(run: RunFolder) -> list[dict]:
    return [json.loads(line) for line in run.history_file.read_text().splitlines()]


def test_a_run_leaves_what_its_folder_promises(run, config):
    assert json.loads(run.config_file.read_text())["text"]["bert"]["vocab_size"] > 100
    lines = run.metrics()
    assert [line["step"] for line in lines if "loss" in line] == [1, 2, 3, 4, 5, 6]
    assert [line["step"] for line in lines if "val_loss" in line] == [3, 6]
    assert all(np.isfinite(list(line.values())).all() for line in lines)
    for name in ("loss", "val_loss"):
        floors = [(line[name], line[f"{name}_floor"]) for line in lines if name in line]
        assert all(loss > floor >= 0 for loss, floor in floors), floors
        assert max(floor for _, floor in floors) > 0
    values = {"loss", "loss_floor", "learning_rate", "temperature", "gradient_norm", "update_norm", "equal_reports"}
    timings = {"pairs_per_second", "step_seconds", "data_wait_seconds"}
    assert lines[0].keys() == {"step"} | values | timings
    assert (run.root / "curves.png").read_bytes()[:4] == b"\x89PNG"
    assert (run.tokenizer / "tokenizer.json").is_file()
    assert sorted(place.name for place in run.index.iterdir()) == ["abstention.json", "test", "train", "val"]
    (line,) = history(run)
    assert (line["processes"], line["devices"], line["changed"]) == (1, "4 cpu", {})
    there = {path.name for path in run.root.iterdir()}
    assert there == {"config.json", "history.jsonl", "metrics.jsonl", "curves.png", "checkpoints", "tokenizer", "index"}
    assert BEST_METRIC in next(line for line in lines if "val_loss" in line)


class CrashError(Exception):
    pass


def break_off(monkeypatch, stopper: Stopper, where: str, step: int, crash: bool):
    """Has the run crash, or told to stop by SIGTERM, in the midst of a step, a validation or the indexing."""

    def interrupt():
        if crash:
            raise CrashError
        signal.raise_signal(signal.SIGTERM)
        while not stopper.wanted:  # another thread hears it
            time.sleep(0.001)

    def log(self, number, *rest, real=Loop._log):
        if number == step:
            interrupt()
        real(self, number, *rest)

    def validate(self, state, check, real=Validation.__call__):
        if int(parallel.unreplicate(state.step)) == step:
            interrupt()
        return real(self, state, check)

    def index_split(*arguments, real=train_module.index_split):
        interrupt()
        return real(*arguments)

    if where == "step":
        monkeypatch.setattr(Loop, "_log", log)
    elif where == "validate":
        monkeypatch.setattr(Validation, "__call__", validate)
    else:
        monkeypatch.setattr(train_module, "index_split", index_split)


@pytest.mark.parametrize(
    ("where", "step", "crash", "resumed_at"),
    [
        ("step", 5, True, 3),  # steps 4 and 5 are lost, to the checkpoint of step 3
        pytest.param("step", 4, False, 4, marks=pytest.mark.slow),
        pytest.param("validate", 3, False, 3, marks=pytest.mark.slow),
        pytest.param("step", 2, True, 0, marks=pytest.mark.slow),
        pytest.param("step", 6, False, 6, marks=pytest.mark.slow),
        pytest.param("validate", 6, False, 6, marks=pytest.mark.slow),
        pytest.param("validate", 6, True, 3, marks=pytest.mark.slow),
        pytest.param("index_split", 6, True, 6, marks=pytest.mark.slow),
    ],
)
def test_a_resumed_run_equals_an_uninterrupted_one(
    run, config, tmp_path, monkeypatch, capsys, where, step, crash, resumed_at
):
    with Stopper() as stopper:
        break_off(monkeypatch, stopper, where, step, crash)
        with pytest.raises(CrashError if crash else Preempted) as error:
            train(config, tmp_path / "broken", stopper)
    assert crash or str(error.value).startswith(f"SIGTERM; checkpoint of step {step} is saved; the same command")
    monkeypatch.undo()
    capsys.readouterr()
    resumed = train(config, tmp_path / "broken")
    begun = f"resuming at step {resumed_at}" if resumed_at else "a new run"
    assert f"{resumed.root}: {begun}\n" in capsys.readouterr().out
    assert_same_outcome(resumed, run)
    assert not list(resumed.root.glob("un*"))
    assert [line["changed"] for line in history(resumed)] == [{}, {}]


@pytest.mark.parametrize(
    ("change", "fixed"),
    [
        ("text.num_prompts=0", True),
        ("text.num_prompts=2", False),
        (("text.num_prompts=0", "text.frozen=false"), False),
        (("text.num_prompts=0", "text.pooling=attention"), False),
    ],
)
def test_a_text_tower_that_stays_as_it_is_is_not_encoded_again(run, cache, change, fixed):
    changes = [change] if isinstance(change, str) else change
    config = tiny_resolved("image.block_sizes=(1,)", f"data.cache={cache}", *changes)
    split = load_splits(config)[0]["val"]
    ids = np.arange(2 * len(split), dtype=np.int32).reshape(-1, 2) % 50 + 1
    tokens = Tokens(ids, np.ones_like(ids))
    recipe = make_recipe(config)
    states = [init_state(recipe, config | {"seed": seed}) for seed in (0, 1)]
    trained = jax.tree.map(lambda x, y, label: x if label == FROZEN else y, *(s.params for s in states), recipe.labels)
    states = [parallel.replicate(state) for state in (states[0], states[0].replace(params=trained))]
    calls = []
    encoders = make_encoders(recipe.model)
    counted = encoders._replace(text_features=lambda *given: calls.append(0) or encoders.text_features(*given))
    validation = Validation(counted, split, tokens, config)
    values = [validation(states[0], lambda: None)]
    once = len(calls)
    values.append(validation(states[1], lambda: None))
    assert (once > 0, len(calls) - once) == (True, 0 if fixed else once)
    assert values[0] != values[1] == Validation(encoders, split, tokens, config)(states[1], lambda: None)


def test_a_studys_images_share_no_batch_of_validation_because_they_lie_side_by_side(run, cache):
    """Of 32 rows in 16 groups of two neighbours, batches of 8 in order would each have a floor of log 2."""
    changes = "batch_size=8", "image.block_sizes=(1,)"
    config = tiny_resolved(f"data.cache={cache}", *changes)
    split = load_splits(config)[0]["train"].take(np.arange(32))
    split = dataclasses.replace(split, group_ids=np.arange(32, dtype=np.int32) // 2)
    tokens = Tokens(np.zeros((32, 2), np.int32), np.zeros((32, 2), np.int32))
    validation = Validation(make_encoders(make_recipe(config).model), split, tokens, config)
    z = np.random.default_rng(0).normal(size=(32, 4)).astype(np.float32)
    values = [validation.losses(split, z, z, {"log_scale": np.array(2, np.float32)}) for _ in range(2)]
    assert values[0] == values[1]
    assert 0 <= values[0]["val_loss_floor"] < 0.5 * np.log(2)
    assert values[0]["val_loss"] > values[0]["val_loss_floor"]


def test_training_again_a_finished_run_does_nothing_and_says_so(run, config, monkeypatch, capsys):
    before = {file: file.stat().st_mtime_ns for file in run.root.rglob("*")}
    monkeypatch.setattr(train_module, "load_splits", lambda _: pytest.fail("data is read"))
    assert train(config, run.root).root == run.root
    assert capsys.readouterr().out == f"{run.root}: is finished; nothing is left to do\n"
    assert {file: file.stat().st_mtime_ns for file in run.root.rglob("*") if file != run.root} == {
        file: time for file, time in before.items() if file != run.root
    }


@pytest.mark.slow
def test_a_run_may_become_longer_and_is_not_cut_short(run, config, tmp_path, capsys):
    longer = RunFolder(shutil.copytree(run.root, tmp_path / "longer"))
    train(config | {"num_steps": 7, "eval_every": 2, "log_every": 7}, longer.root)
    assert (
        f"{longer.root}: resuming at step 6\nnum_steps: 6 → 7; the learning rate goes on as a run of that many steps "
        "has it: 1.5e-04 in step 6, 9.5e-05 in step 7, 0 at the end\n"
    ) in capsys.readouterr().out
    assert not longer.unfinished.exists()
    assert SplitIndex.load(longer.index, "train").step == final_state(longer)[1]["best"]["step"]
    assert [line["changed"] for line in history(longer)] == [
        {},
        {"num_steps": [6, 7], "eval_every": [3, 2], "log_every": [1, 7]},
    ]
    assert longer.load_config()["num_steps"] == 7
    lines = without_clock(longer)
    assert lines[:-2] == without_clock(run)
    assert [line["step"] for line in lines[-2:]] == [7, 7]
    with pytest.raises(InputError) as error:
        train(config, longer.root)
    assert str(error.value) == (
        f"num_steps = 6: {longer.root} has come to step 7; give at least that, or another folder to begin anew"
    )


@pytest.mark.slow
def test_an_extension_equals_a_run_that_was_stopped_there_and_given_more_steps(
    run, config, tmp_path, monkeypatch, capsys
):
    """To the bit, also where the extension is killed in its midst: as the schedule says, so it goes on."""
    longer = config | {"num_steps": 12}
    with Stopper() as stopper:
        break_off(monkeypatch, stopper, "validate", 6, crash=False)  # at its last step, before its index
        with pytest.raises(Preempted):
            train(config, tmp_path / "stopped", stopper)
    monkeypatch.undo()
    stopped = train(longer, tmp_path / "stopped")
    extended = RunFolder(shutil.copytree(run.root, tmp_path / "extended"))
    with monkeypatch.context() as patch:
        break_off(patch, Stopper(), "step", 11, crash=True)
        with pytest.raises(CrashError):
            train(longer, extended.root)
    assert extended.unfinished.exists()
    capsys.readouterr()
    train(longer, extended.root)
    assert "resuming at step 9\n" in (out := capsys.readouterr().out)
    assert "num_steps: 6 →" not in out  # that was said when it began
    assert_same_outcome(extended, stopped)
    (extended.root / "unfinished").touch()  # as while it is trained further still
    shutil.rmtree(extended.checkpoints / str(SplitIndex.load(extended.index, "train").step))
    with pytest.raises(InputError, match=r"is trained further, and the checkpoint of step .* go on with it by its"):
        cxr_jax.load(extended.root)


def losses(run: RunFolder, step: int) -> dict[str, float]:
    (values,) = (line for line in run.metrics() if line["step"] == step and "val_loss" in line)
    return {name: value for name, value in values.items() if name != "step"}


def test_a_warm_started_run_begins_where_its_source_was_best_and_needs_it_no_more(run, config, tmp_path, monkeypatch):
    source = RunFolder(shutil.copytree(run.root, tmp_path / "source"))
    best = SplitIndex.load(run.index, "train").step
    warm = config | {"init_from": str(source.root), "num_steps": 2, "seed": 1}
    with monkeypatch.context() as patch:
        break_off(patch, Stopper(), "step", 1, crash=True)
        with pytest.raises(CrashError):
            train(warm, tmp_path / "warm")
    shutil.rmtree(source.root)
    tuned = train(warm, tmp_path / "warm")
    assert losses(tuned, 0) == losses(run, best)  # same numbers by the same program
    assert [line["step"] for line in tuned.metrics() if "val_loss" in line] == [0, 2]
    taken = tuned.load_config()["init_taken"]
    index = json.loads((run.index / "train" / "index.json").read_text())
    assert (taken["source"], taken["step"], taken["checkpoint"]) == (str(source.root), best, index["checkpoint"])
    assert (tuned.tokenizer / "tokenizer.json").read_bytes() == (run.tokenizer / "tokenizer.json").read_bytes()
    state, data = final_state(tuned)
    assert int(state.step) == 2
    assert data["best"]["score"] == max(losses(tuned, step)[BEST_METRIC] for step in (0, 2))
    assert [line["changed"] for line in history(tuned)] == [{}, {}]
    (tmp_path / "again").mkdir()
    with pytest.raises(InputError, match=f"init_from = {source.root}: holds no run"):
        train(warm, tmp_path / "again")
    assert not list((tmp_path / "again").iterdir())


@pytest.mark.slow
@pytest.mark.parametrize(("where", "step"), [("validate", 0), ("step", 4)])
def test_a_warm_started_run_that_crashes_equals_one_that_does_not(run, config, tmp_path, monkeypatch, where, step):
    warm = config | {"init_from": str(run.root), "seed": 1}
    whole = train(warm, tmp_path / "whole")
    with monkeypatch.context() as patch:
        break_off(patch, Stopper(), where, step, crash=True)
        with pytest.raises(CrashError):
            train(warm, tmp_path / "broken")
    assert_same_outcome(train(warm, tmp_path / "broken"), whole)


@pytest.mark.slow
def test_a_run_from_an_export_with_its_image_tower_frozen(run, config, tmp_path, capsys):
    export.main(["--workdir", str(run.root), "--out", str(tmp_path / "exported")])
    frozen = config | {"init_from": str(tmp_path / "exported"), "image": config["image"] | {"frozen": True}}
    tuned = train(frozen | {"init_except": ("soft_prompts",)}, tmp_path / "run")
    before, (after, _) = cxr_jax.load(run.root).variables, final_state(tuned)
    assert same_bits(before["params"]["vision"], after.params["vision"])
    assert same_bits(before["batch_stats"], after.batch_stats)
    assert not same_bits(before["params"]["text"]["head"], after.params["text"]["head"])
    assert tuned.load_config()["init_taken"]["left_out"] == [
        f"params.text.soft_prompts.{name}" for name in ("W_k.kernel", "W_q.kernel", "prompts")
    ]
    export.main(["--workdir", str(tuned.root), "--out", str(tmp_path / "again")])
    assert str(tmp_path) not in (tmp_path / "again" / "config.json").read_text()
    card = (tmp_path / "again" / "README.md").read_text()
    assert "It began from the model exported at its step" in card
    assert "less params.text.soft_prompts.W_k.kernel" in card


@pytest.mark.parametrize(("score", "found"), [(0.25, 0.25), (0.0, 0.0), (None, None)])
def test_a_steps_validation_is_found_by_its_line(tmp_path, score, found):
    folder = RunFolder(tmp_path)
    lines = [{"step": 3, BEST_METRIC: 0.5}, {"step": 6, "loss": 1.0}]
    lines += [] if score is None else [{"step": 6, BEST_METRIC: score}]
    folder.metrics_file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert train_module.validation_score(folder, 6) == found


def test_a_dry_run_says_what_a_step_costs_and_leaves_nothing(config, tmp_path, capsys):
    train(config, tmp_path / "dry", dry_run=True)
    assert not (tmp_path / "dry").exists()
    out = capsys.readouterr().out
    rows = {line.split()[0]: line.split()[1:] for line in out.splitlines() if line.strip()}
    counts = {
        name: [int(cell.replace(",", "")) for cell in rows[name]] for name in ("all", "text/bert", "vision/densenet")
    }
    assert counts["text/bert"][0] > counts["text/bert"][1] == 0
    assert counts["vision/densenet"][0] == counts["vision/densenet"][1] > 0
    assert f"{counts['all'][0]:,} parameters, {counts['all'][1]:,} trained; 4 cpu" in out
    costs = re.search(
        r"batch 8 over 4 cpu, 6 steps; a step, by XLA's own analysis: ([\d.]+) GFLOP in all, \d+ MiB of temporaries "
        r"and \d+ MiB of arguments a device",
        out,
    )
    assert costs is not None
    assert float(costs[1]) > 0


def test_towers_of_a_run_that_has_begun_are_not_looked_for(tmp_path):
    bert = tiny_resolved()["text"]["bert"]
    gone = tiny_config(f"image.pretrained={tmp_path}/x.pth", f"text.pretrained={tmp_path}/bert")
    settled = {"image": {"mean": [0.5] * 3, "std": [0.1] * 3}, "text": {"bert": bert}}
    begun = {name: gone[name] | values for name, values in settled.items()}
    resolved = resolve_towers(gone, begun)
    assert all(resolved[name][key] == value for name, values in settled.items() for key, value in values.items())
    for name in settled:  # another tower is
        with pytest.raises(InputError, match=f"{name}.pretrained = {tmp_path}"):
            resolve_towers(gone, begun | {name: begun[name] | {"pretrained": "another"}})


@pytest.mark.slow
def test_a_run_from_pretrained_weights(cache, tmp_path, capsys):
    """What is in the file is in the state; its scaling is in config.json, by which the run resumes and is used."""
    file = tmp_path / "xrayvision.safetensors"
    single = {k.removeprefix("single/"): v for k, v in load_file(WEIGHTS).items() if k.startswith("single/features")}
    save_file(single, file)
    changes = "image.block_sizes=(2, 1)", f"image.pretrained={file}", "num_steps=2", "optim.learning_rate=1e-9"
    config = tiny_config(f"data.cache={cache}", *changes)
    run = train(config, tmp_path / "run")
    assert f"image.pretrained = {file}: xrayvision.safetensors, 44 of 44 weights, 1 channel" in capsys.readouterr().out
    assert run.load_config()["image"]["mean"] == [0.5] * 3
    assert run.load_config()["image"]["std"] == [1 / 2048] * 3
    state, _ = final_state(run)
    densenet = state.params["vision"]["densenet"]
    third = np.asarray(densenet["conv0"]["kernel"])[:, :, 1].transpose(2, 0, 1)
    np.testing.assert_allclose(3 * third, single["features.conv0.weight"][:, 0], atol=1e-6)
    expected = single["features.denseblock1.denselayer2.norm2.weight"]
    np.testing.assert_allclose(densenet["denseblock1_denselayer2"]["norm2"]["scale"], expected, atol=1e-6)
    variance = np.asarray(state.batch_stats["vision"]["densenet"]["norm0"]["var"])
    assert variance.min() > 100  # torchxrayvision's inputs are 1024 times as large as others'
    file.unlink()  # all that is needed of it is in the run
    train(config | {"num_steps": 3}, run.root)
    assert f"{run.root}: resuming at step 2" in capsys.readouterr().out
    assert cxr_jax.load(run.root).encode_image([np.zeros((40, 32), np.uint8)]).shape == (1, 16)


def test_a_run_of_before_is_finished_and_still_answers(run, config, tmp_path, monkeypatch, capsys):
    """Its index was one .npz and one .jsonl a split."""
    old = RunFolder(shutil.copytree(run.root, tmp_path / "old"))
    for name in ("train", "val", "test"):
        save_old(SplitIndex.load(old.index, name), old.index)
        shutil.rmtree(old.index / name)
    monkeypatch.setattr(train_module, "load_splits", lambda *_: pytest.fail("data was prepared"))
    train(config, old.root)
    assert capsys.readouterr().out == f"{old.root}: is finished; nothing is left to do\n"
    found, expected = (cxr_jax.load(root).retrieve_images("nodule", 3) for root in (old.root, run.root))
    assert found == expected
    (old.index / "val.npz").unlink()
    with pytest.raises(pytest.fail.Exception, match="data was prepared"):
        train(config, old.root)


def test_an_index_of_another_run_is_refused(run, tmp_path):
    """Of the same configuration and step: it is the weights that differ."""
    other = RunFolder(shutil.copytree(run.root, tmp_path / "other"))
    for name in ("train", "test"):
        dataclasses.replace(SplitIndex.load(other.index, name), checkpoint="0" * 16).save(other.index)
    with pytest.raises(InputError, match=r"index/train: is of another checkpoint .* than the model"):
        cxr_jax.load(other.root)
    shutil.rmtree(other.index / "train")
    shutil.copytree(run.index / "train", other.index / "train")
    cxr_jax.load(other.root)
    with pytest.raises(InputError, match=r"index/test: is of another checkpoint .* than the pool of train reports"):
        evaluate.evaluate_split(other.root)


def test_another_configuration_is_refused(run, config, cache):
    other = tiny_config(f"data.cache={cache}", "data.augment=true", "text.dropout=0.2", "batch_size=4")
    with pytest.raises(InputError, match="batch_size: 8 → 4"):
        train(other, run.root)


def test_evaluation_of_a_moved_run(run, cache, tmp_path, capsys):
    """The folder is all it takes: neither the place nor the prepared data set of training is needed."""
    moved = shutil.copytree(run.root, tmp_path / "moved")
    shutil.move(cache, tmp_path / "gone")
    try:
        folder = evaluate.evaluate_split(moved, "test")
        with_model = cxr_jax.load(moved)
    finally:
        shutil.move(tmp_path / "gone", cache)
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["data_split"] == "paper"
    assert {"dataset", "split", "protocol", "n", "scores", "intervals", "floors", "retrieval"} <= metrics.keys()
    assert "drawn" in metrics["dataset"]
    assert {*score_names(), "finding_f1_macro"} == metrics["scores"].keys()
    assert all(low <= metrics["scores"][name] <= high for name, (low, high) in metrics["intervals"].items())
    assert {"constant_report", "random_report", "random_same_class_report"} <= metrics["floors"].keys()
    assert metrics["ceiling"].keys() == set(score_names()) >= metrics["skill"].keys()
    lines = [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]
    train_ids = {row.study_id for row in with_model.pool.rows}
    assert len(lines) == metrics["n"] > 0
    assert not train_ids & {line["study_id"] for line in lines}
    assert all(set(line["neighbours"]) <= train_ids for line in lines)
    page = (folder / "index.html").read_text()
    assert all(line["study_id"] in page for line in lines)
    assert "BLEU-4" in capsys.readouterr().out


def test_test_studies_may_not_be_in_the_pool(run, tmp_path):
    moved = RunFolder(shutil.copytree(run.root, tmp_path / "leaky"))
    test = SplitIndex.load(moved.index, "test")
    leak = SplitIndex.load(moved.index, "train").rows[0]
    dataclasses.replace(test, rows=[leak, *test.rows[1:]], stored_columns=None).save(moved.index)
    with pytest.raises(InputError, match="pool"):
        evaluate.evaluate_split(moved.root)


def test_door_embeds_images_from_paths_and_arrays_alike(model, run, tmp_path):
    test = SplitIndex.load(run.index, "test")
    rng = np.random.default_rng(0)
    grey = rng.integers(0, 256, (50, 40), dtype=np.uint8)
    (tmp_path / "x.png").write_bytes(images.encode_png(grey))
    z = model.encode_image([tmp_path / "x.png", str(tmp_path / "x.png"), grey, grey[:, :, None]])
    assert z.shape == (4, 16)
    assert z.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(z, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(z, z[:1].repeat(4, axis=0), atol=1e-6)
    assert model.encode_image([]).shape == (0, 16)
    del test


def test_door_embeds_as_training_did(model, run):
    """The index was made by the pmapped encoder during training; the Python API is another path to the same numbers."""
    test = SplitIndex.load(run.index, "test")
    z_t = model.encode_text([row.report for row in test.rows])
    np.testing.assert_allclose(z_t, test.text_embeddings, atol=1e-5)


def test_batch_size_does_not_matter(model):
    texts = ["The lungs are clear.", "Small left pleural effusion.", "Normal heart."]
    np.testing.assert_allclose(model.encode_text(texts, batch_size=2), model.encode_text(texts), atol=1e-6)


def test_door_retrieves_training_reports_in_order(model):
    grey = np.zeros((32, 32), np.uint8)
    found = model.retrieve(grey, top_k=4)
    assert len({n.row.study_id for n in found}) == 4
    similarities = [n.similarity for n in found]
    assert similarities == sorted(similarities, reverse=True)
    best = float((model.encode_image([grey]) @ model.pool.text_embeddings.T).max())
    assert similarities[0] == pytest.approx(best, abs=1e-5)
    assert len(model.retrieve_images("pleural effusion", 2)) == 2


def test_door_doubts_what_is_no_chest(model, run):
    stored = abstention.load(run.index, model.pool)
    assert stored == model.checks.limits
    noise = np.random.default_rng(0).integers(0, 256, (40, 40), dtype=np.uint8)
    with pytest.warns(DraftWarning) as said:
        draft = model.draft(noise, "compose")
    assert [str(warning.message) for warning in said] == [f"image 0: {doubt}" for doubt in draft.doubts]
    assert draft.doubts[0].startswith("unlike the training images")
    assert not draft.withheld
    with pytest.warns(DraftWarning):
        withheld = model.draft(noise, "compose", abstain=True)
    assert (withheld.text, withheld.sentences, withheld.doubts) == ("", (), draft.doubts)
    assert withheld.withheld
    # An index of before, without them: chosen anew on its validation split.
    (run.index / "abstention.json").rename(run.root / "aside.json")
    try:
        assert cxr_jax.load(run.root).checks.limits.lowest == pytest.approx(stored.lowest, abs=1e-5)
    finally:
        (run.root / "aside.json").rename(run.index / "abstention.json")


@pytest.mark.filterwarnings("ignore::cxr_jax.retrieval.model.DraftWarning")
@pytest.mark.parametrize("method", ["top1", "consensus", "sentences", "compose"])
def test_door_drafts(model, run, method):
    pictures = list(np.random.default_rng(0).integers(0, 256, (3, 40, 40), dtype=np.uint8))
    drafts = model.draft_each(pictures, method)
    assert [draft.method for draft in drafts] == [method] * 3
    assert drafts[0].text == model.draft(pictures[0], method).text
    reports = [row.report for row in SplitIndex.load(run.index, "train").rows]
    for draft, neighbours in zip(drafts, model.retrieve_each(pictures, 20), strict=True):
        assert (draft.row is None) == (method in ("sentences", "compose"))
        if draft.row is not None:
            assert " ".join(draft.text.split()) == " ".join(reports[draft.row].split())
            assert model.pool.rows[draft.row].study_id in {n.row.study_id for n in neighbours}
        for sentence in draft.sentences:
            assert sentence.sources or method == "compose"  # a sentence of the pool at large may be nobody's here
    if method == "top1":
        assert [draft.text for draft in model.draft_each(pictures)] == [draft.text for draft in drafts]


@pytest.mark.parametrize(
    ("texts", "line"),
    [
        (["fine", "  "], "text 1 is empty; there is nothing to embed"),
        ("", "text 0 is empty; there is nothing to embed"),
        (["fine", 3.0], "text 1 is a float; give strings"),
        ([["nested"]], "text 0 is a list; give strings"),
        (None, "texts are a NoneType; give strings"),
    ],
)
def test_door_refuses_texts_that_are_none(model, texts, line):
    with pytest.raises(InputError) as error:
        model.encode_text(texts)
    assert str(error.value) == line


def test_one_is_as_good_as_a_list_of_one(model, tmp_path):
    grey = np.arange(2000, dtype=np.uint8).reshape(50, 40)
    file = tmp_path / "x.png"
    file.write_bytes(images.encode_png(grey))
    z = model.encode_image([grey])
    for given in (file, str(file), Image.open(file), grey, grey[:, :, None], jnp.asarray(grey), grey[None]):
        np.testing.assert_allclose(model.encode_image(given), z, atol=1e-6)
    several = np.stack([grey, grey[::-1]])
    both = model.encode_image(list(several))
    assert both.shape == (2, 16)
    for given in (several, several[:, :, :, None], several[:, :, :, None].repeat(3, axis=3), iter(several)):
        np.testing.assert_allclose(model.encode_image(given), both, atol=1e-6)
    np.testing.assert_array_equal(model.encode_text("Clear."), model.encode_text(["Clear."]))


def test_nothing_gives_nothing(model):
    for empty in ([], np.zeros((0, 8, 8), np.uint8)):
        assert model.encode_image(empty).shape == (0, 16)
    assert model.encode_text([]).shape == (0, 16)
    assert model.retrieve_each([]) == []
    assert {name: chances.shape for name, chances in model.zero_shot([], ["edema"]).items()} == {"edema": (0,)}


@pytest.mark.parametrize(
    "given", [None, 3, b"\x89PNG", [np.zeros(4)], [None], np.zeros(4), [np.zeros((4, 4), complex)]]
)
def test_door_refuses_what_is_no_image(model, given):
    with pytest.raises(InputError, match=r"^image (array )?is .*; give a file's path, a PIL image") as error:
        model.encode_image(given)
    assert "\n" not in str(error.value)


def test_door_refuses_less_than_one_neighbour(model):
    with pytest.raises(InputError, match=r"^top_k = 0: give at least 1$"):
        model.retrieve(np.zeros((8, 8), np.uint8), top_k=0)


def test_load_refuses_what_is_no_run(tmp_path):
    with pytest.raises(InputError, match=r"config\.json"):
        cxr_jax.load(tmp_path)


@pytest.mark.slow
def test_each_distinct_text_of_a_tower_that_stays_as_it_is_is_read_once(cache, tmp_path, monkeypatch):
    """Before the first step; steps are given what came out. A run that crashed reads them again and ends the same."""
    changes = "text.num_prompts=0", "image.block_sizes=(1,)", "text.dropout=0.1"
    config = tiny_config(f"data.cache={cache}", *changes)
    seen = []

    def batches_of(split, texts, *rest, real=pipeline.train_batches):
        seen.append(texts)
        return real(split, texts, *rest)

    monkeypatch.setattr(pipeline, "train_batches", batches_of)
    whole = train(config, tmp_path / "whole")
    (texts,) = seen
    assert isinstance(texts, TextFeatures)
    reports = load_splits(config)[0]["train"].reports
    number = [reports.index(report) for report in reports]
    np.testing.assert_array_equal(texts.text_features, texts.text_features[number])
    with monkeypatch.context() as patch:
        break_off(patch, Stopper(), "step", 5, crash=True)
        with pytest.raises(CrashError):
            train(config, tmp_path / "crashed")
    assert_same_outcome(train(config, tmp_path / "crashed"), whole)


def test_labels_alone_can_be_trained_on(tmp_path, cache):
    """Sentences of the labels stand for reports, and the vocabulary has all those that may be drawn."""
    lines = []
    for number in range(40):
        finding = ("normal", "edema")[number % 2]
        pixels = np.random.default_rng(number).integers(0, 128, (40, 40), np.uint8) + 127 * (number % 2)
        (tmp_path / f"{number}.png").write_bytes(images.encode_png(pixels.astype(np.uint8)))
        lines.append(f"{number}.png,p{number},{finding}")
    (tmp_path / "table.csv").write_text("\n".join(["image,patient_id,finding", *lines]))
    (tmp_path / "sentences.yaml").write_text("normal: [Clear lungs., Unremarkable.]\nedema: [Wet lungs., Oedema.]")
    config = tiny_config(
        *("data.dataset=pairs", "data.split=auto", f"data.csv={tmp_path / 'table.csv'}", f"data.cache={cache}"),
        *(f"data.sentences={tmp_path / 'sentences.yaml'}", "data.columns=labels=finding", "loss.positives=group"),
        *("data.section=findings", "image.block_sizes=(1,)", "num_steps=2"),
    )
    run = train(config, tmp_path / "run")
    words = json.loads((run.tokenizer / "tokenizer.json").read_text())["model"]["vocab"]
    assert {"unremarkable", "wet", "clear"} <= set(words)
    rows = SplitIndex.load(run.index, "train").rows
    assert {(row.report, row.labels) for row in rows} == {("Clear lungs.", ()), ("Wet lungs.", ("edema",))}
    floors = [line["loss_floor"] for line in run.metrics() if "loss_floor" in line]
    assert min(floors) > 0
    (tmp_path / "sentences.yaml").write_text("normal: [Clear lungs.]\nedema: [Wet lungs.]")
    with pytest.raises(InputError, match=r"data\.fingerprint"):
        train(config | {"num_steps": 3}, run.root)

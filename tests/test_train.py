"""Whole runs on a tiny phantom: what they leave behind, that they resume exactly, that they can be moved and used."""

import json
import shutil
import signal
from pathlib import Path

import flax
import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import cxr_jax
from cxr_jax import evaluate
from cxr_jax.data import images
from cxr_jax.errors import InputError
from cxr_jax.evaluation.text_metrics import score_names
from cxr_jax.retrieval.model import Model
from cxr_jax.retrieval.store import SplitIndex
from cxr_jax.runtime import parallel
from cxr_jax.runtime.run_folder import RunFolder
from cxr_jax.train import train
from cxr_jax.training.checkpoint import Checkpoints
from cxr_jax.training.loop import BEST_METRIC, restore_or_init
from cxr_jax.training.step import init_state, make_recipe, state_shapes
from cxr_jax.weights.towers import resolve_towers
from tests.tiny import tiny_config, tiny_resolved

WEIGHTS = Path(__file__).parent / "weights" / "torchvision.safetensors"


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def config(cache):
    # Augmentation and dropout on: a resumed run must repeat their random numbers too.
    return tiny_config(f"data.cache={cache}", "data.augment=true", "text.dropout=0.2")


@pytest.fixture(scope="module")
def run(config, tmp_path_factory) -> RunFolder:
    return train(config, tmp_path_factory.mktemp("runs") / "whole")


@pytest.fixture(scope="module")
def model(run) -> Model:
    return cxr_jax.load(run.root)


def final_state(run: RunFolder):
    config = run.load_config()
    checkpoints = Checkpoints(run.checkpoints, BEST_METRIC)
    step = checkpoints.latest_step()
    state, data = checkpoints.restore(step, state_shapes(make_recipe(config), config))
    checkpoints.close()
    return step, state, data


def same_bits(a, b) -> bool:
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return all(np.asarray(x).tobytes() == np.asarray(y).tobytes() for x, y in pairs)


def without_clock(run: RunFolder) -> list[dict]:
    return [{k: v for k, v in line.items() if k != "pairs_per_second"} for line in run.metrics()]


def test_a_run_leaves_what_its_folder_promises(run):
    assert json.loads(run.config_file.read_text())["text"]["bert"]["vocab_size"] > 100
    lines = run.metrics()
    assert [line["step"] for line in lines if "loss" in line] == [1, 2, 3, 4, 5, 6]
    assert [line["step"] for line in lines if "val_loss" in line] == [3, 6]
    assert all(np.isfinite(list(line.values())).all() for line in lines)
    assert {"loss", "learning_rate", "temperature", "pairs_per_second"} <= lines[0].keys()
    assert run.curves_file.read_bytes()[:4] == b"\x89PNG"
    assert (run.tokenizer / "tokenizer.json").is_file()
    assert sorted(f.name for f in run.index.glob("*.npz")) == ["test.npz", "train.npz", "val.npz"]


@pytest.mark.parametrize("how", ["crash", "signal"])
def test_a_resumed_run_equals_an_uninterrupted_one(run, config, tmp_path, monkeypatch, how):
    """A crash in step 5 loses steps 4 and 5, to the checkpoint of step 3; a signal in step 4 loses nothing."""
    calls = []

    def shard(batch, real=parallel.shard):
        calls.append(batch)
        trained = len(calls)  # validation shards batches too
        if how == "crash" and trained == 7:
            raise RuntimeError("power cut")
        if how == "signal" and trained == 6:
            signal.raise_signal(signal.SIGTERM)
        return real(batch)

    monkeypatch.setattr(parallel, "shard", shard)
    with pytest.raises(RuntimeError if how == "crash" else KeyboardInterrupt):
        train(config, tmp_path / "broken")
    monkeypatch.undo()
    resumed = train(config, tmp_path / "broken")

    step, state, data = final_state(resumed)
    expected_step, expected, expected_data = final_state(run)
    assert (step, data) == (expected_step, expected_data) == (6, expected_data)
    assert same_bits(state, expected)
    kept = [line for line in without_clock(resumed) if not ("val_loss" in line and line["step"] == 4)]
    assert kept == without_clock(run)


def test_training_again_a_finished_run_changes_nothing(run, config):
    before = without_clock(run)
    train(config, run.root)
    assert without_clock(run) == before


def test_a_fresh_state_holds_both_towers_weights(tmp_path):
    fields = {"vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert", **fields, "intermediate_size": 32}))
    changes = (
        "image.block_sizes=(2, 1)",
        f"image.pretrained={WEIGHTS}",
        "image.pretrained_except=('^golden', '^single')",
    )
    config = resolve_towers(
        tiny_config(*changes, f"text.pretrained={tmp_path}", "text.pretrained_except=('word_embeddings',)")
    )
    recipe = make_recipe(config)
    shapes = state_shapes(recipe, config).params["text"]["bert"]
    bert = jax.tree.map(lambda x: np.full(x.shape, 0.25, np.float32), shapes)
    del bert["embeddings"]["word_embeddings"]
    (tmp_path / "flax_model.msgpack").write_bytes(flax.serialization.to_bytes(bert))

    state, step, notes = restore_or_init(Checkpoints(tmp_path / "run", BEST_METRIC), recipe, config, None)
    fresh = init_state(recipe, config)
    assert step == 0
    assert jax.tree.structure(state) == jax.tree.structure(fresh)
    loaded = dict(state.params["text"]["bert"])
    words = loaded["embeddings"].pop("word_embeddings")
    assert same_bits(words, fresh.params["text"]["bert"]["embeddings"]["word_embeddings"])
    assert same_bits(loaded, bert)
    kernel = load_file(WEIGHTS)["features.denseblock1.denselayer1.conv2.weight"]
    ours = state.params["vision"]["densenet"]["denseblock1_denselayer1"]["conv2"]["kernel"]
    np.testing.assert_array_equal(ours, kernel.transpose(2, 3, 1, 0))
    mean = load_file(WEIGHTS)["features.norm5.running_mean"]
    np.testing.assert_array_equal(state.batch_stats["vision"]["densenet"]["norm5"]["mean"], mean)
    assert same_bits(state.params["vision"]["head"], fresh.params["vision"]["head"])
    assert [note.partition(" = ")[0] for note in notes] == ["image.pretrained", "text.pretrained"]


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
    _, state, _ = final_state(run)
    densenet = state.params["vision"]["densenet"]
    third = np.asarray(densenet["conv0"]["kernel"])[:, :, 1].transpose(2, 0, 1)
    np.testing.assert_allclose(3 * third, single["features.conv0.weight"][:, 0], atol=1e-6)
    expected = single["features.denseblock1.denselayer2.norm2.weight"]
    np.testing.assert_allclose(densenet["denseblock1_denselayer2"]["norm2"]["scale"], expected, atol=1e-6)
    variance = np.asarray(state.batch_stats["vision"]["densenet"]["norm0"]["var"])
    assert variance.min() > 100  # torchxrayvision's inputs are 1024 times as large as others'
    file.unlink()  # all that is needed of it is in the run
    train(config, run.root)
    assert f"{run.root}: resuming at step 2" in capsys.readouterr().out
    assert cxr_jax.load(run.root).encode_image([np.zeros((40, 32), np.uint8)]).shape == (1, 16)


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
    test.rows[0] = SplitIndex.load(moved.index, "train").rows[0]
    test.save(moved.index)
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


@pytest.mark.parametrize("texts", ["one string", ["fine", "  "]])
def test_door_refuses_texts_that_are_none(model, texts):
    with pytest.raises(InputError):
        model.encode_text(texts)


def test_door_refuses_arrays_that_are_not_grey_bytes(model):
    with pytest.raises(InputError, match="uint8"):
        model.encode_image([np.zeros((4, 4), np.float32)])


def test_load_refuses_what_is_no_run(tmp_path):
    with pytest.raises(InputError, match=r"config\.json"):
        cxr_jax.load(tmp_path)

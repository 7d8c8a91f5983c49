"""Where a run begins: its configuration resolved, its tokenizer, its first or its saved state, its compiled step."""

import json
from pathlib import Path

import flax
import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from safetensors.numpy import load_file

from cxr_jax.data.records import SourceConfig
from cxr_jax.data.tokens import learn_wordpiece
from cxr_jax.errors import InputError
from cxr_jax.runtime import parallel
from cxr_jax.runtime.run_folder import RunFolder
from cxr_jax.training.checkpoint import Checkpoints
from cxr_jax.training.loop import Best
from cxr_jax.training.start import (
    RESOLVED,
    buckets_of,
    compile_step,
    cost_of,
    find_tokenizer,
    keep_tokenizer,
    resolve,
    resolve_init,
    restore_or_init,
)
from cxr_jax.training.step import init_state, make_recipe, state_shapes, step_inputs
from cxr_jax.weights.towers import resolve_towers
from cxr_jax.weights.warm_start import Source
from tests.tiny import tiny_batch, tiny_config, tiny_resolved

WEIGHTS = Path(__file__).parents[1] / "weights" / "torchvision.safetensors"
REPORTS = ["The lungs are clear.", "Small left pleural effusion.", "The heart is XXXX."] * 3
SOURCE = SourceConfig(
    name="abc", description="drawn", source="here", split="paper", stored_size=32, stored_format="png"
)


def same_bits(a, b) -> bool:
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return all(np.asarray(x).tobytes() == np.asarray(y).tobytes() for x, y in pairs)


# Tokenizer and configuration


def test_a_runs_tokenizer_is_kept_and_found_again(tmp_path):
    run, config = RunFolder(tmp_path / "run"), tiny_config()
    learnt = find_tokenizer(run, config, REPORTS)
    assert learnt.get_vocab() == learn_wordpiece(REPORTS).get_vocab()
    run.start(config)
    keep_tokenizer(run, learnt)
    before = {file: file.stat().st_mtime_ns for file in run.tokenizer.iterdir()}
    found = find_tokenizer(run, config, ["other words"])
    assert found.get_vocab() == learnt.get_vocab()
    keep_tokenizer(run, learn_wordpiece(["other words"]))  # it is there already
    assert {file: file.stat().st_mtime_ns for file in run.tokenizer.iterdir()} == before
    assert {path.name for path in run.root.iterdir()} == {"config.json", "history.jsonl", "tokenizer"}


def test_what_is_blacked_out_is_learnt_only_where_it_is_encoded(tmp_path):
    run, vocabularies = RunFolder(tmp_path / "run"), []
    for xxxx in ("keep", "drop"):
        vocabularies.append("xxxx" in find_tokenizer(run, tiny_config(f"data.xxxx={xxxx}"), REPORTS).get_vocab())
    assert vocabularies == [True, False]


def test_a_configuration_is_resolved_by_its_words_and_its_data():
    config, tokenizer = tiny_config(), learn_wordpiece(REPORTS)
    resolved = resolve(config, tokenizer, SOURCE)
    assert resolved["text"]["bert"]["vocab_size"] == len(tokenizer)
    assert resolved["text"]["bert"]["hidden_size"] == 16
    assert [resolved["data"][name] for name in ("fingerprint", "description", "split_used")] == [
        "abc",
        "drawn",
        "paper",
    ]
    assert {name for name in RESOLVED if name.startswith("data.")} == {
        f"data.{name}" for name in resolved["data"].keys() - config["data"].keys()
    }
    assert "fingerprint" not in config["data"]  # the caller's stays as it is


def test_a_pretrained_berts_words_must_be_its_own():
    config, tokenizer = tiny_config(), learn_wordpiece(REPORTS)
    bert = {"vocab_size": len(tokenizer)}
    config["text"] |= {"pretrained": "some/bert", "bert": bert}
    assert resolve(config, tokenizer, SOURCE)["text"]["bert"] == bert
    bert["vocab_size"] -= 1
    message = f"its tokenizer counts to {len(tokenizer) - 1} and its weights know {len(tokenizer) - 1} words"
    with pytest.raises(InputError, match=message):
        resolve(config, tokenizer, SOURCE)


# The state


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

    checkpoints = Checkpoints(tmp_path / "run", recipe.labels)
    start = restore_or_init(checkpoints, recipe, config)
    checkpoints.close()
    state, notes = start.state, start.notes
    fresh = init_state(recipe, config)
    assert (start.step, start.best, start.notes) == (0, Best(), notes)
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


@pytest.fixture(scope="module")
def tiny():
    """(config, recipe, state)"""
    config = tiny_resolved("image.block_sizes=(1,)")
    recipe = make_recipe(config, parallel.AXIS)
    return config, recipe, jax.device_get(init_state(recipe, config))


def test_a_fresh_state_is_the_sources_but_for_what_is_left_out(tiny, tmp_path):
    _, _, theirs = tiny
    variables = jax.tree.map(lambda x: x + 1, {"params": theirs.params, "batch_stats": theirs.batch_stats})
    tokenizer = learn_wordpiece(["Clear."])
    source = Source("/a", tiny_resolved("image.block_sizes=(1,)"), variables, tokenizer, 7, "abc")
    changes = "image.block_sizes=(1,)", "init_from=a", "init_except=('text.head', 'norm0')", "seed=3"
    config = dict(resolve_init(tiny_config(*changes), None, source))
    assert find_tokenizer(RunFolder(tmp_path), config, REPORTS, source) is tokenizer
    config = resolve(config, tokenizer, SOURCE)
    assert config["text"]["bert"]["vocab_size"] == 50  # as many as there are rows, not as the tokenizer has words
    recipe = make_recipe(config, parallel.AXIS)
    checkpoints = Checkpoints(tmp_path / "run", recipe.labels)
    start = restore_or_init(checkpoints, recipe, config, source)
    checkpoints.close()
    state, fresh = start.state, init_state(recipe, config)
    assert (start.step, start.iterator, len(start.notes)) == (0, None, 1)
    assert same_bits(state.opt_state, fresh.opt_state)
    found = flatten_dict({"params": state.params, "batch_stats": state.batch_stats}, sep=".")
    begun = flatten_dict({"params": fresh.params, "batch_stats": fresh.batch_stats}, sep=".")
    anew = {name for name in found if "text.head" in name or "norm0" in name}
    assert len(anew) == 5
    for name, value in flatten_dict(variables, sep=".").items():
        assert same_bits(found[name], begun[name] if name in anew else value), name


def test_a_run_that_began_with_another_model_begins_with_no_third(tiny):
    _, _, theirs = tiny
    variables = {"params": theirs.params, "batch_stats": theirs.batch_stats}
    source = Source("/a", tiny_resolved("image.block_sizes=(1,)"), variables, learn_wordpiece(["Clear."]), 7, "abc")
    config = tiny_config("image.block_sizes=(1,)", "init_from=a")
    begun = json.loads(json.dumps(resolve_init(config, None, source)))
    for again in (None, source):
        resolved = resolve_init(config, begun, again)
        assert json.loads(json.dumps(resolved)) == begun
    with pytest.raises(InputError) as error:
        resolve_init(config, begun, source._replace(step=9, checkpoint="def"))
    assert str(error.value) == (
        "init_from = a: holds checkpoint def of step 9 now, and this run began with abc; give another --workdir to "
        "begin with what it holds"
    )
    plain = tiny_config()
    assert resolve_init(plain, None, None) is plain


@pytest.mark.parametrize("best", [Best(), Best(3, 0.25)])
def test_a_saved_state_comes_back_with_the_iterator_and_the_best(tiny, tmp_path, best):
    config, recipe, state = tiny
    state = state.replace(step=np.int32(5), params={**state.params, "log_scale": np.float32(1.5)})
    checkpoints = Checkpoints(tmp_path, recipe.labels)
    score = None if best.step is None else best.score
    data = {"iterator": {"next": 7}, "best": {"step": best.step, "score": score}, "skipped": 2}
    checkpoints.save(5, state, data, best.step)
    checkpoints.wait()
    start = restore_or_init(checkpoints, recipe, config)
    checkpoints.close()
    assert same_bits(start.state, state)
    assert (start.step, start.best, start.skipped, start.notes, start.iterator) == (5, best, 2, [], {"next": 7})


def test_without_checkpoints_a_process_has_a_state_of_the_same_shapes(tiny):
    """It gets the primary's numbers; alone, in a dry run, it needs none."""
    config, recipe, state = tiny
    start = restore_or_init(None, recipe, config)
    shapes = state_shapes(recipe, config)
    jax.tree.map(lambda x, wanted: np.testing.assert_array_equal(x, np.zeros(wanted.shape)), start.state, shapes)
    assert jax.tree.structure(start.state) == jax.tree.structure(state)
    assert (start.step, start.notes, start.iterator) == (0, [], None)


# The step


def test_the_compiled_step_takes_batches_as_they_come(tiny):
    config, recipe, state = tiny
    step, cost = compile_step(recipe, config, parallel.replicate(state))
    batch = tiny_batch()
    inputs = parallel.shard(step_inputs(batch))
    after, metrics = step(parallel.replicate(state), inputs, jax.random.key(0))
    assert int(parallel.unreplicate(after.step)) == 1
    assert np.isfinite(parallel.unreplicate(metrics["loss"]))
    assert cost.keys() == {"flops", "temporary_bytes", "argument_bytes"}
    assert cost["flops"] > 1e6
    size = sum(x.nbytes for x in jax.tree.leaves((state, batch)))
    assert 0.5 * size < cost["argument_bytes"] < 2 * size


@pytest.mark.slow
def test_a_batch_that_fits_no_bucket_has_a_program_of_its_own(tiny):
    config, _, state = tiny
    config = config | {"batch_size": 16, "text": config["text"] | {"length_buckets": 2}}
    recipe = make_recipe(config, parallel.AXIS)
    counts = np.array([5] * 12 + [24] * 4)
    buckets = buckets_of(config, counts)
    assert buckets == ((8, 24), 4)
    state = jax.device_get(init_state(recipe, config))
    step, cost = compile_step(recipe, config, parallel.replicate(state), buckets)
    _, whole = compile_step(recipe, config, parallel.replicate(state))
    assert cost["flops"] < whole["flops"]
    batch = tiny_batch(16)
    parts = {name: (batch[name][:8, : buckets.lengths[0]], batch[name][8:]) for name in ("token_ids", "token_mask")}
    for given in (batch | parts, batch, batch | parts):
        _, metrics = step(parallel.replicate(state), parallel.shard(step_inputs(given)), jax.random.key(0))
        assert np.isfinite(parallel.unreplicate(metrics["loss"]))


def test_texts_that_are_drawn_anew_or_no_tokens_are_not_sorted(tiny):
    config, _, _ = tiny
    wanted = config | {"text": config["text"] | {"length_buckets": 2}}
    drawn = wanted | {"data": wanted["data"] | {"augment_text": ("shuffle",)}}
    fixed = wanted | {"text": wanted["text"] | {"num_prompts": 0}}
    counts = np.full(20, 5)
    assert [len(buckets_of(of, counts).lengths) for of in (config, wanted, drawn, fixed)] == [1, 2, 1, 1]


def test_what_xla_does_not_say_is_zero():
    class Silent:
        cost_analysis = memory_analysis = lambda self: None

    assert cost_of(Silent()) == {"flops": 0, "temporary_bytes": 0, "argument_bytes": 0}


@pytest.mark.slow
def test_each_micro_batch_counts(tiny):
    """XLA counts a loop's body once, and a forward pass is computed twice."""
    config, _, state = tiny
    costs = []
    for micro_batch in (0, 1):
        varied = config | {"micro_batch": micro_batch, "batch_size": 16}
        recipe = make_recipe(varied, parallel.AXIS)
        costs.append(compile_step(recipe, varied, parallel.replicate(state))[1]["flops"])
    assert 1.1 * costs[0] < costs[1] < 2.5 * costs[0]

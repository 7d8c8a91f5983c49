"""A whole model to begin with: every weight taken, left out or refused, and what comes along with which weights."""

import json

import numpy as np
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict

from cxr_jax.data.tokens import learn_wordpiece
from cxr_jax.errors import InputError
from cxr_jax.models.dual_encoder import build_model, variable_shapes
from cxr_jax.weights.towers import pretrained_of, resolve_towers
from cxr_jax.weights.warm_start import RECORD, Source, settled_by, settled_in, taken_from, takes_tokenizer, with_settled
from tests.tiny import tiny_config, tiny_resolved

WORDS = "params.text.bert.embeddings.word_embeddings.embedding"
SHALLOW = "image.block_sizes=(1,)"
TOKENIZER = learn_wordpiece(["The lungs are clear.", "Small left pleural effusion."])


def variables_of(config):
    """Numbers that are different in every weight."""
    shapes = flatten_dict(variable_shapes(build_model(config), config["image_size"]), sep=".")
    flat = {name: np.full(x.shape, 1 + i, x.dtype) for i, (name, x) in enumerate(sorted(shapes.items()))}
    return unflatten_dict(flat, sep=".")


@pytest.fixture(scope="module")
def source() -> Source:
    config = tiny_resolved(SHALLOW, "image.mean=(0.5, 0.5, 0.5)", "image.std=(0.1, 0.1, 0.1)")
    config["text"]["bert"]["vocab_size"] = len(TOKENIZER)
    return Source("/models/theirs", config, variables_of(config), TOKENIZER, 7, "0123456789abcdef")


def ours(*changes):
    return tiny_config(SHALLOW, "init_from=theirs", *changes)


def settled(source, *changes):
    """As a run's config.json has it."""
    return json.loads(json.dumps(settled_by(source, ours(*changes))))


def refused(source, *changes):
    with pytest.raises(InputError) as error:
        settled_by(source, ours(*changes))
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_whole_model_is_taken_with_all_that_belongs_to_it(source):
    # As many heads change what BERT computes, and no shape.
    heads = "{'hidden_size': 16, 'num_hidden_layers': 1, 'num_attention_heads': 4, 'intermediate_size': 32}"
    found = settled(source, f"text.bert={heads}", "text.pretrained=some/bert", "image_size=64", "num_steps=9")
    every = flatten_dict(source.variables, sep=".")
    assert found[RECORD] == {
        "source": "/models/theirs",
        "step": 7,
        "checkpoint": "0123456789abcdef",
        "weights": len(every),
        "of": len(every),
        "parameters": sum(x.size for name, x in every.items() if name.startswith("params.")),
        "left_out": [],
        "settles": ["image.mean", "image.std", "text.bert", "tokenizer"],
    }
    assert found["text.bert"] == source.config["text"]["bert"]
    assert (found["image.mean"], found["image.std"]) == ([0.5] * 3, [0.1] * 3)
    config = with_settled(ours("text.pretrained=some/bert"), found)
    assert takes_tokenizer(config)
    assert resolve_towers(config)["text"]["bert"]["num_attention_heads"] == 2  # some/bert is not read
    assert [pretrained_of(config, tower) for tower in ("image", "text")] == ["", ""]
    taken, notes = taken_from(source, config)
    assert flatten_dict(taken, sep=".").keys() == every.keys()
    assert notes == [
        f"init_from = theirs: checkpoint 0123456789abcdef of step 7, {len(every)} of {len(every)} weights, "
        f"{found[RECORD]['parameters']:,} parameters; left out by init_except: 0; what comes along: image.mean, "
        "image.std, text.bert, tokenizer",
        "text.pretrained = some/bert: is not read, init_from gives that tower",
    ]


@pytest.mark.parametrize(
    ("patterns", "changes", "settles"),
    [
        (("soft_prompts",), ("text.num_prompts=2",), ["image.mean", "image.std", "text.bert", "tokenizer"]),
        (("^params.bias$",), ("loss.kind=sigmoid",), ["image.mean", "image.std", "text.bert", "tokenizer"]),
        (("word_embeddings",), (), ["image.mean", "image.std", "text.bert"]),
        (("[.]text[.]",), ("text.bert={'hidden_size': 8, 'num_attention_heads': 2}",), ["image.mean", "image.std"]),
        (("[.]vision[.]",), ("image.block_sizes=(2, 2)", "embed_dim=16"), ["text.bert", "tokenizer"]),
        (("batch_stats",), (), ["image.mean", "image.std", "text.bert", "tokenizer"]),
        (("params.text.bert", "densenet"), (), []),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) and value else None,
)
def test_what_a_pattern_names_begins_anew(source, patterns, changes, settles):
    found = settled(source, f"init_except={patterns!r}", *changes)
    record, every = found[RECORD], flatten_dict(source.variables, sep=".")
    assert record["settles"] == settles
    assert found.keys() == {RECORD, *settles} - {"tokenizer"}
    assert record["left_out"]
    assert not set(flatten_dict(taken_from(source, with_settled(ours(), found))[0], sep=".")) & set(record["left_out"])
    assert record["weights"] == len(every.keys() - set(record["left_out"]))


def test_a_bert_left_out_whole_begins_as_without_init_from(source):
    config = with_settled(ours("text.pretrained=some/bert"), settled(source, "init_except=('[.]text[.]',)"))
    assert pretrained_of(config, "text") == "some/bert"
    assert not takes_tokenizer(config)
    with pytest.raises(InputError, match=r"text\.pretrained = some/bert: no configuration"):
        resolve_towers(config)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (("init_except=('head', 'no_such')",), "init_except holds 'no_such', which matches no weight of theirs"),
        (("init_except=('.',)",), "init_from = theirs: init_except = ['.'] leaves nothing of it"),
        (("text.num_prompts=2",), "1 of another shape (params.text.soft_prompts.prompts: (4, 16), not (2, 16)); it has "
         "text.num_prompts = 4: set that, or name in --config.init_except what is to begin anew, or to be left behind"),
        (("text.num_prompts=0",), "3 left over (params.text.soft_prompts.W_k.kernel"),
        (("loss.kind=sigmoid",), "1 missing (params.bias); it has loss.kind = softmax: set that"),
        (("embed_dim=8", "image.growth_rate=8"), "it has embed_dim = 16, image.growth_rate = 4: set that, or name in"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_one_line_that_says_how_to_go_on(source, changes, message):
    assert message in refused(source, *changes)


def test_numbers_that_are_none_and_words_that_there_are_not(source):
    flat = flatten_dict(source.variables, sep=".")
    flat["params.vision.head.kernel"] = np.full_like(flat["params.vision.head.kernel"], np.nan)
    broken = source._replace(variables=unflatten_dict(flat, sep="."))
    assert "holds NaN or infinity in 1 weights (params.vision.head.kernel)" in refused(broken)
    settled(broken, "init_except=('head',)")
    more = source._replace(tokenizer=learn_wordpiece(["Quite other words, and more of them: effusion, pneumonia."]))
    assert "init_from = theirs: its tokenizer counts to" in refused(more)
    settled(more, "init_except=('word_embeddings',)")


def test_a_run_that_has_begun_knows_what_it_took(source):
    found = settled(source, "init_except=('word_embeddings',)")
    begun = with_settled(ours(), found)
    assert settled_in(begun) == found
    for damage in ({}, {RECORD: {"settles": ["image.mode"]}}, {RECORD: None}):
        with pytest.raises(InputError, match=r"^config\.json: holds no whole init_taken"):
            settled_in(ours() | damage)

import json

import numpy as np
import pytest

from cxr_jax.data.tokens import learn_wordpiece, tokenize
from cxr_jax.errors import InputError
from cxr_jax.weights.tokenizer import load_tokenizer
from tests.data.test_tokens import REPORTS


@pytest.fixture(scope="module")
def tokenizer():
    return learn_wordpiece(REPORTS * 2, vocab_size=300)


def test_a_saved_tokenizer_gives_the_same_tokens(tokenizer, tmp_path):
    unseen = [*REPORTS, "Unseen wörds: 3.5 cm cavitation, ünlike any."]
    before = tokenize(tokenizer, unseen, 30)
    tokenizer.save_pretrained(tmp_path)
    after = tokenize(load_tokenizer(tmp_path), unseen, 30)
    np.testing.assert_array_equal(before, after)


def test_minilms_own_padding_does_not_rule(shared):
    # Its tokenizer.json sets padding and truncation to 128.
    tokenizer = load_tokenizer(shared / "data" / "minilm")
    for length in (16, 150):
        ids, mask = tokenize(tokenizer, [REPORTS[0], "word " * 300], length)
        assert ids.shape == (2, length)
        assert mask.sum(axis=1).tolist() == [14, length]
    assert ids[0, :3].tolist() == [101, 1996, 2540]  # [CLS] the heart


def test_biobert_is_cased(shared):
    tokenizer = load_tokenizer(shared / "data" / "biobert_tokenizer")
    ids, _ = tokenize(tokenizer, ["Heart", "heart"], 4)
    assert ids[0, 1] != ids[1, 1]


def biobert_copy(shared, folder, settings):
    for file in ("config.json", "vocab.txt"):
        (folder / file).write_bytes((shared / "data" / "biobert_tokenizer" / file).read_bytes())
    if settings is not None:
        (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


@pytest.mark.parametrize(
    "settings", [None, {"do_lower_case": True}, {"do_lower_case": True, "tokenizer_class": "CXRBertTokenizer"}]
)
def test_a_copy_of_biobert_that_lower_cases_is_set_right(shared, tmp_path, capsys, settings):
    """BERT's tokenizer lower-cases where nothing is said: "Heart" would be read as "heart", and "HIV" in pieces."""
    tokenizer = load_tokenizer(biobert_copy(shared, tmp_path, settings))
    right = load_tokenizer(shared / "data" / "biobert_tokenizer")
    texts = ["The Heart is normal. HIV."]
    np.testing.assert_array_equal(tokenize(tokenizer, texts, 16), tokenize(right, texts, 16))
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith(f"text.pretrained = {tmp_path}: its tokenizer lower-cases but its vocabulary is cased")
    tokenizer.save_pretrained(tmp_path / "saved")
    np.testing.assert_array_equal(tokenize(load_tokenizer(tmp_path / "saved"), texts, 16), tokenize(right, texts, 16))
    assert capsys.readouterr().err == ""


def test_an_uncased_vocabulary_is_lower_cased_whatever_its_copy_says(tokenizer, tmp_path, capsys):
    words = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().get)
    (tmp_path / "vocab.txt").write_text("\n".join(words) + "\n")
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    tokens = tokenize(load_tokenizer(tmp_path), REPORTS, 24)
    np.testing.assert_array_equal(tokens, tokenize(tokenizer, REPORTS, 24))
    assert "keeps capitals but its vocabulary is uncased" in capsys.readouterr().err


def test_consistent_tokenizers_are_left_alone(tokenizer, shared, tmp_path, capsys):
    tokenizer.save_pretrained(tmp_path)
    for name in (tmp_path, shared / "data" / "biobert_tokenizer", shared / "data" / "minilm"):
        load_tokenizer(name)
    assert capsys.readouterr().err == ""


def test_no_tokenizer_is_one_line(tmp_path):
    for name in (tmp_path, tmp_path / "missing", "nobody/has-this-model"):
        with pytest.raises(InputError, match=r"text\.pretrained = ") as error:
            load_tokenizer(name)
        assert str(name) in str(error.value)
        assert "\n" not in str(error.value)


def minilm_copy(shared, folder, settings=None, inside=None):
    """MiniLM's tokenizer with its tokenizer_config.json, or tokenizer.json itself, changed."""
    for file in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (folder / file).write_bytes((shared / "data" / "minilm" / file).read_bytes())
    if settings is not None:
        old = json.loads((folder / "tokenizer_config.json").read_text())
        (folder / "tokenizer_config.json").write_text(json.dumps(old | settings))
    if inside is not None:
        old = json.loads((folder / "tokenizer.json").read_text())
        (folder / "tokenizer.json").write_text(json.dumps(old | inside))
    return folder


LEFT = "direction", "Left"
CUT_LEFT = {"truncation": dict([LEFT, ("max_length", 20), ("strategy", "LongestFirst"), ("stride", 0)])}
PAD_LEFT = {
    "padding": dict(
        [LEFT, ("strategy", {"Fixed": 20}), ("pad_to_multiple_of", None)],
        pad_id=0, pad_type_id=0, pad_token="[PAD]",
    )
}  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "inside", "said"),
    [
        ({"truncation_side": "left"}, None, ["cuts reports at the beginning; taken as at the end: set its truncation"]),
        ({"padding_side": "left"}, None, ["pads reports at the beginning; taken as at the end: set its padding_side"]),
        (None, CUT_LEFT, ["cuts reports at the beginning"]),
        (None, PAD_LEFT, ["pads reports at the beginning"]),
        ({"padding_side": "left"}, CUT_LEFT, ["cuts reports at the beginning", "pads reports at the beginning"]),
        ({"pad_token": None}, None, ["names no token to pad with; taken as [PAD]: set its pad_token"]),
        ({"model_input_names": ["input_ids", "token_type_ids"]}, None, []),
    ],
)
def test_sides_and_padding_are_set_right(shared, tmp_path, capsys, settings, inside, said):
    texts = [REPORTS[0], "word " * 300, "clear"]
    right = tokenize(load_tokenizer(shared / "data" / "minilm"), texts, 24)
    (tmp_path / "copy").mkdir()
    tokenizer = load_tokenizer(minilm_copy(shared, tmp_path / "copy", settings, inside))
    np.testing.assert_array_equal(tokenize(tokenizer, texts, 24), right)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == len(said)
    for line, part in zip(lines, said, strict=True):
        assert f"text.pretrained = {tmp_path / 'copy'}: its tokenizer {part}" in line
    # What a run keeps of it is right, and needs no more saying.
    tokenizer.save_pretrained(tmp_path / "saved")
    np.testing.assert_array_equal(tokenize(load_tokenizer(tmp_path / "saved"), texts, 24), right)
    assert capsys.readouterr().err == ""


def test_without_any_token_to_pad_with_the_mask_still_rules(tokenizer, tmp_path, capsys):
    words = [word for word in sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().get) if word != "[PAD]"]
    (tmp_path / "vocab.txt").write_text("\n".join(words) + "\n")
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"pad_token": None, "do_lower_case": True}))
    odd = load_tokenizer(tmp_path)
    assert odd.pad_token is not None
    ids, mask = tokenize(odd, REPORTS, 24)
    assert ids.max() < len(words)
    np.testing.assert_array_equal(mask, tokenize(tokenizer, REPORTS, 24)[1])

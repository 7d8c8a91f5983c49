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

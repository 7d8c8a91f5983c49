import numpy as np
import pytest

from cxr_jax.data import reports
from cxr_jax.data.tokens import learn_wordpiece, tokenize, whole_lengths

REPORTS = [
    "The heart is normal in size. The lungs are clear.",
    "Small right pleural effusion. No pneumothorax.",
    "The heart is enlarged. Small left pleural effusion.",
    "No acute cardiopulmonary abnormality. The lungs are clear.",
]


@pytest.fixture(scope="module")
def tokenizer():
    return learn_wordpiece(REPORTS * 2, vocab_size=300)


def test_learnt_vocabulary_reads_its_reports_back(tokenizer):
    assert len(tokenizer) <= 300
    ids, mask = tokenize(tokenizer, REPORTS, 40)
    for report, row, valid in zip(REPORTS, ids, mask, strict=True):
        assert tokenizer.unk_token_id not in row
        text = tokenizer.decode(row[valid > 0], skip_special_tokens=True)
        assert reports.normalize_report(text) == reports.normalize_report(report)


def test_tokens_are_padded_and_masked(tokenizer):
    ids, mask = tokenize(tokenizer, [*REPORTS, "clear"], 24)
    assert ids.dtype == mask.dtype == np.int32
    assert ids.shape == mask.shape == (5, 24)
    assert np.all(ids[mask == 0] == tokenizer.pad_token_id)
    assert np.all(np.diff(mask, axis=1) <= 0)
    assert tokenizer.convert_ids_to_tokens(ids[4, :4]) == ["[CLS]", "clear", "[SEP]", "[PAD]"]
    assert mask[4].sum() == 3


def test_long_reports_are_cut_at_max_tokens(tokenizer):
    ids, mask = tokenize(tokenizer, [" ".join(REPORTS)], 7)
    whole, _ = tokenize(tokenizer, [" ".join(REPORTS)], 64)
    assert mask.tolist() == [[1] * 7]
    assert ids[0, :6].tolist() == whole[0, :6].tolist()
    assert ids[0, 6] == tokenizer.sep_token_id


@pytest.mark.parametrize("vocab_size", [60, 80, 200])
def test_learning_is_repeatable(vocab_size):
    first, *others = (learn_wordpiece(texts, vocab_size).get_vocab() for texts in [REPORTS, REPORTS[::-1]] * 3)
    assert all(first == other for other in others)


def test_reports_of_other_scripts_can_be_learnt():
    texts = ["Лёгкие чистые.", "肺野清晰。"] * 3
    tokenizer = learn_wordpiece(texts)
    assert tokenizer.unk_token_id not in tokenize(tokenizer, texts, 20)[0]


def test_dropping_is_of_the_tokens_alone():
    texts = ["Small XXXX right pleural effusion.", "The lungs are clear."]
    tokenizer = learn_wordpiece([*REPORTS, *texts, *texts])
    kept, dropped = (tokenize(tokenizer, texts, 24, xxxx)[0] for xxxx in ("keep", "drop"))
    plain = tokenize(tokenizer, ["Small right pleural effusion.", texts[1]], 24)[0]
    assert np.array_equal(dropped, plain)
    assert not np.array_equal(kept[0], plain[0])
    assert reports.choose_section(texts[0], "", "findings") == texts[0]


def test_lengths_are_those_before_a_report_is_cut(tokenizer):
    texts = [*REPORTS, " ".join(REPORTS), "clear", "word " * 600]
    naive = [len(tokenizer(text)["input_ids"]) for text in texts]
    for max_tokens in (3, 16, 40, 1000):
        _, mask = tokenize(tokenizer, texts, max_tokens)
        assert whole_lengths(tokenizer, texts, mask).tolist() == naive
    _, mask = tokenize(tokenizer, ["XXXX XXXX clear"], 3, "drop")
    assert whole_lengths(tokenizer, ["XXXX XXXX clear"], mask, "drop").tolist() == [3]


def test_no_reports_give_no_tokens(tokenizer):
    ids, mask = tokenize(tokenizer, [], 8)
    assert ids.shape == mask.shape == (0, 8)
    assert whole_lengths(tokenizer, [], mask).shape == (0,)

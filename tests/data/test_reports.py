import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxr_jax.data import reports
from cxr_jax.errors import InputError

REPORTS = [
    "The heart is normal in size. The lungs are clear.",
    "Small right pleural effusion. No pneumothorax.",
    "The heart is enlarged. Small left pleural effusion.",
    "No acute cardiopulmonary abnormality. The lungs are clear.",
]


@pytest.mark.parametrize(
    ("section", "expected"),
    [("findings", "Clear lungs."), ("impression", "No disease."), ("both", "Clear lungs. No disease.")],
)
def test_sections(section, expected):
    assert reports.choose_section(" Clear\n  lungs. ", "No\tdisease.", section) == expected


@pytest.mark.parametrize("findings", ["", "  \n"])
def test_absent_sections(findings):
    assert reports.choose_section(findings, "No disease.", "findings") == ""
    assert reports.choose_section(findings, "No disease.", "both") == "No disease."
    assert reports.choose_section(findings, findings, "both") == ""


@pytest.mark.parametrize(
    ("report", "clean"),
    [
        ("  No acute\u00a0disease. . ", "No acute disease."),
        ("Clear lungs.. No effusion...", "Clear lungs. No effusion."),
        ("1. No nodule. 2. Emphysema. 3) Scarring.", "No nodule. Emphysema. Scarring."),
        ("Heart\x00 size\x0b normal.\u200b \ufeffClear\tlungs.\r\n", "Heart size normal. Clear lungs."),
        ("A 1.5 cm nodule. 2.0 cm mass.", "A 1.5 cm nodule. 2.0 cm mass."),
        ("Seen at T12. 8 mm nodule at 10 mm.", "Seen at T12. 8 mm nodule at 10 mm."),
        ("ﬁndings stable", "findings stable"),
        ("1. XXXX opacity.", "XXXX opacity."),
        ("", ""),
    ],
)
def test_cleaning(report, clean):
    assert reports.clean_report(report) == clean
    assert reports.clean_report(clean) == clean


@given(st.text(max_size=60))
def test_cleaning_leaves_no_odd_blanks(report):
    clean = reports.clean_report(report)
    assert clean == " ".join(clean.split())
    assert clean.isprintable()
    assert ".." not in clean


@pytest.mark.parametrize(
    ("report", "dropped"),
    [
        ("There are no XXXX of effusion. ", "There are no of effusion."),
        ("Normal chest x-XXXX. XXXX, XXXX", "Normal chest x.,"),
        ("XXXX XXXX.", "XXXX XXXX."),
        ("XX chromosomes", "XX chromosomes"),
    ],
)
def test_what_was_blacked_out_can_be_dropped(report, dropped):
    assert reports.encoded_text(report, "drop") == dropped
    assert reports.encoded_text(report, "keep") == reports.clean_report(report)


def test_dropping_is_of_the_tokens_alone():
    texts = ["Small XXXX right pleural effusion.", "The lungs are clear."]
    tokenizer = reports.learn_wordpiece([*REPORTS, *texts, *texts])
    kept, dropped = (reports.tokenize(tokenizer, texts, 24, xxxx)[0] for xxxx in ("keep", "drop"))
    plain = reports.tokenize(tokenizer, ["Small right pleural effusion.", texts[1]], 24)[0]
    assert np.array_equal(dropped, plain)
    assert not np.array_equal(kept[0], plain[0])
    assert reports.choose_section(texts[0], "", "findings") == texts[0]


def test_normalizing_keeps_words_and_numbers():
    assert reports.normalize_report("  The HEART, is 1.5 cm (left)... No. 2!") == "the heart is 1.5 cm left no 2"
    assert reports.normalize_report("No effusion") != reports.normalize_report("Effusion")
    assert reports.normalize_report("1.5 cm") != reports.normalize_report("15 cm")


def test_reports_in_other_scripts_keep_their_words():
    assert reports.normalize_report("Лёгкие чистые.") == "лёгкие чистые"
    assert len(set(reports.group_ids(["肺野清晰。", "心影增大。", "肺野清晰"]))) == 2


def test_group_ids_number_equal_reports_in_order():
    ids = reports.group_ids(["Lungs are clear.", "Effusion.", "lungs  are CLEAR", "", "effusion"])
    assert ids.dtype == np.int32
    assert ids.tolist() == [0, 1, 0, 2, 1]
    assert reports.group_ids([]).shape == (0,)


@given(st.lists(st.sampled_from(["a b", "A  B.", "a-b", "c", "C!", "1.5", "15"]), max_size=12))
def test_group_ids_agree_with_comparing_each_pair(texts):
    ids, plain = reports.group_ids(texts), [reports.normalize_report(text) for text in texts]
    for i in range(len(texts)):
        for j in range(len(texts)):
            assert (ids[i] == ids[j]) == (plain[i] == plain[j])


@pytest.mark.parametrize(
    ("terms", "expected"),
    [
        (["normal"], set()),
        (["No Indexing", "", "Technical Quality of Image Unsatisfactory "], set()),
        (["Cardiomegaly/mild"], {"Cardiomegaly"}),
        (["Pleural Effusion/right/small"], {"Pleural Effusion/right"}),
        (["Pleural Effusion/bilateral"], {"Pleural Effusion/bilateral"}),
        (["Opacity/lung/lower lobe/left"], {"Opacity/left"}),
        (["Lung/hyperdistention"], {"Lung/hyperdistention"}),
        (["Lung/hyperdistention/mild"], {"Lung/hyperdistention"}),
        (["Aorta/tortuous"], {"Aorta/tortuous"}),
        (["Diaphragm/right/elevated"], {"Diaphragm/right/elevated"}),
        (["Lung"], {"Lung"}),
        (["Spine"], {"Spine"}),
        (["Nodule / left ", "Nodule/right", "normal"], {"Nodule/left", "Nodule/right"}),
    ],
)
def test_finding_labels(terms, expected):
    assert reports.finding_labels(terms) == expected


# Tokens


@pytest.fixture(scope="module")
def tokenizer():
    return reports.learn_wordpiece(REPORTS * 2, vocab_size=300)


def test_learnt_vocabulary_reads_its_reports_back(tokenizer):
    assert len(tokenizer) <= 300
    ids, mask = reports.tokenize(tokenizer, REPORTS, 40)
    for report, row, valid in zip(REPORTS, ids, mask, strict=True):
        assert tokenizer.unk_token_id not in row
        text = tokenizer.decode(row[valid > 0], skip_special_tokens=True)
        assert reports.normalize_report(text) == reports.normalize_report(report)


def test_tokens_are_padded_and_masked(tokenizer):
    ids, mask = reports.tokenize(tokenizer, [*REPORTS, "clear"], 24)
    assert ids.dtype == mask.dtype == np.int32
    assert ids.shape == mask.shape == (5, 24)
    assert np.all(ids[mask == 0] == tokenizer.pad_token_id)
    assert np.all(np.diff(mask, axis=1) <= 0)
    assert tokenizer.convert_ids_to_tokens(ids[4, :4]) == ["[CLS]", "clear", "[SEP]", "[PAD]"]
    assert mask[4].sum() == 3


def test_long_reports_are_cut_at_max_tokens(tokenizer):
    ids, mask = reports.tokenize(tokenizer, [" ".join(REPORTS)], 7)
    whole, _ = reports.tokenize(tokenizer, [" ".join(REPORTS)], 64)
    assert mask.tolist() == [[1] * 7]
    assert ids[0, :6].tolist() == whole[0, :6].tolist()
    assert ids[0, 6] == tokenizer.sep_token_id


def test_a_saved_tokenizer_gives_the_same_tokens(tokenizer, tmp_path):
    unseen = [*REPORTS, "Unseen wörds: 3.5 cm cavitation, ünlike any."]
    before = reports.tokenize(tokenizer, unseen, 30)
    tokenizer.save_pretrained(tmp_path)
    after = reports.tokenize(reports.load_tokenizer(tmp_path), unseen, 30)
    np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("vocab_size", [60, 80, 200])
def test_learning_is_repeatable(vocab_size):
    first, *others = (reports.learn_wordpiece(texts, vocab_size).get_vocab() for texts in [REPORTS, REPORTS[::-1]] * 3)
    assert all(first == other for other in others)


def test_reports_of_other_scripts_can_be_learnt():
    texts = ["Лёгкие чистые.", "肺野清晰。"] * 3
    tokenizer = reports.learn_wordpiece(texts)
    assert tokenizer.unk_token_id not in reports.tokenize(tokenizer, texts, 20)[0]


def test_minilms_own_padding_does_not_rule(shared):
    # Its tokenizer.json sets padding and truncation to 128.
    tokenizer = reports.load_tokenizer(shared / "data" / "minilm")
    for length in (16, 150):
        ids, mask = reports.tokenize(tokenizer, [REPORTS[0], "word " * 300], length)
        assert ids.shape == (2, length)
        assert mask.sum(axis=1).tolist() == [14, length]
    assert ids[0, :3].tolist() == [101, 1996, 2540]  # [CLS] the heart


def test_biobert_is_cased(shared):
    tokenizer = reports.load_tokenizer(shared / "data" / "biobert_tokenizer")
    ids, _ = reports.tokenize(tokenizer, ["Heart", "heart"], 4)
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
    tokenizer = reports.load_tokenizer(biobert_copy(shared, tmp_path, settings))
    right = reports.load_tokenizer(shared / "data" / "biobert_tokenizer")
    texts = ["The Heart is normal. HIV."]
    np.testing.assert_array_equal(reports.tokenize(tokenizer, texts, 16), reports.tokenize(right, texts, 16))
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith(f"text.pretrained = {tmp_path}: its tokenizer lower-cases but its vocabulary is cased")
    tokenizer.save_pretrained(tmp_path / "saved")
    np.testing.assert_array_equal(
        reports.tokenize(reports.load_tokenizer(tmp_path / "saved"), texts, 16), reports.tokenize(right, texts, 16)
    )
    assert capsys.readouterr().err == ""


def test_an_uncased_vocabulary_is_lower_cased_whatever_its_copy_says(tokenizer, tmp_path, capsys):
    words = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().get)
    (tmp_path / "vocab.txt").write_text("\n".join(words) + "\n")
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    found = reports.tokenize(reports.load_tokenizer(tmp_path), REPORTS, 24)
    np.testing.assert_array_equal(found, reports.tokenize(tokenizer, REPORTS, 24))
    assert "keeps capitals but its vocabulary is uncased" in capsys.readouterr().err


def test_consistent_tokenizers_are_left_alone(tokenizer, shared, tmp_path, capsys):
    tokenizer.save_pretrained(tmp_path)
    for name in (tmp_path, shared / "data" / "biobert_tokenizer", shared / "data" / "minilm"):
        reports.load_tokenizer(name)
    assert capsys.readouterr().err == ""


def test_no_tokenizer_is_one_line(tmp_path):
    for name in (tmp_path, tmp_path / "missing", "nobody/has-this-model"):
        with pytest.raises(InputError, match=r"text\.pretrained = ") as error:
            reports.load_tokenizer(name)
        assert str(name) in str(error.value)
        assert "\n" not in str(error.value)

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxr_jax.data import reports


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

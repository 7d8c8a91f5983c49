"""Labels and their sentences: what a labels.yaml means, each way in which it can be wrong, and the ones in configs/."""

import re
from pathlib import Path

import pytest

from cxr_jax.data.reports import finding_labels
from cxr_jax.data.sources.mimic_tables import FINDINGS
from cxr_jax.data.sources.openi_release import read_studies
from cxr_jax.errors import InputError
from cxr_jax.phantom.reports import KINDS, Finding
from cxr_jax.retrieval.prompts import as_questions, default_nothings, match_labels, read_questions, spoken

CONFIGS = Path(__file__).parents[2] / "configs"
WHOLE = """
Pleural Effusion:
  positive: ["There is pleural effusion.", "Pleural effusion is present."]
  negative: ["There is no pleural effusion."]
  labels: [effusion left, effusion right]
Cardiomegaly: {}
Edema:
"""


def read(tmp_path, content):
    (tmp_path / "labels.yaml").write_text(content, encoding="utf-8")
    return read_questions(tmp_path / "labels.yaml")


def test_a_file_as_documented(tmp_path):
    effusion, cardiomegaly, edema = read(tmp_path, WHOLE)
    assert effusion.positive == ("There is pleural effusion.", "Pleural effusion is present.")
    assert effusion.negative == ("There is no pleural effusion.",)
    assert effusion.labels == ("effusion left", "effusion right")
    assert cardiomegaly.positive[0] == "There is cardiomegaly."
    assert cardiomegaly.negative[0] == "There is no cardiomegaly."
    assert (edema.name, edema.labels) == ("Edema", ("Edema",))
    assert len({*edema.positive, *edema.negative}) == len(edema.positive) + len(edema.negative)


def test_the_door_means_the_same_as_the_file(tmp_path):
    effusion, cardiomegaly, _ = read(tmp_path, WHOLE)
    assert as_questions(["Cardiomegaly"]) == [cardiomegaly]
    (question,) = as_questions({"Pleural Effusion": (list(effusion.positive), list(effusion.negative))})
    assert (question.positive, question.negative) == (effusion.positive, effusion.negative)


@pytest.mark.parametrize(
    ("label", "said"),
    [
        ("Pleural Effusion/left", "left pleural effusion"),
        ("Hernia, Hiatal", "hiatal hernia"),
        ("Catheters, Indwelling/right", "right indwelling catheters"),
        ("COPD", "COPD"),
        ("Lung/bilateral/hyperdistention", "bilateral lung hyperdistention"),
    ],
)
def test_labels_are_said_as_in_a_sentence(label, said):
    assert spoken(label) == said


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "holds no mapping"),
        ("- Edema\n", "holds no mapping"),
        ("just text", "holds no mapping"),
        ("Edema: {positive: [", "line 1: not YAML"),
        ("a: 1\n\tb: 2", "line 2: not YAML"),
        ("a: 2020-13-45", "not YAML"),
        ("Edema: {}\nEdema: {}\n", "line 2: .*Edema is there twice"),
        ("Edema: {}\nedema: {}\n", "edema is there twice"),
        ("Edema: {positive: [a], positive: [b]}", "positive is there twice"),
        ("No: {}", "False is no text; put it in quotes"),
        ("12: {}", "12 is no text"),
        ("' ': {}", "is no text"),
        ("[a, b]: {}", "not YAML|is no text"),
        ("Edema: [a]", r"Edema: holds \['a'\]"),
        ("Edema: yes", "Edema: holds True"),
        ("Edema: {positives: [a]}", "Edema: has no key positives; there are positive, negative and labels"),
        ("Edema: {positive: []}", r"Edema: positive: holds \[\]"),
        ("Edema: {positive: There is edema.}", "Edema: positive: holds 'There is edema.'"),
        ("Edema: {negative: ['a', ' ']}", "Edema: negative: ' ' is no text"),
        ("Edema: {negative: [no]}", "Edema: negative: False is no text; write it in quotes"),
        ("Edema: {negative:}", "Edema: negative: holds None"),
        ("Edema: {positive: [A., a.]}", "is there twice"),
        ("Edema: {labels: []}", "Edema: labels: holds"),
        ("Edema: {positive: [a], negative: [a]}", "stands under positive and under negative"),
        ("Edema: &x {positive: *x}", "Edema: positive: holds"),
        ("!!python/object/apply:os.system ['true']", "not YAML"),
    ],
)
def test_a_fault_is_one_line_that_names_it(tmp_path, content, words):
    with pytest.raises(InputError, match=words) as error:
        read(tmp_path, content)
    assert "\n" not in str(error.value)
    assert "labels.yaml" in str(error.value)
    assert len(str(error.value)) < 400


def test_a_file_that_is_none(tmp_path):
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    for name in ("absent.yaml", ".", "binary.yaml"):
        with pytest.raises(InputError, match="cannot be read"):
            read_questions(tmp_path / name)


@pytest.mark.parametrize(
    "prompts", ["Edema", ["Edema", "Edema"], {"Edema": (["a"],)}, {"Edema": "ab"}, {"Edema": ([], ["b"])}]
)
def test_the_door_refuses_what_is_no_question(prompts):
    with pytest.raises(InputError, match=r"^prompts: "):
        as_questions(prompts)


def test_labels_take_the_datas_spelling():
    (question,) = match_labels(as_questions(["pleural EFFUSION"]), ["Pleural Effusion", "Edema"], "x")
    assert (question.name, question.labels) == ("pleural EFFUSION", ("Pleural Effusion",))


def test_a_label_that_the_data_lack_is_answered_with_what_comes_near():
    known = ["Pleural Effusion/left", "Edema"]
    with pytest.raises(InputError, match=r"no image of the data has the label Plural Effusion \(near it: Pleural"):
        match_labels(as_questions(["Edema", "Plural Effusion"]), known, "x")
    with pytest.raises(InputError, match=r"label Zzz \(they have Edema, Pleural Effusion/left\); nor Yyy; take"):
        match_labels(as_questions(["Zzz", "Yyy"]), known, "x")
    with pytest.raises(InputError, match="x: asks for labels, and the data have none; give them with --labels CSV"):
        match_labels(as_questions(["Edema"]), [], "x")


# The files that come with the project


def test_the_phantoms_file_asks_for_all_its_findings_in_its_own_words():
    questions = {question.name: question for question in read_questions(CONFIGS / "zero_shot_phantom.yaml")}
    findings = {}
    for name, kind in KINDS.items():
        for side in kind.sides:
            (label,) = finding_labels([Finding(name, side, kind.places[0], kind.severities[0]).tag])
            findings[label] = (kind, side)
    assert questions.keys() == findings.keys()
    match_labels(list(questions.values()), findings, "the phantom")
    for label, (kind, side) in findings.items():
        for sentence in questions[label].positive:
            assert re.search(kind.mention, sentence, re.IGNORECASE), sentence
            assert side.lower() in sentence.lower(), sentence


def test_chexperts_file_has_its_names():
    questions = read_questions(CONFIGS / "zero_shot_chexpert.yaml")
    assert tuple(question.name for question in questions) == FINDINGS


def test_open_is_file_names_headings_that_the_release_has(shared):
    known = set()
    for study in read_studies(shared / "data" / "iu_xray"):
        if study.image_ids and study.sections.get("FINDINGS"):
            known |= finding_labels(study.major)
    assert match_labels(read_questions(CONFIGS / "zero_shot_openi.yaml"), known, "Open-i")


def test_who_asks_for_nothing_by_default_sentences():
    questions = as_questions({"normal": (["The chest is normal."], ["There is a finding."])})
    assert default_nothings([*questions, *as_questions(["No Finding", "Edema"])]) == ["No Finding"]

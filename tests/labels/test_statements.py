"""What texts state, and whether they contradict themselves."""

import pytest

from cxr_jax.labels.rules import names_other_finding
from cxr_jax.labels.statements import Statement, contradictions, names_date, sentences, statements


@pytest.mark.parametrize(
    ("text", "stated"),
    [
        ("Small left pleural effusion.", {("Pleural Effusion", True, "left")}),
        ("No pneumothorax.", {("Pneumothorax", False, "")}),
        ("Possible bilateral effusions.", {("Pleural Effusion", True, "bilateral")}),
        ("The heart is normal in size.", {("Cardiomegaly", False, "")}),
        ("Bony structures are intact.", {("Fracture", False, "")}),
        ("", set()),
    ],
)
def test_statements(text, stated):
    found = statements(text)
    assert {tuple(s) for s in found if s.observation != "Enlarged Cardiomediastinum"} == stated


@pytest.mark.parametrize(
    ("report", "observations"),
    [
        ("Left pleural effusion. No pleural effusion.", ["Pleural Effusion"]),
        ("Left pleural effusion. No right pleural effusion.", []),
        ("Bilateral pleural effusions. There is no left pleural effusion.", ["Pleural Effusion"]),
        ("No pneumothorax. Right apical pneumothorax. Cardiomegaly. The heart is normal in size.",
         ["Cardiomegaly", "Pneumothorax"]),
        ("No pneumothorax. No effusion.", []),
    ],
)  # fmt: skip
def test_contradictions(report, observations):
    assert contradictions(report) == observations


def test_contradicting_goes_both_ways():
    sides = "left", "right", "bilateral", ""
    for one in sides:
        for other in sides:
            pair = Statement("Edema", True, one), Statement("Edema", False, other)
            assert pair[0].contradicts(pair[1]) == pair[1].contradicts(pair[0]) == ({one, other} != {"left", "right"})
            assert not pair[0].contradicts(pair[1]._replace(affirmed=True))
            assert not pair[0].contradicts(pair[1]._replace(observation="Fracture"))


def test_sentences_are_whole_and_each_there_once():
    assert sentences("Clear  lungs.\nClear lungs. No effusion.") == ("Clear lungs.", "No effusion.")


@pytest.mark.parametrize(
    ("text", "dated"),
    [
        ("Compared to 3/12/2014.", True),
        ("Since May 5.", True),
        ("Seen in January.", True),
        ("At 10:30 am.", True),
        ("Compared with ___.", True),
        ("XXXX opacity.", True),
        ("Since 3 May.", True),
        ("Film of Jan 3.", True),
        ("As on Monday.", True),
        ("It may be pneumonia.", False),
        ("A 1.5 cm nodule, T12 fracture.", False),
        ("Port catheter tip in the SVC.", False),
    ],
)
def test_dates(text, dated):
    assert names_date(text) == dated


def test_other_findings():
    assert names_other_finding("Calcified granuloma in the right upper lobe.")
    assert not names_other_finding("No hernia. Small pleural effusion. Bony structures are intact.")


@pytest.mark.parametrize("affirmed", [True, False])
def test_what_implies_what(affirmed):
    sides = "left", "right", "bilateral", ""
    implied = {
        (a, b) for a in sides for b in sides if Statement("Edema", affirmed, a).implies(Statement("Edema", affirmed, b))
    }
    expected = {(a, a) for a in sides} | {(a, "") for a in sides} | {("bilateral", "left"), ("bilateral", "right")}
    assert implied == expected | (set() if affirmed else {("", "left"), ("", "right"), ("", "bilateral")})
    assert not Statement("Edema", affirmed, "").implies(Statement("Edema", not affirmed, ""))
    assert not Statement("Edema", affirmed, "").implies(Statement("Fracture", affirmed, ""))


def test_headings_and_list_numbers_are_no_part_of_a_sentence():
    report = "FINDINGS: 1. Clear lungs. 2. Prior median sternotomy.\nIMPRESSION: 1.5 cm nodule."
    assert sentences(report) == ("Clear lungs.", "Prior median sternotomy.", "1.5 cm nodule.")

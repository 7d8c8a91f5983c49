"""Twins of reports: what each says, that its sentences stay whole, and when there is none."""

import json
import subprocess
import sys

import pytest

from cxr_jax.labels.perturbations import (
    PERTURBATIONS,
    flip_negation,
    invent_prior,
    remove_finding,
    shuffle_sentences,
    swap_sides,
)
from cxr_jax.labels.priors import speaks_of_prior
from cxr_jax.labels.rules import find_mentions, label_report, split_sentences


@pytest.mark.parametrize(
    ("report", "twin"),
    [
        ("Small left effusion.", "Small right effusion."),
        ("LEFT EFFUSION. RLL OPACITY.", "RIGHT EFFUSION. LLL OPACITY."),
        ("Right-sided pneumothorax, left base opacity.", "Left-sided pneumothorax, right base opacity."),
        ("Opacity in the right middle lobe.", "Opacity in the left lingula."),
        # The right heart is no side of the patient, the right lung is one.
        ("Right heart border is seen. Right effusion.", "Right heart border is seen. Left effusion."),
        ("The right lung is clear. Left effusion.", "The left lung is clear. Right effusion."),
    ],
)
def test_sides_are_swapped(report, twin):
    assert swap_sides(report) == twin


@pytest.mark.parametrize(
    "report",
    [
        "",
        "No effusion.",
        "Bilateral effusions.",
        "The left ventricle is enlarged.",
        "Right lower lung granuloma.",  # of which the rules read no side
        "Left and right effusions.",  # the same said again
    ],
)
def test_there_may_be_no_side_to_swap(report):
    assert swap_sides(report) is None


@pytest.mark.parametrize(
    ("report", "twin"),
    [
        ("No pneumothorax.", "There is a pneumothorax."),
        ("There is no effusion or pneumothorax.", "There is an effusion and pneumothorax."),
        ("No focal consolidation, effusion, or edema.", "There is focal consolidation, effusion and edema."),
        ("No pleural effusions or pneumothoraces.", "There are pleural effusions and pneumothoraces."),
        ("No evidence of pneumothorax.", "There is a pneumothorax."),
        ("No effusion or edema is seen.", "Effusion and edema are seen."),
        ("No pneumothorax is seen.", "Pneumothorax is seen."),
        ("Pneumothorax is not seen.", "Pneumothorax is seen."),
        ("There is a small left effusion.", "There is no small left effusion."),
        ("There are opacities and effusions.", "There are no opacities or effusions."),
        ("Mild cardiomegaly.", "No mild cardiomegaly."),
        ("Stable cardiomegaly.", "No cardiomegaly."),
        ("PICC line in the SVC.", "No PICC line in the SVC."),
        ("A small nodule is seen.", "No small nodule is seen."),
        ("NO EFFUSION.", "THERE IS AN EFFUSION."),
        ("no effusion . the trachea is midline .", "there is an effusion . the trachea is midline ."),
        # What no template fits, or is in doubt, is left as it is.
        ("Possible edema. No effusion!", "Possible edema. There is an effusion!"),
    ],
)
def test_negation_is_flipped(report, twin):
    assert flip_negation(report) == twin


@pytest.mark.parametrize("report", ["", "The lungs are clear.", "Possible edema.", "The trachea is midline.", "XXXX."])
def test_there_may_be_no_negation_to_flip(report):
    assert flip_negation(report) is None


def test_history_is_not_flipped():
    report = "INDICATION: No effusion on the prior film.\n\nFINDINGS: No effusion."
    assert flip_negation(report) in (None, report.replace("FINDINGS: No", "FINDINGS: There is an"))


def test_one_finding_is_removed_with_its_sentences():
    report = "Left effusion. The trachea is midline. The effusion is small."
    assert remove_finding(report) == "The trachea is midline."
    assert remove_finding("Left effusion.") is None  # nothing would be left
    assert remove_finding("The lungs are clear.") is None
    both = "Cardiomegaly. Left effusion. No pneumothorax."
    assert {remove_finding(both, seed) for seed in range(8)} == {
        "Left effusion. No pneumothorax.",
        "Cardiomegaly. No pneumothorax.",
    }


def test_a_prior_is_invented_once():
    twin = invent_prior("The lungs are clear")
    assert twin.startswith("The lungs are clear. ")
    assert speaks_of_prior(twin)
    assert invent_prior(twin) is None
    assert invent_prior(" ") is None
    assert invent_prior("CLEAR.").isupper()


def test_sentences_are_shuffled():
    report = "1. No effusion.\n2. Heart normal.\n3. Lungs clear."
    twin = shuffle_sentences(report)
    assert twin != report
    assert sorted(twin.split()) == sorted(report.split())
    assert shuffle_sentences("No effusion. No effusion.") is shuffle_sentences("One.") is shuffle_sentences("") is None


def test_a_report_has_one_twin_in_every_process():
    report = "Cardiomegaly. Left effusion. No pneumothorax. The trachea is midline."
    twins = {name: perturb(report) for name, perturb in PERTURBATIONS.items()}
    assert None not in twins.values()
    code = (
        "import json, sys\nfrom cxr_jax.labels.perturbations import PERTURBATIONS\n"
        "print(json.dumps({name: perturb(sys.argv[1]) for name, perturb in PERTURBATIONS.items()}))"
    )
    printed = subprocess.run([sys.executable, "-c", code, report], check=True, capture_output=True, text=True).stdout
    assert json.loads(printed) == twins


def test_real_reports_say_what_was_meant(shared):
    annotation = json.loads((shared / "data/iu_xray/r2gen_annotation.json").read_text())
    reports = [entry["report"] for entry in annotation["test"]]
    twins = {name: [(r, t) for r in reports if (t := make(r)) is not None] for name, make in PERTURBATIONS.items()}
    assert [len(pairs) for pairs in twins.values()] > [60, 400, 140, 480, 580]
    assert all(twin != report for pairs in twins.values() for report, twin in pairs)
    for report, twin in twins["side_swapped"]:
        assert label_report(report) == label_report(twin)
        assert len(report.split()) - 2 <= len(twin.split()) <= len(report.split()) + 2
    for report, twin in twins["negation_flipped"]:
        before, after = ([(m.observation, m.status) for m in find_mentions(text)] for text in (report, twin))
        assert [name for name, _ in before] == [name for name, _ in after]
        assert before != after
        assert len(split_sentences(twin)) == len(split_sentences(report))
    for report, twin in twins["finding_removed"]:
        assert len(split_sentences(twin)) < len(split_sentences(report))

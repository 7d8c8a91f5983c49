"""Probes: which scores fall where the answer is known, which reports are left out, and what a model prefers."""

import numpy as np
import pytest

from cxr_jax.evaluation.floors import Pool
from cxr_jax.evaluation.probes import (
    PROBE_NAMES,
    SYSTEM_NAMES,
    preference_table,
    preferences,
    probe_scores,
    probe_table,
    probed_systems,
    text_of,
    twins_of,
)
from cxr_jax.labels.perturbations import PERTURBATIONS

REFERENCES = [
    "Small left effusion. No pneumothorax. The heart is enlarged.",
    "There is a right lower lobe opacity. No effusion. Left picc line.",
    "The lungs are clear. The trachea is midline.",
] * 4
TRAIN = ["The lungs are clear. No effusion.", "Large right effusion. Cardiomegaly.", "Normal chest. No edema."]
POOL = Pool(TRAIN, TRAIN[:2])


@pytest.fixture(scope="module")
def results():
    systems = probed_systems(REFERENCES, REFERENCES[::-1], POOL, "raw")
    return probe_scores(REFERENCES, systems, POOL, "raw", resamples=100, meteor="exact_stem")


def test_every_probe_and_system_has_a_name():
    assert tuple(PROBE_NAMES) == tuple(PERTURBATIONS)
    assert tuple(probed_systems(REFERENCES, REFERENCES, POOL, "raw")) == tuple(SYSTEM_NAMES)
    assert "system" not in probed_systems(REFERENCES, None, POOL, "raw")


def test_reports_without_a_twin_are_left_out_and_counted(results):
    entry = results["side_swapped"]["true"]
    assert (entry["n"], entry["without"]) == (8, 4)
    assert entry["before"]["bleu_1"] == pytest.approx(1)
    assert "constant_report" not in results["side_swapped"] or results["side_swapped"]["constant_report"]["n"]


def test_rule_f1_is_blind_to_sides_and_not_to_negation(results):
    sides, negation = (results[probe]["true"]["change"] for probe in ("side_swapped", "negation_flipped"))
    assert sides["rule_f1_micro"] == {"difference": 0, "interval": [0, 0], "p": 1}
    assert sides["bleu_4"]["interval"][1] < 0
    assert negation["rule_f1_micro"]["difference"] < -0.5
    shuffled = results["sentences_shuffled"]["true"]["change"]
    assert shuffled["bleu_1"]["difference"] == pytest.approx(0)
    assert shuffled["rouge_l"]["difference"] < 0
    for systems in results.values():
        for entry in systems.values():
            for name, change in entry["change"].items():
                assert change["difference"] == pytest.approx(entry["after"][name] - entry["before"][name])


def test_the_table_brackets_what_could_be_nothing(results):
    table = probe_table(results)
    row = next(row for row in table.rows if row[0] == "side swapped: the true report")
    assert row[1] == "8"
    cells = dict(zip(table.columns, row, strict=True))
    assert cells["rule F1 micro"] == "(+0.000)"
    assert cells["BLEU-4"].startswith("-")
    assert "In brackets" in text_of(results)


def test_twins_of_a_repeated_report_are_one():
    twins = twins_of(REFERENCES)
    assert all(of[:3] * 4 == of for of in twins.values())


def encoder(prefer):
    """Embeds a text at (1, 0) where `prefer` says so, else at (0, 1)."""
    return lambda texts: np.array([[1.0, 0.0] if prefer(text) else [0.0, 1.0] for text in texts], np.float32)


def test_a_model_that_sees_sides_prefers_the_true_report_and_one_that_does_not_ties():
    images = np.tile(np.array([[1.0, 0.0]], np.float32), (12, 1))
    patients = [f"p{i}" for i in range(12)]
    seeing = preferences(images, REFERENCES, encoder(lambda text: text in REFERENCES), patients)
    assert all(entry["accuracy"] == 1 and entry["ties"] == 0 for entry in seeing.values() if entry["n"])
    blind = preferences(images, REFERENCES, encoder(lambda text: True), patients)
    assert blind["side_swapped"] == {"n": 8, "without": 4, "accuracy": 0.5, "interval": [0.5, 0.5], "ties": 8}
    wrong = preferences(images, REFERENCES, encoder(lambda text: text not in REFERENCES), patients)
    assert wrong["negation_flipped"]["accuracy"] == 0
    assert "1.000-1.000" in str(preference_table(seeing).rows)


def test_no_report_may_have_a_twin():
    images = np.ones((2, 2), np.float32)
    entries = preferences(images, ["XXXX", "XXXX"], encoder(lambda text: True), ["a", "b"])
    assert entries["side_swapped"] == {"n": 0, "without": 2}
    assert preference_table(entries).rows[0] == ["side swapped", "0", "", "", ""]


def test_an_interval_is_over_patients():
    references = REFERENCES[:2] * 10
    images = np.zeros((20, 2), np.float32)
    images[:10, 0], images[10:, 1] = 1, 1  # ten right, ten wrong

    def width(patients):
        entry = preferences(images, references, encoder(lambda text: text in references), patients)["side_swapped"]
        return np.ptp(entry["interval"])

    assert width(["a"] * 10 + ["b"] * 10) > 2 * width(list(map(str, range(20)))) > 0

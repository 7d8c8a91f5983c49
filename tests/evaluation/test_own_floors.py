import numpy as np
import pytest

from cxr_jax.evaluation import own_floors as module
from cxr_jax.evaluation.own_floors import own_floors, own_systems
from cxr_jax.evaluation.text_metrics import ReportScorer


def test_no_image_meets_a_report_of_its_own_patient():
    patients = [f"p{i // 3}" for i in range(30)]
    studies = [f"s{i // 2}" for i in range(30)]
    studies = [f"{p}-{s}" for p, s in zip(patients, studies, strict=True)]
    reports = [f"Patient {p} has finding {s} ." for p, s in zip(patients, studies, strict=True)]
    scorer = ReportScorer(reports, "raw", reports)
    systems = own_systems(scorer, studies, patients)
    assert set(systems) == {"own_constant_report", *(f"own_random_report_{i}" for i in range(1, 6))}
    of = dict(zip(reports, patients, strict=True))
    for line in systems.values():
        assert all(of[answer] != patient for answer, patient in zip(line, patients, strict=True))
    assert len(set(systems["own_constant_report"])) == 2  # one report for each half
    floors = own_floors(scorer, systems)
    assert set(floors) == {"own_constant_report", "own_random_report"}
    draws = [scorer.scores(systems[f"own_random_report_{i}"])["bleu_1"] for i in range(1, 6)]
    assert floors["own_random_report"]["bleu_1"] == pytest.approx(np.mean(draws))
    assert min(draws) > 0


def test_the_constant_is_chosen_on_the_half_that_it_comes_from(monkeypatch):
    asked = []

    def best(candidates, references):
        asked.append((sorted(candidates), sorted(references)))
        return candidates[0]

    monkeypatch.setattr(module, "best_constant", best)
    reports = [f"report {i} ." for i in range(8)]
    own_systems(ReportScorer(reports, "raw", reports), list("abcdefgh"), list("abcdefgh"))
    assert [candidates == references for candidates, references in asked] == [True, True]
    assert not set(asked[0][0]) & set(asked[1][0])
    assert sorted(asked[0][0] + asked[1][0]) == sorted(reports)


def test_the_seed_decides():
    reports = [f"report number {i % 7} and {i % 3} ." for i in range(40)]
    scorer, ids = ReportScorer(reports, "raw", reports), [str(i) for i in range(40)]
    assert own_systems(scorer, ids, ids) == own_systems(scorer, ids, ids)
    assert own_systems(scorer, ids, ids, seed=1) != own_systems(scorer, ids, ids)


def test_one_patient_gives_none():
    reports = ["One .", "Two ."]
    scorer = ReportScorer(reports, "raw", reports)
    assert own_systems(scorer, ["a", "b"], ["p", "p"]) == own_floors(scorer, {}) == {}

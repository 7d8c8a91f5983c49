"""The reports of a system, its floors and its ceiling: that scoring them gives what floors and ceiling say."""

import numpy as np
import pytest

from cxr_jax.evaluation.ceiling import ceiling
from cxr_jax.evaluation.floors import Pool, floors
from cxr_jax.evaluation.systems import CEILING, SYSTEM, floor_of, systems_of
from cxr_jax.evaluation.text_metrics import ReportScorer

TRAIN = ["The lungs are clear.", "Large left effusion.", "The heart is enlarged.", "Normal chest."]
LABELS = [[], ["effusion"], ["heart"], []]
REFERENCES = ["Left effusion.", "Clear lungs.", "Normal heart."]


def test_their_scores_are_those_of_floors_and_ceiling():
    pool, labels = Pool(TRAIN, TRAIN[:2], LABELS), [["effusion"], [], []]
    scorer = ReportScorer(REFERENCES, "raw", TRAIN, "exact_stem")
    systems = systems_of(scorer, pool, ["a", "b", "c"], labels)
    assert systems.pop(SYSTEM) == ["a", "b", "c"]
    assert scorer.scores(systems.pop(CEILING)) == ceiling(scorer, TRAIN)
    for name, scores in floors(scorer, pool, labels).items():
        draws = [scorer.scores(reports)["rouge_l"] for system, reports in systems.items() if floor_of(system) == name]
        assert len(draws) == (5 if name.startswith("random") else 1)
        assert scores["rouge_l"] == pytest.approx(np.mean(draws))


def test_floors_and_ceiling_may_stand_alone():
    systems = systems_of(ReportScorer(REFERENCES, "raw"), Pool(TRAIN, TRAIN[:2]), None)
    assert SYSTEM not in systems
    assert {floor_of(system) for system in systems} == {
        "random_report",
        "constant_report",
        "most_frequent_report",
        "ceiling",
    }
    assert all(len(reports) == 3 for reports in systems.values())

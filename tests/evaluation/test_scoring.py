"""A system as a whole: that its parts are those of the scorers, and that no text is scored twice."""

from collections import Counter

import numpy as np
import pytest

from cxr_jax.evaluation import meteor, text_metrics
from cxr_jax.evaluation.floors import Pool
from cxr_jax.evaluation.label_metrics import finding_f1
from cxr_jax.evaluation.scoring import recall_both_ways, score_system
from cxr_jax.evaluation.text_metrics import ReportScorer, score_intervals, score_names, score_reports
from cxr_jax.labels.rules import rule_labels
from cxr_jax.retrieval.rows import Row
from cxr_jax.retrieval.store import SplitIndex

TRAIN = ["Lungs clear. Heart normal.", "Large effusion on the left.", "Cardiomegaly.", "Old granuloma."]
REFERENCES = ["Left effusion.", "The lungs are clear.", "Mild cardiomegaly. No effusion."]
PREDICTIONS = ["Large left effusion.", "Clear lungs.", "No cardiomegaly."]
POOL = Pool(TRAIN, TRAIN[:2])


def test_each_part_is_its_scorers():
    metrics = score_system(POOL, REFERENCES, PREDICTIONS, "r2gen", meteor="exact_stem")
    assert metrics["scores"] == score_reports(REFERENCES, PREDICTIONS, "r2gen", TRAIN, "exact_stem")
    assert tuple(metrics["scores"]) == tuple(metrics["intervals"]) == score_names("exact_stem")
    statistics = ReportScorer(REFERENCES, "r2gen", TRAIN, "exact_stem").statistics(PREDICTIONS)
    assert metrics["intervals"] == {name: list(ends) for name, ends in score_intervals(statistics).items()}
    assert metrics["rule_f1"] == finding_f1(rule_labels(REFERENCES), rule_labels(PREDICTIONS))
    assert metrics["rule_f1"]["macro"] == metrics["scores"]["rule_f1_macro"]
    for floor in metrics["floors"].values():
        assert tuple(floor) == score_names("exact_stem")


def test_floors_and_ceiling_come_alone_without_predictions():
    metrics = score_system(POOL, REFERENCES, None, "raw", meteor="exact_stem")
    shared = {"copied_references", "distinct_reports", "true_prior_share", "contradictory", "words"}
    assert metrics.keys() == {"protocol", "n", "uncertain", "floors", "ceiling"} | shared


def test_nothing_of_a_system_is_computed_twice(monkeypatch):
    # In lower case, so that "raw" hands them on as they are.
    references, predictions = ([report.lower() for report in side] for side in (REFERENCES, PREDICTIONS))
    counts = Counter()

    def counted(name, function):
        def count(*sides):
            counts[name] += list(sides[-1]) in (references, predictions)
            return function(*sides)

        return count

    monkeypatch.setattr(text_metrics, "rouge_l", counted("rouge_l", text_metrics.rouge_l))
    monkeypatch.setattr(text_metrics, "rule_statuses", counted("labels", text_metrics.rule_statuses))
    monkeypatch.setattr(meteor, "meteor_statistics", counted("meteor", meteor.meteor_statistics))
    score_system(POOL, references, predictions, "raw", meteor="exact_stem")
    assert counts == {"rouge_l": 1, "meteor": 1, "labels": 2}  # labels: of the references and of the predictions


def test_recall_is_taken_both_ways_a_study_once_among_the_reports():
    rows = [
        Row(f"i{i}", f"s{study}", f"p{study}", f"report {study}", ("a",) if study else (), study)
        for i, study in enumerate([0, 0, 1, 2])
    ]
    z = np.eye(3, dtype=np.float32)[[0, 0, 1, 2]]
    recall = recall_both_ways(SplitIndex("test", 1, rows, z, z, [b""] * 4))
    for scores in recall.values():
        assert scores["recall@1"] == scores["instance_recall@1"] == scores["median_rank"] == 1
        assert scores["intervals"]["recall@1"] == [1, 1]
    assert recall["image_to_text"]["chance_recall@1"] == pytest.approx(1 / 3)
    assert recall["text_to_image"]["chance_recall@1"] == pytest.approx((2 + 1 + 1) / 3 / 4)
    assert "label_map" in recall["image_to_text"]
    assert "label_map" not in recall["text_to_image"]

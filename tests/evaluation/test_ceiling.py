"""The ceiling: the fast search against a naive one, copies barred, and R2Gen's split as it is known."""

import json
import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxr_jax.evaluation.ceiling import ceiling, nearest_by_text, skill
from cxr_jax.evaluation.text_metrics import ReportScorer, score_reports

REPORTS = st.lists(st.lists(st.sampled_from("abcde"), max_size=5).map(" ".join), min_size=1, max_size=8)


def naive_similarity(report, other, train):
    sets = [set(text.split()) for text in train]

    def weight(word):
        return 1 + math.log((1 + len(train)) / (1 + sum(word in words for words in sets)))

    known = set().union(*sets)
    a, b = ({word for word in text.split() if word in known} for text in (report, other))
    norms = [math.sqrt(sum(weight(word) ** 2 for word in words)) for words in (a, b)]
    return sum(weight(word) ** 2 for word in a & b) / max(math.prod(norms), 1e-12)


@given(REPORTS, REPORTS)
def test_the_nearest_report_is_the_naive_searchs(references, train):
    for reference, row in zip(references, nearest_by_text(references, train), strict=True):
        allowed = [i for i, text in enumerate(train) if text.split() != reference.split()] or range(len(train))
        best = max(naive_similarity(reference, train[i], train) for i in allowed)
        assert row in allowed
        assert naive_similarity(reference, train[row], train) == pytest.approx(best, abs=1e-9)


def test_a_copy_is_barred_however_it_is_written():
    train = ["No effusion.", "Clear lungs, no effusion!", "Large heart."]
    assert nearest_by_text(["no  EFFUSION", "clear lungs; no effusion"], train).tolist() == [1, 0]
    assert nearest_by_text(["no effusion"], ["No effusion."] * 2).tolist() == [0]


def test_the_ceiling_scores_those_reports():
    train, references = ["No effusion.", "Large left effusion.", "Large heart."], ["Left effusion.", "Heart is large."]
    assert ceiling(ReportScorer(references, "raw"), train) == score_reports(references, [train[1], train[2]], "raw")


def test_skill_is_nought_at_the_floor_and_one_at_the_ceiling():
    floor, top = {"a": 0.2, "b": 0.5, "c": 0.1}, {"a": 0.6, "b": 0.5, "d": 1.0}
    assert skill({"a": 0.4, "b": 0.7, "c": 0.3}, floor, top) == {"a": pytest.approx(0.5)}
    assert skill(floor, floor, top) == {"a": 0}
    assert skill(top, floor, top) == {"a": 1}


def test_the_ceiling_of_r2gens_split_is_the_measured_one(shared):
    annotation = json.loads((shared / "data/iu_xray/r2gen_annotation.json").read_text())
    train, test = ([study["report"] for study in annotation[split]] for split in ("train", "test"))
    scores = ceiling(ReportScorer(test, "r2gen", train), train)
    np.testing.assert_allclose(list(scores.values())[:5], [0.754, 0.687, 0.639, 0.601, 0.724], atol=0.012)
    words = [tuple(re.findall(r"\w+", report.lower())) for report in train]
    for report, row in zip(test, nearest_by_text(test, train), strict=True):
        assert words[row] != tuple(re.findall(r"\w+", report.lower()))

"""F1 of CheXpert's observations: numbers from scikit-learn, and what each policy for doubt does."""

import numpy as np
import pytest

from cxr_jax.errors import InputError
from cxr_jax.evaluation.label_policies import FIVE, UNCERTAIN, label_matrices, label_names, resampled_label_f1
from cxr_jax.evaluation.text_metrics import ReportScorer, sample_scores, score_intervals
from cxr_jax.labels.rules import OBSERVATIONS, rule_statuses

# f1_score(reference, predicted, average=…, zero_division=0) of scikit-learn 1.9, "micro", "macro", "weighted",
# "samples", of all columns and of the five's.
GOLDEN = [0.42553191, 0.34132653, 0.44120505, 0.3534632, 0.25806452, 0.23809524, 0.27472527, 0.19166667]


def random_sides():
    rng = np.random.default_rng(0)
    reference, predicted = (rng.random((12, 14)) < 0.4 for _ in range(2))
    reference[3] = predicted[3] = False  # a study of which neither side has anything
    reference[:, 2] = predicted[:, 2] = False  # an observation that neither side has
    return reference, predicted


def test_they_are_scikit_learns():
    (scores,) = resampled_label_f1(*random_sides(), np.ones((1, 12)))
    np.testing.assert_allclose(scores, GOLDEN, atol=1e-8)


def test_a_resample_is_the_score_of_its_studies():
    reference, predicted = random_sides()
    draws = np.random.default_rng(1).integers(12, size=(8, 12))
    weights = np.array([np.bincount(draw, minlength=12) for draw in draws])
    for draw, scores in zip(draws, resampled_label_f1(reference, predicted, weights), strict=True):
        (counted,) = resampled_label_f1(reference[draw], predicted[draw], np.ones((1, 12)))
        np.testing.assert_allclose(scores, counted)


def matrices(references, predictions, uncertain):
    sides = label_matrices(references, predictions, uncertain)
    return [[sorted(np.array(OBSERVATIONS)[row]) for row in side] for side in sides]


def test_what_each_policy_makes_of_doubt():
    there, doubted, denied = ({"Edema": status} for status in ("positive", "uncertain", "negative"))
    references, predictions = [there, there, doubted, denied, {}], [there, doubted, there, doubted, doubted]
    edema = ["Edema"]
    assert matrices(references, predictions, "positive") == [[edema, edema, edema, [], []], [edema] * 5]
    assert matrices(references, predictions, "negative") == [
        [edema, edema, [], [], []],
        [edema, [], edema, [], []],
    ]
    # Only what the reference decides is scored, and a system gains nothing by doubting.
    assert matrices(references, predictions, "ignore") == [[edema, edema, [], [], []], [edema, edema, [], edema, edema]]


def test_a_policy_is_named_and_must_be_known():
    names = label_names("ignore")
    assert len(names) == len(set(names)) == 8
    assert all("[uncertain=ignore,blank=negative]" in name for name in names)
    assert not set(names) & set(label_names("positive"))
    with pytest.raises(InputError, match="uncertain: 'maybe' is unknown; choose one of positive, negative, ignore"):
        label_names("maybe")
    assert set(FIVE) < set(OBSERVATIONS)


REFERENCES = ["Possible edema. Small left effusion.", "No edema.", "Cardiomegaly. Edema."]
PREDICTIONS = ["Edema. Small effusion.", "Possible edema.", "Mild cardiomegaly."]


@pytest.mark.parametrize("uncertain", UNCERTAIN)
def test_they_are_scores_like_the_others(uncertain):
    statistics = ReportScorer(REFERENCES, "raw", uncertain=uncertain).statistics(PREDICTIONS)
    scores, intervals = sample_scores(statistics), score_intervals(statistics)
    sides = label_matrices(rule_statuses(REFERENCES), rule_statuses(PREDICTIONS), uncertain)
    (expected,) = resampled_label_f1(*sides, np.ones((1, 3)))
    for name, score in zip(label_names(uncertain), expected, strict=True):
        assert scores[name] == pytest.approx(score)
        assert intervals[name][0] <= score <= intervals[name][1]
    # Rule F1 goes by its own rule, whatever the policy.
    assert scores["rule_f1_micro"] == ReportScorer(REFERENCES, "raw").scores(PREDICTIONS)["rule_f1_micro"]

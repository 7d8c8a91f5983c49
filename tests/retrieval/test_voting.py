"""Votes of neighbours, against counts by hand, and thresholds against a search through all."""

import numpy as np
import pytest

from cxr_jax.labels.rules import rule_labels
from cxr_jax.retrieval.voting import (
    RARE,
    VOTED,
    Thresholds,
    agreement,
    best_thresholds,
    read,
    support,
    vote,
    vote_weights,
)

EFFUSION, TUBE = VOTED.index("Pleural Effusion"), VOTED.index("Support Devices")
REPORTS = [
    "Left pleural effusion. No pneumothorax.",
    "Bilateral pleural effusions.",
    "No pleural effusion.",
    "Right pleural effusion. No pleural effusion on the left.",
    "Clear.",
]


def test_weights_are_a_softmax_that_does_not_overflow():
    similarity = np.array([[0.9, 0.5, -1.0], [1.0, 1.0, 1.0]], np.float32)
    weights = vote_weights(similarity, 10.0)
    naive = np.exp(10.0 * similarity.astype(np.float64))
    np.testing.assert_allclose(weights, naive / naive.sum(axis=1, keepdims=True), rtol=1e-6)
    np.testing.assert_allclose(vote_weights(similarity, 1e5)[0], [1, 0, 0])


def test_a_vote_adds_up_the_weights_of_those_who_say_so():
    rows, weights = np.array([[0, 1, 2, 3], [4, 4, 0, 2]]), np.array([[0.4, 0.3, 0.2, 0.1], [0.25] * 4])
    votes = vote(REPORTS, rows, weights)
    np.testing.assert_allclose([kind[0, EFFUSION] for kind in votes], [0.8, 0.2, 0.7, 0.4])
    np.testing.assert_allclose([kind[1, EFFUSION] for kind in votes], [0.25, 0.25, 0.25, 0])
    assert votes.denied[0, VOTED.index("Pneumothorax")] == pytest.approx(0.4)


def test_reading_agrees_with_the_rules():
    affirmed = read(REPORTS)[0]
    for row, labels in enumerate(rule_labels(REPORTS)):
        assert {VOTED[column] for column in np.flatnonzero(affirmed[row])} == labels - {"No Finding"}


@pytest.mark.parametrize("seed", range(4))
def test_the_best_threshold_is_that_of_a_search_through_all(seed):
    rng = np.random.default_rng(seed)
    truth = rng.random((40, 3)) < 0.3
    votes = np.round(np.clip(0.5 * truth + 0.7 * rng.random(truth.shape), 0, 1), 1)  # many ties

    def f1(threshold, column):
        called = votes[:, column] >= threshold
        return 2 * (called & truth[:, column]).sum() / (called.sum() + truth[:, column].sum())

    for column, threshold in enumerate(best_thresholds(truth, votes)):
        assert f1(threshold, column) == max(f1(t, column) for t in np.linspace(0.01, 1.01, 201))
    assert (best_thresholds(np.zeros((3, 2), bool), np.ones((3, 2))) == 0.5).all()


def test_chosen_thresholds_beat_the_majority_on_their_split_and_leave_rare_ones_alone():
    rng = np.random.default_rng(0)
    sick = rng.random(200) < 0.3
    reports = ["Small left pleural effusion." if s else "No pleural effusion." for s in sick]
    reports[0] = "Pacemaker. No pleural effusion."
    votes = vote(["Small left pleural effusion."], np.zeros((200, 1), int), np.ones((200, 1)))
    affirmed = np.zeros((200, len(VOTED)))
    affirmed[:, EFFUSION] = 0.2 * sick + 0.1 * rng.random(200)
    votes = votes._replace(affirmed=affirmed, denied=1 - affirmed)
    thresholds = Thresholds.chosen(votes, reports)
    assert ((affirmed[:, EFFUSION] >= thresholds.affirmed[EFFUSION]) == sick).all()
    others = np.delete(thresholds.affirmed, EFFUSION)
    assert len(set(others.tolist())) == 1  # of fewer than RARE reports, tubes have the common one
    assert RARE > 1
    back = Thresholds.of_json(thresholds.as_json())
    np.testing.assert_array_equal(back.affirmed, thresholds.affirmed)
    np.testing.assert_array_equal(back.denied, thresholds.denied)
    for wrong in ({}, {"affirmed": {}, "denied": {}}, [], None):
        with pytest.raises((KeyError, TypeError, ValueError)):
            Thresholds.of_json(wrong)


def test_where_nothing_is_voted_the_majority_rules():
    nothing = vote(["Clear."], np.zeros((3, 1), int), np.ones((3, 1)))
    assert (Thresholds.chosen(nothing, ["Edema."] * 3).affirmed == 0.5).all()
    assert TUBE >= 0


def test_agreement_is_the_expected_f1_of_two_neighbours():
    reports = [
        "There is edema.",
        "There is edema. The heart is enlarged.",
        "No acute disease.",
        "Thank you.",
        "Thanks.",
    ]
    rows = np.array([[0, 1, 2], [0, 0, 0], [3, 4, 3], [2, 3, 0]])
    weights = np.array([[0.5, 0.25, 0.25], [0.2, 0.3, 0.5], [0.2, 0.3, 0.5], [0.6, 0.2, 0.2]])
    labels = rule_labels(reports)
    for value, line, of in zip(agreement(reports, rows, weights), rows, weights, strict=True):
        naive = 0.0
        for a, own in zip(line, of, strict=True):
            for b, other in zip(line, of, strict=True):
                total = len(labels[a]) + len(labels[b])
                naive += own * other * (2 * len(labels[a] & labels[b]) / total if total else 1)
        assert value == pytest.approx(naive)
    assert agreement(reports, rows, weights)[1:3] == pytest.approx([1, 1])
    alone = np.eye(4, 3)
    said = support(["There is edema."] * 4, reports, rows, np.where(alone.any(1, keepdims=True), alone, 1 / 3))
    assert said == pytest.approx([1, 1, 0, (2 / 3 * 0 + 1) / 3])

import numpy as np
import pytest

from cxr_jax.errors import InputError
from cxr_jax.evaluation.class_retrieval import class_columns, class_scores


def naive(similarity, own, classes, k):
    """Precision at k and average precision of one query, by sorting."""
    order = np.argsort(-similarity, kind="stable")
    hits = classes[order] == own
    precisions = [hits[: i + 1].mean() for i in range(len(hits)) if hits[i]]
    return hits[:k].mean(), np.mean(precisions)


def test_equals_sorting_where_nothing_is_tied():
    rng = np.random.default_rng(0)
    similarity, queries, targets = rng.normal(size=(7, 30)), rng.integers(3, size=7), rng.integers(3, size=30)
    columns = class_columns(similarity, queries, targets, (5, 10, 50))
    assert set(columns) == {"precision@5", "precision@10", "map", "chance_precision"}  # 50 are not there
    for i, row in enumerate(similarity):
        for k in (5, 10):
            expected = naive(row, queries[i], targets, k)
            assert (columns[f"precision@{k}"][i], columns["map"][i]) == pytest.approx(expected)
        assert columns["chance_precision"][i] == (targets == queries[i]).mean()


def test_a_model_that_knows_nothing_is_at_chance_and_not_above():
    classes = np.repeat([0, 1], 10)
    columns = class_columns(np.ones((20, 20)), classes, classes, (1, 5))
    np.testing.assert_allclose(columns["precision@1"], 0.5)
    np.testing.assert_allclose(columns["precision@5"], 0.5)
    assert (columns["map"] < 0.5).all()


def test_what_is_barred_is_not_found():
    classes = np.array([0, 0, 1])
    similarity = np.eye(3)
    columns = class_columns(similarity, classes, classes, (1,), barred=np.eye(3, dtype=bool))
    np.testing.assert_allclose(columns["precision@1"], [0.5, 0.5, 0])  # the two others are tied
    np.testing.assert_allclose(columns["chance_precision"], [0.5, 0.5, 0])
    assert np.isnan(columns["map"][2])  # none of its class is left


def test_nan_is_refused():
    with pytest.raises(InputError, match="similarity: holds NaN"):
        class_columns(np.full((1, 2), np.nan), np.array([0]), np.array([0, 1]))


def test_intervals_are_over_patients():
    rng = np.random.default_rng(1)
    classes = np.repeat([0, 1], 20)
    columns = class_columns(rng.normal(size=(40, 40)), classes, classes, (5,))
    alone, of_two = (class_scores(columns, np.arange(40) // size) for size in (1, 20))
    assert alone["precision@5"] == of_two["precision@5"] == pytest.approx(columns["precision@5"].mean())
    (low, high), wide = alone["intervals"]["precision@5"], of_two["intervals"]["precision@5"]
    assert low < alone["precision@5"] < high
    assert set(alone["intervals"]) == {"precision@5", "map"}
    assert wide != [low, high]


def test_what_no_query_has_is_left_out_and_said():
    classes = np.array([0, 1])  # one of each: none has another of its class
    columns = class_columns(np.ones((2, 2)), classes, classes, barred=np.eye(2, dtype=bool))
    scores = class_scores(columns, ["p", "q"])
    assert scores == {
        "chance_precision": 0,
        "intervals": {},
        "not_measurable": {"map": "no query has another target of its class"},
    }

"""Probes of embeddings whose answers are known; scores against scikit-learn's own, which is written anew here."""

import numpy as np
import pytest

from cxr_jax.errors import InputError
from cxr_jax.evaluation import probe as module
from cxr_jax.evaluation.probe import probe
from cxr_jax.evaluation.probe_data import Labels
from cxr_jax.evaluation.probe_tables import probe_text

pytest.importorskip("sklearn")
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.preprocessing import StandardScaler

ROWS = {"train": np.arange(0, 140), "val": np.arange(140, 180), "test": np.arange(180, 240)}
PATIENTS = [f"p{row // 2}" for row in range(240)]
STRENGTHS = (1e-3, 1e-1, 10.0)


@pytest.fixture(autouse=True)
def few_strengths(monkeypatch):
    monkeypatch.setattr(module, "STRENGTHS", STRENGTHS)


def drawn(noise: float = 0.5, seed: int = 0):
    """Vectors that hold "seen" along an axis, and nothing of "unseen"."""
    rng = np.random.default_rng(seed)
    present = rng.random((240, 2)) < 0.4
    vectors = rng.normal(size=(240, 6)).astype(np.float32) * noise
    vectors[:, 2] += present[:, 0]
    return vectors, Labels(("seen", "unseen"), present, np.ones_like(present))


def test_scores_are_those_of_scikit_learn_with_the_penalty_that_val_chooses():
    vectors, labels = drawn()
    labels.known[::7, 0] = False
    result = probe(vectors, labels, PATIENTS, ROWS, [100.0], 3, resamples=50)
    share = result["shares"]["100"]
    scaler = StandardScaler().fit(vectors[ROWS["train"]].astype(np.float64))
    x = scaler.transform(vectors.astype(np.float64))
    on_val, on_test = {}, {}
    for strength in STRENGTHS:
        aurocs = []
        for label in range(2):
            train, val, test = (rows[labels.known[rows, label]] for rows in ROWS.values())
            truth = labels.present[:, label]
            model = LogisticRegression(C=strength, max_iter=1000).fit(x[train], truth[train])
            aurocs.append(roc_auc_score(truth[val], model.decision_function(x[val])))
            scores = truth[test], model.decision_function(x[test])
            on_test[strength, label] = roc_auc_score(*scores), average_precision_score(*scores)
        on_val[strength] = np.mean(aurocs)
    best = max(STRENGTHS, key=lambda strength: (on_val[strength], -strength))
    assert share["C"] == [best]
    for label, name in enumerate(labels.names):
        entry = share["labels"][name]
        np.testing.assert_allclose([entry["auroc"], entry["average_precision"]], on_test[best, label], atol=1e-9)
    assert share["macro"]["auroc"] == pytest.approx(np.mean([on_test[best, label][0] for label in range(2)]))
    assert result["labels"]["seen"]["n"] == labels.known[ROWS["test"], 0].sum()


def test_what_is_there_is_found_and_what_is_not_is_chance():
    vectors, labels = drawn(0.2)
    share = probe(vectors, labels, PATIENTS, ROWS, [100.0], 1, resamples=200)["shares"]["100"]
    seen, unseen = share["labels"]["seen"], share["labels"]["unseen"]
    assert seen["auroc"] > 0.97
    assert seen["intervals"]["auroc"][0] > seen["floors"]["random_vectors"]["auroc"]
    assert unseen["intervals"]["auroc"][0] < 0.5 < unseen["intervals"]["auroc"][1]
    prevalence = labels.present[ROWS["test"], 0].mean()
    assert seen["floors"]["chance"] == {"auroc": 0.5, "average_precision": pytest.approx(prevalence)}
    for entry in (seen, unseen):
        assert entry["intervals"]["auroc"][0] <= entry["auroc"] <= entry["intervals"]["auroc"][1]


def test_test_rows_decide_nothing():
    vectors, labels = drawn()
    one = probe(vectors, labels, PATIENTS, ROWS, [10.0, 100.0], 2, resamples=20)
    labels.present[ROWS["test"]] = ~labels.present[ROWS["test"]]
    other = probe(vectors, labels, PATIENTS, ROWS, [10.0, 100.0], 2, resamples=20)
    for percent in ("10", "100"):
        assert one["shares"][percent]["C"] == other["shares"][percent]["C"]
        for name in labels.names:
            a, b = (result["shares"][percent]["labels"][name]["auroc"] for result in (one, other))
            assert a == pytest.approx(1 - b)


def test_few_shots_are_drawn_anew_with_each_seed_and_spread():
    vectors, labels = drawn()
    result = probe(vectors, labels, PATIENTS, ROWS, [1.0, 20.0, 100.0], 3, resamples=20)
    one, few, all_of_them = (result["shares"][percent] for percent in ("1", "20", "100"))
    assert (few["rows"], few["patients"], len(few["C"])) == ([28] * 3, [14] * 3, 3)
    assert (all_of_them["rows"], all_of_them["patients"]) == ([140], [70])
    assert few["labels"]["seen"]["spread"]["auroc"] > 0
    assert all_of_them["labels"]["seen"]["spread"] == {"auroc": None, "average_precision": None}
    # Of one patient: where all of its rows are alike there is nothing to learn, which is chance and no fault.
    assert one["rows"] == [2] * 3
    text = probe_text(
        {**result, "splits": {"train": {"rows": 140, "patients": 70}}, "split": "patient", "seed": 0, "uncertain": "x"}
    )
    assert "20 % of the training rows: 28 of 14 patients, means of 3 draws; C on val: " in text
    assert "100 % of the training rows: 140 of 70 patients; C on val: " in text
    assert "nan" not in text


def test_a_draw_without_a_positive_is_chance():
    vectors, labels = drawn()
    labels.present[ROWS["train"], 1] = False
    labels.present[7, 1] = True  # the only one of 140
    result = probe(vectors, labels, PATIENTS, ROWS, [5.0], 3, resamples=20)
    assert 0.3 < result["shares"]["5"]["labels"]["unseen"]["auroc"] < 0.7
    labels.present[7, 1] = False
    entry = probe(vectors, labels, PATIENTS, ROWS, [100.0], 3, resamples=20)["shares"]["100"]["labels"]["unseen"]
    assert (entry["auroc"], entry["intervals"]["auroc"]) == (0.5, [0.5, 0.5])


def test_what_cannot_be_measured_is_said():
    vectors, labels = drawn()
    labels.present[ROWS["test"], 1] = False
    result = probe(vectors, labels, PATIENTS, ROWS, [100.0], 1, resamples=20)
    assert result["labels"]["unseen"]["not_measurable"] == "no positive in test"
    assert list(result["shares"]["100"]["labels"]) == ["seen"]
    labels.present[ROWS["val"], 0] = True
    with pytest.raises(InputError, match="among the val rows; the penalty cannot be chosen"):
        probe(vectors, labels, PATIENTS, ROWS, [100.0], 1)
    labels.present[ROWS["test"], 0] = True
    with pytest.raises(InputError, match="among the test rows; there is nothing to measure"):
        probe(vectors, labels, PATIENTS, ROWS, [100.0], 1)

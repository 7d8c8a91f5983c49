"""Risk-coverage curves against a naive version, and where they must lie."""

import numpy as np
import pytest

from cxr_jax.errors import InputError
from cxr_jax.evaluation.selective import aurc, label_risk, selective_metrics


def naive(confidence, risk):
    """The mean, over images, of the mean risk of all that are no less confident."""
    return np.mean([risk[confidence >= value].mean() for value in confidence])


@pytest.fixture
def given():
    rng = np.random.default_rng(0)
    risk = rng.uniform(size=60)
    return {"good": -risk + 0.1 * rng.normal(size=60), "ties": np.round(-risk, 1), "none": rng.normal(size=60)}, risk


def test_the_area_is_the_naive_one(given):
    confidences, risk = given
    for confidence in confidences.values():
        assert aurc(confidence, risk, np.ones((1, 60), int))[0] == pytest.approx(naive(confidence, risk))


def test_a_resample_is_the_images_repeated(given):
    confidences, risk = given
    weights = np.random.default_rng(1).multinomial(60, np.full(60, 1 / 60), size=3)
    for confidence in confidences.values():
        repeated = [naive(np.repeat(confidence, line), np.repeat(risk, line)) for line in weights]
        np.testing.assert_allclose(aurc(confidence, risk, weights), repeated)


def test_measures_lie_between_the_oracle_and_a_random_order(given):
    confidences, risk = given
    metrics = selective_metrics(confidences, risk, resamples=200)
    area = metrics["aurc"]
    assert area["random"] == pytest.approx(risk.mean())
    assert area["oracle"] < area["good"] < area["random"]
    assert metrics["differences"]["good"]["interval"][1] < 0 < metrics["differences"]["none"]["interval"][1]
    assert metrics["differences"]["good"]["difference"] == pytest.approx(area["good"] - area["random"])
    for name, (low, high) in metrics["intervals"].items():
        assert low < area[name] < high
    for curve in metrics["curves"].values():
        assert curve[-1] == pytest.approx([1, risk.mean()], abs=1e-5)
        assert [point[0] for point in curve] == sorted(point[0] for point in curve)
    assert {point[0] for point in metrics["curves"]["random"]} == {1.0}  # all at once: none is trusted more


def test_what_rounding_alone_tells_apart_comes_together():
    risk = np.array([0.0, 1.0, 0.0, 1.0])
    votes = 1 + np.array([3, 1, 2, 0]) * 2e-16
    assert len(set(votes)) > 1
    area = selective_metrics({"votes": votes}, risk, resamples=10)["aurc"]
    assert area["votes"] == area["random"]


def test_the_risk_of_a_report_is_what_its_labels_miss():
    references = ["There is edema. The heart is enlarged.", "There is edema.", "Thanks.", "Thanks."]
    predictions = ["There is edema.", "No edema. Pneumothorax.", "", "There is edema."]
    assert label_risk(references, predictions) == pytest.approx([1 - 2 / 3, 1, 0, 1])


@pytest.mark.parametrize("confidence", [np.array([0.1, np.nan]), np.array([np.inf, 0])])
def test_broken_confidences_are_refused(confidence):
    with pytest.raises(InputError, match="confidence: holds NaN or infinity"):
        selective_metrics({"broken": confidence}, np.zeros(2))

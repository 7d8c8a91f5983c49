"""Calibration on probabilities whose errors are known."""

import numpy as np
import pytest

from cxr_jax.evaluation.calibration import BINS, calibration


def test_by_hand():
    probability = np.array([[0.05, 0.95], [0.05, 0.95], [0.05, 0.95], [0.05, 0.65]])
    truth = np.array([[False, True], [False, True], [True, False], [False, True]])
    found = calibration(probability, truth, ["a", "b"])
    of_a, of_b = 0.25 - 0.05, (3 * (0.95 - 2 / 3) + 0.35) / 4
    assert found["by_observation"]["a"]["ece"] == pytest.approx(of_a)
    assert found["by_observation"]["b"]["ece"] == pytest.approx(of_b)
    assert found["ece"] == pytest.approx((of_a + of_b) / 2)
    assert found["ece_always_denied"] == 0.5
    assert [(b["n"], b["frequency"]) for b in found["bins"]] == [(4, 0.25), (1, 1.0), (3, pytest.approx(2 / 3))]
    assert sum(b["n"] for b in found["bins"]) == 8


def test_true_probabilities_are_calibrated_and_pushed_ones_are_not():
    rng = np.random.default_rng(0)
    probability = rng.uniform(size=(20_000, 3))
    truth = rng.uniform(size=probability.shape) < probability
    assert calibration(probability, truth, "abc")["ece"] < 0.01
    assert calibration((probability > 0.5).astype(float), truth, "abc")["ece"] == pytest.approx(0.25, abs=0.01)


def test_ends_and_nothing():
    found = calibration(np.array([[0.0], [1.0]]), np.array([[False], [True]]), ["a"])
    assert found["ece"] == 0
    assert [(b["low"], b["high"]) for b in found["bins"]] == [(0, 1 / BINS), ((BINS - 1) / BINS, 1)]
    assert calibration(np.zeros((2, 1)), np.zeros((2, 1), bool), ["a"])["by_observation"] == {}
    assert calibration(np.zeros((0, 1)), np.zeros((0, 1), bool), ["a"])["ece"] == 0

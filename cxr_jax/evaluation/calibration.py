"""Calibration: whether of what is voted with a weight of .7 some 70 % is true."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

BINS = 15


def calibration(
    probability: Float[np.ndarray, "N O"], truth: Bool[np.ndarray, "N O"], names: Sequence[str]
) -> dict[str, Any]:
    """The expected calibration error and the reliability diagram of probabilities of O observations.

    ECE is of Guo et al. (2017): over BINS bins of equal width the mean, weighted by how many lie in each, of the gap
    between the mean probability and the share that is true.

    Returns:
      "n" images, "ece" of all observations pooled, "ece_always_denied" (what 0 for everything would have),
      "by_observation": {name: {"ece", "prevalence", "mean_probability"}} of those that are ever true, and "bins" of
      all pooled: [{"low", "high", "n", "probability", "frequency"}], the empty ones left out.
    """
    pooled, true = probability.ravel(), truth.ravel()
    return {
        "n": len(probability),
        "ece": _ece(pooled, true),
        "ece_always_denied": float(true.mean()) if len(true) else 0.0,
        "by_observation": {
            name: {
                "ece": _ece(probability[:, column], truth[:, column]),
                "prevalence": float(truth[:, column].mean()),
                "mean_probability": float(probability[:, column].mean()),
            }
            for column, name in enumerate(names)
            if truth[:, column].any()
        },
        "bins": _bins(pooled, true),
    }


def _bins(probability: np.ndarray, truth: np.ndarray) -> list[dict[str, float]]:
    number = np.minimum((probability * BINS).astype(int), BINS - 1)
    return [
        {
            "low": i / BINS,
            "high": (i + 1) / BINS,
            "n": int((number == i).sum()),
            "probability": float(probability[number == i].mean()),
            "frequency": float(truth[number == i].mean()),
        }
        for i in np.unique(number).tolist()
    ]


def _ece(probability: np.ndarray, truth: np.ndarray) -> float:
    gaps = [part["n"] * abs(part["probability"] - part["frequency"]) for part in _bins(probability, truth)]
    return float(sum(gaps) / max(len(probability), 1))

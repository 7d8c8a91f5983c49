"""Selective prediction: what risk is left where only the images are answered that a measure trusts most.

The risk-coverage curve and the area under it (AURC) of Geifman, Uziel and El-Yaniv (2019): images are answered in the
order of a confidence, and the selective risk at a coverage is the mean risk of those answered. Between the oracle, that
knows each risk, and a random order, whose selective risk is the mean at every coverage.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from cxr_jax.errors import InputError
from cxr_jax.evaluation.bootstrap import Clusters, interval
from cxr_jax.evaluation.ratios import ratio
from cxr_jax.labels.rules import rule_labels

RISK = "1 - F1 of the labels that the rules read in the true report and in the prediction"
POINTS = 101  # of a curve, at most
DIGITS = 9  # of a confidence: votes that are equal differ behind them, by the order in which they were summed


def label_risk(references: Sequence[str], predictions: Sequence[str]) -> Float[np.ndarray, " N"]:
    """1 - F1 of the rules' labels of each pair of reports, 0 to 1; 0 where neither has one."""
    pairs = zip(rule_labels(references), rule_labels(predictions), strict=True)
    return np.array([1 - 2 * len(a & b) / (len(a) + len(b)) if a or b else 0.0 for a, b in pairs], np.float64)


def selective_risks(
    confidence: Float[np.ndarray, " N"], risk: Float[np.ndarray, " N"], weights: np.ndarray
) -> tuple[Float[np.ndarray, "R N"], Float[np.ndarray, "R N"]]:
    """Coverage and selective risk as images are answered one by one, the most confident first; equals come together.

    Args:
      weights: (r, n), how often each image is drawn in each of r resamples.

    Returns:
      Both (r, n), by the order of confidence; a coverage is that of all that are no less confident.
    """
    order = np.argsort(-confidence, kind="stable")
    ranked = confidence[order]
    last = np.searchsorted(-ranked, -ranked, side="right") - 1  # of its equals
    drawn = np.cumsum(weights[:, order], axis=1, dtype=np.float64)
    harm = np.cumsum(weights[:, order] * risk[order], axis=1)
    return drawn[:, last] / drawn[:, -1:], ratio(harm[:, last], drawn[:, last])


def aurc(
    confidence: Float[np.ndarray, " N"], risk: Float[np.ndarray, " N"], weights: np.ndarray
) -> Float[np.ndarray, " R"]:
    """The mean of the selective risks over the images, in each resample of `selective_risks`."""
    order = np.argsort(-confidence, kind="stable")
    _, selective = selective_risks(confidence, risk, weights)
    return (selective * weights[:, order]).sum(axis=1) / weights.sum(axis=1)


def selective_metrics(
    confidences: Mapping[str, Float[np.ndarray, " N"]],
    risk: Float[np.ndarray, " N"],
    clusters: Clusters | None = None,
    resamples: int = 1000,
) -> dict[str, Any]:
    """What metrics.json holds of measures of confidence.

    Args:
      clusters: (n,), what the bootstrap draws; patient ids.

    Returns:
      "n", "aurc", its "intervals" (95 %) and "curves" ([coverage, selective risk] pairs), each by measure, with
      "random" and "oracle" beside them; "differences": {measure: {"difference", "interval"}}, its AURC less that of a
      random order, by paired bootstrap.

    Raises:
      InputError: a confidence is not finite, or there are no images.
    """
    if not all(np.isfinite(values).all() for values in confidences.values()):
        raise InputError("confidence: holds NaN or infinity; the embeddings are broken (a diverged run?)")
    ordered = {name: np.round(values, DIGITS) for name, values in confidences.items()}
    ordered |= {"random": np.zeros(len(risk)), "oracle": np.round(-risk, DIGITS)}

    def areas(weights: np.ndarray) -> np.ndarray:
        return np.stack([aurc(values, risk, weights) for values in ordered.values()], axis=1)

    def differences(weights: np.ndarray) -> np.ndarray:
        of_all = areas(weights)
        return np.concatenate([of_all, of_all - of_all[:, [len(confidences)]]], axis=1)

    whole = np.ones((1, len(risk)), np.int64)
    values = differences(whole)[0]
    low, high = interval(differences, len(risk), clusters, resamples)
    names, count = list(ordered), len(ordered)
    return {
        "n": len(risk),
        "aurc": {name: float(values[i]) for i, name in enumerate(names)},
        "intervals": {name: [float(low[i]), float(high[i])] for i, name in enumerate(names)},
        "differences": {
            name: {"difference": float(values[count + i]), "interval": [float(low[count + i]), float(high[count + i])]}
            for i, name in enumerate(confidences)
        },
        "curves": {name: _curve(values, risk) for name, values in ordered.items()},
    }


def _curve(confidence: np.ndarray, risk: np.ndarray) -> list[list[float]]:
    coverage, selective = (part[0] for part in selective_risks(confidence, risk, np.ones((1, len(risk)), np.int64)))
    places = np.unique(np.linspace(0, len(risk) - 1, min(len(risk), POINTS)).round().astype(int))
    return [[round(float(coverage[i]), 6), round(float(selective[i]), 6)] for i in places]

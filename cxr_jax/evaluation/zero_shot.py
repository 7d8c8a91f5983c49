"""Zero-shot labels (`cxr_jax.retrieval.zero_shot`) scored against the true ones: AUROC, average precision, F1."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import expit

from cxr_jax.errors import InputError
from cxr_jax.evaluation.bootstrap import Clusters, interval
from cxr_jax.evaluation.ratios import ratio
from cxr_jax.retrieval.prompts import Question

SCORES = ("auroc", "average_precision", "f1", "f1_at_0.5")


class Ranking:
    """One label's truth and scores, sorted once, to be scored under any weights of the images: exact, ties included.

    Images of which the truth is not known are none of them. Weights are float64 (n, r), how often each image is drawn
    in each of r resamples; all ones give the sample itself.
    """

    def __init__(
        self,
        truth: Bool[np.ndarray, " N"],
        score: Float[np.ndarray, " N"],
        known: Bool[np.ndarray, " N"] | None = None,
    ):
        sides = (truth, ~truth) if known is None else (truth & known, ~truth & known)
        self.positive, self.negative = (rows[np.argsort(score[rows])] for rows in map(np.flatnonzero, sides))
        ours, theirs = score[self.positive], score[self.negative]
        # Of each positive, in ascending order: the positives and negatives below it, and the negatives up to it.
        self.ours_below = np.searchsorted(ours, ours, "left")
        self.below, self.upto = (np.searchsorted(theirs, ours, side) for side in ("left", "right"))

    def scores(self, weights: Float[np.ndarray, "N R"]) -> tuple[np.ndarray, np.ndarray]:
        """AUROC and average precision, float64 (r,) each; NaN where no positive, or no negative, is drawn.

        AUROC is Mann-Whitney's: the share of pairs of a positive and a negative in which the positive has the higher
        score, a tie counting half. Average precision is the mean over positives of the precision among the images that
        score no less.
        """
        own = weights[self.positive]
        positives, negatives = (_cumulative(rows) for rows in (own, weights[self.negative]))
        all_positive, all_negative = positives[-1], negatives[-1]
        below = negatives[self.below]
        wins = np.einsum("ir,ir->r", own, below + negatives[self.upto]) / 2
        hits = all_positive - positives[self.ours_below]
        # Where nothing is drawn, neither is the positive itself: its term is 0 whatever it is divided by.
        precision = hits / np.maximum(hits + all_negative - below, 1)
        measurable = (all_positive > 0) & (all_negative > 0)
        return (
            ratio(wins, np.where(measurable, all_positive * all_negative, 0), np.nan),
            ratio(np.einsum("ir,ir->r", own, precision), np.where(measurable, all_positive, 0), np.nan),
        )


def best_threshold(truth: Bool[np.ndarray, " N"], score: Float[np.ndarray, " N"]) -> float:
    """Where to call an image positive (score ≥ threshold) for the highest F1, the higher threshold of equal ones.

    It lies half-way between two scores, so that rounding decides nothing; NaN where there is no positive.
    """
    if not truth.any():
        return float("nan")
    order = np.argsort(-score, kind="stable")
    ranked = score[order]
    last_of_tie = np.append(ranked[1:] < ranked[:-1], True)
    f1 = 2 * np.cumsum(truth[order]) / (np.arange(1, len(score) + 1) + truth.sum())
    at = int(np.argmax(np.where(last_of_tie, f1, -1)))
    return float(ranked[at] if at + 1 == len(ranked) else (ranked[at] + ranked[at + 1]) / 2)


def resampled_f1(
    truth: Bool[np.ndarray, "N L"], called: Bool[np.ndarray, "N L"], weights: Float[np.ndarray, "N R"]
) -> Float[np.ndarray, "R L"]:
    """F1 of each label in each resample; NaN where no positive is drawn."""
    positives, calls, hits = (weights.T @ images.astype(np.float64) for images in (truth, called, truth & called))
    return np.where(positives > 0, ratio(2 * hits, positives + calls), np.nan)


def score_labels(
    truth: Bool[np.ndarray, "N L"],
    margin: Float[np.ndarray, "N L"],
    thresholds: Float[np.ndarray, " L"],
    clusters: Clusters | None = None,
    resamples: int = 1000,
    seed: int = 0,
    known: Bool[np.ndarray, "N L"] | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """SCORES of each label and their macro means, and the ends of their 95 % bootstrap intervals.

    Args:
      truth: each label with a positive and a negative in it, among those that are known.
      known: where it is not, the image does not count for that label; None where all are.
      thresholds: of the margins, for F1; NaN where there is none, and that F1 is NaN then.
      clusters: (n,), what is drawn; patient ids.

    Returns:
      Score, low and high, each float64 (L + 1, SCORES), the macro mean last. A macro mean is over the labels that have
      the score, and in a resample over those that can be measured in it.

    Raises:
      InputError: a label has no positive or no negative, a margin is NaN, or the bootstrap's.
    """
    count, labels = truth.shape
    if np.isnan(margin).any():  # sorts as the highest of all, which would read as certainty
        raise InputError("margin: holds NaN; the embeddings are broken (a diverged run?)")
    known = np.ones_like(truth) if known is None else known
    truth = truth & known
    if not labels or not truth.any(axis=0).all() or (truth == known).all(axis=0).any():
        raise InputError("truth: AUROC needs a positive and a negative of each label; leave out the labels without")
    rankings = [Ranking(truth[:, i], margin[:, i], known[:, i]) for i in range(labels)]
    at_threshold, at_half = (margin >= thresholds) & known, (margin >= 0) & known

    def scores(weights: np.ndarray) -> np.ndarray:
        drawn = np.ascontiguousarray(weights.T, np.float64)  # an image a row: gathered and summed without strides
        ranked = np.array([ranking.scores(drawn) for ranking in rankings])
        of_labels = np.empty((len(weights), labels, len(SCORES)))
        of_labels[:, :, :2] = ranked.transpose(2, 0, 1)
        of_labels[:, :, 2] = np.where(np.isnan(thresholds), np.nan, resampled_f1(truth, at_threshold, drawn))
        of_labels[:, :, 3] = resampled_f1(truth, at_half, drawn)
        measured = ~np.isnan(of_labels)
        macro = ratio(np.where(measured, of_labels, 0).sum(axis=1), measured.sum(axis=1), np.nan)
        return np.concatenate([of_labels, macro[:, None]], axis=1).reshape(len(weights), -1)

    score = scores(np.ones((1, count), np.int64))[0]
    low, high = np.full_like(score, np.nan), np.full_like(score, np.nan)
    there = ~np.isnan(score)
    low[there], high[there] = interval(lambda weights: scores(weights)[:, there], count, clusters, resamples, seed)
    score, low, high = (flat.reshape(labels + 1, len(SCORES)) for flat in (score, low, high))
    return score, low, high


def blind_scores(prevalence: float) -> dict[str, float]:
    """What each score is without looking: a guess for the ranked ones, F1 of calling every image positive."""
    always = 2 * prevalence / (1 + prevalence)
    return {"auroc": 0.5, "average_precision": prevalence, "f1": always, "f1_at_0.5": always}


def zero_shot_metrics(
    questions: Sequence[Question],
    truth: Bool[np.ndarray, "N L"],
    margin: Float[np.ndarray, "N L"],
    val_truth: Bool[np.ndarray, "M L"],
    val_margin: Float[np.ndarray, "M L"],
    clusters: Clusters | None = None,
    resamples: int = 1000,
    known: Bool[np.ndarray, "N L"] | None = None,
    val_known: Bool[np.ndarray, "M L"] | None = None,
) -> dict[str, Any]:
    """What zero_shot.json holds of the labels; thresholds are chosen on val.

    Args:
      known, val_known: where the truth is not known, the image does not count for that label; None where all are.

    Returns:
      "labels": {name: its prompts, n_known (the images of which it is known), n_positive, prevalence among them,
      threshold (a probability; None where val has no positive) and, where it can be measured, SCORES, "intervals" and
      "floors"; where not, "not_measurable" says why};
      "macro": the means over those that can, or None.
    """
    known = np.ones_like(truth) if known is None else known
    val_known = np.ones_like(val_truth) if val_known is None else val_known
    truth = truth & known
    measurable = [i for i, column in enumerate(truth.T) if column.any() and (column != known[:, i]).any()]
    chosen_on = ((val_truth[rows, i], val_margin[rows, i]) for i, rows in enumerate(val_known.T))
    thresholds = np.array([best_threshold(*column) for column in chosen_on])
    labels: dict[str, dict[str, Any]] = {}
    for i, question in enumerate(questions):
        labels[question.name] = {
            "counts_as": list(question.labels),
            "positive": list(question.positive),
            "negative": list(question.negative),
            "n_known": int(known[:, i].sum()),
            "n_positive": int(truth[:, i].sum()),
            "prevalence": float(truth[:, i].sum() / max(known[:, i].sum(), 1)),
            "threshold": _or_none(expit(thresholds[i])),
        }
        if i not in measurable:
            lacking = "negative" if truth[:, i].any() else "positive"
            labels[question.name]["not_measurable"] = f"no {lacking} in this split"
    macro: dict[str, Any] | None = None
    if measurable:
        score, low, high = score_labels(
            truth[:, measurable],
            margin[:, measurable],
            thresholds[measurable],
            clusters,
            resamples,
            known=known[:, measurable],
        )
        entries = [labels[questions[i].name] for i in measurable]
        for entry, *columns in zip(entries, score, low, high, strict=False):
            entry |= _scores(*columns) | {"floors": blind_scores(entry["prevalence"])}
        macro = {"n_labels": len(measurable)} | _scores(score[-1], low[-1], high[-1])
        macro["floors"] = {name: float(np.mean([entry["floors"][name] for entry in entries])) for name in SCORES}
    return {"labels": labels, "macro": macro}


def _scores(score: np.ndarray, low: np.ndarray, high: np.ndarray) -> dict[str, Any]:
    values: Mapping[str, Any] = dict(zip(SCORES, map(_or_none, score), strict=True))
    ends = zip(SCORES, low.tolist(), high.tolist(), strict=True)
    return {**values, "intervals": {name: [a, b] for name, a, b in ends if values[name] is not None}}


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _cumulative(weights: np.ndarray) -> np.ndarray:
    """(k, r) to (k + 1, r): the sum of the rows before each, and of all."""
    sums = np.zeros((len(weights) + 1, weights.shape[1]))
    np.cumsum(weights, axis=0, out=sums[1:])
    return sums

"""F1 of findings: whether the retrieved report's study has the findings that the true one has."""

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from cxr_jax.errors import InputError
from cxr_jax.evaluation.bootstrap import Clusters, interval
from cxr_jax.evaluation.ratios import ratio
from cxr_jax.labels.indicators import indicators

Labels = Sequence[Collection[str]]


def finding_f1(
    reference_labels: Labels,
    predicted_labels: Labels,
    clusters: Clusters | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """Scores predicted_labels[i] against reference_labels[i], each the set of one study's findings.

    Returns:
        "macro": mean F1 over the findings that occur in the references.
        "micro": F1 of all decisions pooled, findings that are only ever predicted included.
        "example": mean over studies of the F1 of its set; 1 where both sets are empty.
        "per_finding": {finding: {"precision", "recall", "f1", "support"}}, sorted by name, for every finding on either
            side; support is the number of reference studies that have it. A ratio over nothing is 0.
        "intervals": {"macro", "micro", "example": (low, high)}, 95 % percentile intervals over resamples of the
            studies, or of `clusters` of them (see `bootstrap.resample_weights`); in each resample macro is over the
            findings that occur in its own references.

    Raises InputError for lists of different length, labels that are strings instead of sets, or references in which no
    study has a finding.
    """
    return matrix_f1(*finding_matrices(reference_labels, predicted_labels), clusters, resamples, seed)


def matrix_f1(
    findings: Sequence[str],
    reference: np.ndarray,
    predicted: np.ndarray,
    clusters: Clusters | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """`finding_f1` of bool (studies, findings); findings that neither side has are left out."""
    there = np.flatnonzero((reference | predicted).any(axis=0)).tolist()
    columns = sorted(there, key=findings.__getitem__)
    reference, predicted = reference[:, columns], predicted[:, columns]
    hits, supports, predictions = (np.sum(side, axis=0) for side in (reference & predicted, reference, predicted))
    f1 = ratio(2 * hits, supports + predictions)
    precision, recall = ratio(hits, predictions), ratio(hits, supports)
    sizes = reference.sum(axis=1) + predicted.sum(axis=1)
    of_study = ratio(2 * (reference & predicted).sum(axis=1), sizes, over_nothing=1.0)

    def score(weights: np.ndarray) -> np.ndarray:
        example = weights @ of_study / weights.sum(axis=1)
        macro, micro = resampled_macro(reference, predicted, weights), resampled_micro(reference, predicted, weights)
        return np.stack([macro, micro, example], axis=1)

    names = ("macro", "micro", "example")
    sample = score(np.ones((1, len(reference)), np.int64))[0]
    low, high = interval(score, len(reference), clusters, resamples, seed)
    return {
        **{name: float(sample[i]) for i, name in enumerate(names)},
        "intervals": {name: (float(low[i]), float(high[i])) for i, name in enumerate(names)},
        "per_finding": {
            findings[column]: {
                "precision": float(precision[i]),
                "recall": float(recall[i]),
                "f1": float(f1[i]),
                "support": int(supports[i]),
            }
            for i, column in enumerate(columns)
        },
    }


def macro_f1(reference_labels: Labels, predicted_labels: Labels) -> float:
    """Returns `finding_f1`'s "macro" alone, without the bootstrap; the same errors."""
    _, reference, predicted = finding_matrices(reference_labels, predicted_labels)
    return float(resampled_macro(reference, predicted, np.ones((1, len(reference)), np.int64))[0])


def resampled_macro(reference: np.ndarray, predicted: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Returns macro F1 of resamples, float64 (resamples,); NaN for a resample whose references have no finding.

    reference, predicted: bool (studies, findings). weights: (resamples, studies), how often each study is drawn.
    """
    # Float products go through BLAS; counts this small are exact in them.
    weights = weights.astype(np.float64)
    return macro_from_sums(weights @ (reference & predicted), weights @ reference, weights @ predicted)


def macro_from_sums(hits: np.ndarray, supports: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """`resampled_macro` from what of each finding is in both, in the references and in the predictions: (r, findings).

    Macro is over the findings that occur in the references.
    """
    f1 = ratio(2 * hits, supports + predictions)
    occurring = (supports > 0).sum(axis=1)
    # A finding without support has no hits, so its F1 adds nothing to the sum.
    return ratio(f1.sum(axis=1), occurring, over_nothing=np.nan)


def resampled_micro(reference: np.ndarray, predicted: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Returns micro F1 of resamples, float64 (resamples,); 0 where neither side has a finding. As `resampled_macro`."""
    sizes = reference.sum(axis=1) + predicted.sum(axis=1)
    return ratio(2.0 * (weights @ (reference & predicted).sum(axis=1)), weights @ sizes)


def finding_matrices(reference_labels: Labels, predicted_labels: Labels) -> tuple[list[str], np.ndarray, np.ndarray]:
    """(Findings by name, bool (studies, findings) of the references, and of the predictions); errors: `finding_f1`."""
    if len(reference_labels) != len(predicted_labels):
        raise InputError(
            f"predicted_labels: {len(predicted_labels)} for {len(reference_labels)} references; pass one set for each"
        )
    for name, labels in (("reference_labels", reference_labels), ("predicted_labels", predicted_labels)):
        for position, study in enumerate(labels):
            if isinstance(study, str):
                raise InputError(f"{name}[{position}]: got one string, {study[:40]!r}; pass a set of findings")
    if not any(len(study) for study in reference_labels):
        raise InputError("reference_labels: no study has a finding; leave the score of findings out")
    findings = sorted(
        {finding for labels in (reference_labels, predicted_labels) for study in labels for finding in study}
    )
    return findings, indicators(reference_labels, findings), indicators(predicted_labels, findings)

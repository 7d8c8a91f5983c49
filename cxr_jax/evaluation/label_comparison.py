"""Two models' labels by sentences on the same images: how far AUROC and average precision differ."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from cxr_jax.errors import InputError
from cxr_jax.evaluation.bootstrap import Clusters, sample_and_resamples
from cxr_jax.evaluation.comparison import difference
from cxr_jax.evaluation.predictions import Line
from cxr_jax.evaluation.ratios import ratio
from cxr_jax.evaluation.tables import Table
from cxr_jax.evaluation.zero_shot import Ranking

MACRO = "macro mean"
RANKED = ("auroc", "average_precision")


def margins_of(lines: Sequence[Line], label: str) -> np.ndarray | None:
    """The margin of a label in each line's "margins", float64 (n,); None where a line has none.

    Raises:
      InputError: one of them is no finite number.
    """
    held = [line.get("margins") for line in lines]
    if not all(isinstance(margins, dict) and label in margins for margins in held):
        return None
    values = [margins[label] for margins in held if isinstance(margins, dict)]
    if not all(isinstance(value, int | float) and np.isfinite(value) for value in values):
        raise InputError(f"predictions: margins of {label} are not all finite numbers; evaluate that model again")
    return np.array(values, float)


def compare_labels(
    names: Sequence[str],
    truth: Bool[np.ndarray, "N L"],
    known: Bool[np.ndarray, "N L"],
    ours: Float[np.ndarray, "N L"],
    theirs: Float[np.ndarray, "N L"],
    clusters: Clusters,
    resamples: int = 1000,
) -> dict[str, dict[str, Any]]:
    """Paired bootstrap of each label's scores and of their macro means, both models drawn by the same weights.

    Args:
      truth, known: whether each label is there, and whether that is known; of each a positive and a negative is.
      ours, theirs: the models' margins, whose order alone counts.
      clusters: (N,), what is drawn: patient ids.

    Returns:
      {label, or MACRO: {score of RANKED: `comparison.difference` of ours minus theirs}}. In a resample the means are
      over the labels that can be measured in it.
    """
    weights = sample_and_resamples(len(truth), clusters, resamples).T.astype(np.float64)
    differences = []
    for column in range(len(names)):
        rankings = (Ranking(truth[:, column], side[:, column], known[:, column]) for side in (ours, theirs))
        first, second = (np.stack(ranking.scores(weights)) for ranking in rankings)
        differences.append(first - second)
    values = np.array(differences)  # (labels, RANKED, 1 + resamples), NaN where a label cannot be measured
    measured = ~np.isnan(values)
    means = ratio(np.where(measured, values, 0).sum(axis=0), measured.sum(axis=0), np.nan)
    return {
        name: {score: difference(line[~np.isnan(line)]) for score, line in zip(RANKED, of_label, strict=True)}
        for name, of_label in zip((*names, MACRO), (*values, means), strict=True)
    }


def label_comparison_table(compared: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> Table:
    """Columns and rows of `compare_labels`: each score's difference, its 95 % interval and p, a label a row."""
    rows = [
        [name, *(cell for score in RANKED for cell in _cells(of_label[score]))] for name, of_label in compared.items()
    ]
    return Table(["paired bootstrap", "AUROC", "95 %", "p", "AP", "95 %", "p"], rows)


def _cells(of: Mapping[str, Any]) -> list[str]:
    return [f"{of['difference']:+.3f}", "{:+.3f} to {:+.3f}".format(*of["interval"]), f"{of['p']:.3f}"]

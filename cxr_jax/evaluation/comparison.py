"""Two systems on the same images: how far their scores differ, and whether that could be chance."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from cxr_jax.errors import InputError
from cxr_jax.evaluation.bootstrap import sample_and_resamples
from cxr_jax.evaluation.external_scores import scores_of_lines
from cxr_jax.evaluation.label_metrics import finding_matrices, resampled_macro
from cxr_jax.evaluation.predictions import Line
from cxr_jax.evaluation.text_metrics import ReportScorer, resampled_scores


def compare(
    lines: Sequence[Line],
    others: Sequence[Line],
    protocol: str,
    train_reports: Sequence[str],
    resamples: int = 1000,
    seed: int = 0,
    meteor: str = "auto",
    uncertain: str = "positive",
) -> dict[str, dict[str, Any]]:
    """Paired bootstrap, over patients where the lines name them, of two systems on the same images.

    Returns:
      {score: {"difference": first minus second, "interval": 95 % percentile interval of it, "p": two-sided, the share
      of resamples on the other side of 0, doubled, with the sample itself counted in}}. Both systems are drawn by the
      same weights.

    Raises:
      InputError: the two are not of the same images with the same references.
    """
    others = paired(lines, others)
    clusters = [line.get("patient_id") or _key(line) for line in lines]
    weights = sample_and_resamples(len(lines), clusters, resamples, seed)
    first, second = (
        resampled_system(system, weights, protocol, train_reports, meteor, uncertain) for system in (lines, others)
    )
    return {name: difference(first[name] - second[name]) for name in first if name in second}


def paired(lines: Sequence[Line], others: Sequence[Line]) -> list[Line]:
    """The other system's lines in the order of `lines`.

    Raises:
      InputError: the two are not of the same images with the same references, or have none.
    """
    if not all(isinstance(line.get("reference"), str) for line in (*lines, *others)):
        raise InputError(
            "a line has no reference to compare by; take a run's own predictions.jsonl, or add the key reference"
        )
    others = same_images(lines, others)
    for line, other in zip(lines, others, strict=True):
        if line["reference"] != other["reference"]:
            raise InputError(
                f"the two runs have different references ({_key(line)} for one); compare runs of the same data and "
                "section"
            )
    return others


def same_images(lines: Sequence[Line], others: Sequence[Line]) -> list[Line]:
    """The other system's lines in the order of `lines`, by image_id, or by study_id where there is none.

    Raises:
      InputError: the two are not of the same images; the line names the first that one of them lacks.
    """
    own_of, other_of = ({_key(line): line for line in system} for system in (lines, others))
    for whose, lacking in (("the other", own_of.keys() - other_of.keys()), ("this", other_of.keys() - own_of.keys())):
        if lacking:
            raise InputError(
                f"the two runs answer different images ({len(lines)} and {len(others)}): {whose} one lacks "
                f"{len(lacking)}, {min(lacking)} for one; compare evaluations of the same images"
            )
    if len(lines) != len(others) or len(own_of) != len(lines):
        raise InputError(
            f"the two runs answer some images more than once ({len(lines)} and {len(others)} lines of {len(own_of)}); "
            "tell them apart by image_id"
        )
    return [other_of[_key(line)] for line in lines]


def resampled_system(
    lines: Sequence[Line],
    weights: np.ndarray,
    protocol: str,
    train_reports: Sequence[str],
    meteor: str = "auto",
    uncertain: str = "positive",
) -> dict[str, np.ndarray]:
    """Each score of a system in each resample, float64 (resamples,); weights: (resamples, lines).

    The lines' own scores, other people's metrics (`external_scores`), are among them where every line has one. The
    other arguments, and the errors, are those of `text_metrics.score_reports`.
    """
    references, predictions = ([line[side] for line in lines] for side in ("reference", "prediction"))
    statistics = ReportScorer(references, protocol, train_reports, meteor, uncertain).statistics(predictions)
    scores = dict(zip(statistics.names, resampled_scores(statistics, weights).T, strict=True))
    for name, values in scores_of_lines(lines).items():
        scores[name] = weights @ values / weights.sum(axis=1)
    labels = [line.get("labels") or () for line in lines]
    if any(labels):
        predicted = [line.get("predicted_labels") or () for line in lines]
        scores["finding_f1_macro"] = resampled_macro(*finding_matrices(labels, predicted)[1:], weights)
    return scores


def difference(values: np.ndarray) -> dict[str, Any]:
    """`compare`'s entry of a score, from its difference in the sample (first) and in the resamples (the rest)."""
    low, high = np.nanpercentile(values[1:], [2.5, 97.5])
    beyond = min((values[1:] <= 0).sum(), (values[1:] >= 0).sum())
    p = 2 * (beyond + 1) / len(values)  # with the sample counted in, for no p is 0
    return {"difference": float(values[0]), "interval": [float(low), float(high)], "p": float(min(1.0, p))}


def _key(line: Line) -> str:
    return line.get("image_id") or line["study_id"]

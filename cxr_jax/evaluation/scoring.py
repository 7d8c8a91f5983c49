"""A split scored as a whole: reports by retrieval against the true ones, recall both ways, floors beside them."""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from cxr_jax.data.reports import normalize_report
from cxr_jax.evaluation.bootstrap import Clusters, interval
from cxr_jax.evaluation.ceiling import ceiling, share_with_copies, skill
from cxr_jax.evaluation.floors import Pool, floors
from cxr_jax.evaluation.label_metrics import Labels, finding_f1, matrix_f1
from cxr_jax.evaluation.retrieval_metrics import (
    Columns,
    group_columns,
    instance_columns,
    label_columns,
    means,
    resampled_means,
    tied_chance,
)
from cxr_jax.evaluation.text_metrics import ReportScorer, sample_scores, score_intervals
from cxr_jax.labels.priors import speaks_of_prior
from cxr_jax.labels.rules import OBSERVATIONS
from cxr_jax.labels.statements import contradictions
from cxr_jax.retrieval.store import SplitIndex


class Predicted(NamedTuple):
    """What is predicted of an image: a text, the data's labels, and the row of the pool that both are of, or None."""

    text: str
    labels: tuple[str, ...]
    row: int | None


def evaluate(
    train: SplitIndex,
    val: SplitIndex,
    query: SplitIndex,
    rows: np.ndarray,
    dataset: str,
    protocol: str,
    data_split: str,
    meteor: str = "auto",
    uncertain: str = "positive",
    predicted: Sequence[Predicted] | None = None,
) -> dict[str, Any]:
    """What metrics.json holds.

    Args:
      rows: of `train`, from `neighbours_of`; the first of each line is the prediction, unless others are `predicted`.
      dataset: its name, and what kind of images it has.
      data_split: how the data set was split: "paper", "r2gen", "strict", "patient" or "column".
      meteor, uncertain: which METEOR, which policy for doubt, see `text_metrics.score_reports`.
    """
    predicted = nearest_of(train, rows) if predicted is None else predicted
    return {
        "dataset": dataset,
        "data_split": data_split,
        "split": query.name,
        "step": query.step,
        **score_system(
            pool_of(train, val),
            [row.report for row in query.rows],
            [prediction.text for prediction in predicted],
            protocol,
            labels_of(query),
            [prediction.labels for prediction in predicted],
            [row.patient_id for row in query.rows],
            meteor,
            uncertain,
        ),
        "retrieval": recall_both_ways(query),
    }


def nearest_of(train: SplitIndex, rows: np.ndarray) -> list[Predicted]:
    """The nearest report of each image: the first of each line of `rows`."""
    nearest = [(train.rows[line[0]], int(line[0])) for line in rows]
    return [Predicted(row.report, row.labels, number) for row, number in nearest]


def pool_of(train: SplitIndex, val: SplitIndex) -> Pool:
    """The reports, and labels, that a run's floors and ceiling are drawn from: a study's of train once, all of val."""
    first = [train.rows[i] for i in train.one_row_per_study()]
    return Pool([row.report for row in first], [row.report for row in val.rows], [row.labels for row in first])


def labels_of(query: SplitIndex) -> Labels | None:
    """The data's own labels of each image, where any has some."""
    labels = [row.labels for row in query.rows]
    return labels if any(labels) else None


def score_system(
    pool: Pool,
    references: Sequence[str],
    predictions: Sequence[str] | None,
    protocol: str,
    labels: Labels | None = None,
    predicted_labels: Labels | None = None,
    patients: Clusters | None = None,
    meteor: str = "auto",
    uncertain: str = "positive",
) -> dict[str, Any]:
    """Any system's reports: their scores, intervals, floors, ceiling, skill over the random floor, and findings.

    Args:
      predictions: None for floors and ceiling alone.
      labels, predicted_labels: of references and predictions, where the data have them: finding F1 beside the rest.
      patients: what the bootstrap draws; single pairs where it is None.
      meteor, uncertain: which METEOR, which policy for doubt, see `text_metrics.score_reports`.

    Returns:
      part of what metrics.json holds; "copied_references" is the share of true reports that stand in the pool too,
      "distinct_reports" how many different ones there are, once normalised, of the "true" and the "predicted",
      "contradictory" the share of each that affirm and deny the same (`statements.contradictions`), "words" their mean
      length, and "true_prior_share" the share of true reports that speak of a prior study.

    Raises:
      InputError: as `text_metrics.score_reports`, and for labels that do not fit.
    """
    scorer = ReportScorer(references, protocol, pool.train, meteor, uncertain)
    blind = floors(scorer, pool, None if predicted_labels is None else labels)
    highest = ceiling(scorer, pool.train)
    result: dict[str, Any] = {
        "protocol": protocol,
        "n": len(references),
        "uncertain": uncertain,
        "floors": blind,
        "ceiling": highest,
        "copied_references": share_with_copies(references, pool.train),
        "distinct_reports": {"true": _distinct(references)},
        "contradictory": {"true": _contradictory(references)},
        "words": {"true": _words(references)},
        "true_prior_share": sum(map(speaks_of_prior, references)) / len(references),
    }
    if predictions is None:
        return result
    for name, count in (("distinct_reports", _distinct), ("contradictory", _contradictory), ("words", _words)):
        result[name]["predicted"] = count(predictions)
    statistics = scorer.statistics(predictions)
    scores, intervals = sample_scores(statistics), score_intervals(statistics, patients)
    rules = statistics.reference_findings, statistics.predicted_findings
    findings: dict[str, Any] = {}
    if labels is not None and predicted_labels is not None:
        findings = finding_f1(labels, predicted_labels, patients)
        scores["finding_f1_macro"] = findings["macro"]
        intervals["finding_f1_macro"] = findings["intervals"]["macro"]
    return result | {
        "scores": scores,
        "intervals": {name: list(ends) for name, ends in intervals.items()},
        "skill": skill(scores, blind["random_report"], highest),
        "findings": findings.get("per_finding", {}),
        "rule_f1": matrix_f1(OBSERVATIONS, *rules, patients) if rules[0].any() else {},
    }


def _distinct(texts: Sequence[str]) -> int:
    return len(set(map(normalize_report, texts)))


def _contradictory(texts: Sequence[str]) -> float:
    return sum(bool(contradictions(text)) for text in texts) / len(texts)


def _words(texts: Sequence[str]) -> float:
    return sum(len(text.split()) for text in texts) / len(texts)


def recall_both_ways(query: SplitIndex) -> dict[str, dict[str, Any]]:
    """Recall within a split, by group, by instance and by labels, with 95 % intervals over patients."""
    patients = np.array([row.patient_id for row in query.rows])
    patients_of = {"image_to_text": patients, "text_to_image": patients[query.one_row_per_study()]}
    result = {}
    for name, columns in recall_columns(query).items():
        low, high = interval(partial(resampled_means, columns), len(patients_of[name]), patients_of[name])
        intervals = {
            score: [float(low[i]), float(high[i])]
            for i, score in enumerate(columns)
            if "chance" not in score and "ceiling" not in score
        }
        median = float(np.median(columns["mean_rank"]))
        result[name] = means(columns) | {"median_rank": median, "intervals": intervals}
    return result


def recall_columns(query: SplitIndex) -> dict[str, Columns]:
    """What each query adds to the recall within a split: of its images among its reports, and the other way.

    A study's report stands once among the reports, each of its images among the images.
    """
    studies, images = query.one_row_per_study(), np.arange(len(query))
    similarity = query.image_embeddings @ query.text_embeddings[studies].T
    groups, ids = query.columns.group_ids, query.columns.studies
    labels = [row.labels for row in query.rows]
    result = {}
    for name, s, queries, candidates in (
        ("image_to_text", similarity, images, studies),
        ("text_to_image", similarity.T, studies, images),
    ):
        ks = [k for k in (1, 5, 10) if k <= len(candidates)]
        result[name] = group_columns(s, groups[queries], groups[candidates], ks)
        result[name] |= instance_columns(s, ids[queries], ids[candidates], groups[queries], ks)
    ks = [k for k in (1, 5, 10) if k <= len(studies)]
    result["image_to_text"] |= {f"tied_chance_recall@{k}": tied_chance(groups, groups[studies], k) for k in ks}
    if any(labels):
        result["image_to_text"] |= label_columns(similarity, labels, [labels[i] for i in studies], ks)
    return result


def prediction_lines(
    query: SplitIndex,
    train: SplitIndex,
    similarity: np.ndarray,
    rows: np.ndarray,
    predicted: Sequence[Predicted] | None = None,
) -> list[dict[str, Any]]:
    """What predictions.jsonl holds, a line an image: all that is needed to score again elsewhere.

    Args:
      predicted: as in `evaluate`.
    """
    predicted = nearest_of(train, rows) if predicted is None else predicted
    return [
        {
            "study_id": row.study_id,
            "image_id": row.image_id,
            "patient_id": row.patient_id,
            "reference": row.report,
            "prediction": prediction.text,
            "labels": list(row.labels),
            "predicted_labels": list(prediction.labels),
            "neighbours": [train.rows[r].study_id for r in line],
            "similarities": [round(float(s), 6) for s in values],
        }
        for row, prediction, values, line in zip(query.rows, predicted, similarity, rows, strict=True)
    ]

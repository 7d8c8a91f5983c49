"""A split scored as a whole: reports by retrieval against the true ones, recall both ways, floors beside them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from cxr_jax.errors import InputError
from cxr_jax.evaluation.bootstrap import Clusters, interval
from cxr_jax.evaluation.ceiling import ceiling, skill
from cxr_jax.evaluation.floors import floors
from cxr_jax.evaluation.label_metrics import Labels, finding_f1
from cxr_jax.evaluation.retrieval_metrics import (
    Columns,
    group_columns,
    instance_columns,
    label_columns,
    means,
    resampled_means,
    tied_chance,
)
from cxr_jax.evaluation.text_metrics import bootstrap_intervals, report_preparers, rouge_l, score_reports
from cxr_jax.labels.rules import rule_labels
from cxr_jax.pages.page import Case, Neighbour
from cxr_jax.retrieval.store import SplitIndex, top_k


@dataclass(frozen=True)
class Pool:
    """The reports that floors and ceiling are drawn from, a study once; its labels where the data have some."""

    train: Sequence[str]
    val: Sequence[str]
    train_labels: Labels | None = None


def neighbours_of(query: SplitIndex, pool: SplitIndex, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Similarities and pool rows (n, k) of the training reports nearest to each image, a study of the pool once.

    Raises:
      InputError: a study of the query is in the pool: its own report would be found.
    """
    shared = {row.study_id for row in query.rows} & {row.study_id for row in pool.rows}
    if shared:
        raise InputError(
            f"{len(shared)} studies of {query.name} are in the pool of {pool.name} reports ({min(shared)} first), "
            "where they would find their own report; split the data again by study"
        )
    studies = pool.one_row_per_study()
    similarity, found = top_k(query.image_embeddings, pool.text_embeddings[studies], k)
    return similarity, studies[found]


def evaluate(
    train: SplitIndex,
    val: SplitIndex,
    query: SplitIndex,
    rows: np.ndarray,
    dataset: str,
    protocol: str,
    data_split: str,
) -> dict[str, Any]:
    """What metrics.json holds.

    Args:
      rows: of `train`, from `neighbours_of`; the first of each line is the prediction.
      dataset: its name, and what kind of images it has.
      data_split: how the data set was split: "paper", "r2gen", "strict", "patient" or "column".
    """
    studies, labels = train.one_row_per_study(), [row.labels for row in query.rows]
    nearest = [train.rows[line[0]] for line in rows]
    pool = Pool(
        [train.rows[i].report for i in studies],
        [row.report for row in val.rows],
        [train.rows[i].labels for i in studies],
    )
    return {
        "dataset": dataset,
        "data_split": data_split,
        "split": query.name,
        "step": query.step,
        **score_system(
            pool,
            [row.report for row in query.rows],
            [row.report for row in nearest],
            protocol,
            labels if any(labels) else None,
            [row.labels for row in nearest],
            [row.patient_id for row in query.rows],
        ),
        "retrieval": recall_both_ways(query),
    }


def score_system(
    pool: Pool,
    references: Sequence[str],
    predictions: Sequence[str] | None,
    protocol: str,
    labels: Labels | None = None,
    predicted_labels: Labels | None = None,
    patients: Clusters | None = None,
) -> dict[str, Any]:
    """Any system's reports: their scores, intervals, floors, ceiling, skill over the random floor, and findings.

    Args:
      predictions: None for floors and ceiling alone.
      labels, predicted_labels: of references and predictions, where the data have them: finding F1 beside the rest.
      patients: what the bootstrap draws; single pairs where it is None.
    """
    known = (None, None) if labels is None or predicted_labels is None else (pool.train_labels, labels)
    blind = floors(pool.train, pool.val, references, protocol, *known)
    highest = ceiling(pool.train, references, protocol)
    result: dict[str, Any] = {"protocol": protocol, "n": len(references), "floors": blind, "ceiling": highest}
    if predictions is None:
        return result
    scores = score_reports(references, predictions, protocol, pool.train)
    intervals = bootstrap_intervals(references, predictions, protocol, pool.train, patients)
    findings: dict[str, Any] = {}
    rule = rule_labels(references)
    if labels is not None and predicted_labels is not None:
        findings = finding_f1(labels, predicted_labels, patients)
        scores["finding_f1_macro"] = findings["macro"]
        intervals["finding_f1_macro"] = findings["intervals"]["macro"]
    return result | {
        "scores": scores,
        "intervals": {name: list(interval) for name, interval in intervals.items()},
        "skill": skill(scores, blind["random_report"], highest),
        "findings": findings.get("per_finding", {}),
        "rule_f1": finding_f1(rule, rule_labels(predictions), patients) if any(rule) else {},
    }


def recall_both_ways(query: SplitIndex) -> dict[str, dict[str, Any]]:
    """Recall within a split, by group, by instance and by labels, with 95 % intervals over patients."""
    patients = np.array([row.patient_id for row in query.rows])
    asked = {"image_to_text": patients, "text_to_image": patients[query.one_row_per_study()]}
    result = {}
    for name, columns in recall_columns(query).items():
        low, high = interval(partial(resampled_means, columns), len(asked[name]), asked[name])
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
    groups = np.array([row.group_id for row in query.rows])
    ids = np.array([row.study_id for row in query.rows])
    labels = [row.labels for row in query.rows]
    result = {}
    for name, s, asked, answers in (
        ("image_to_text", similarity, images, studies),
        ("text_to_image", similarity.T, studies, images),
    ):
        ks = [k for k in (1, 5, 10) if k <= len(answers)]
        result[name] = group_columns(s, groups[asked], groups[answers], ks)
        result[name] |= instance_columns(s, ids[asked], ids[answers], groups[asked], ks)
    ks = [k for k in (1, 5, 10) if k <= len(studies)]
    result["image_to_text"] |= {f"tied_chance_recall@{k}": tied_chance(groups, groups[studies], k) for k in ks}
    if any(labels):
        result["image_to_text"] |= label_columns(similarity, labels, [labels[i] for i in studies], ks)
    return result


def prediction_lines(
    query: SplitIndex, train: SplitIndex, similarity: np.ndarray, rows: np.ndarray
) -> list[dict[str, Any]]:
    """What predictions.jsonl holds, a line an image: all that is needed to score again elsewhere."""
    return [
        {
            "study_id": row.study_id,
            "image_id": row.image_id,
            "patient_id": row.patient_id,
            "reference": row.report,
            "prediction": train.rows[line[0]].report,
            "labels": list(row.labels),
            "predicted_labels": list(train.rows[line[0]].labels),
            "neighbours": [train.rows[r].study_id for r in line],
            "similarities": [round(float(s), 6) for s in values],
        }
        for row, values, line in zip(query.rows, similarity, rows, strict=True)
    ]


def chosen_cases(rouge: np.ndarray, limit: int) -> np.ndarray:
    """Rows, ascending: all, or an eighth of `limit` the best by ROUGE-L, an eighth the worst, the others spread evenly.

    Args:
      rouge: (n,), of each row's nearest report.
    """
    if len(rouge) <= limit:
        return np.arange(len(rouge))
    order, extremes = np.argsort(-rouge, kind="stable"), limit // 8
    between = np.sort(order[extremes : len(order) - extremes])
    spread = between[np.linspace(0, len(between) - 1, limit - 2 * extremes).round().astype(int)]
    return np.sort(np.concatenate([order[:extremes], spread, order[len(order) - extremes :]]))


def cases(
    query: SplitIndex, train: SplitIndex, similarity: np.ndarray, rows: np.ndarray, limit: int, cell: float
) -> list[Case]:
    """The page's cases, those of `chosen_cases`.

    Args:
      cell: the side of a place of A_s over that of the square image.
    """
    prepare, _ = report_preparers("raw")
    answers = [train.rows[line[0]].report for line in rows]
    rouge = rouge_l([prepare(row.report) for row in query.rows], [prepare(answer) for answer in answers])
    chosen = chosen_cases(rouge, limit)
    true, found = rule_labels([query.rows[i].report for i in chosen]), rule_labels([answers[i] for i in chosen])
    return [
        Case(
            query.rows[i].study_id,
            query.thumbnails[i],
            query.rows[i].report,
            query.rows[i].labels,
            [
                Neighbour(
                    train.rows[r].study_id, train.thumbnails[r], train.rows[r].report, train.rows[r].labels, float(s)
                )
                for s, r in zip(similarity[i], rows[i], strict=True)
            ],
            float(rouge[i]),
            2 * len(a & b) / (len(a) + len(b)) if a or b else None,
            None if query.attention is None else query.attention[i],
            cell,
        )
        for i, a, b in zip(chosen, true, found, strict=True)
    ]

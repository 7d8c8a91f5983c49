"""A split scored as a whole: reports by retrieval against the true ones, recall both ways, floors beside them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cxr_jax.errors import InputError
from cxr_jax.evaluation.baselines import floors
from cxr_jax.evaluation.labels import finding_f1
from cxr_jax.evaluation.page import Case, Neighbour
from cxr_jax.evaluation.retrieval_metrics import bootstrap_recall, retrieval_metrics
from cxr_jax.evaluation.text_metrics import bootstrap_intervals, score_reports
from cxr_jax.index import SplitIndex, top_k

SCORE_NAMES = {
    **{f"bleu_{n}": f"BLEU-{n}" for n in range(1, 5)},
    "rouge_l": "ROUGE-L",
    "finding_f1_macro": "finding F1",
}
FLOOR_NAMES = {
    "constant_report": "one constant report, chosen on val",
    "random_report": "a random training report",
    "most_frequent_report": "the most frequent training report",
}


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
    references = [row.report for row in query.rows]
    predictions = [train.rows[line[0]].report for line in rows]
    train_reports = [train.rows[i].report for i in train.one_row_per_study()]
    scores = score_reports(references, predictions, protocol, train_reports)
    intervals = bootstrap_intervals(references, predictions, protocol, train_reports)
    labels = [row.labels for row in query.rows]
    findings: dict[str, Any] = {}
    if any(labels):
        findings = finding_f1(labels, [train.rows[line[0]].labels for line in rows])
        scores["finding_f1_macro"] = findings["macro"]
        intervals["finding_f1_macro"] = findings["interval_macro"]
    blind = floors(
        train_reports,
        [row.report for row in val.rows],
        references,
        protocol,
        train_labels=[train.rows[i].labels for i in train.one_row_per_study()] if findings else None,
        reference_labels=labels if findings else None,
    )
    return {
        "dataset": dataset,
        "data_split": data_split,
        "split": query.name,
        "protocol": protocol,
        "step": query.step,
        "n": len(query),
        "scores": scores,
        "intervals": {name: list(interval) for name, interval in intervals.items()},
        "floors": blind,
        "findings": findings.get("per_finding", {}),
        "retrieval": recall_both_ways(query),
    }


def recall_both_ways(query: SplitIndex) -> dict[str, dict[str, Any]]:
    """Group-aware recall within a split, with the chance figures and 95 % intervals over patients.

    A study's report stands once among the reports, each of its images among the images.
    """
    studies = query.one_row_per_study()
    similarity = query.image_embeddings @ query.text_embeddings[studies].T
    groups = np.array([row.group_id for row in query.rows])
    patients = np.array([row.patient_id for row in query.rows])
    directions = {
        "image_to_text": (similarity, groups, groups[studies], patients),
        "text_to_image": (similarity.T, groups[studies], groups, patients[studies]),
    }
    result = {}
    for name, (s, queries, targets, clusters) in directions.items():
        ks = [k for k in (1, 5, 10) if k <= len(targets)]
        intervals = {f"recall@{k}": list(bootstrap_recall(s, queries, targets, k, clusters)) for k in ks}
        result[name] = retrieval_metrics(s, queries, targets, ks) | {"intervals": intervals}
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


def cases(query: SplitIndex, train: SplitIndex, similarity: np.ndarray, rows: np.ndarray, limit: int) -> list[Case]:
    """The page's cases: at most `limit`, evenly spread over the split."""
    chosen = np.unique(np.linspace(0, len(query) - 1, min(limit, len(query))).round().astype(int))
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
        )
        for i in chosen
    ]


def score_table(metrics: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Columns and rows: the run, its intervals, and the floors."""
    names = [name for name in SCORE_NAMES if name in metrics["scores"]]
    cell = "{:.3f}".format
    rows = [["retrieved report (top 1)", *(cell(metrics["scores"][n]) for n in names)]]
    rows.append(["  95 % interval", *("{:.3f}-{:.3f}".format(*metrics["intervals"][n]) for n in names)])
    rows += [[label, *(cell(metrics["floors"][f][n]) for n in names)] for f, label in FLOOR_NAMES.items()]
    return ["", *(SCORE_NAMES[n] for n in names)], rows


def recall_table(metrics: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Columns and rows: recall both ways, its interval, and chance."""
    ks = [k for k in (1, 5, 10) if f"recall@{k}" in metrics["retrieval"]["image_to_text"]]
    rows = []
    for name, label in (("image_to_text", "image → report"), ("text_to_image", "report → image")):
        found = metrics["retrieval"][name]
        rows.append([label, *(f"{found[f'recall@{k}']:.3f}" for k in ks), f"{found['median_rank']:.0f}"])
        rows.append(["  95 % interval", *("{:.3f}-{:.3f}".format(*found["intervals"][f"recall@{k}"]) for k in ks), ""])
        rows.append(["  chance", *(f"{found[f'chance_recall@{k}']:.3f}" for k in ks), ""])
    return [f"among the {metrics['n']} of the split", *(f"recall@{k}" for k in ks), "median rank"], rows


def format_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in plain text, the first column to the left, the others to the right."""
    widths = [max(len(line[i]) for line in (columns, *rows)) for i in range(len(columns))]
    lines = [
        "  ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(line, widths, strict=True)))
        for line in (columns, *rows)
    ]
    return "\n".join(line.rstrip() for line in lines)

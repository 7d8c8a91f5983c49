"""A run or an export scored on a set from elsewhere: what its columns allow, in `eval/NAME/`."""

from pathlib import Path
from typing import Any

import numpy as np

from cxr_jax.errors import InputError
from cxr_jax.evaluation.external_scores import NO_EXCHANGE, Exchange
from cxr_jax.evaluation.label_comparison import label_comparison_table
from cxr_jax.evaluation.scoring import prediction_lines, recall_both_ways
from cxr_jax.evaluation.tables import (
    class_table,
    comparison_table,
    recall_table,
    score_remarks,
    score_table,
    zero_shot_table,
)
from cxr_jax.files import write_json, write_text
from cxr_jax.recipes import external_classes, external_labels, external_reports
from cxr_jax.recipes.external_opened import Opened, open_set
from cxr_jax.recipes.external_output import REPORTS, Result, write
from cxr_jax.recipes.external_set import Embedded, Options
from cxr_jax.retrieval.search import neighbours_of
from cxr_jax.retrieval.zero_shot import probability

LEFT = ("zero_shot.json", "sample.csv", "predictions.jsonl")  # by an evaluation before, which had other columns


def evaluate_external(options: Options, exchange: Exchange = NO_EXCHANGE) -> Path:
    """Scores the set, prints the tables and writes the files; returns their folder.

    Labels give zero_shot.json, reports scores and recall in metrics.json, a sample of classes sample.csv and precision
    by class; predictions.jsonl, tables.md and index.html are of whatever there is.

    Args:
      exchange: texts and scores by files, see `external_scores`.

    Raises:
      InputError: as `open_set`, and `Exchange.of`; or the other evaluation is of other images.
    """
    opened = open_set(options, exchange.option)
    folder, asked, embedded = opened.folder, opened.asked, opened.embedded
    query, pool = embedded.query, embedded.pool
    nearest = neighbours_of(query, pool, options.top_k) if pool else None
    result = Result(embedded.facts | {"notes": [str(note) for note in opened.notes.all]}, _bare_lines(embedded))
    if pool and nearest:
        result.lines = prediction_lines(query, pool, *nearest)
    if any(embedded.external.reports):
        _add_reports(result, opened, options, nearest, exchange)
    zero_shot = _add_labels(result, opened, options) if asked.questions else None
    if opened.others and not result.compared:
        raise InputError(
            f"--compare {options.compare}: has neither reports nor labels that were scored here too; compare "
            "evaluations of the same columns"
        )
    folder.mkdir(parents=True, exist_ok=True)
    for name in LEFT:
        (folder / name).unlink(missing_ok=True)
    if zero_shot:
        write_json(folder / "zero_shot.json", embedded.facts | zero_shot)
    if asked.classes:
        by_class = external_classes.by_class(opened.model, query, asked.classes, embedded.class_of, asked.questions)
        sampled = {"sample": options.sample, "seed": options.seed, "classes": list(asked.classes)}
        result.metrics["by_class"] = sampled | by_class
        result.tables[f"Retrieval by class, {options.sample}"] = class_table(by_class)
        result.remarks += external_classes.remarks_of(by_class)
        write_text(folder / "sample.csv", external_classes.sample_csv(query, asked.classes, embedded.class_of))
    write(folder, result, embedded, nearest, opened.config)
    return folder


def _bare_lines(embedded: Embedded) -> list[dict[str, Any]]:
    """Which image each line of predictions.jsonl is of, and what is true of it, where nothing is retrieved."""
    return [
        {"study_id": row.study_id, "image_id": row.image_id, "patient_id": row.patient_id, "reference": row.report}
        for row in embedded.query.rows
    ]


def _add_reports(
    result: Result,
    opened: Opened,
    options: Options,
    nearest: tuple[np.ndarray, np.ndarray] | None,
    exchange: Exchange,
) -> None:
    """Recall within the set, and where there is a pool what the retrieved reports are worth."""
    query, pool = opened.embedded.query, opened.embedded.pool
    lines = [line for line in result.lines if line["reference"]]
    scores: dict[str, Any]
    if pool and nearest:
        of = external_reports.answered(opened.run, query, pool, nearest[1][:, 0], options.pool)
        scores = external_reports.report_metrics(of, lines, options.protocol, exchange)
        result.tables[REPORTS] = score_table(scores)
        result.remarks += score_remarks(scores)
        if any("prediction" in line and line.get("reference", "?") for line in opened.others):
            compared = external_reports.compared(of, lines, opened.others, options.protocol, scores["scores"])
            scores["comparison"] = {"with": options.compare, "scores": compared}
            result.tables[f"Retrieved reports minus those of {options.compare}"] = comparison_table(compared)
            result.compared = True
    else:
        recall = recall_both_ways(external_reports.with_report(query))
        scores = {"n": len(lines), "retrieval": recall, "remarks": [external_reports.NO_POOL]}
    if len(lines) < len(query):
        scores["remarks"].append(f"{len(query) - len(lines)} images have no report, and are in none of these scores.")
    result.remarks += scores["remarks"]
    result.tables["Retrieval within the set"] = recall_table(scores)
    result.metrics |= scores


def _add_labels(result: Result, opened: Opened, options: Options) -> dict[str, Any]:
    """What zero_shot.json holds; to each line what the table says of the image, and how probable each label is."""
    asked, embedded = opened.asked, opened.embedded
    scores, margin = external_labels.zero_shot(options, opened.model, opened.run, asked, embedded)
    names = [question.name for question in asked.questions]
    for line, values, of_image in zip(result.lines, embedded.external.values, margin, strict=True):
        known = zip(embedded.external.names, values, strict=True)
        line["label_values"] = {name: int(value) if value >= -1 else None for name, value in known}
        chances = probability(of_image)
        line["probabilities"] = {name: round(float(p), 6) for name, p in zip(names, chances, strict=True)}
        line["margins"] = {name: float(m) for name, m in zip(names, of_image, strict=True)}
    result.tables["Labels by opposite sentences (zero-shot)"] = zero_shot_table(scores)
    result.remarks += scores["remarks"]
    if any("margins" in line for line in opened.others):
        compared = external_labels.compared(options, asked, embedded, scores, result.lines, opened.others)
        if compared:
            scores["comparison"] = {"with": options.compare, "labels": compared}
            result.tables[f"Labels minus those of {options.compare}"] = label_comparison_table(compared)
            result.compared = True
    return scores

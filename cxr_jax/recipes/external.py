"""A run or an export scored on a set from elsewhere: what its columns allow, in `eval/NAME/`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import cxr_jax
from cxr_jax.data.notes import Notes, say
from cxr_jax.data.splits import SPLITS
from cxr_jax.errors import InputError
from cxr_jax.evaluation.external_scores import NO_EXCHANGE, Exchange
from cxr_jax.evaluation.label_comparison import label_comparison_table
from cxr_jax.evaluation.predictions import Line, read_predictions
from cxr_jax.evaluation.scoring import prediction_lines, recall_both_ways
from cxr_jax.evaluation.tables import (
    Table,
    class_table,
    comparison_table,
    format_table,
    markdown_table,
    recall_table,
    score_remarks,
    score_table,
    zero_shot_table,
)
from cxr_jax.export.folder import ExportFolder, open_folder
from cxr_jax.files import write_json, write_lines, write_text
from cxr_jax.pages import charts
from cxr_jax.pages.cases import PAGE_CASES, Case, cases_of, map_cell
from cxr_jax.pages.page import write_page
from cxr_jax.recipes import external_classes, external_labels, external_reports
from cxr_jax.recipes.external_set import Asked, Embedded, Options, check_reports, embed, read_asked
from cxr_jax.recipes.split import predictions_file
from cxr_jax.retrieval.model import Model
from cxr_jax.retrieval.search import neighbours_of
from cxr_jax.retrieval.zero_shot import probability
from cxr_jax.runtime import parallel
from cxr_jax.runtime.run_folder import RunFolder

LEFT = ("zero_shot.json", "sample.csv", "predictions.jsonl")  # by an evaluation before, which had other columns
REPORTS = "Retrieved reports"


@dataclass
class Result:
    """What comes of a set, part by part."""

    metrics: dict[str, Any]
    lines: list[dict[str, Any]]  # of predictions.jsonl
    tables: dict[str, Table] = field(default_factory=dict)
    compared: bool = False
    remarks: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Opened:
    """A model and a set that it has embedded, before anything is scored."""

    run: RunFolder | ExportFolder
    config: Mapping[str, Any]
    folder: Path  # of the results
    asked: Asked
    model: Model
    embedded: Embedded
    notes: Notes
    others: list[Line]  # of --compare; none without


def open_set(options: Options, of_reports: str = "") -> Opened:
    """Reads what the options name, and embeds the set; what was doubtful in it is said.

    Args:
      of_reports: an option that is given and that wants reports to score, "" where none is.

    Raises:
      InputError: a file is not in its form, the folder holds no model, or there are neither labels nor reports; before
        the model is loaded.
    """
    notes, run = Notes(), open_folder(options.workdir)
    config = run.load_config()
    folder = output_folder(options, run)
    asked = read_asked(options, config, notes)
    if of_reports:
        check_reports(options, asked, run, of_reports)
    others: list[Line] = []
    if options.compare:
        by = f"--data {options.data} --name"
        others = read_predictions(predictions_file(options.compare, folder.name, by), labels_alone=True)
    parallel.cache_compilations(Path(config["data"]["cache"]).expanduser() / "compiled")
    model = cxr_jax.load(options.workdir)
    embedded = embed(options, model, run, asked, folder.name, notes)
    say(options.data, notes.all)
    return Opened(run, config, folder, asked, model, embedded, notes, others)


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
    _write(folder, result, embedded, nearest, opened.config)
    return folder


def output_folder(options: Options, run: RunFolder | ExportFolder) -> Path:
    """`eval/NAME` of the run's or the export's folder, of --out, or of the current one for a model on the hub.

    Raises:
      InputError: NAME is a split's, or no folder's name.
    """
    data = Path(options.data)
    stem = data.name.split(".")[0] or data.name
    name = options.name or (f"{stem}_{options.sample}" if options.sample else stem)
    if name in SPLITS or name.startswith(".") or not name.strip() or any(c in name for c in "/\\:\0"):
        why = "is a split of the run's own" if name in SPLITS else "is no name of a folder"
        raise InputError(f"--name {name}: {why}; name the set otherwise, by letters and digits")
    if options.out:
        return Path(options.out).expanduser() / name
    given = Path(options.workdir).expanduser()
    return (run.root if given.exists() else Path()) / "eval" / name


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


def _write(
    folder: Path,
    result: Result,
    embedded: Embedded,
    nearest: tuple[np.ndarray, np.ndarray] | None,
    config: Mapping[str, Any],
) -> None:
    metrics, query, pool = result.metrics, embedded.query, embedded.pool
    of_pool = f", pool of {metrics['pool']['studies']:,} reports ({' + '.join(metrics['pool']['of'])})" if pool else ""
    protocol = f", protocol {metrics['protocol']}" if "protocol" in metrics else ""
    title = (
        f"{metrics['dataset']}: {metrics['n_images']:,} images of {metrics['n_patients']:,} patients{protocol}"
        f"{of_pool}, checkpoint of step {metrics['step']}"
    )
    printed = [part for name, table in result.tables.items() for part in (name, format_table(*table), "")]
    print("\n".join([title, "", *printed, *result.remarks, ""]))
    write_json(folder / "metrics.json", metrics)
    write_lines(folder / "predictions.jsonl", result.lines)
    marked = [f"## {name}\n\n{markdown_table(*table)}" for name, table in result.tables.items()]
    write_text(folder / "tables.md", "\n\n".join([title + ".", *marked, *result.remarks]) + "\n")

    if pool and nearest:
        cases = cases_of(query, pool, *nearest, PAGE_CASES, map_cell(config))
    else:
        spread = np.linspace(0, len(query) - 1, min(len(query), PAGE_CASES)).round().astype(int).tolist()
        rows = [(i, query.rows[i]) for i in spread]
        cases = [Case(row.study_id, query.thumbnails[i], row.report, row.labels, []) for i, row in rows]
    others = dict(result.tables)
    of_reports = others.pop(REPORTS, None)
    facts = [
        folder.name,
        *(f"{metrics[key]:,}" for key in ("n_images", "n_patients")),
        f"{metrics['pool']['studies']:,}",
    ]
    summary = of_reports or Table(["", "images", "patients", "reports in the pool"], [facts])
    shown = "All cases are shown." if len(cases) == len(query) else f"{len(cases)} of {len(query)} cases are shown."
    pictures = [charts.score_chart(metrics)] if "scores" in metrics else []
    notes = [f"{title}.", shown, *result.remarks, *metrics["notes"]]
    shown_too = "true and retrieved reports" if of_reports else "labels and retrieved reports" if pool else "the images"
    heading = f"{folder.name}: {shown_too}"
    write_page(folder / "index.html", heading, summary, cases, notes, pictures, others)
    print(f"page: {folder / 'index.html'}")

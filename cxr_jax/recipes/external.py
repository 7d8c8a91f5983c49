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
from cxr_jax.evaluation.scoring import prediction_lines
from cxr_jax.evaluation.tables import (
    Table,
    class_table,
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
from cxr_jax.recipes.external_set import Embedded, Options, embed, read_asked
from cxr_jax.retrieval.search import neighbours_of
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
    remarks: list[str] = field(default_factory=list)


def evaluate_external(options: Options) -> Path:
    """Scores the set, prints the tables and writes the files; returns their folder.

    Labels give zero_shot.json, reports scores and recall in metrics.json, a sample of classes sample.csv and precision
    by class; predictions.jsonl, tables.md and index.html are of whatever there is.

    Raises:
      InputError: a file is not in its form, the folder holds no model, or there are neither labels nor reports.
    """
    notes, run = Notes(), open_folder(options.workdir)
    config = run.load_config()
    folder = output_folder(options, run)
    asked = read_asked(options, config, notes)
    parallel.cache_compilations(Path(config["data"]["cache"]).expanduser() / "compiled")
    model = cxr_jax.load(options.workdir)
    embedded = embed(options, model, run, asked, folder.name, notes)
    say(options.data, notes.all)

    query, pool = embedded.query, embedded.pool
    nearest = neighbours_of(query, pool, options.top_k) if pool else None
    result = Result(embedded.facts | {"notes": [str(note) for note in notes.all]}, [{} for _ in query.rows])
    if pool and nearest:
        result.lines = prediction_lines(query, pool, *nearest)
    folder.mkdir(parents=True, exist_ok=True)
    for name in LEFT:
        (folder / name).unlink(missing_ok=True)
    if pool and nearest and any(embedded.external.reports):
        scores = external_reports.report_metrics(run, query, pool, nearest[1][:, 0], options.pool, options.protocol)
        result.remarks += [*score_remarks(scores), *scores["remarks"]]
        result.metrics |= scores
        result.tables |= {
            REPORTS: score_table(scores),
            "Retrieval within the set": recall_table(scores),
        }
    if asked.questions:
        scores, chances = external_labels.zero_shot(options, model, run, asked, embedded)
        write_json(folder / "zero_shot.json", embedded.facts | scores)
        result.tables["Labels by opposite sentences (zero-shot)"] = zero_shot_table(scores)
        result.remarks += scores["remarks"]
        _add_labels(result, embedded, [question.name for question in asked.questions], chances)
    if asked.classes:
        by_class = external_classes.by_class(model, query, asked.classes, embedded.class_of, asked.questions)
        sampled = {"sample": options.sample, "seed": options.seed, "classes": list(asked.classes)}
        result.metrics["by_class"] = sampled | by_class
        result.tables[f"Retrieval by class, {options.sample}"] = class_table(by_class)
        write_text(folder / "sample.csv", external_classes.sample_csv(query, asked.classes, embedded.class_of))
    _write(folder, result, embedded, nearest, config)
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


def _add_labels(result: Result, embedded: Embedded, asked: list[str], chances: np.ndarray) -> None:
    """To each line what the table says of the image, null where nothing, and how probable each label is."""
    names = embedded.external.names
    for line, row, values, of_image in zip(
        result.lines, embedded.query.rows, embedded.external.values, chances, strict=True
    ):
        line |= {"study_id": row.study_id, "image_id": row.image_id, "patient_id": row.patient_id}
        line["label_values"] = {n: int(v) if v >= -1 else None for n, v in zip(names, values, strict=True)}
        line["probabilities"] = {name: round(float(p), 6) for name, p in zip(asked, of_image, strict=True)}


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
    write_lines(folder / "predictions.jsonl", filter(None, result.lines))
    marked = [f"## {name}\n\n{markdown_table(*table)}" for name, table in result.tables.items()]
    write_text(folder / "tables.md", "\n\n".join([title + ".", *marked, *result.remarks]) + "\n")

    if pool and nearest:
        cases = cases_of(query, pool, *nearest, PAGE_CASES, map_cell(config))
    else:
        spread = np.linspace(0, len(query) - 1, min(len(query), PAGE_CASES)).round().astype(int).tolist()
        cases = [Case(row.study_id, query.thumbnails[i], "", row.labels, []) for i in spread if (row := query.rows[i])]
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
    heading = f"{folder.name}: {'true and retrieved reports' if of_reports else 'labels and retrieved reports'}"
    write_page(folder / "index.html", heading, summary, cases, notes, pictures, others)
    print(f"page: {folder / 'index.html'}")

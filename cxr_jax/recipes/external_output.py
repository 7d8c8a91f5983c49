"""What comes of a set from elsewhere, as it is printed, written and shown on its page."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cxr_jax.evaluation.tables import Table, format_table, markdown_table
from cxr_jax.files import write_json, write_lines, write_text
from cxr_jax.pages import charts
from cxr_jax.pages.cases import PAGE_CASES, Case, cases_of, map_cell
from cxr_jax.pages.page import write_page
from cxr_jax.recipes.external_set import Embedded

REPORTS = "Retrieved reports"


@dataclass
class Result:
    """What comes of a set, part by part."""

    metrics: dict[str, Any]
    lines: list[dict[str, Any]]  # of predictions.jsonl
    tables: dict[str, Table] = field(default_factory=dict)
    compared: bool = False
    remarks: list[str] = field(default_factory=list)


def write(
    folder: Path,
    result: Result,
    embedded: Embedded,
    nearest: tuple[np.ndarray, np.ndarray] | None,
    config: Mapping[str, Any],
) -> None:
    """Prints the tables, and writes metrics.json, predictions.jsonl, tables.md and index.html.

    Args:
      nearest: similarities and rows of the pool, where there is one, see `neighbours_of`.
    """
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

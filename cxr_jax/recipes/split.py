"""A run's split, scored by its drafts: metrics.json, predictions.jsonl, tables.md and the page."""

from pathlib import Path
from typing import Any

import cxr_jax
from cxr_jax.errors import InputError
from cxr_jax.evaluation import comparison, predictions, scoring, tables
from cxr_jax.evaluation.external_scores import NO_EXCHANGE, Exchange, add_scores, note_scores
from cxr_jax.evaluation.selective_tables import selective_tables
from cxr_jax.files import write_json, write_lines, write_text
from cxr_jax.pages import charts
from cxr_jax.pages.cases import PAGE_CASES, cases_of, map_cell
from cxr_jax.pages.page import write_page
from cxr_jax.pages.selective_charts import selective_figures
from cxr_jax.recipes.drafts import predictions_of
from cxr_jax.recipes.selective import (
    abstention_part,
    calibration_part,
    checked,
    kept_of,
    selective_part,
)
from cxr_jax.retrieval import abstention
from cxr_jax.retrieval.draft import METHODS
from cxr_jax.retrieval.search import neighbours_of
from cxr_jax.retrieval.store import SplitIndex
from cxr_jax.runtime.run_folder import RunFolder

# What of a method is chosen on val (`voting.Thresholds`, `drafts.predictions_of`).
CHOSEN = {
    "compose": ("the thresholds of drafts' votes", "those of drafts' labels"),
    "sentences": ("the thresholds of drafts' labels",),
}


def evaluate_split(
    workdir: str | Path,
    split: str = "test",
    protocol: str = "r2gen",
    top_k: int = 3,
    other: str = "",
    uncertain: str = "positive",
    exchange: Exchange = NO_EXCHANGE,
    method: str = "",
    abstain: bool = False,
) -> Path:
    """Scores a split, prints the tables and writes metrics.json, predictions.jsonl, tables.md and index.html.

    Args:
      other: a run's folder that has been scored, or a predictions.jsonl, to compare with.
      uncertain: the policy for doubt in the label scores that are named by it.
      exchange: texts and scores by files, see `external_scores`.
      method: of drafts, in place of the run's own draft.method.
      abstain: score only the images that are not doubted; withheld.jsonl names the others, and why.

    Returns:
      the folder that they are in, `eval/<split>`; of a method that is not the run's own, `eval/<split>-<method>`, and
      with `abstain` `-abstain` behind it.

    Raises:
      InputError: the folder holds no finished run, the run no such split, the other is of other images, or all drafts
        would be withheld.
    """
    run = RunFolder(workdir)
    config = run.load_config()
    others = predictions.read_predictions(predictions_file(other, split)) if other else []
    query, train, val = (SplitIndex.load(run.index, name) for name in (split, "train", "val"))
    dataset, data_split = config["data"]["description"], config["data"]["split_used"]
    own, predicted = config["draft"]["method"], None
    method = method or own
    put_together = method != METHODS[0]
    # By the index alone where that will do: a model takes seconds to load.
    stored = abstention.load(run.index, train)
    model = cxr_jax.load(workdir) if put_together or (abstain and stored is None) else None
    under, withheld = checked(run.index, query, train, model, stored), list[dict[str, Any]]()
    if abstain and under is not None:
        query, withheld = kept_of(query, under)
    similarity, rows = neighbours_of(query, train, top_k)
    if put_together and model is not None:
        predicted = predictions_of(model, query, val, method)
    lines = scoring.prediction_lines(query, train, similarity, rows, predicted)
    pool = scoring.pool_of(train, val)
    external = exchange.of(lines, pool, protocol, scoring.labels_of(query))
    metrics = scoring.evaluate(
        train, val, query, rows, dataset, protocol, data_split, uncertain=uncertain, predicted=predicted
    )
    metrics["method"] = method
    metrics["chosen_on_val"] = ["the constant report", *CHOSEN.get(method, ())]
    if abstain:
        metrics["chosen_on_val"].append("the limits of what is doubted")
        metrics["abstention"] = abstention_part(len(query), withheld)
    elif under is not None:
        drafts = predicted or scoring.nearest_of(train, rows)
        metrics["selective"] = selective_part(under, query, train, drafts)
        metrics["calibration"] = calibration_part(under, val, query, train)
    add_scores(metrics, external, [line["patient_id"] for line in lines])
    note_scores(lines, external)
    if others:
        compared = comparison.compare(lines, others, protocol, pool.train, uncertain=uncertain)
        metrics["comparison"] = {"with": other, "scores": compared}

    scores, recall = tables.score_table(metrics), tables.recall_table(metrics)
    title = (
        f"{dataset}, split by {data_split}: {split} split, {len(query)} images, protocol {protocol}, "
        f"pool of {len(train)} training reports, drafts by {method}"
        + (f", {len(withheld)} of {len(query) + len(withheld)} withheld" if abstain else "")
    )
    remarks = tables.score_remarks(metrics)
    labels = tables.policy_table(metrics)
    selective = selective_tables(metrics)
    parts = [tables.format_table(*scores), *remarks, "", tables.format_table(*labels), "", tables.format_table(*recall)]
    parts += [f"\n{name}\n{tables.format_table(*table)}" for name, table in selective.items()]
    print("\n".join([title, "", *parts, ""]))
    if others:
        difference = tables.comparison_table(metrics["comparison"]["scores"])
        print(f"{run.root} minus {other}\n{tables.format_table(*difference)}\n")

    folder = run.evaluation(split + ("" if method == own else f"-{method}") + ("-abstain" if abstain else ""))
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "metrics.json", metrics)
    write_lines(folder / "predictions.jsonl", lines)
    if abstain:
        write_lines(folder / "withheld.jsonl", withheld)
    write_text(folder / "tables.md", tables.markdown(metrics, lines))
    cases = cases_of(query, train, similarity, rows, PAGE_CASES, map_cell(config), predicted)
    notes = [
        f"{dataset}, split by {data_split}. Checkpoint of step {query.step}. "
        f"Scores: protocol {protocol}, {'' if abstain else 'all '}{len(query)} images.",
        f"{len(cases)} of {len(query)} cases are shown: the {PAGE_CASES // 8} best and the {PAGE_CASES // 8} worst by "
        "ROUGE-L, the others evenly spread."
        if len(cases) < len(query)
        else "All cases are shown.",
        *remarks,
    ]
    curves = charts.curve_figures(run.metrics(), query.step)
    pictures = [charts.score_chart(metrics), f"<div>{curves}{selective_figures(metrics)}</div>"]
    write_page(folder / "index.html", f"{split}: true and retrieved reports", scores, cases, notes, pictures, selective)
    print(f"page: {folder / 'index.html'}")
    return folder


def predictions_file(given: str, name: str, scored_by: str = "--split") -> Path:
    """The predictions file of a split or set, by its name, that a run's folder, or the file itself, stands for."""
    if not Path(given).is_dir():
        return Path(given)
    file = RunFolder(given).evaluation(name) / "predictions.jsonl"
    if not file.is_file():
        raise InputError(
            f"{file}: is not there; score that run first: python -m cxr_jax.evaluate --workdir {given} {scored_by} "
            f"{name}"
        )
    return file

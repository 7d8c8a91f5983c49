"""The paper's Table 3 of scored runs: each variant's scores over its seeds, and what the first has over the others."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cxr_jax.evaluation.ablation import RECALLS, RESAMPLES, CountParameters, Run, Variant, variants_of
from cxr_jax.evaluation.comparison import difference
from cxr_jax.evaluation.tables import SCORE_NAMES, Table, format_table, markdown_table


def report(runs: Sequence[Run], count: CountParameters, names: Mapping[Path, str] | None = None) -> tuple[str, str]:
    """What the variants are and both tables, as text and as Markdown; arguments and errors: `ablation.variants_of`."""
    compared = variants_of(runs, count, names)
    first, metrics = compared[0], runs[0].metrics
    title = (
        f"{metrics['dataset']}, split by {metrics['data_split']}: {metrics['split']} split, {metrics['n']} images, "
        f"protocol {metrics['protocol']}"
    )
    changes = [f"- {variant.name}: {first.name} with {variant.changes}" for variant in compared[1:]]
    head = [f"{title}.", "\n".join(changes)] if changes else [f"{title}."]
    tables = [ablation_table(compared, runs[0].limits)]
    if len(compared) > 1:
        tables.append(difference_table(compared))
    as_text, as_markdown = (
        "\n\n".join([*head, *(form(*part) for part in tables)]) for form in (format_table, markdown_table)
    )
    return as_text, f"{as_markdown}\n"


def ablation_table(variants: Sequence[Variant], limits: Mapping[str, Mapping[str, float]]) -> Table:
    """Columns and rows: a variant a column, then the limits; each score's mean over seeds ± standard deviation."""
    empty = [""] * len(limits)
    rows = [
        ["seeds", *(f"{variant.seeds}" for variant in variants), *empty],
        ["parameters (M)", *(f"{variant.parameters[0] / 1e6:.2f}" for variant in variants), *empty],
        ["trained (M)", *(f"{variant.parameters[1] / 1e6:.2f}" for variant in variants), *empty],
    ]
    for name, label in _scores(variants[0]).items():
        cells = []
        for variant in variants:
            values = variant.samples[name][:, 0]
            spread = f" ± {values.std(ddof=1):.3f}" if len(values) > 1 else ""
            cells.append(f"{values.mean():.3f}{spread}")
        cells += [f"{scores[name]:.3f}" if name in scores else "" for scores in limits.values()]
        rows.append([label, *cells])
    return Table(["", *(variant.name for variant in variants), *limits], rows)


def difference_table(variants: Sequence[Variant]) -> Table:
    """Columns and rows: what the first variant has over each other one, with its interval, and whether that is sure."""
    first, others = variants[0], variants[1:]
    rows, verdicts = [], []
    for name, label in _scores(first).items():
        gains = [_gain(first, other, name) for other in others]
        verdicts.append([_verdict(*gain["interval"]) for gain in gains])
        cells = ["{:+.3f} ({:+.3f} to {:+.3f})".format(gain["difference"], *gain["interval"]) for gain in gains]
        rows.append([label, *(f"{cell} {verdict}".strip() for cell, verdict in zip(cells, verdicts[-1], strict=True))])
    rows.append([f"does {first.name} pay?", *(_summary(column) for column in zip(*verdicts, strict=True))])
    return Table([f"{first.name} minus", *(other.name for other in others)], rows)


def _scores(variant: Variant) -> dict[str, str]:
    """The scores that the runs have, and how each is called in a table."""
    return {name: label for name, label in (SCORE_NAMES | RECALLS).items() if name in variant.samples}


def _gain(first: Variant, other: Variant, name: str) -> dict[str, Any]:
    """`comparison.difference` of two variants' means over seeds; each resample draws seeds as well."""
    rng = np.random.default_rng(0)
    means = []
    for samples in (first.samples[name], other.samples[name]):
        seeds = rng.integers(len(samples), size=(len(samples), RESAMPLES + 1))
        seeds[:, 0] = np.arange(len(samples))  # the sample itself holds each seed once
        means.append(np.take_along_axis(samples, seeds, axis=0).mean(axis=0))
    return difference(means[0] - means[1])


def _verdict(low: float, high: float) -> str:
    return "pays" if low > 0 else "costs" if high < 0 else ""


def _summary(verdicts: Sequence[str]) -> str:
    """`pays in 3 and costs in 1 of 12`, or `not shown`."""
    said = [f"{verdict} in {verdicts.count(verdict)}" for verdict in ("pays", "costs") if verdict in verdicts]
    return f"{' and '.join(said)} of {len(verdicts)}" if said else "not shown"

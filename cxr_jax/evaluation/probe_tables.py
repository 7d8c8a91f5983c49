"""What is printed of probes: a table for each share of the training rows, beside what needs no embedding."""

from collections.abc import Mapping
from typing import Any

from cxr_jax.evaluation.tables import Table, format_table

COLUMNS = ("", "positive", "AUROC", "95 %", "± seeds", "random", "AP", "95 %", "random", "chance")


def probe_text(result: Mapping[str, Any]) -> str:
    """All of probe.json that a terminal shows."""
    splits = ", ".join(f"{name} {of['rows']:,} of {of['patients']:,}" for name, of in result["splits"].items())
    dealt = "by the column split" if result["split"] == "column" else f"dealt with seed {result['seed']}"
    lines = [f"rows of patients, {dealt}: {splits}; uncertain labels: {result['uncertain']}"]
    for percent, share in result["shares"].items():
        drawn = len(share["rows"])
        often = "" if drawn == 1 else f", means of {drawn} draws"
        strengths = ", ".join(f"{strength:g}" for strength in share["C"])
        lines += [
            "",
            f"{percent} % of the training rows: {share['rows'][0]:,} of {share['patients'][0]:,} patients{often}; "
            f"C on val: {strengths}",
            format_table(*share_table(result["labels"], share)),
        ]
        if share["cut_short"]:
            lines.append(f"{share['cut_short']} fits were cut short, and may be a little too low")
    for name, entry in result["labels"].items():
        if "not_measurable" in entry:
            lines.append(f"{name}: {entry['not_measurable']}")
    lines += ["", "Chance is AUROC .500; random: a probe on random vectors. Intervals are over test patients."]
    return "\n".join(lines)


def share_table(labels: Mapping[str, Any], share: Mapping[str, Any]) -> Table:
    """A label a row, then their mean."""
    rows = [
        [name, f"{labels[name]['n_positive']:,} of {labels[name]['n']:,}", *_cells(entry)]
        for name, entry in share["labels"].items()
    ]
    rows.append([f"mean of {share['macro']['n_labels']}", "", *_cells(share["macro"])])
    return Table(COLUMNS, rows)


def _cells(entry: Mapping[str, Any]) -> list[str]:
    floors, spread = entry["floors"], entry["spread"]["auroc"]

    def score(name: str) -> list[str]:
        low, high = entry["intervals"][name]
        return [f"{entry[name]:.3f}", f"{low:.3f}-{high:.3f}"]

    return [
        *score("auroc"),
        "" if spread is None else f"{spread:.3f}",
        f"{floors['random_vectors']['auroc']:.3f}",
        *score("average_precision"),
        f"{floors['random_vectors']['average_precision']:.3f}",
        f"{floors['chance']['average_precision']:.3f}",
    ]

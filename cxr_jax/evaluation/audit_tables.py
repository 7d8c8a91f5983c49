"""The audit's result as titled tables of text."""

from collections.abc import Mapping
from typing import Any

from cxr_jax.data.grey import kind_of
from cxr_jax.evaluation.audit import RANKS
from cxr_jax.evaluation.checks import check_table
from cxr_jax.evaluation.tables import Table

EXAMPLES = 3  # of images a kind of warning; the result has all


def audit_tables(result: Mapping[str, Any]) -> dict[str, Table]:
    """The audit as titled tables of text."""
    splits, leaks = result["splits"], result["leaks"]
    sizes = [
        (
            name,
            *(f"{row[key]:,}" for key in ("images", "studies", "patients", "distinct_reports")),
            " / ".join(f"{words:.0f}" for words in row["words"]),
            "-" if row["normal"] is None else f"{row['normal']:.0%}",
            " / ".join(f"{side:.0f}" for side in result["stored_sides"][name]),
        )
        for name, row in splits.items()
    ]
    kinds = {
        "exact": ("reports that stand in train word for word", "of_studies"),
        "near": ("reports with a near-copy in train (chains of ≥ 90 % of words)", "of_studies"),
        "studies": ("studies that are in train too", "of_studies"),
        "patients": ("patients that are in train too", "of_patients"),
        "images": ("images whose pixels are in train too", "of_images"),
        "copies": ("images that look the same as one in train", "of_images"),
    }
    recall = [
        row
        for name, chances in result["chances"].items()
        for row in (
            (f"{name}, by group: chance", chances["random"]),
            (f"{name}, by group: chance, equal reports tied", chances["tied"]),
            (f"{name}, by instance: ceiling", result["ceilings"][name]),
        )
    ]
    crossing = [
        (text, *(f"{row[kind]:,} of {row[of]:,} ({row[kind] / row[of]:.1%})" for row in leaks.values()))
        for kind, (text, of) in kinds.items()
    ]
    return {
        "Checks": check_table(result["checks"]),
        "Splits": Table(
            ("split", "images", "studies", "patients", "distinct reports", "words 5 / 50 / 95 %", "normal",
             "short side px min / median / max"),
            sizes,
        ),
        "Read otherwise than it was written": Table(
            ("how many", "what", "for example"),
            [
                (f"{note['count']:,}" if note["count"] else "-", note["what"], ", ".join(note["examples"]))
                for note in result["source_notes"]
            ],
        ),
        "Images read with a warning": Table(
            ("split", "what", "images", "for example"),
            [
                (name, kind, f"{count:,}", _examples(warnings, kind))
                for name, warnings in result["image_warnings"].items()
                for kind, count in warnings["kinds"].items()
            ],
        ),
        "What training has already seen": Table(("", *leaks), crossing),
        "Recall within reach, image → report, for reports repeat": Table(
            ("", *(f"@{k}" for k in RANKS)), [(what, *(f"{row[k]:.3f}" for k in RANKS)) for what, row in recall]
        ),
        "Findings, share of studies": Table(
            ("finding", *splits),
            [(finding, *(f"{row[name]:.1%}" for name in splits)) for finding, row in result["findings"].items()],
        ),
    }  # fmt: skip


def _examples(warnings: Mapping[str, Any], kind: str) -> str:
    own = [
        f"{image} ({warning.partition(': ')[2]})" for image, warning in warnings["listed"] if kind_of(warning) == kind
    ]
    return "; ".join(own[:EXAMPLES]) + ("; …" if len(own) > EXAMPLES else "")

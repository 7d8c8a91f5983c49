"""What is printed of an evaluation: scores beside their floors and ceiling, recall beside chance."""

from collections.abc import Mapping, Sequence
from typing import Any

SCORE_NAMES = {
    **{f"bleu_{n}": f"BLEU-{n}" for n in range(1, 5)},
    "rouge_l": "ROUGE-L",
    "finding_f1_macro": "finding F1",
}
FLOOR_NAMES = {
    "constant_report": "one constant report, chosen on val",
    "random_report": "a random training report",
    "random_same_class_report": "a random one, normal for normal",
    "most_frequent_report": "the most frequent training report",
}


def score_table(metrics: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Columns and rows: the system, its intervals, floors, ceiling, and skill."""
    names = [name for name in SCORE_NAMES if name in metrics["scores"]]
    cell = "{:.3f}".format
    rows = [["retrieved report (top 1)", *(cell(metrics["scores"][n]) for n in names)]]
    rows.append(["  95 % interval", *("{:.3f}-{:.3f}".format(*metrics["intervals"][n]) for n in names)])
    floors = {label: metrics["floors"][f] for f, label in FLOOR_NAMES.items() if f in metrics["floors"]}
    rows += [[label, *(cell(scores[n]) for n in names)] for label, scores in floors.items()]
    rows.append(["ceiling: nearest by the true text", *(cell(metrics["ceiling"][n]) for n in names)])
    skill = metrics["skill"]
    rows.append(["skill, 0 random to 1 ceiling", *(cell(skill[n]) if n in skill else "" for n in names)])
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

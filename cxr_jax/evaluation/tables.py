"""What is printed of an evaluation: scores beside their floors and ceiling, recall beside chance."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

LONG = 30  # characters: no number is


class Table(NamedTuple):
    """A table of formatted cells; the first cell of a row names it."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


SCORE_NAMES = {
    **{f"bleu_{n}": f"BLEU-{n}" for n in range(1, 5)},
    "rouge_l": "ROUGE-L",
    "meteor": "METEOR",
    "meteor_exact_stem": "METEOR (e+s)",
    "cider": "CIDEr",
    "bleu_2_rexrank": "BLEU-2 (ReXrank)",
    "rule_f1_micro": "rule F1 micro",
    "rule_f1_macro": "rule F1 macro",
    "finding_f1_macro": "finding F1",
}
FLOOR_NAMES = {
    "constant_report": "one constant report, chosen on val",
    "random_report": "a random training report",
    "random_same_class_report": "a random one, normal for normal",
    "most_frequent_report": "the most frequent training report",
    "own_constant_report": "one report of this set, chosen on other patients",
    "own_random_report": "a random report of this set's other patients",
}
# Published figures on IU X-ray (the second is printed with two decimals). R2Gen's METEOR is the jar's.
PUBLISHED = (
    (
        "R2Gen as published, protocol r2gen",
        {"bleu_1": 0.470, "bleu_2": 0.304, "bleu_3": 0.219, "bleu_4": 0.165, "rouge_l": 0.371, "meteor": 0.187},
    ),
    (
        "Ur Rahman et al. as published, protocol unstated",
        {"bleu_1": 0.48, "bleu_2": 0.31, "bleu_3": 0.22, "bleu_4": 0.18, "rouge_l": 0.37, "meteor": 0.22},
    ),
)


def score_table(metrics: Mapping[str, Any], system: str = "") -> Table:
    """The system and its intervals, where there is one, then floors, ceiling, and skill.

    Args:
      system: what it is called; else by how its drafts are made, `method`.
    """
    method = metrics.get("method", "top1")
    system = system or ("retrieved report (top 1)" if method == "top1" else f"draft ({method})")
    names = shown_scores(metrics)
    rows: list[list[str]] = []

    def add(label: str, scores: Mapping[str, float]) -> None:
        rows.append([label, *(f"{scores[name]:.3f}" if name in scores else "" for name in names)])

    if "scores" in metrics:
        add(system, metrics["scores"])
        rows.append(["  95 % interval", *("{:.3f}-{:.3f}".format(*metrics["intervals"][name]) for name in names)])
    for floor, label in FLOOR_NAMES.items():
        if floor in metrics["floors"]:
            add(label, metrics["floors"][floor])
    add("ceiling: nearest by the true text", metrics["ceiling"])
    if "skill" in metrics:
        add("skill, 0 random to 1 ceiling", metrics["skill"])
    return Table(["", *names.values()], rows)


def shown_scores(metrics: Mapping[str, Any]) -> dict[str, str]:
    """The scores of `score_table` and how each is called: ours, then other people's, lower being better with ↓."""
    ours = {name: label for name, label in SCORE_NAMES.items() if name in metrics["floors"]["random_report"]}
    external = metrics.get("external", {})
    return ours | {name: name if of["higher_is_better"] else f"{name} ↓" for name, of in external.items()}


def policy_table(metrics: Mapping[str, Any]) -> Table:
    """F1 of CheXpert's observations as `label_policies` has it, in the rows of `score_table`; its title is the policy.

    What a system's labels are read from, rules or another tool's table, is in the names of its scores.
    """
    columns = {"14": "of 14", "5": "of 5"}
    names = {
        name: f"{columns[count]}, {kind}"
        for name in metrics["floors"]["random_report"]
        if (parts := name.partition("["))[1]
        for count, kind in [parts[0].split("_")[2:]]
    }
    policy = next(iter(names)).partition("[")[2].rstrip("]").replace(",", ", ")
    rows = []
    if "scores" in metrics:
        rows.append(["retrieved report", *(f"{metrics['scores'][name]:.3f}" for name in names)])
        rows.append(["  95 % interval", *("{:.3f}-{:.3f}".format(*metrics["intervals"][name]) for name in names)])
    limits = {FLOOR_NAMES[name]: metrics["floors"][name] for name in FLOOR_NAMES if name in metrics["floors"]}
    for label, scores in (limits | {"ceiling: nearest by the true text": metrics["ceiling"]}).items():
        rows.append([label, *(f"{scores[name]:.3f}" for name in names)])
    return Table([f"rule F1, {policy}", *names.values()], rows)


def score_remarks(metrics: Mapping[str, Any]) -> list[str]:
    """Sentences beneath `score_table`: how many different reports there are, and why a ceiling lies under a floor.

    Of val also what was chosen on it, "chosen_on_val"; before all how many drafts were withheld, "abstention".
    """
    remarks = []
    if "abstention" in metrics:
        withheld = metrics["abstention"]["withheld"]
        remarks.append(
            f"{withheld:,} of {metrics['n'] + withheld:,} images are doubted and their drafts withheld: scores are of "
            f"the other {metrics['n']:,} alone, and compare with none of another coverage."
        )
    if metrics.get("split") == "val" and metrics.get("chosen_on_val"):
        chosen = ", ".join(metrics["chosen_on_val"])
        remarks.append(f"Chosen on this very split, val, so that their scores are too good: {chosen}.")
    distinct = metrics.get("distinct_reports", {})
    if "predicted" in distinct:
        remarks.append(
            f"{distinct['predicted']:,} distinct reports answer {metrics['n']:,} images, whose true reports are "
            f"{distinct['true']:,} distinct ones."
        )
    if "prior_share" in metrics.get("scores", {}):
        low, high = metrics["intervals"]["prior_share"]
        remarks.append(
            f"{metrics['scores']['prior_share']:.1%} of the answers speak of a prior study (95 %: {low:.1%}-{high:.1%})"
            f", which nobody has for another patient; {metrics['true_prior_share']:.1%} of the true reports do."
        )
    for name, label in SCORE_NAMES.items():
        above = {
            floor: scores[name]
            for floor, scores in metrics["floors"].items()
            if scores.get(name, 0) > metrics["ceiling"].get(name, math.inf) and not floor.startswith("own_")
        }
        if above:
            floor, score = max(above.items(), key=lambda item: item[1])
            remarks.append(
                f"{label}: the ceiling, {metrics['ceiling'][name]:.3f}, lies under a floor, {score:.3f} of "
                f"{FLOOR_NAMES[floor]}: {_why_under(name, metrics)}."
            )
    return remarks


def _why_under(name: str, metrics: Mapping[str, Any]) -> str:
    nearest = "the ceiling takes the training report that shares most words with the true one, copies of it barred"
    if name.startswith(("rule_f1", "finding_f1")):
        return f"{nearest}; few words carry a finding, and that report may lack them"
    copied = metrics.get("copied_references", 0.0)
    if copied:
        return f"{nearest}, and {copied:.0%} of the true reports have a copy among the training reports"
    return f"{nearest}, whatever its length and the order of its words, which this score counts"


def comparison_table(comparison: Mapping[str, Mapping[str, Any]]) -> Table:
    """Columns and rows of `comparison.compare`."""
    names = {name: label for name, label in SCORE_NAMES.items() if name in comparison}
    names |= {name: name for name in comparison if name not in names and "[" not in name and name != "prior_share"}
    rows = [
        ["difference", *(f"{comparison[name]['difference']:+.3f}" for name in names)],
        ["  95 % interval", *("{:+.3f} to {:+.3f}".format(*comparison[name]["interval"]) for name in names)],
        ["  p, two-sided", *(f"{comparison[name]['p']:.3f}" for name in names)],
    ]
    return Table(["paired bootstrap", *names.values()], rows)


def label_table(scores: Mapping[str, Any]) -> Table:
    """Columns and rows of `predictions.label_scores`: the means with their intervals, then each label."""
    rows = [
        [
            name.removeprefix("label_f1_"),
            *[""] * 3,
            f"{score:.3f}",
            "{:.3f}-{:.3f}".format(*scores["intervals"][name]),
        ]
        for name, score in scores["scores"].items()
    ]
    for label, f1 in scores["per_finding"].items():
        rows.append([label, str(f1["support"]), *(f"{f1[key]:.3f}" for key in ("precision", "recall", "f1")), ""])
    return Table(["labels, doubt counted as there", "studies", "precision", "recall", "F1", "95 % interval"], rows)


def recall_table(metrics: Mapping[str, Any]) -> Table:
    """Columns and rows: recall both ways by group, its interval, two chances, and by instance with its ceiling."""
    ks = [k for k in (1, 5, 10) if f"recall@{k}" in metrics["retrieval"]["image_to_text"]]
    rows = []
    for name, label in (("image_to_text", "image → report"), ("text_to_image", "report → image")):
        scores = metrics["retrieval"][name]
        rows.append([label, *(f"{scores[f'recall@{k}']:.3f}" for k in ks), f"{scores['median_rank']:.0f}"])
        rows.append(["  95 % interval", *("{:.3f}-{:.3f}".format(*scores["intervals"][f"recall@{k}"]) for k in ks), ""])
        rows.append(["  chance", *(f"{scores[f'chance_recall@{k}']:.3f}" for k in ks), ""])
        if name == "image_to_text":
            rows.append(["  chance, equal reports tied", *(f"{scores[f'tied_chance_recall@{k}']:.3f}" for k in ks), ""])
        rows.append(["  its very own study", *(f"{scores[f'instance_recall@{k}']:.3f}" for k in ks), ""])
        rows.append(["  that one's ceiling", *(f"{scores[f'instance_ceiling@{k}']:.3f}" for k in ks), ""])
    return Table([f"among the {metrics['n']} of the split", *(f"recall@{k}" for k in ks), "median rank"], rows)


def class_table(by_class: Mapping[str, Any]) -> Table:
    """Columns and rows of retrieval by class: precision at K and mean average precision of each direction."""
    names = {
        "image_to_report": "image → report",
        "image_to_image": "image → image",
        "sentence_to_image": "sentence → image",
    }
    there = [name for name in names if name in by_class]
    ks = [name for name in by_class["image_to_image"] if name.startswith("precision@")]
    rows = []
    for name in there:
        scores = by_class[name]
        rows.append(
            [names[name], *(f"{scores[k]:.3f}" if k in scores else "" for k in (*ks, "map", "chance_precision"))]
        )
        if "intervals" in scores:
            ends = ["{:.3f}-{:.3f}".format(*scores["intervals"][k]) if k in scores else "" for k in (*ks, "map")]
            rows.append(["  95 % interval", *ends, ""])
    return Table(["of the query's class", *(f"P@{k.split('@')[1]}" for k in ks), "mAP", "chance P"], rows)


def markdown(metrics: Mapping[str, Any], lines: Sequence[Mapping[str, Any]], examples: int = 2) -> str:
    """The paper's Table 1 and Table 2 of an evaluation.

    Table 1: the scores between floors and ceiling; on IU X-ray the published rows too, each with its protocol. Table 2:
    true and retrieved reports of the first `examples` studies without findings and with some; `lines` are predictions'.
    """
    columns, scores = score_table(metrics)
    rows = list(scores)
    names = shown_scores(metrics)
    if metrics["dataset"].startswith("IU X-ray ("):
        for source, published in PUBLISHED:
            rows.append([source, *(f"{published[name]:.3f}" if name in published else "" for name in names)])
    chosen = [line for kind in (False, True) for line in [x for x in lines if bool(x["labels"]) == kind][:examples]]
    pairs = [
        [line["study_id"], "abnormal" if line["labels"] else "normal", line["reference"], line["prediction"]]
        for line in chosen
    ]
    where = f"{metrics['dataset']}, split by {metrics['data_split']}: {metrics['split']} split, {metrics['n']} images"
    return (
        f"{where}, protocol {metrics['protocol']}, checkpoint of step {metrics['step']}.\n\n"
        f"{markdown_table(columns, rows)}\n\n"
        f"{markdown_table(*policy_table(metrics))}\n\n"
        f"{''.join(f'{remark}{chr(10)}{chr(10)}' for remark in score_remarks(metrics))}"
        f"{markdown_table(['study', 'indexed as', 'true report', 'retrieved report'], pairs)}\n"
    )


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [columns, ["---"] * len(columns), *rows]
    cells = ([" ".join(cell.split()).replace("|", "\\|") for cell in line] for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def format_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in plain text, columns of words to the left, those of numbers to the right."""
    lines = [columns, *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    words = [i == 0 or are_words([line[i] for line in rows]) for i in range(len(columns))]
    text = (
        "  ".join(c.ljust(w) if to_left else c.rjust(w) for c, w, to_left in zip(line, widths, words, strict=True))
        for line in lines
    )
    return "\n".join(line.rstrip() for line in text)


def are_words(cells: Sequence[str]) -> bool:
    """Whether a column is of words, rather than of numbers: most of its cells are letters mostly, or some are long."""
    written = [cell for cell in cells if cell]
    letters = [sum(character.isalpha() for character in cell) > len(cell) / 2 for cell in written]
    return 2 * sum(letters) >= max(len(written), 1) or any(len(cell) > LONG for cell in written)


def zero_shot_table(metrics: Mapping[str, Any]) -> Table:
    """Columns and rows: a label each, then their macro mean; what cannot be measured is said to be so."""
    rows = []
    for name, entry in metrics["labels"].items():
        head = [name, str(entry["n_positive"]), f"{entry['prevalence']:.3f}"]
        rows.append(
            [*head, *_zero_shot_cells(entry)] if "auroc" in entry else [*head, entry["not_measurable"], *[""] * 5]
        )
    macro = metrics["macro"]
    if macro:
        head = [f"macro mean of {macro['n_labels']}", "", f"{macro['floors']['average_precision']:.3f}"]
        rows.append([*head, *_zero_shot_cells(macro)])
    return Table(["", "positive", "share", "AUROC", "95 %", "AP", "F1", "95 %", "always yes"], rows)


def _zero_shot_cells(entry: Mapping[str, Any]) -> list[str]:
    def score(name: str) -> list[str]:
        if entry[name] is None:
            return ["no threshold", ""]
        return [f"{entry[name]:.3f}", "{:.3f}-{:.3f}".format(*entry["intervals"][name])]

    return [*score("auroc"), score("average_precision")[0], *score("f1"), f"{entry['floors']['f1']:.3f}"]

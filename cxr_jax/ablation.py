"""Runs beside each other, the paper's Table 3: each variant's scores over its seeds, and what it gains on the first.

    python -m cxr_jax.ablation DIR … [--split test] [--out ablation.md]

A DIR is a run that has been scored (python -m cxr_jax.retrieve --workdir DIR). Runs that differ in nothing but their
seed are one variant; the first DIR's variant is the one that the others are held against. All must answer the same
images with the same references. scripts/ablate.py trains such runs.

Scores are means over seeds ± their standard deviation, beside floors and ceiling; a random report's R@k is what
embeddings that know nothing find. Differences carry 95 % intervals of a bootstrap that draws patients and, where a
variant has several, seeds: "pays" and "costs" stand where the interval leaves out 0.
"""

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cxr_jax import config as configuration
from cxr_jax.errors import ArgumentParser, InputError, run_command
from cxr_jax.evaluation import predictions as outside
from cxr_jax.evaluation.bootstrap import sample_and_resamples
from cxr_jax.evaluation.retrieval_metrics import resampled_means
from cxr_jax.evaluation.scoring import recall_columns
from cxr_jax.evaluation.tables import SCORE_NAMES, Table, format_table, markdown_table
from cxr_jax.retrieval.store import SplitIndex
from cxr_jax.runtime.run_folder import RunFolder, write_text
from cxr_jax.training.step import count_parameters, make_recipe, state_shapes

RESAMPLES = 1000
RECALLS = {"recall@1": "R@1", "recall@5": "R@5", "recall@10": "R@10"}


@dataclass(frozen=True)
class Run:
    """A scored run: its configuration, its lines of predictions.jsonl in the order of its index, and metrics.json."""

    folder: Path
    config: dict[str, Any]
    metrics: dict[str, Any]
    lines: list[outside.Line]
    recalls: dict[str, np.ndarray]  # image → report, by score, a row an image
    limits: dict[str, dict[str, float]]  # scores of floors and ceiling
    train_reports: list[str]


@dataclass(frozen=True)
class Variant:
    """Runs that differ in their seed alone.

    `changes`: what its configuration has other than the first variant's. `samples`: score → (seeds, 1 + RESAMPLES), the
    sample itself first.
    """

    name: str
    changes: str
    parameters: tuple[int, int]  # all, trained
    samples: dict[str, np.ndarray]

    @property
    def seeds(self) -> int:
        """How many runs it has."""
        return len(next(iter(self.samples.values())))


def read_run(folder: str | Path, split: str) -> Run:
    """A run as it was scored.

    Raises:
      InputError: it holds no run, or the split was not scored.
    """
    run = RunFolder(folder)
    file = run.evaluation(split) / "metrics.json"
    try:
        metrics = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        run.load_config()  # where there is no run at all, say that
        raise InputError(
            f"{file}: cannot be read ({error}); score the run: python -m cxr_jax.retrieve --workdir {folder}"
        ) from error
    query, train = (SplitIndex.load(run.index, name) for name in (split, "train"))
    recalls = recall_columns(query)["image_to_text"]
    by_chance = {name: float(recalls[f"tied_chance_{name}"].mean()) for name in RECALLS if name in recalls}
    return Run(
        run.root,
        run.load_config(),
        metrics,
        outside.read_predictions(file.with_name("predictions.jsonl")),
        {name: column for name, column in recalls.items() if name in RECALLS},
        {
            "constant report": metrics["floors"]["constant_report"],
            "random report": metrics["floors"]["random_report"] | by_chance,
            "ceiling": metrics["ceiling"],
        },
        [train.rows[i].report for i in train.one_row_per_study()],
    )


def variants(runs: Sequence[Run], names: Mapping[Path, str] | None = None) -> list[Variant]:
    """The runs by variant, in the order of their first runs, all drawn by the same weights.

    Args:
      names: of the variants, by a run's folder; where None, the folders of their first runs.

    Raises:
      InputError: runs that answer different images or references, or were scored by different protocols.
    """
    first = runs[0]
    weights = sample_and_resamples(len(first.lines), outside.patients_of(first.lines), RESAMPLES)
    grouped: dict[str, list[Run]] = {}
    for run in runs:
        if run.metrics["protocol"] != first.metrics["protocol"]:
            raise InputError(
                f"{run.folder}: was scored by protocol {run.metrics['protocol']}, {first.folder} by "
                f"{first.metrics['protocol']}; score both alike"
            )
        grouped.setdefault(_essence(run.config), []).append(run)
    root = os.path.commonpath([run.folder.resolve().parent for run in runs])
    return [
        Variant(
            names[members[0].folder] if names else os.path.relpath(members[0].folder.resolve(), root),
            _changes(first.config, members[0].config),
            _parameters(members[0].config),
            _sampled(first, members, weights),
        )
        for members in grouped.values()
    ]


def table(found: Sequence[Variant], limits: Mapping[str, Mapping[str, float]]) -> Table:
    """Columns and rows: a variant a column, then the limits; each score's mean over seeds ± standard deviation."""
    empty = [""] * len(limits)
    rows = [
        ["seeds", *(f"{variant.seeds}" for variant in found), *empty],
        ["parameters (M)", *(f"{variant.parameters[0] / 1e6:.2f}" for variant in found), *empty],
        ["trained (M)", *(f"{variant.parameters[1] / 1e6:.2f}" for variant in found), *empty],
    ]
    for name, label in _scores(found[0]).items():
        cells = []
        for variant in found:
            values = variant.samples[name][:, 0]
            spread = f" ± {values.std(ddof=1):.3f}" if len(values) > 1 else ""
            cells.append(f"{values.mean():.3f}{spread}")
        cells += [f"{scores[name]:.3f}" if name in scores else "" for scores in limits.values()]
        rows.append([label, *cells])
    return ["", *(variant.name for variant in found), *limits], rows


def difference_table(found: Sequence[Variant]) -> Table:
    """Columns and rows: what the first variant has over each other one, with its interval, and whether that is sure."""
    first, others = found[0], found[1:]
    rows, verdicts = [], []
    for name, label in _scores(first).items():
        gains = [_gain(first, other, name) for other in others]
        verdicts.append([_verdict(*gain["interval"]) for gain in gains])
        cells = ["{:+.3f} ({:+.3f} to {:+.3f})".format(gain["difference"], *gain["interval"]) for gain in gains]
        rows.append([label, *(f"{cell} {verdict}".strip() for cell, verdict in zip(cells, verdicts[-1], strict=True))])
    rows.append([f"does {first.name} pay?", *(_summary(column) for column in zip(*verdicts, strict=True))])
    return [f"{first.name} minus", *(other.name for other in others)], rows


def _scores(variant: Variant) -> dict[str, str]:
    """The scores that the runs have, and how each is called in a table."""
    return {name: label for name, label in (SCORE_NAMES | RECALLS).items() if name in variant.samples}


def _gain(first: Variant, other: Variant, name: str) -> dict[str, Any]:
    """`outside.difference` of two variants' means over seeds; each resample draws seeds as well."""
    rng = np.random.default_rng(0)
    means = []
    for samples in (first.samples[name], other.samples[name]):
        seeds = rng.integers(len(samples), size=(len(samples), RESAMPLES + 1))
        seeds[:, 0] = np.arange(len(samples))  # the sample itself holds each seed once
        means.append(np.take_along_axis(samples, seeds, axis=0).mean(axis=0))
    return outside.difference(means[0] - means[1])


def _verdict(low: float, high: float) -> str:
    return "pays" if low > 0 else "costs" if high < 0 else ""


def _summary(verdicts: Sequence[str]) -> str:
    """`pays in 3 and costs in 1 of 12`, or `not shown`."""
    said = [f"{verdict} in {verdicts.count(verdict)}" for verdict in ("pays", "costs") if verdict in verdicts]
    return f"{' and '.join(said)} of {len(verdicts)}" if said else "not shown"


def _sampled(first: Run, members: Sequence[Run], weights: np.ndarray) -> dict[str, np.ndarray]:
    parts = []
    for run in members:
        lines = outside.paired(first.lines, run.lines)
        if [line["study_id"] for line in run.lines] != [line["study_id"] for line in lines]:
            raise InputError(f"{run.folder}: has its images in another order than {first.folder}; score it again")
        scores = outside.resampled_system(lines, weights, run.metrics["protocol"], run.train_reports)
        recalls = zip(run.recalls, resampled_means(run.recalls, weights).T, strict=True)
        parts.append(scores | dict(recalls))
    return {name: np.stack([part[name] for part in parts]) for name in parts[0]}


def _essence(config: Mapping[str, Any]) -> str:
    """What makes a run's variant: its configuration but for the seed and what changes no result."""
    flat = configuration.flatten(config)
    kept = {k: v for k, v in flat.items() if k != "seed" and k not in configuration.FREE_KEYS}
    return json.dumps(kept, sort_keys=True, default=list)


def _changes(first: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    """What sets a configuration apart from the first one's, `key=value` each."""
    old, new = (configuration.flatten(c) for c in (first, config))
    changed = [f"{name}={new[name]}" for name in new if name != "seed" and name not in configuration.FREE_KEYS
               and new[name] != old.get(name)]  # fmt: skip
    return ", ".join(changed)


def _parameters(config: Mapping[str, Any]) -> tuple[int, int]:
    recipe = make_recipe(config)
    return count_parameters(recipe, state_shapes(recipe, config).params)


def report(runs: Sequence[Run], names: Mapping[Path, str] | None = None) -> tuple[str, str]:
    """What the variants are and both tables, as text for a terminal and as Markdown."""
    found = variants(runs, names)
    metrics = runs[0].metrics
    title = (
        f"{metrics['dataset']}, split by {metrics['data_split']}: {metrics['split']} split, {metrics['n']} images, "
        f"protocol {metrics['protocol']}"
    )
    changes = [f"- {variant.name}: {found[0].name} with {variant.changes}" for variant in found[1:]]
    head = [f"{title}.", "\n".join(changes)] if changes else [f"{title}."]
    tables = [table(found, runs[0].limits), *([difference_table(found)] if len(found) > 1 else [])]
    as_text, as_markdown = (
        "\n\n".join([*head, *(form(*part) for part in tables)]) for form in (format_table, markdown_table)
    )
    return as_text, f"{as_markdown}\n"


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = ArgumentParser(
        prog="python -m cxr_jax.ablation", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("workdirs", nargs="+", metavar="DIR", help="folders of scored runs; the first is the measure")
    parser.add_argument("--split", default="test", choices=("val", "test"), help="the split that was scored (test)")
    parser.add_argument("--out", default="", metavar="FILE", help="a Markdown file to write the tables to as well")
    arguments = parser.parse_args(sys.argv[1:] if argv is None else argv)
    text, as_markdown = report([read_run(folder, arguments.split) for folder in arguments.workdirs])
    print(text)
    if arguments.out:
        write_text(Path(arguments.out), as_markdown)
        print(f"\ntables: {arguments.out}")


if __name__ == "__main__":
    run_command(main)

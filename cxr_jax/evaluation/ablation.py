"""Scored runs beside each other: those that differ in their seed alone are a variant, all resampled by one draw."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cxr_jax import config as configuration
from cxr_jax.errors import InputError
from cxr_jax.evaluation.bootstrap import sample_and_resamples
from cxr_jax.evaluation.comparison import paired, resampled_system
from cxr_jax.evaluation.predictions import Line, patients_of, read_predictions
from cxr_jax.evaluation.retrieval_metrics import resampled_means
from cxr_jax.evaluation.scoring import recall_columns
from cxr_jax.retrieval.store import SplitIndex
from cxr_jax.runtime.run_folder import RunFolder

RESAMPLES = 1000
RECALLS = {"recall@1": "R@1", "recall@5": "R@5", "recall@10": "R@10"}

# Models are counted where jax is at hand, which scores do without.
CountParameters = Callable[[Mapping[str, Any]], tuple[int, int]]


@dataclass(frozen=True)
class Run:
    """A scored run: its configuration, its lines of predictions.jsonl in the order of its index, and metrics.json."""

    folder: Path
    config: dict[str, Any]
    metrics: dict[str, Any]
    lines: list[Line]
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
            f"{file}: cannot be read ({error}); score the run: python -m cxr_jax.evaluate --workdir {folder}"
        ) from error
    query, train = (SplitIndex.load(run.index, name) for name in (split, "train"))
    recalls = recall_columns(query)["image_to_text"]
    by_chance = {name: float(recalls[f"tied_chance_{name}"].mean()) for name in RECALLS if name in recalls}
    return Run(
        run.root,
        run.load_config(),
        metrics,
        read_predictions(file.with_name("predictions.jsonl")),
        {name: column for name, column in recalls.items() if name in RECALLS},
        {
            "constant report": metrics["floors"]["constant_report"],
            "random report": metrics["floors"]["random_report"] | by_chance,
            "ceiling": metrics["ceiling"],
        },
        [train.rows[i].report for i in train.one_row_per_study()],
    )


def variants_of(runs: Sequence[Run], count: CountParameters, names: Mapping[Path, str] | None = None) -> list[Variant]:
    """The runs by variant, in the order of their first runs, all drawn by the same weights.

    Args:
      count: all and trained parameters of a configuration.
      names: of the variants, by a run's folder; where None, the folders of their first runs.

    Raises:
      InputError: runs that answer different images or references, or were scored by different protocols.
    """
    first = runs[0]
    weights = sample_and_resamples(len(first.lines), patients_of(first.lines), RESAMPLES)
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
            count(members[0].config),
            _sampled(first, members, weights),
        )
        for members in grouped.values()
    ]


def _sampled(first: Run, members: Sequence[Run], weights: np.ndarray) -> dict[str, np.ndarray]:
    parts = []
    for run in members:
        lines = paired(first.lines, run.lines)
        if [line["study_id"] for line in run.lines] != [line["study_id"] for line in lines]:
            raise InputError(f"{run.folder}: has its images in another order than {first.folder}; score it again")
        scores = resampled_system(lines, weights, run.metrics["protocol"], run.train_reports)
        recalls = zip(run.recalls, resampled_means(run.recalls, weights).T, strict=True)
        parts.append(scores | dict(recalls))
    shared = [name for name in parts[0] if all(name in part for part in parts)]
    return {name: np.stack([part[name] for part in parts]) for name in shared}


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

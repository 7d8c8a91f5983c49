"""A system beside its floors and its ceiling, as the reports that each answers with."""

import re
from collections.abc import Mapping, Sequence

import numpy as np

from cxr_jax.evaluation.ceiling import nearest_by_text
from cxr_jax.evaluation.floors import Pool, floor_rows
from cxr_jax.evaluation.label_metrics import Labels
from cxr_jax.evaluation.text_metrics import ReportScorer

SYSTEM, CEILING = "system", "ceiling"
_DRAW = re.compile(r"_\d+$")

Systems = Mapping[str, Sequence[str]]


def systems_of(
    scorer: ReportScorer, pool: Pool, predictions: Sequence[str] | None, labels: Labels | None = None
) -> dict[str, list[str]]:
    """The reports that each system answers the scorer's references with.

    "system": `predictions`, where there are some; the floors by their names, of random ones each draw as a system of
    its own, "random_report_1" to "_5"; "ceiling".
    """
    systems = {} if predictions is None else {SYSTEM: list(predictions)}
    systems |= named_draws(floor_rows(scorer, pool, labels), pool.train)
    systems[CEILING] = [pool.train[row] for row in nearest_by_text(scorer.references, pool.train)]
    return systems


def named_draws(drawn: Mapping[str, Sequence[np.ndarray]], reports: Sequence[str]) -> dict[str, list[str]]:
    """{system: its reports} of {floor: the rows of `reports`, int64, that each draw of it takes}, a draw a system."""
    return {
        floor if len(draws) == 1 else f"{floor}_{number}": [reports[row] for row in rows.tolist()]
        for floor, draws in drawn.items()
        for number, rows in enumerate(draws, start=1)
    }


def floor_of(system: str) -> str:
    """The floor that a system of `systems_of` is a draw of; else its own name."""
    return _DRAW.sub("", system)

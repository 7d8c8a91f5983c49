"""The reports of a set from elsewhere: those retrieved for its images scored between floors, and recall within it."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int

from cxr_jax.evaluation import comparison
from cxr_jax.evaluation.external_scores import Exchange, add_scores, note_scores
from cxr_jax.evaluation.floors import Pool
from cxr_jax.evaluation.own_floors import own_floors, own_systems
from cxr_jax.evaluation.predictions import Line
from cxr_jax.evaluation.scoring import recall_both_ways, score_system
from cxr_jax.evaluation.text_metrics import ReportScorer
from cxr_jax.export.folder import ExportFolder
from cxr_jax.retrieval.corpus import TRAIN
from cxr_jax.retrieval.store import SplitIndex, splits_in
from cxr_jax.runtime.run_folder import RunFolder

OWN = (
    "Floors of this set: its patients are dealt into two halves, each answered from the other's reports, where the one "
    "report is chosen too; no image meets its own patient's. They have the set's own words, so they may pass the "
    "ceiling, which is the pool's."
)
NO_POOL = (
    "The model has no pool of reports (export it --with_index, or name one by --pool FILE), so none is retrieved and "
    "scored: recall within the set is all that its reports give."
)


@dataclass(frozen=True)
class Answered:
    """Of the images that have a report, row by row: those images, what answers them, and what from."""

    query: SplitIndex
    predictions: list[str]
    pool: Pool
    on_val: bool  # whether the pool's constant report is chosen on the run's val

    @property
    def references(self) -> list[str]:
        """The true reports."""
        return [row.report for row in self.query.rows]

    @property
    def patients(self) -> list[str]:
        """Whom the images are of."""
        return [row.patient_id for row in self.query.rows]


def with_report(query: SplitIndex) -> SplitIndex:
    """The images that have a report."""
    return query.take([i for i, row in enumerate(query.rows) if row.report])


def answered(
    run: RunFolder | ExportFolder,
    query: SplitIndex,
    pool: SplitIndex,
    nearest: Int[np.ndarray, " N"],
    pools: Sequence[str],
) -> Answered:
    """The set's images that have a report, and the report retrieved for each.

    Args:
      nearest: the pool's row for each image of the query.
    """
    rows = [i for i, row in enumerate(query.rows) if row.report]
    reports = [pool.rows[i].report for i in pool.one_row_per_study().tolist()]
    # Another pool has no val of its own: its constant report is the best among its own reports.
    on_val = list(pools) == [TRAIN] and "val" in splits_in(run.index)
    val = [row.report for row in SplitIndex.load(run.index, "val").rows] if on_val else reports
    predictions = [pool.rows[i].report for i in nearest[rows].tolist()]
    return Answered(query.take(rows), predictions, Pool(reports, val), on_val)


def report_metrics(of: Answered, lines: Sequence[dict[str, Any]], protocol: str, exchange: Exchange) -> dict[str, Any]:
    """What metrics.json holds of the images that have a report, whose lines are given, for other people's scores.

    Raises:
      InputError: as `score_system`, and as `Exchange.of`.
    """
    metrics = score_system(of.pool, of.references, of.predictions, protocol, patients=of.patients)
    scorer = ReportScorer(of.references, protocol, of.pool.train)
    own = own_systems(scorer, [row.study_id for row in of.query.rows], of.patients)
    metrics["floors"] |= own_floors(scorer, own)
    external = exchange.of(lines, of.pool, protocol, more=own)
    add_scores(metrics, external, of.patients)
    note_scores(lines, external)
    remarks = [OWN if own else "All images are of one patient, so the set gives no floors of its own."]
    if not of.on_val:
        remarks.append("The pool has no val: its constant report is the best one for the pool's own reports.")
    metrics["constant_chosen_on"] = "val" if of.on_val else "the pool"
    return metrics | {"retrieval": recall_both_ways(of.query), "remarks": remarks}


def compared(
    of: Answered, lines: Sequence[Line], others: Sequence[Line], protocol: str, names: Collection[str]
) -> dict[str, Any]:
    """`comparison.compare` of what answers the images that have a report with another evaluation's answers.

    Args:
      names: of the scores that are compared.

    Raises:
      InputError: as there.
    """
    theirs = [line for line in others if line.get("reference") or "reference" not in line]
    found = comparison.compare(lines, theirs, protocol, of.pool.train)
    return {name: of_score for name, of_score in found.items() if name in names}

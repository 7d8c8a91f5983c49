"""The reports of a set from elsewhere: those retrieved for its images scored between floors, and recall within it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Int

from cxr_jax.evaluation.floors import Pool
from cxr_jax.evaluation.own_floors import own_floors
from cxr_jax.evaluation.scoring import recall_both_ways, score_system
from cxr_jax.evaluation.text_metrics import ReportScorer
from cxr_jax.export.folder import ExportFolder
from cxr_jax.retrieval.corpus import TRAIN
from cxr_jax.retrieval.external import taken
from cxr_jax.retrieval.store import SplitIndex, splits_in
from cxr_jax.runtime.run_folder import RunFolder

OWN = (
    "Floors of this set: its patients are dealt into two halves, each answered from the other's reports, where the one "
    "report is chosen too; no image meets its own patient's. They have the set's own words, so they may pass the "
    "ceiling, which is the pool's."
)


def report_metrics(
    run: RunFolder | ExportFolder,
    query: SplitIndex,
    pool: SplitIndex,
    nearest: Int[np.ndarray, " N"],
    pools: Sequence[str],
    protocol: str,
) -> dict[str, Any]:
    """What metrics.json holds of the images that have a report.

    Args:
      nearest: the pool's row for each image of the query.

    Raises:
      InputError: as `score_system`.
    """
    rows = [i for i, row in enumerate(query.rows) if row.report]
    with_report = taken(query, rows)
    references = [row.report for row in with_report.rows]
    patients = [row.patient_id for row in with_report.rows]
    reports = [pool.rows[i].report for i in pool.one_row_per_study().tolist()]
    # Another pool has no val of its own: its constant report is the best among its own reports.
    on_val = list(pools) == [TRAIN] and "val" in splits_in(run.index)
    val = [row.report for row in SplitIndex.load(run.index, "val").rows] if on_val else reports
    predictions = [pool.rows[i].report for i in nearest[rows].tolist()]
    metrics = score_system(Pool(reports, val), references, predictions, protocol, patients=patients)
    scorer = ReportScorer(references, protocol, reports)
    studies = [row.study_id for row in with_report.rows]
    own = own_floors(scorer, studies, patients)
    metrics["floors"] |= own
    remarks = [OWN if own else "All images are of one patient, so the set gives no floors of its own."]
    if not on_val:
        remarks.append("The pool has no val: its constant report is the best one for the pool's own reports.")
    if len(rows) < len(query):
        remarks.append(f"{len(query) - len(rows)} images have no report, and are in none of these scores.")
    metrics["constant_chosen_on"] = "val" if on_val else "the pool"
    return metrics | {"retrieval": recall_both_ways(with_report), "remarks": remarks}

"""Floors that are drawn from the very set that is scored: what knowing its hospital's reports, and no image, earns."""

from collections.abc import Mapping, Sequence

import numpy as np

from cxr_jax.evaluation.bootstrap import cluster_codes
from cxr_jax.evaluation.floors import best_constant
from cxr_jax.evaluation.protocols import prepare_all
from cxr_jax.evaluation.systems import Systems, floor_of, named_draws
from cxr_jax.evaluation.text_metrics import ReportScorer


def own_systems(
    scorer: ReportScorer, study_ids: Sequence[str], patient_ids: Sequence[str], draws: int = 5, seed: int = 0
) -> dict[str, list[str]]:
    """The reports that blind systems answer with from the set's own reports, named as `systems.systems_of` does.

    Patients are dealt into two halves by `seed`, and each half is answered from the other's reports, a study once: so
    no image meets its own report, its patient's, or a report that was chosen on them.

    "own_constant_report": for every image of a half the report of the other half that is the best there, by the mean of
        BLEU-4 and ROUGE-L (`floors.best_constant`).
    "own_random_report_1" and so on: a random report of the other half for each image, `draws` times.

    Args:
      scorer: of the set's reports, one an image, in the order of the ids.

    Returns:
      Nothing where all are of one patient.
    """
    codes = cluster_codes(patient_ids)
    count = int(codes.max()) + 1
    if count < 2:
        return {}
    half = np.random.default_rng(seed).permutation(count)[codes] % 2
    first = np.sort(np.unique(np.asarray(study_ids), return_index=True)[1])
    constant = np.empty(len(codes), np.int64)
    random = np.empty((draws, len(codes)), np.int64)
    for side in (0, 1):
        answered, rows = half == side, first[half[first] != side]
        reports = [scorer.references[row] for row in rows]
        candidates = prepare_all(scorer.prepare_prediction, reports)
        best = best_constant(candidates, prepare_all(scorer.prepare_reference, reports))
        constant[answered] = rows[candidates.index(best)]
        for draw in range(draws):
            rng = np.random.default_rng([seed, draw, side])
            random[draw, answered] = rows[rng.integers(len(rows), size=answered.sum())]
    drawn = {"own_constant_report": [constant], "own_random_report": list(random)}
    return named_draws(drawn, scorer.references)


def own_floors(scorer: ReportScorer, systems: Systems) -> dict[str, dict[str, float]]:
    """The scores of `own_systems`, the mean over a floor's draws: {floor: scores}, with the keys of `score_reports`."""
    draws: dict[str, list[Mapping[str, float]]] = {}
    for system, reports in systems.items():
        draws.setdefault(floor_of(system), []).append(scorer.scores(reports))
    return {
        floor: {name: float(np.mean([scores[name] for scores in of_floor])) for name in of_floor[0]}
        for floor, of_floor in draws.items()
    }

"""Floors that are drawn from the very set that is scored: what knowing its hospital's reports, and no image, earns."""

from collections.abc import Sequence

import numpy as np

from cxr_jax.evaluation.bootstrap import cluster_codes
from cxr_jax.evaluation.floors import best_constant
from cxr_jax.evaluation.protocols import prepare_all
from cxr_jax.evaluation.text_metrics import ReportScorer


def own_floors(
    scorer: ReportScorer, study_ids: Sequence[str], patient_ids: Sequence[str], draws: int = 5, seed: int = 0
) -> dict[str, dict[str, float]]:
    """Scores blind systems that answer from the set's own reports; {name: scores}, with the keys of `score_reports`.

    Patients are dealt into two halves by `seed`, and each half is answered from the other's reports, a study once: so
    no image meets its own report, its patient's, or a report that was chosen on them.

    "own_constant_report": for every image of a half the report of the other half that is the best there, by the mean of
        BLEU-4 and ROUGE-L (`floors.best_constant`).
    "own_random_report": a random report of the other half for each image, the mean of `draws` draws.

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
    scores = [scorer.scores([scorer.references[row] for row in line]) for line in random.tolist()]
    return {
        "own_constant_report": scorer.scores([scorer.references[row] for row in constant.tolist()]),
        "own_random_report": {name: float(np.mean([of_draw[name] for of_draw in scores])) for name in scores[0]},
    }

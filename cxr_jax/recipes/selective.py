"""A run's split under its checks: whose drafts are withheld, what risk is left, how votes are calibrated."""

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cxr_jax.errors import InputError
from cxr_jax.evaluation.calibration import calibration
from cxr_jax.evaluation.scoring import Predicted
from cxr_jax.evaluation.selective import RISK, label_risk, selective_metrics
from cxr_jax.retrieval.abstention import KEPT, UNCHECKED, Checks, Gauge, Limits, Measures, measures_of, reasons
from cxr_jax.retrieval.draft import Neighbours, voters_of
from cxr_jax.retrieval.model import Model
from cxr_jax.retrieval.store import SplitIndex
from cxr_jax.retrieval.voting import VOTED, read, support, vote, vote_weights


class Checked(NamedTuple):
    """A split's images under a run's checks, and the neighbours that vote on them."""

    checks: Checks
    voters: Neighbours
    measures: Measures


def checked(
    index: Path, query: SplitIndex, train: SplitIndex, model: Model | None, stored: Limits | None
) -> Checked | None:
    """A split under the checks of the model where one is loaded, else by the limits that its index holds.

    Where there are neither, that is said on standard error.

    Args:
      index: the folder of the run's indices. stored: what `abstention.load` finds there.
    """
    checks = None
    if model is not None:
        checks = model.checks
    elif stored is not None:
        checks = Checks(Gauge(train), stored)
    if checks is None:
        print(f"{index}: images are {UNCHECKED}", file=sys.stderr)
        return None
    voters = voters_of(query, train)
    return Checked(checks, voters, measures_of(query, train, checks.gauge, checks.limits.scale, voters))


def selective_part(of: Checked, query: SplitIndex, train: SplitIndex, predicted: Sequence[Predicted]) -> dict[str, Any]:
    """What metrics.json holds as "selective": `selective_metrics` of the split, its risk, limits, and who passes.

    Beside the checks' own measures stand "similarity", the cosine of the nearest report, and "support", how far the
    neighbours say what the draft does.
    """
    (checks, voters, measures), texts = of, [prediction.text for prediction in predicted]
    weights = vote_weights(voters.similarity, checks.limits.scale)
    confidences = {
        "likeness": measures.likeness,
        "embedding": measures.embedding,
        "agreement": measures.agreement,
        "similarity": voters.similarity[:, 0].astype(np.float64),
        "support": support(texts, train.reports, voters.rows, weights),
    }
    risk = label_risk([row.report for row in query.rows], texts)
    passed = checks.limits.passed(measures)
    whole = np.all(list(passed.values()), axis=0)
    return {
        "risk": RISK,
        "mean_risk": float(risk.mean()),
        **selective_metrics(confidences, risk, [row.patient_id for row in query.rows]),
        "limits": checks.limits.lowest,
        "kept": {name: {"val": KEPT[name], query.name: float(of.mean())} for name, of in passed.items()},
        "coverage": float(whole.mean()),
        "risk_of_kept": float(risk[whole].mean()) if whole.any() else None,
        "risk_of_withheld": float(risk[~whole].mean()) if not whole.all() else None,
    }


def calibration_part(of: Checked, val: SplitIndex, query: SplitIndex, train: SplitIndex) -> dict[str, Any]:
    """{split: `calibration` of the weight of the vote that affirms an observation}, of val and of the split scored.

    True is what the report affirms.
    """
    of_val = [] if val.name == query.name else [(val, voters_of(val, train))]
    result = {}
    for split, voters in (*of_val, (query, of.voters)):
        votes = vote(train.reports, voters.rows, vote_weights(voters.similarity, of.checks.limits.scale))
        truth = read([row.report for row in split.rows])[0]
        result[split.name] = calibration(votes.affirmed, truth, VOTED)
    return result


def kept_of(query: SplitIndex, of: Checked) -> tuple[SplitIndex, list[dict[str, Any]]]:
    """The images of a split that are not doubted, and a line for each other one: who it is, and why.

    Raises:
      InputError: none is left.
    """
    doubts = reasons(of.measures, of.checks.limits)
    kept = [number for number, lines in enumerate(doubts) if not lines]
    if not kept:
        raise InputError(f"--abstain: all {len(query)} images of {query.name} are doubted; there is nothing to score")
    rows = ((query.rows[number], lines) for number, lines in enumerate(doubts) if lines)
    withheld = [
        {"study_id": row.study_id, "image_id": row.image_id, "patient_id": row.patient_id, "reasons": list(lines)}
        for row, lines in rows
    ]
    return query.take(kept), withheld


def abstention_part(kept: int, withheld: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What metrics.json holds as "abstention": how many drafts are withheld, and for which kinds of reasons."""
    kinds = Counter(reason.partition(":")[0] for line in withheld for reason in line["reasons"])
    return {"withheld": len(withheld), "coverage": kept / (kept + len(withheld)), "reasons": dict(kinds.most_common())}

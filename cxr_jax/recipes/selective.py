"""A run's split under its checks: whose drafts are withheld, what risk is left, how votes are calibrated."""

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cxr_jax.errors import InputError
from cxr_jax.evaluation.calibration import calibration
from cxr_jax.evaluation.scoring import Predicted
from cxr_jax.evaluation.selective import RISK, label_risk, selective_metrics
from cxr_jax.retrieval import abstention
from cxr_jax.retrieval.abstention import KEPT, UNCHECKED, Checks, Gauge, Limits, Measures, measures_of, reasons
from cxr_jax.retrieval.draft import NEIGHBOURS
from cxr_jax.retrieval.model import Model
from cxr_jax.retrieval.rows import Lazily
from cxr_jax.retrieval.search import neighbours_of
from cxr_jax.retrieval.store import SplitIndex
from cxr_jax.retrieval.voting import VOTED, read, support, vote, vote_weights


def checks_of_run(index: Path, train: SplitIndex, model: Model | None) -> Checks | None:
    """A run's checks, of the model where one is loaded, else by the limits that its index holds.

    Where there are none, that is said on standard error.
    """
    checks = None
    if model is not None:
        checks = model.checks
    elif (stored := abstention.load(index, train)) is not None:
        checks = Checks(Gauge(train), stored)
    if checks is None:
        print(f"{index}: images are {UNCHECKED}", file=sys.stderr)
    return checks


def has_limits(index: Path, train: SplitIndex) -> bool:
    """Whether an index holds the limits of its checkpoint."""
    return abstention.load(index, train) is not None


def measured(checks: Checks, split: SplitIndex, train: SplitIndex) -> Measures:
    """The measures of a split's images."""
    return measures_of(split, train, checks.gauge, checks.limits.scale)


def selective_part(
    checks: Checks, measures: Measures, query: SplitIndex, train: SplitIndex, predicted: Sequence[Predicted]
) -> dict[str, Any]:
    """What metrics.json holds as "selective": `selective_metrics` of the split, its risk, limits, and who passes.

    Beside the checks' own measures stand "similarity", the cosine of the nearest report, and "support", how far the
    neighbours say what the draft does.
    """
    similarity, rows = neighbours_of(query, train, NEIGHBOURS)
    weights = vote_weights(similarity, checks.limits.scale)
    texts = [prediction.text for prediction in predicted]
    confidences = {
        "likeness": measures.likeness,
        "embedding": measures.embedding,
        "agreement": measures.agreement,
        "similarity": similarity[:, 0].astype(np.float64),
        "support": support(texts, _reports(train), rows, weights),
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


def calibration_part(checks: Checks, splits: Sequence[SplitIndex], train: SplitIndex) -> dict[str, Any]:
    """{split: `calibration` of the weight of the vote that affirms an observation}; true is what the report affirms."""
    result = {}
    for split in splits:
        similarity, rows = neighbours_of(split, train, NEIGHBOURS)
        votes = vote(_reports(train), rows, vote_weights(similarity, checks.limits.scale))
        truth = read([row.report for row in split.rows])[0]
        result[split.name] = calibration(votes.affirmed, truth, VOTED)
    return result


def kept_of(query: SplitIndex, measures: Measures, limits: Limits) -> tuple[SplitIndex, list[dict[str, Any]]]:
    """The images of a split that are not doubted, and a line for each other one: who it is, and why.

    Raises:
      InputError: none is left.
    """
    doubts = reasons(measures, limits)
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


def _reports(train: SplitIndex) -> Lazily[str]:
    return Lazily(len(train), lambda row: train.rows[row].report)

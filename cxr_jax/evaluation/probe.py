"""Linear probes: what a logistic regression reads off frozen embeddings, from all of the training rows or a few.

Few-shot probes learn on a share of the training patients, drawn anew with each seed. Features are standardised on the
rows that are learnt on; the strength of the L2 penalty is that of the highest macro AUROC on val.
"""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from cxr_jax.errors import InputError
from cxr_jax.evaluation.bootstrap import interval
from cxr_jax.evaluation.probe_data import Labels, few, spread
from cxr_jax.evaluation.ratios import ratio
from cxr_jax.evaluation.zero_shot import Ranking

SCORES = ("auroc", "average_precision")
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)  # scikit-learn's C, the inverse of the penalty
MAX_ITERATIONS = 1000


class Probe(NamedTuple):
    """One probe's decision on the test rows, float64 (n, L), the C that val chose, and how many fits were cut short."""

    decision: np.ndarray
    strength: float
    cut_short: int


def check_installed() -> None:
    """Raises InputError where scikit-learn is missing."""
    try:
        import sklearn  # noqa: F401
    except ImportError as error:
        raise InputError('a probe needs scikit-learn; pip install "cxr_jax[probe]"') from error


def probe(
    vectors: Float[np.ndarray, "N E"],
    labels: Labels,
    patients: Sequence[str],
    rows: Mapping[str, np.ndarray],
    percents: Sequence[float],
    seeds: int,
    resamples: int = 1000,
) -> dict[str, Any]:
    """What probe.json holds of the scores.

    Args:
      rows: of train, val and test.
      percents: of the training rows to learn on; 100 is all of them, once, any other is drawn with each of `seeds`.

    Returns:
      "labels": {name: n, n_positive and prevalence on test; where it cannot be measured "not_measurable" says why},
      "shares": {percent: "rows" and "patients" learnt on and "C", one of each seed, "cut_short",
      "labels": {name: SCORES, means over seeds, their "intervals" over test patients, their "spread" (standard
      deviation over seeds, None of one), "floors": chance's and a probe's on random vectors}, "macro": the same of the
      means over labels}}.

    Raises:
      InputError: no label can be measured on test, or none on val.
    """
    test, val = rows["test"], rows["val"]
    entries = {name: _entry(labels, label, test) for label, name in enumerate(labels.names)}
    measurable = [label for label, name in enumerate(labels.names) if "not_measurable" not in entries[name]]
    if not measurable:
        raise InputError("no label has both a positive and a negative among the test rows; there is nothing to measure")
    kept = Labels(
        tuple(labels.names[label] for label in measurable), labels.present[:, measurable], labels.known[:, measurable]
    )
    if not any(_measurable(kept, label, val) for label in range(len(measurable))):
        raise InputError("no label has both a positive and a negative among the val rows; the penalty cannot be chosen")
    noise = np.random.default_rng(318).normal(size=vectors.shape)
    shares = {}
    for percent in percents:
        drawn = [
            few(spread(patients, kept, rows["train"], seed), patients, rows["train"], percent / 100)
            for seed in range(1 if percent == 100 else seeds)
        ]
        probes = [_fit(vectors, kept, learnt, val, test) for learnt in drawn]
        floor = _fit(noise, kept, drawn[0], val, test)
        shares[f"{percent:g}"] = {
            "rows": [len(learnt) for learnt in drawn],
            "patients": [len({patients[row] for row in learnt.tolist()}) for learnt in drawn],
            "C": [one.strength for one in probes],
            "cut_short": sum(one.cut_short for one in probes),
            **_scored(kept, test, [patients[row] for row in test.tolist()], probes, floor, resamples),
        }
    return {"labels": entries, "shares": shares}


def _entry(labels: Labels, label: int, test: np.ndarray) -> dict[str, Any]:
    known = test[labels.known[test, label]]
    positive = int(labels.present[known, label].sum())
    entry: dict[str, Any] = {"n": len(known), "n_positive": positive, "prevalence": positive / max(len(known), 1)}
    if not _measurable(labels, label, test):
        entry["not_measurable"] = f"no {'negative' if positive else 'positive'} in test"
    return entry


def _measurable(labels: Labels, label: int, rows: np.ndarray) -> bool:
    truth = labels.present[rows[labels.known[rows, label]], label]
    return bool(truth.any() and not truth.all())


def _fit(vectors: np.ndarray, labels: Labels, learnt: np.ndarray, val: np.ndarray, test: np.ndarray) -> Probe:
    """The probe whose penalty is best on val, the strongest of equal ones."""
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(vectors[learnt].astype(np.float64))
    x, on_val, on_test = (scaler.transform(vectors[rows].astype(np.float64)) for rows in (learnt, val, test))
    best, highest = None, -np.inf
    cut_short = 0
    for strength in STRENGTHS:
        columns = [
            _decide(x, labels.present[learnt, label], labels.known[learnt, label], strength, on_val, on_test)
            for label in range(len(labels.names))
        ]
        of_val, of_test, cut = zip(*columns, strict=True)
        cut_short += sum(cut)
        auroc = [
            _scores(labels, label, val, of_val[label], np.ones((len(val), 1)))[0][0]
            for label in range(len(columns))
            if _measurable(labels, label, val)
        ]
        if np.mean(auroc) > highest:
            best, highest = (np.stack(of_test, axis=1), strength), float(np.mean(auroc))
    assert best is not None
    return Probe(*best, cut_short)


def _decide(
    x: np.ndarray, truth: np.ndarray, known: np.ndarray, strength: float, *others: np.ndarray
) -> tuple[Any, ...]:
    """The decision on other rows, an array each (0 where there is nothing to learn); whether the fit was cut short."""
    from sklearn.linear_model import LogisticRegression

    if len(set(truth[known].tolist())) < 2:
        return (*(np.zeros(len(other)) for other in others), False)
    model = LogisticRegression(C=strength, max_iter=MAX_ITERATIONS)
    with warnings.catch_warnings(action="ignore"):  # of fits that are cut short, which are counted
        model.fit(x[known], truth[known])
    return (*(model.decision_function(other) for other in others), bool(model.n_iter_.max() >= MAX_ITERATIONS))


def _scores(
    labels: Labels, label: int, rows: np.ndarray, decision: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """SCORES of one label's decision under weights float64 (n, r) of the rows."""
    known = labels.known[rows, label]
    ranking = Ranking(labels.present[rows[known], label], decision[known])
    return ranking.scores(np.ascontiguousarray(weights[known]))


def _scored(
    labels: Labels, test: np.ndarray, patients: Sequence[str], probes: Sequence[Probe], floor: Probe, resamples: int
) -> dict[str, Any]:
    count = len(labels.names)

    def of_probe(one: Probe, weights: np.ndarray) -> np.ndarray:
        """(r, L + 1, SCORES), the means over labels last."""
        drawn = np.ascontiguousarray(weights.T, np.float64)
        scores = np.array([_scores(labels, label, test, one.decision[:, label], drawn) for label in range(count)])
        scores = scores.transpose(2, 0, 1)
        there = ~np.isnan(scores)
        macro = ratio(np.where(there, scores, 0).sum(axis=1), there.sum(axis=1), np.nan)
        return np.concatenate([scores, macro[:, None]], axis=1)

    def mean(weights: np.ndarray) -> np.ndarray:
        return np.mean([of_probe(one, weights) for one in probes], axis=0).reshape(len(weights), -1)

    once = np.ones((1, len(test)), np.int64)
    each = np.array([of_probe(one, once)[0] for one in probes])
    low, high = (ends.reshape(count + 1, -1) for ends in interval(mean, len(test), patients, resamples))
    blind = of_probe(floor, once)[0]
    spreads = each.std(axis=0, ddof=1) if len(each) > 1 else None
    prevalence = [float(labels.present[test[labels.known[test, label]], label].mean()) for label in range(count)]
    chance = [*prevalence, float(np.mean(prevalence))]

    def entry(place: int) -> dict[str, Any]:
        return {
            **{name: float(each[:, place, i].mean()) for i, name in enumerate(SCORES)},
            "intervals": {name: [float(low[place, i]), float(high[place, i])] for i, name in enumerate(SCORES)},
            "spread": {name: None if spreads is None else float(spreads[place, i]) for i, name in enumerate(SCORES)},
            "floors": {
                "chance": {"auroc": 0.5, "average_precision": chance[place]},
                "random_vectors": {name: float(blind[place, i]) for i, name in enumerate(SCORES)},
            },
        }

    of_labels = {name: entry(place) for place, name in enumerate(labels.names)}
    return {"labels": of_labels, "macro": {"n_labels": count, **entry(count)}}

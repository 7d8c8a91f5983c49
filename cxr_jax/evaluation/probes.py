"""Probes of what a score sees: how far it falls where reports are made to say something else in nearly the same words.

`labels.perturbations` makes the twins. A score that does not fall where sides are swapped is blind to them, whatever it
is worth otherwise. A model is probed alike: whether the true report lies nearer to its image than the twin does.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from cxr_jax.evaluation.bootstrap import Clusters, interval, sample_and_resamples
from cxr_jax.evaluation.comparison import difference
from cxr_jax.evaluation.floors import Pool
from cxr_jax.evaluation.systems import systems_of
from cxr_jax.evaluation.tables import SCORE_NAMES, Table, format_table
from cxr_jax.evaluation.text_metrics import ReportScorer, resampled_scores
from cxr_jax.labels.perturbations import PERTURBATIONS
from cxr_jax.subsequences import common_subsequences

PROBE_NAMES = {
    "side_swapped": "side swapped",
    "negation_flipped": "negation flipped",
    "finding_removed": "a finding removed",
    "prior_invented": "a prior study invented",
    "sentences_shuffled": "sentences shuffled",
}
SYSTEM_NAMES = {
    "true": "the true report",
    "system": "the retrieved report",
    "ceiling": "the nearest by the true text",
    "random_report_1": "a random training report",
    "constant_report": "one constant report",
}
_TIE = 1e-6  # in cosine: what the same tokens differ by when they are embedded in another batch

Twins = Mapping[str, Sequence[str | None]]


def twins_of(reports: Sequence[str]) -> dict[str, list[str | None]]:
    """Each probe's twin of each report, None where it has none."""
    distinct = dict.fromkeys(reports)
    result = {}
    for probe, perturb in PERTURBATIONS.items():
        twins = {report: perturb(report) for report in distinct}
        result[probe] = [twins[report] for report in reports]
    return result


def probed_systems(
    references: Sequence[str], predictions: Sequence[str] | None, pool: Pool, protocol: str
) -> dict[str, Sequence[str]]:
    """The systems of SYSTEM_NAMES that there are: the true reports, `predictions`, and `systems.systems_of`."""
    systems = systems_of(ReportScorer(references, protocol, pool.train), pool, predictions)
    return {"true": references} | {name: systems[name] for name in SYSTEM_NAMES if name in systems}


def probe_scores(
    references: Sequence[str],
    systems: Mapping[str, Sequence[str]],
    pool: Pool,
    protocol: str,
    patients: Clusters | None = None,
    resamples: int = 1000,
    meteor: str = "auto",
) -> dict[str, dict[str, dict[str, Any]]]:
    """What each score of each system loses when the system's reports are perturbed.

    Only reports that have a twin are scored, before and after, so that what a probe does not touch waters nothing down;
    CIDEr's document frequencies are theirs. A probe that no report of a system has a twin for has no entry for it.

    Args:
      systems: {name: a report for each reference}; "true" for the references themselves.
      patients, resamples: of the bootstrap of the change, see `comparison.difference`.

    Returns:
      {probe: {system: {"n": reports with a twin, "without": those without one, "words_changed": the share of words
      outside the longest common subsequence of report and twin, "before", "after": scores, "change": {score:
      `comparison.difference` of after minus before}}}}.
    """
    result: dict[str, dict[str, dict[str, Any]]] = {probe: {} for probe in PERTURBATIONS}
    for system, reports in systems.items():
        for probe, twins in twins_of(reports).items():
            rows = [i for i, twin in enumerate(twins) if twin is not None]
            if not rows:
                continue
            chosen = [str(twins[i]) for i in rows]
            scorer = ReportScorer([references[i] for i in rows], protocol, pool.train, meteor)
            clusters = None if patients is None else [patients[i] for i in rows]
            weights = sample_and_resamples(len(rows), clusters, resamples)
            own = [reports[i] for i in rows]
            before, after = (resampled_scores(scorer.statistics(side), weights) for side in (own, chosen))
            changes = zip(scorer.names, (after - before).T, strict=True)
            result[probe][system] = {
                "n": len(rows),
                "without": len(reports) - len(rows),
                "words_changed": _changed(own, chosen),
                "before": dict(zip(scorer.names, before[0].tolist(), strict=True)),
                "after": dict(zip(scorer.names, after[0].tolist(), strict=True)),
                "change": {name: difference(values) for name, values in changes if not np.isnan(values[0])},
            }
    return result


def _changed(reports: Sequence[str], twins: Sequence[str]) -> float:
    lengths = sum(len(text.split()) for side in (reports, twins) for text in side)
    common = common_subsequences([text.lower() for text in reports], [text.lower() for text in twins]).sum()
    return 1 - 2 * float(common) / lengths


def preferences(
    images: np.ndarray,
    references: Sequence[str],
    encode_text: Callable[[list[str]], np.ndarray],
    patients: Clusters,
) -> dict[str, dict[str, Any]]:
    """How often a model prefers the true report to its twin, given the image; chance is one half.

    Args:
      images: float32 (n, E), unit norm; encode_text gives as much of texts.
      references: (n,), the true reports.

    Returns:
      {probe: {"accuracy": over images whose report has a twin, ties counting half, "interval": 95 %, over patients,
      "n", "without": images whose report has none, "ties": where the model cannot tell the two apart, as where the
      change lies beyond the tokens that it reads}}; "accuracy" is missing where n is 0.
    """
    probes = twins_of(references)
    texts = list(dict.fromkeys([*references, *(twin for twins in probes.values() for twin in twins if twin)]))
    embedded = encode_text(texts)
    row = {text: i for i, text in enumerate(texts)}
    result: dict[str, dict[str, Any]] = {}
    for probe, twins in probes.items():
        pairs = [(i, row[references[i]], row[twin]) for i, twin in enumerate(twins) if twin]
        result[probe] = {"n": len(pairs), "without": len(references) - len(pairs)}
        if not pairs:
            continue
        image, true, twin_rows = np.array(pairs).T
        gap = (images[image] * (embedded[true] - embedded[twin_rows])).sum(axis=1)
        won = np.where(np.abs(gap) <= _TIE, 0.5, gap > 0)
        low, high = interval(partial(_mean, won), len(won), [patients[i] for i in image])
        result[probe] |= {
            "accuracy": float(won.mean()),
            "interval": [float(low), float(high)],
            "ties": int((np.abs(gap) <= _TIE).sum()),
        }
    return result


def _mean(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return weights @ values / weights.sum(axis=1)


def probe_table(results: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> Table:
    """Columns and rows of `probe_scores`: each score's change, in brackets where its interval holds 0."""
    entries = [entry for systems in results.values() for entry in systems.values()]
    names = [name for name in SCORE_NAMES if any(name in entry["change"] for entry in entries)]
    rows = []
    for probe, systems in results.items():
        for system, entry in systems.items():
            head = [f"{PROBE_NAMES[probe]}: {SYSTEM_NAMES[system]}", str(entry["n"]), f"{entry['words_changed']:.0%}"]
            rows.append([*head, *(_cell(entry["change"].get(name)) for name in names)])
    return Table(["change of", "reports", "words", *(SCORE_NAMES[name] for name in names)], rows)


def _cell(change: Mapping[str, Any] | None) -> str:
    if change is None:
        return ""
    low, high = change["interval"]
    return f"({change['difference']:+.3f})" if low <= 0 <= high else f"{change['difference']:+.3f}"


def text_of(
    results: Mapping[str, Mapping[str, Mapping[str, Any]]], preferred: Mapping[str, Mapping[str, Any]] | None = None
) -> str:
    """What is printed of both."""
    parts = [
        format_table(*probe_table(results)),
        "Of reports that the probe changes, scored before and after. In brackets: the 95 % interval holds 0.",
    ]
    if preferred is not None:
        parts += ["", format_table(*preference_table(preferred)), "Chance is one half; ties count half."]
    return "\n".join(parts)


def preference_table(results: Mapping[str, Mapping[str, Any]]) -> Table:
    """Columns and rows of `preferences`."""
    rows = []
    for probe, entry in results.items():
        cells = [""] * 3
        if "accuracy" in entry:
            cells = [f"{entry['accuracy']:.3f}", "{:.3f}-{:.3f}".format(*entry["interval"]), str(entry["ties"])]
        rows.append([PROBE_NAMES[probe], str(entry["n"]), *cells])
    return Table(["the true report preferred to its twin", "images", "share", "95 % interval", "ties"], rows)

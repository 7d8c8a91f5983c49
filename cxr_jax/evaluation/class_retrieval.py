"""Precision at K and mean average precision by class, as ConVIRT's and GLoRIA's tables have them."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from cxr_jax.errors import InputError
from cxr_jax.evaluation.bootstrap import Clusters, interval
from cxr_jax.evaluation.ratios import ratio
from cxr_jax.evaluation.retrieval_metrics import Columns, means, resampled_means

KS = (5, 10, 50, 100)


def class_columns(
    similarity: Float[np.ndarray, "Q T"],
    query_classes: Int[np.ndarray, " Q"],
    target_classes: Int[np.ndarray, " T"],
    ks: Sequence[int] = KS,
    barred: Bool[np.ndarray, "Q T"] | None = None,
) -> Columns:
    """What each query adds: "precision@k", "map", and "chance_precision", the share of its class among the targets.

    A target is right that is of the query's class. Equal similarities are in no order: a hit among them counts as its
    expectation over all orders for "precision@k", and stands last among its equals for "map". A k above the targets of
    a query is left out.

    Args:
      barred: targets that a query must not find, itself say.

    Raises:
      InputError: the similarities hold NaN.
    """
    if np.isnan(similarity).any():
        raise InputError("similarity: holds NaN; the embeddings are broken (a diverged run?)")
    ranked = np.where(barred, -np.inf, similarity) if barred is not None else similarity
    right = query_classes[:, None] == target_classes
    if barred is not None:
        right = right & ~barred
    targets = similarity.shape[1] - (barred.sum(axis=1) if barred is not None else np.zeros(len(similarity), int))
    columns: dict[str, np.ndarray] = {f"precision@{k}": np.empty(len(ranked)) for k in ks if k <= targets.min()}
    columns |= {"map": np.empty(len(ranked)), "chance_precision": ratio(right.sum(axis=1), targets)}
    for query, (row, hit) in enumerate(zip(ranked, right, strict=True)):
        order = np.lexsort((hit, -row))  # the wrong ones first among equals
        values, hits = row[order][: targets[query]], hit[order][: targets[query]]
        found = np.cumsum(hits)
        columns["map"][query] = (found / np.arange(1, len(hits) + 1))[hits].mean() if hits.any() else np.nan
        for k in ks:
            if f"precision@{k}" in columns:
                first, last = np.searchsorted(-values, -values[k - 1], "left"), (values >= values[k - 1]).sum()
                before = found[first - 1] if first else 0
                tied = (found[last - 1] - before) / (last - first)
                columns[f"precision@{k}"][query] = (before + tied * (k - first)) / k
    return columns


def class_scores(columns: Columns, patients: Clusters) -> dict[str, Any]:
    """The means over the queries, and under "intervals" their 95 % intervals over patients.

    What no query has is left out, and "not_measurable" says why.
    """
    measured = {name: column for name, column in columns.items() if not np.isnan(column).all()}
    low, high = interval(partial(resampled_means, measured), len(patients), patients)
    ends = {name: [float(low[i]), float(high[i])] for i, name in enumerate(measured) if "chance" not in name}
    lacking = {name: "no query has another target of its class" for name in columns if name not in measured}
    return {**means(measured), "intervals": ends} | ({"not_measurable": lacking} if lacking else {})

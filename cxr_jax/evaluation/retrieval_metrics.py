"""Group-aware retrieval scores: where the first right answer ranks, and what chance would give.

A target is right when it shares the query's group, for reports repeat: an image's report may stand in the pool under
several study ids, and finding any of them is finding it.
"""

from collections.abc import Collection, Hashable, Mapping, Sequence

import numpy as np

from cxr_jax.errors import InputError

_BLOCK = 1 << 20  # similarities compared at a time: keeps the temporaries in the cache


def retrieval_metrics(
    similarity: np.ndarray,
    query_groups: Sequence[Hashable] | np.ndarray,
    target_groups: Sequence[Hashable] | np.ndarray,
    ks: Sequence[int] = (1, 5, 10),
) -> dict[str, float]:
    """Scores rankings of targets by similarity, (num_queries, num_targets), larger is nearer.

    Returns, with ranks from `first_hit_ranks`: "recall@k" (share of queries with rank <= k), "mrr" (mean of 1 / rank),
    "median_rank", and "chance_recall@k", the exact expectation of recall@k under a uniformly random ranking.

    Raises InputError for shapes that do not fit, similarities that are not numbers, a k below 1, no query, or a query
    whose group has no target.
    """
    _check_ks(ks)
    ranks = first_hit_ranks(similarity, query_groups, target_groups)
    query_codes, target_codes = _group_codes(query_groups, target_groups)
    hits_in_pool = np.bincount(target_codes, minlength=query_codes.max() + 1)[query_codes]
    scores = {f"recall@{k}": float((ranks <= k).mean()) for k in ks}
    scores |= {"mrr": float((1 / ranks).mean()), "median_rank": float(np.median(ranks))}
    return scores | {f"chance_recall@{k}": _chance_recall(hits_in_pool, len(target_codes), k) for k in ks}


def label_metrics(
    similarity: np.ndarray,
    query_labels: Sequence[Collection[str]],
    target_labels: Sequence[Collection[str]],
    ks: Sequence[int] = (1, 5, 10),
) -> dict[str, float]:
    """Scores rankings by what the targets show, for another report of the same findings serves as well.

    A target is relevant when it shares a label with the query, or when neither has one. Returns "label_precision@k"
    (mean share of relevant targets among the first k), "label_map" (mean average precision over the whole ranking,
    queries without a relevant target left out), "label_ndcg@k" (gain: the Jaccard index of the label sets, 1 for two
    empty ones; discount log2(rank + 1)), and "chance_label_precision", the share of relevant targets. Ties go to the
    lower target.

    Raises InputError for shapes that do not fit, or a k below 1.
    """
    _check_ks(ks)
    similarity = np.asarray(similarity)
    if similarity.shape != (len(query_labels), len(target_labels)) or not similarity.size:
        raise InputError(
            f"similarity: shape {similarity.shape} does not fit {len(query_labels)} query and {len(target_labels)} "
            "target label sets; pass (num_queries, num_targets)"
        )
    known = {label for side in (query_labels, target_labels) for labels in side for label in labels}
    columns = {label: i for i, label in enumerate(sorted(known))}
    queries, targets = (_indicators(side, columns) for side in (query_labels, target_labels))
    count, deepest = len(targets), min(max(ks), len(targets))
    discount = 1 / np.log2(np.arange(deepest) + 2)
    rows = max(1, _BLOCK // count)
    precision, ndcg = (np.empty((len(queries), len(ks))) for _ in range(2))
    average, chance = np.empty(len(queries)), np.empty(len(queries))
    for start in range(0, len(queries), rows):
        part = slice(start, start + rows)
        shared = queries[part] @ targets.T
        union = queries[part].sum(axis=1)[:, None] + targets.sum(axis=1) - shared
        gain = np.where(union > 0, shared / np.maximum(union, 1), 1.0)
        order = np.argsort(-similarity[part], axis=1, kind="stable")
        found = np.take_along_axis(gain, order, axis=1)
        hits = np.cumsum(found > 0, axis=1)
        total = hits[:, -1]
        precisions = (hits / np.arange(1, count + 1) * (found > 0)).sum(axis=1)
        average[part] = precisions / np.where(total > 0, total, np.nan)
        chance[part] = total / count
        best = -np.sort(-gain, axis=1)
        for i, k in enumerate(min(k, count) for k in ks):
            precision[part, i] = hits[:, k - 1] / k
            ideal = best[:, :k] @ discount[:k]
            ndcg[part, i] = np.divide(found[:, :k] @ discount[:k], ideal, out=np.zeros(len(ideal)), where=ideal > 0)
    scores = {f"label_precision@{k}": float(precision[:, i].mean()) for i, k in enumerate(ks)}
    scores |= {f"label_ndcg@{k}": float(ndcg[:, i].mean()) for i, k in enumerate(ks)}
    mean = float(np.nanmean(average)) if not np.isnan(average).all() else 0.0
    return scores | {"label_map": mean, "chance_label_precision": float(chance.mean())}


def _indicators(labels: Sequence[Collection[str]], columns: Mapping[str, int]) -> np.ndarray:
    matrix = np.zeros((len(labels), len(columns)), np.float32)
    for row, study in enumerate(labels):
        matrix[row, [columns[label] for label in study]] = 1
    return matrix


def first_hit_ranks(
    similarity: np.ndarray,
    query_groups: Sequence[Hashable] | np.ndarray,
    target_groups: Sequence[Hashable] | np.ndarray,
) -> np.ndarray:
    """Returns the rank of each query's first right target, int64 (num_queries,), 1 is best.

    Ties are counted against the query: a wrong target as similar as the best right one ranks before it. Otherwise a
    collapsed model, whose similarities are all equal, would score a perfect recall.
    """
    similarity = np.asarray(similarity)
    if not np.issubdtype(similarity.dtype, np.floating):
        similarity = similarity.astype(np.float64)
    query_codes, target_codes = _group_codes(query_groups, target_groups)
    if similarity.shape != (len(query_codes), len(target_codes)):
        raise InputError(
            f"similarity: shape {similarity.shape} does not fit {len(query_codes)} query groups and "
            f"{len(target_codes)} target groups; pass (num_queries, num_targets)"
        )
    if not len(query_codes):
        raise InputError("similarity: no queries; pass at least one row")
    lost = ~np.isin(query_codes, target_codes)
    if lost.any():
        query = int(lost.argmax())
        raise InputError(
            f"query_groups: {int(lost.sum())} queries have no target of their group, the first is query {query} "
            f"(group {query_groups[query]!r}); add their targets or leave them out"
        )
    ranks = np.empty(len(query_codes), np.int64)
    rows = max(1, _BLOCK // len(target_codes))
    for start in range(0, len(query_codes), rows):
        block = similarity[start : start + rows]
        # A NaN compares as smaller than everything, which would read as a perfect rank.
        if np.isnan(block).any():
            raise InputError("similarity: holds NaN; the embeddings are broken (a diverged run?)")
        right = query_codes[start : start + rows, None] == target_codes
        best = block.max(axis=1, where=right, initial=-np.inf)
        ranks[start : start + rows] = 1 + ((block >= best[:, None]) & ~right).sum(axis=1)
    return ranks


def recall_interval(
    hits: np.ndarray,
    clusters: Sequence[Hashable] | np.ndarray | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> tuple[float, float]:
    """Returns the 95 % percentile-bootstrap interval of the mean of hits, bool (num_queries,).

    clusters: (num_queries,), what is drawn with replacement instead of single queries: pass patient ids where a patient
    has several images, for these succeed and fail together and single draws would make the interval too narrow.

    Raises InputError when hits is empty or clusters has another length.
    """
    hits = np.asarray(hits, dtype=np.float64)
    if not len(hits):
        raise InputError("hits: no queries; pass at least one")
    if clusters is None:
        codes = np.arange(len(hits))
    else:
        if len(clusters) != len(hits):
            raise InputError(f"clusters: {len(clusters)} for {len(hits)} queries; pass one for each query")
        codes = _codes(clusters)
    hits_of, size_of = np.bincount(codes, weights=hits), np.bincount(codes)
    count = len(size_of)
    # Drawing n of n with replacement is a multinomial draw of how often each is taken.
    weights = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=resamples)
    low, high = np.percentile((weights @ hits_of) / (weights @ size_of), [2.5, 97.5])
    return float(low), float(high)


def bootstrap_recall(
    similarity: np.ndarray,
    query_groups: Sequence[Hashable] | np.ndarray,
    target_groups: Sequence[Hashable] | np.ndarray,
    k: int,
    clusters: Sequence[Hashable] | np.ndarray | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> tuple[float, float]:
    """Returns the 95 % interval of recall@k over queries, or over clusters of them (see `recall_interval`).

    The other arguments and the errors are those of `retrieval_metrics`. The pool of targets stays fixed.
    """
    _check_ks([k])
    ranks = first_hit_ranks(similarity, query_groups, target_groups)
    return recall_interval(ranks <= k, clusters, resamples, seed)


def _chance_recall(hits_in_pool: np.ndarray, pool: int, k: int) -> float:
    """Mean over queries of 1 - C(pool - hits, k) / C(pool, k), the hypergeometric chance of at least one hit."""
    drawn = np.arange(min(k, pool))
    wrong_left = np.maximum(pool - hits_in_pool[:, None] - drawn, 0)
    return float((1 - np.prod(wrong_left / (pool - drawn), axis=1)).mean())


def _codes(values: Sequence[Hashable] | np.ndarray) -> np.ndarray:
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(value, len(numbers)) for value in values], dtype=np.int64)


def _group_codes(
    query_groups: Sequence[Hashable] | np.ndarray, target_groups: Sequence[Hashable] | np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    codes = _codes([*query_groups, *target_groups])
    return codes[: len(query_groups)], codes[len(query_groups) :]


def _check_ks(ks: Sequence[int]) -> None:
    if any(k < 1 for k in ks):
        raise InputError(f"ks: {min(ks)} is no rank; pass whole numbers from 1")

"""Retrieval scores: where the first right answer ranks, what chance would give, and how good it can get.

Group-aware: a target is right when it shares the query's group, for reports repeat: an image's report may stand in the
pool under several study ids, and finding any of them is finding it. By instance: only its own study's is right, as most
tables have it. By labels: every target that shows the same.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Hashable, Iterator, Sequence
from math import comb

import numpy as np

from cxr_jax.errors import InputError
from cxr_jax.evaluation.bootstrap import cluster_codes
from cxr_jax.evaluation.ratios import ratio
from cxr_jax.labels.indicators import indicators

Groups = Sequence[Hashable] | np.ndarray
Columns = dict[str, np.ndarray]  # a score's name to what each query adds to it, float64 (num_queries,)

_BLOCK = 1 << 20  # similarities compared at a time: keeps the temporaries in the cache


def retrieval_metrics(
    similarity: np.ndarray,
    query_groups: Groups,
    target_groups: Groups,
    ks: Sequence[int] = (1, 5, 10),
) -> dict[str, float]:
    """Scores rankings of targets by similarity, (num_queries, num_targets), larger is nearer.

    Returns the means of `group_columns` and "median_rank", of the ranks of `first_hit_ranks`.

    Raises InputError for shapes that do not fit, similarities that are not numbers, a k below 1, no query, or a query
    whose group has no target.
    """
    columns = group_columns(similarity, query_groups, target_groups, ks)
    return means(columns) | {"median_rank": float(np.median(columns["mean_rank"]))}


def group_columns(
    similarity: np.ndarray, query_groups: Groups, target_groups: Groups, ks: Sequence[int] = (1, 5, 10)
) -> Columns:
    """What each query adds to the group-aware scores, with the arguments and errors of `retrieval_metrics`.

    "recall@k": whether its rank is at most k; "mrr": 1 / rank; "mean_rank": its rank; "chance_recall@k":
    `random_chance`.
    """
    _check_ks(ks)
    ranks = first_hit_ranks(similarity, query_groups, target_groups)
    columns: Columns = {f"recall@{k}": (ranks <= k).astype(np.float64) for k in ks}
    columns |= {"mrr": 1 / ranks, "mean_rank": ranks.astype(np.float64)}
    return columns | {f"chance_recall@{k}": random_chance(query_groups, target_groups, k) for k in ks}


def random_chance(query_groups: Groups, target_groups: Groups, k: int) -> np.ndarray:
    """float64 (n,): the recall@k to expect of a uniformly random ranking.

    Args:
      query_groups: each with a target, as `retrieval_metrics` demands.
    """
    right, _ = _group_sizes(query_groups, target_groups)
    return _hit_chance(right, len(target_groups) - right, np.full(len(right), k))


def tied_chance(query_groups: Groups, target_groups: Groups, k: int) -> np.ndarray:
    """float64 (n,): the recall@k to expect of a model that knows nothing, but embeds equal targets alike.

    Its groups of targets stand in random order, each together: a hit is a group with fewer than k targets before it.
    Where reports repeat that is less than `random_chance`, which scatters the equal ones.

    Args:
      query_groups: each with a target, as `retrieval_metrics` demands.
    """
    own, sizes = _group_sizes(query_groups, target_groups)
    groups_of_size = Counter(sizes.tolist())
    chances = {size: _fewer_before(groups_of_size - Counter([size]), k) for size in np.unique(own).tolist()}
    return np.array([chances[size] for size in own.tolist()])


def _fewer_before(groups_of_size: Counter[int], k: int) -> float:
    """The chance that fewer than k targets lie in the groups before one, it and these others being in random order."""
    sets = {(0, 0): 1}  # (groups, targets in them) → how many sets of groups are such
    for size, count in groups_of_size.items():
        larger: dict[tuple[int, int], int] = defaultdict(int)
        for (groups, targets), ways in sets.items():
            for more in range(min(count, (k - 1 - targets) // size) + 1):
                larger[groups + more, targets + more * size] += ways * comb(count, more)
        sets = larger
    others = groups_of_size.total()
    return sum(ways / comb(others, groups) for (groups, _), ways in sets.items()) / (others + 1)


def instance_columns(
    similarity: np.ndarray,
    query_ids: Groups,
    target_ids: Groups,
    query_groups: Groups,
    ks: Sequence[int] = (1, 5, 10),
) -> Columns:
    """What each query adds to the recall of its very own target, the field's usual one, and to its ceiling.

    "instance_recall@k": the chance of a target with the query's id among the first k, where targets that are equally
    similar (equal reports are) are put in random order. "instance_ceiling@k": the best that a query can expect whose
    group holds n ids, for equal reports cannot be told apart: min(k, n) / n.

    Args:
      query_ids, target_ids: of studies; several targets may share one.
      query_groups: the groups of equal reports that the queries belong to.

    Raises InputError as `retrieval_metrics`.
    """
    _check_ks(ks)
    similarity = _checked(similarity, query_ids, target_ids)
    query_codes, target_codes = _group_codes(query_ids, target_ids)
    recalls = np.empty((len(query_codes), len(ks)))
    for part in _blocks(similarity.shape):
        block = similarity[part]
        own = query_codes[part, None] == target_codes
        best = block.max(axis=1, where=own, initial=-np.inf)[:, None]
        nearer, tied = (block > best).sum(axis=1), block == best
        own_tied = (tied & own).sum(axis=1)
        for i, k in enumerate(ks):
            recalls[part, i] = _hit_chance(own_tied, tied.sum(axis=1) - own_tied, k - nearer)
    columns = {f"instance_recall@{k}": recalls[:, i] for i, k in enumerate(ks)}
    return columns | {f"instance_ceiling@{k}": instance_ceiling(query_ids, query_groups, k) for k in ks}


def instance_ceiling(ids: Groups, groups: Groups, k: int) -> np.ndarray:
    """float64 (n,): the best instance recall@k that each row can expect, min(k, n) / n where n ids share its group."""
    codes = cluster_codes(groups)
    distinct = np.unique(np.stack([codes, cluster_codes(ids)]), axis=1)[0]
    sizes = np.bincount(distinct)[codes]
    return np.minimum(k, sizes) / sizes


def label_columns(
    similarity: np.ndarray,
    query_labels: Sequence[Collection[str]],
    target_labels: Sequence[Collection[str]],
    ks: Sequence[int] = (1, 5, 10),
) -> Columns:
    """Scores rankings by what the targets show, for another report of the same findings serves as well.

    A target is relevant when it shares a label with the query, or when neither has one. Returns "label_precision@k"
    (share of relevant targets among the first k), "label_map" (average precision over the whole ranking; NaN for a
    query without a relevant target), "label_ndcg@k" (gain: the Jaccard index of the label sets, 1 for two empty ones;
    discount log2(rank + 1)), and "chance_label_precision", the share of relevant targets. Ties go to the lower target.

    Raises InputError for shapes that do not fit, or a k below 1.
    """
    _check_ks(ks)
    similarity = np.asarray(similarity)
    if similarity.shape != (len(query_labels), len(target_labels)) or not similarity.size:
        raise InputError(
            f"similarity: shape {similarity.shape} does not fit {len(query_labels)} query and {len(target_labels)} "
            "target label sets; pass (num_queries, num_targets)"
        )
    known = sorted({label for side in (query_labels, target_labels) for labels in side for label in labels})
    queries, targets = (indicators(side, known).astype(np.float32) for side in (query_labels, target_labels))
    count, deepest = len(targets), min(max(ks), len(targets))
    discount = 1 / np.log2(np.arange(deepest) + 2)
    precision, ndcg = (np.empty((len(queries), len(ks))) for _ in range(2))
    average, chance = np.empty(len(queries)), np.empty(len(queries))
    for part in _blocks(similarity.shape):
        shared = queries[part] @ targets.T
        union = queries[part].sum(axis=1)[:, None] + targets.sum(axis=1) - shared
        gain = np.where(union > 0, shared / np.maximum(union, 1), 1.0)
        order = np.argsort(-similarity[part], axis=1, kind="stable")
        ranked = np.take_along_axis(gain, order, axis=1)
        hits = np.cumsum(ranked > 0, axis=1)
        total = hits[:, -1]
        precisions = (hits / np.arange(1, count + 1) * (ranked > 0)).sum(axis=1)
        average[part] = ratio(precisions, total, over_nothing=np.nan)
        chance[part] = total / count
        best = -np.sort(-gain, axis=1)
        for i, k in enumerate(min(k, count) for k in ks):
            precision[part, i] = hits[:, k - 1] / k
            ndcg[part, i] = ratio(ranked[:, :k] @ discount[:k], best[:, :k] @ discount[:k])
    columns = {f"label_precision@{k}": precision[:, i] for i, k in enumerate(ks)}
    columns |= {f"label_ndcg@{k}": ndcg[:, i] for i, k in enumerate(ks)}
    return columns | {"label_map": average, "chance_label_precision": chance}


def means(columns: Columns) -> dict[str, float]:
    """The mean of each column over the queries; those that are NaN are left out, and 0 where all are."""
    names = list(columns)
    sample = np.ones((1, len(columns[names[0]])), np.int64)
    values = resampled_means(columns, sample)[0]
    return dict(zip(names, np.nan_to_num(values).tolist(), strict=True))


def resampled_means(columns: Columns, weights: np.ndarray) -> np.ndarray:
    """`means` of resamples, float64 (resamples, columns), NaN where no query is left; weights (resamples, queries)."""
    stacked = np.stack(list(columns.values()), axis=1)
    return ratio(weights @ np.nan_to_num(stacked), weights @ ~np.isnan(stacked), over_nothing=np.nan)


def first_hit_ranks(similarity: np.ndarray, query_groups: Groups, target_groups: Groups) -> np.ndarray:
    """Returns the rank of each query's first right target, int64 (num_queries,), 1 is best.

    Ties are counted against the query: a wrong target as similar as the best right one ranks before it. Otherwise a
    collapsed model, whose similarities are all equal, would score a perfect recall.
    """
    similarity = _checked(similarity, query_groups, target_groups)
    query_codes, target_codes = _group_codes(query_groups, target_groups)
    ranks = np.empty(len(query_codes), np.int64)
    for part in _blocks(similarity.shape):
        block = similarity[part]
        right = query_codes[part, None] == target_codes
        best = block.max(axis=1, where=right, initial=-np.inf)
        ranks[part] = 1 + ((block >= best[:, None]) & ~right).sum(axis=1)
    return ranks


def _checked(similarity: np.ndarray, query_groups: Groups, target_groups: Groups) -> np.ndarray:
    """The similarities as floats, once they fit the groups."""
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
    # A NaN compares as smaller than everything, which would read as a perfect rank.
    if any(np.isnan(similarity[part]).any() for part in _blocks(similarity.shape)):
        raise InputError("similarity: holds NaN; the embeddings are broken (a diverged run?)")
    return similarity


def _blocks(shape: tuple[int, ...]) -> Iterator[slice]:
    """Slices of the queries, each of about _BLOCK similarities."""
    rows = max(1, _BLOCK // shape[1])
    return (slice(start, start + rows) for start in range(0, shape[0], rows))


def _hit_chance(right: np.ndarray, wrong: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """1 - C(wrong, drawn) / C(right + wrong, drawn): the chance of a right one among `drawn`; all are int (n,)."""
    drawn = np.clip(drawn, 0, right + wrong)
    turns = np.arange(drawn.max(initial=0))
    pool = (right + wrong)[:, None] - turns
    missed = np.maximum(wrong[:, None] - turns, 0) / np.maximum(pool, 1)
    return 1 - np.where(turns < drawn[:, None], missed, 1.0).prod(axis=1)


def _group_codes(query_groups: Groups, target_groups: Groups) -> tuple[np.ndarray, np.ndarray]:
    codes = cluster_codes([*query_groups, *target_groups])
    return codes[: len(query_groups)], codes[len(query_groups) :]


def _group_sizes(query_groups: Groups, target_groups: Groups) -> tuple[np.ndarray, np.ndarray]:
    """How many targets each query's group holds, and each group that holds any."""
    query_codes, target_codes = _group_codes(query_groups, target_groups)
    sizes = np.bincount(target_codes, minlength=query_codes.max() + 1)
    return sizes[query_codes], sizes[sizes > 0]


def _check_ks(ks: Sequence[int]) -> None:
    if any(k < 1 for k in ks):
        raise InputError(f"ks: {min(ks)} is no rank; pass whole numbers from 1")

"""How studies or patients are dealt to the splits, 7:2:1: one by one, or so that no near-copy of a report crosses."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate

import numpy as np

from cxr_jax.data.reports import normalize_report

SHARES = {"train": 7, "val": 2, "test": 1}  # tenths
SPLITS = tuple(SHARES)
NEAR = (9, 10)  # two reports are near-copies where their sets of words have at least this Jaccard index


def split_by_group(groups: Iterable[str], seed: int) -> dict[str, str]:
    """Each distinct group (study or patient) to "train", "val" or "test", 7:2:1, in a seeded order."""
    names = sorted(set(groups))
    order = _generator(seed).permutation(len(names))
    # In this order of operations: a published split must not hang on how a product is rounded.
    ends = [round(tenths / 10 * len(names)) for tenths in accumulate(SHARES.values())]
    assigned = np.repeat(SPLITS, np.diff(ends, prepend=0))
    return {names[i]: str(split) for i, split in zip(order, assigned, strict=True)}


def strict_split(texts: Mapping[str, str], seed: int) -> dict[str, str]:
    """Study id to split, 7:2:1 as far as clusters allow: no report in one split has a near-copy in another.

    Args:
      texts: study id to report. Copies of copies are kept together too; a study with an empty text stands alone.
    """
    names = sorted(texts)
    clusters = near_copies([texts[name] for name in names])
    groups: dict[int, list[str]] = defaultdict(list)
    for name, cluster in zip(names, clusters, strict=True):
        groups[cluster].append(name)
    return deal(list(groups.values()), seed)


def deal(groups: Sequence[Sequence[str]], seed: int) -> dict[str, str]:
    """Each member of each group to a split, groups whole, 7:2:1 of the members as far as the groups allow.

    The largest go first, while every split still has room for them: to one at random, in proportion to its room.
    """
    total = sum(map(len, groups))
    room = {split: total * share / sum(SHARES.values()) for split, share in SHARES.items()}
    rng = _generator(seed)
    order = sorted(rng.permutation(len(groups)), key=lambda i: -len(groups[i]))
    split_of: dict[str, str] = {}
    for i in order:
        size = len(groups[i])
        fitting = [split for split in SHARES if room[split] >= size]
        weights = np.array([room[split] for split in fitting])
        chosen = str(rng.choice(fitting, p=weights / weights.sum())) if fitting else max(room, key=lambda s: room[s])
        room[chosen] -= size
        split_of |= dict.fromkeys(groups[i], chosen)
    return split_of


def _generator(seed: int) -> np.random.Generator:
    """The random stream of every deal; 712 sets it apart from other uses of the seed."""
    return np.random.default_rng([seed, 712])


def near_copies(reports: Sequence[str]) -> list[int]:
    """A cluster's number for each report: near-copies, and near-copies of these, share one."""
    words = [frozenset(normalize_report(report).split()) for report in reports]
    parent = list(range(len(reports)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    first: dict[frozenset[str], int] = {}
    for i, bag in enumerate(words):
        if bag:
            parent[i] = first.setdefault(bag, i)
    distinct = list(first)
    for a, b in _near_pairs(distinct):
        parent[root(first[distinct[a]])] = root(first[distinct[b]])
    return [root(i) for i in range(len(reports))]


def is_near(a: frozenset[str], b: frozenset[str]) -> bool:
    """Whether two sets' Jaccard index is at least NEAR, in whole numbers."""
    common = len(a & b)
    return NEAR[1] * common >= NEAR[0] * (len(a) + len(b) - common)


def _near_pairs(bags: Sequence[frozenset[str]]) -> Iterator[tuple[int, int]]:
    """All pairs (i, j) of sets that are near, none left out.

    With words from rare to frequent, sets that share a fraction t of each must share one of the first
    n - ⌈t n⌉ + 1 of their n words; only sets that do are compared.
    """
    count = Counter(word for bag in bags for word in bag)
    index: dict[str, list[int]] = defaultdict(list)
    for i, bag in enumerate(bags):
        rare_first = sorted(bag, key=lambda word: (count[word], word))
        prefix = rare_first[: len(bag) - -(-NEAR[0] * len(bag) // NEAR[1]) + 1]
        for j in sorted({j for word in prefix for j in index[word]}):
            if is_near(bag, bags[j]):
                yield i, j
        for word in prefix:
            index[word].append(i)

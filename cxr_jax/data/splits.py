"""How studies are dealt to the splits: by R2Gen's published lists, or so that no near-copy of a report crosses."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from cxr_jax.data.reports import normalize_report
from cxr_jax.data.sources.annotation import read_lists
from cxr_jax.errors import InputError

SHARES = {"train": 7, "val": 2, "test": 1}  # tenths
NEAR = (9, 10)  # two reports are near-copies where their sets of words have at least this Jaccard index


def r2gen_split(annotation: Path) -> dict[str, str]:
    """Study id to "train", "val" or "test", as R2Gen's annotation.json lists them ("CXR2384_IM-0942" is study CXR2384).

    Raises:
      InputError: the file is not such an annotation, or a study is in two splits.
    """
    lists, _ = read_lists(annotation)
    split_of: dict[str, str] = {}
    for split, (key, entries) in lists.items():
        for number, entry in enumerate(entries):
            if not isinstance(entry, dict) or not isinstance(entry.get("id"), str):
                raise InputError(f"{annotation}: {key}[{number}]: has no id; wanted is an object with id and report")
            study = entry["id"].split("_")[0]
            if split_of.setdefault(study, split) != split:
                raise InputError(f"{annotation}: study {study} is in {split_of[study]} and in {split}; mend it")
    return split_of


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
    rng = np.random.default_rng([seed, 712])
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

"""METEOR 1.5 (Denkowski and Lavie, 2014) without Java: its exact and stem modules, as sums that can be resampled.

The jar also matches synonyms and paraphrases, from tables that are not ours to ship, so these scores go under a name of
their own, `meteor_exact_stem`: the two are never mixed. Its list of function words is ours too, and the alignment is
greedy where the jar's is a beam search; the tests hold how far the two are apart.
"""

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from nltk.stem.snowball import SnowballStemmer

from cxr_jax.errors import InputError
from cxr_jax.evaluation import meteor_jar
from cxr_jax.evaluation.ratios import ratio

METEORS = ("auto", "jar", "exact_stem")

# METEOR 1.5's parameters for English.
_ALPHA, _BETA, _GAMMA = 0.85, 0.20, 0.60
_EXACT_WEIGHT, _STEM_WEIGHT, *_ = meteor_jar.MODULE_WEIGHTS
_FUNCTION_WORDS = frozenset(
    re.findall(
        r"\S+",
        """. , a an the this that these those some any all other another and or but so if than because as at by for from
        in into of on out over to up with about after before i we us our you he him his she her it its they their them
        who which what when where there is are was were be been being do did has have had can could may must will would
        should not no only also more most very one two first new""",
    )
)
_TOKEN = re.compile(r"[^\W_]+|[^\w\s]|_")
_stem = lru_cache(maxsize=1 << 16)(SnowballStemmer("english").stem)


class Meteor(NamedTuple):
    """One of the two: the name of its score, and what gives its statistics, float64 (n, 6), of n pairs."""

    name: str
    statistics: Callable[[Sequence[str], Sequence[str]], np.ndarray]


def choose_meteor(meteor: str = "auto") -> Meteor:
    """Returns the METEOR of that name in METEORS; "auto" is the jar where it and Java are installed, else ours.

    Raises InputError for another name, or for "jar" where it or Java is missing.
    """
    if meteor not in METEORS:
        raise InputError(f"meteor: {meteor!r} is unknown; choose one of {', '.join(METEORS)}")
    if meteor == "jar":
        meteor_jar.require_jar()
    if meteor == "exact_stem" or not meteor_jar.find_jar():
        return Meteor("meteor_exact_stem", meteor_statistics)
    return Meteor("meteor", meteor_jar.jar_statistics)


def meteor_statistics(references: Sequence[str], predictions: Sequence[str]) -> np.ndarray:
    """What METEOR is made of, pair by pair: float64 (n, 6), to be summed over a sample and given to `meteor_from_sums`.

    Strings are split into words and single punctuation marks. Columns: weight of the prediction's matched words, of all
    its words; the reference's two (content words weigh .75, function words .25, a match by stem .6 of that); number of
    matches; number of chunks, runs of matches in the same order on both sides (0 for a pair that is one run).
    """
    pairs = zip(map(_TOKEN.findall, references), map(_TOKEN.findall, predictions), strict=True)
    return np.array([_pair(*pair) for pair in pairs], np.float64).reshape(-1, 6)


def meteor_from_sums(sums: np.ndarray) -> np.ndarray:
    """METEOR, float64 (...), of sums (..., 6) of `meteor_statistics`: the corpus's aggregate, as the jar has it."""
    matched_p, all_p, matched_r, all_r, matches, chunks = np.moveaxis(np.asarray(sums, np.float64), -1, 0)
    precision, recall = ratio(matched_p, all_p), ratio(matched_r, all_r)
    mean = ratio(precision * recall, _ALPHA * precision + (1 - _ALPHA) * recall)
    return np.asarray(mean * (1 - _GAMMA * ratio(chunks, matches) ** _BETA))


def _pair(reference: list[str], prediction: list[str]) -> tuple[float | int, ...]:
    matched_p = matched_r = matches = 0.0
    runs = align([_stem(word) for word in reference], [_stem(word) for word in prediction])
    for i, j, length in runs:
        matches += length
        for offset in range(length):
            p, r = prediction[i + offset], reference[j + offset]
            weight = _EXACT_WEIGHT if p == r else _STEM_WEIGHT
            matched_p += weight * _weight(p)
            matched_r += weight * _weight(r)
    chunks = 0 if matches == len(prediction) == len(reference) and len(runs) == 1 else len(runs)
    return matched_p, sum(map(_weight, prediction)), matched_r, sum(map(_weight, reference)), matches, chunks


def align(reference: Sequence[str], prediction: Sequence[str]) -> list[tuple[int, int, int]]:
    """Chunks (start in prediction, start in reference, length) that match each word at most once, the longest first.

    Every word that can be matched is. Among runs of one length the one that lies least displaced is taken. The number
    of chunks is small, though not always the smallest: finding that is a search that costs far more than it changes.
    """
    places: dict[str, list[int]] = {}
    for j, word in enumerate(reference):
        places.setdefault(word, []).append(j)
    ends: dict[int, int] = {}  # reference position to the length of the run that ends there and at the last word read
    runs: dict[tuple[int, int], int] = {}
    for i, word in enumerate(prediction):
        new_ends = {}
        for j in places.get(word, ()):
            length = new_ends[j] = ends.get(j - 1, 0) + 1
            runs.pop((i - length + 1, j - length + 1), None)
            runs[i - length + 1, j - length + 1] = length
        ends = new_ends
    waiting: list[list[tuple[int, int]]] = [[] for _ in range(max(runs.values(), default=0) + 1)]
    for start, length in runs.items():
        waiting[length].append(start)
    free_p, free_r = [True] * len(prediction), [True] * len(reference)
    taken = []
    for length in range(len(waiting) - 1, 0, -1):
        for i, j in sorted(waiting[length], key=lambda start: (abs(start[0] - start[1]), start)):
            free = [free_p[i + k] and free_r[j + k] for k in range(length)]
            if all(free):
                taken.append((i, j, length))
                free_p[i : i + length] = free_r[j : j + length] = [False] * length
                continue
            begin = 0
            for k in range(length + 1):  # what is left of it waits for its turn among the shorter ones
                if k == length or not free[k]:
                    if k > begin:
                        waiting[k - begin].append((i + begin, j + begin))
                    begin = k + 1
    return taken


def _weight(word: str) -> float:
    return 1 - meteor_jar.DELTA if word in _FUNCTION_WORDS else meteor_jar.DELTA

"""METEOR 1.5 (Denkowski and Lavie, 2014) without Java: its exact and stem modules, as sums that can be resampled.

The jar also matches synonyms and paraphrases, from tables that are not ours to ship, so these scores go under a name of
their own, `meteor_exact_stem`: the two are never mixed. Its list of function words is ours too, and the alignment is
greedy where the jar's is a beam search; the tests hold how far the two are apart.
"""

import itertools
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
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
    """One of the two.

    name: of its score.
    statistics: gives float64 (n, 6) of n references and n predictions.
    expect: may be told beforehand which texts there will be, see `meteor_jar.expect`.
    """

    name: str
    statistics: Callable[[Sequence[str], Sequence[str]], np.ndarray]
    expect: Callable[[Iterable[str]], None] = lambda texts: None


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
    return Meteor("meteor", meteor_jar.jar_statistics, meteor_jar.expect)


def meteor_statistics(references: Sequence[str], predictions: Sequence[str]) -> np.ndarray:
    """What METEOR is made of, pair by pair: float64 (n, 6), to be summed over a sample and given to `meteor_from_sums`.

    Strings are split into words and single punctuation marks. Columns: weight of the prediction's matched words, of all
    its words; the reference's two (content words weigh .75, function words .25, a match by stem .6 of that); number of
    matches; number of chunks, runs of matches in the same order on both sides (0 for a pair that is one run).
    """
    pairs = zip(map(_read, references), map(_read, predictions), strict=True)
    return np.array([_pair(*pair) for pair in pairs], np.float64).reshape(-1, 6)


def meteor_from_sums(sums: np.ndarray) -> np.ndarray:
    """METEOR, float64 (...), of sums (..., 6) of `meteor_statistics`: the corpus's aggregate, as the jar has it."""
    matched_p, all_p, matched_r, all_r, matches, chunks = np.moveaxis(np.asarray(sums, np.float64), -1, 0)
    precision, recall = ratio(matched_p, all_p), ratio(matched_r, all_r)
    mean = ratio(precision * recall, _ALPHA * precision + (1 - _ALPHA) * recall)
    return np.asarray(mean * (1 - _GAMMA * ratio(chunks, matches) ** _BETA))


class _Text(NamedTuple):
    """A text as it is matched: its words, their stems, their weights, and the sum of these before each word."""

    words: list[str]
    stems: list[str]
    weights: list[float]
    sums: list[float]  # of quarters, so that their differences are exact


@lru_cache(maxsize=1 << 14)  # reports repeat: within a data set, and among the floors of an evaluation
def _read(text: str) -> _Text:
    words = list(map(sys.intern, _TOKEN.findall(text)))
    weights = list(map(_weight, words))
    return _Text(words, list(map(_stem, words)), weights, list(itertools.accumulate(weights, initial=0.0)))


def _pair(reference: _Text, prediction: _Text) -> tuple[float | int, ...]:
    matched_p = matched_r = matches = 0.0
    runs = align(reference.stems, prediction.stems)
    for i, j, length in runs:
        matches += length
        words_p, words_r = prediction.words[i : i + length], reference.words[j : j + length]
        if words_p == words_r:
            matched_p += prediction.sums[i + length] - prediction.sums[i]
            matched_r += reference.sums[j + length] - reference.sums[j]
            continue
        for offset in range(length):
            weight = _EXACT_WEIGHT if words_p[offset] == words_r[offset] else _STEM_WEIGHT
            matched_p += weight * prediction.weights[i + offset]
            matched_r += weight * reference.weights[j + offset]
    words = len(prediction.words), len(reference.words)
    chunks = 0 if words == (matches, matches) and len(runs) == 1 else len(runs)
    return matched_p, prediction.sums[-1], matched_r, reference.sums[-1], matches, chunks


def align(reference: Sequence[str], prediction: Sequence[str]) -> list[tuple[int, int, int]]:
    """Chunks (start in prediction, start in reference, length) that match each word at most once, the longest first.

    Every word that can be matched is. Among runs of one length the one that lies least displaced is taken. The number
    of chunks is small, though not always the smallest: finding that is a search that costs far more than it changes.
    """
    places: dict[str, list[int]] = {}
    for j, word in enumerate(reference):
        places.setdefault(word, []).append(j)
    waiting = _runs(reference, prediction, places)
    free_p, free_r = (1 << len(prediction)) - 1, (1 << len(reference)) - 1  # in bits, a word each
    taken = []
    for length in range(max(waiting, default=0), 0, -1):
        whole = (1 << length) - 1
        for _, i, j in sorted(waiting.pop(length, ())):
            free = free_p >> i & free_r >> j & whole
            if free == whole:
                taken.append((i, j, length))
                free_p ^= whole << i
                free_r ^= whole << j
                continue
            begin = 0
            while free:  # what is left of it waits for its turn among the shorter ones
                gap = (free & -free).bit_length() - 1
                free >>= gap
                left = (~free & (free + 1)).bit_length() - 1
                begin += gap
                waiting.setdefault(left, []).append((abs(i - j), i + begin, j + begin))
                free >>= left
                begin += left
    return taken


def _runs(
    reference: Sequence[str], prediction: Sequence[str], places: Mapping[str, Sequence[int]]
) -> dict[int, list[tuple[int, int, int]]]:
    """By length, the runs that go on on neither side: (displacement, start in prediction, start in reference).

    places: where each word stands in the reference.
    """
    if reference == prediction:
        return {len(reference): [(0, 0, 0)]}
    runs: dict[int, list[tuple[int, int, int]]] = {}
    last_p, last_r = len(prediction), len(reference)
    previous: str | None = None
    for i, word in enumerate(prediction):
        for j in places.get(word, ()):
            if j and reference[j - 1] == previous:
                continue  # no start
            p, r = i + 1, j + 1
            while p < last_p and r < last_r and prediction[p] == reference[r]:
                p, r = p + 1, r + 1
            runs.setdefault(p - i, []).append((abs(i - j), i, j))
        previous = word
    return runs


def _weight(word: str) -> float:
    return 1 - meteor_jar.DELTA if word in _FUNCTION_WORDS else meteor_jar.DELTA

"""The ceiling: what retrieval would score that knew the true report; and how far towards it a system comes."""

import re
from collections.abc import Collection, Mapping, Sequence

import numpy as np
from scipy import sparse

from cxr_jax.evaluation.text_metrics import ReportScorer

_BLOCK = 512  # references compared with all training reports at a time
_WORD = re.compile(r"\w+")


def ceiling(scorer: ReportScorer, train_reports: Sequence[str]) -> dict[str, float]:
    """Scores the training reports that are nearest to the true ones by their text, with the keys of `score_reports`.

    No retrieval from these reports can be expected to pass it, but in rule F1: few words carry a finding, and the
    report that shares most words may lack them.
    """
    return scorer.scores([train_reports[row] for row in nearest_by_text(scorer.references, train_reports)])


def nearest_by_text(references: Sequence[str], train_reports: Sequence[str]) -> np.ndarray:
    """int64 (n,): for each reference the training report nearest to it that is no copy of it; ties: the lower row.

    Nearness is the cosine of the sets of words, each word weighted by 1 + log((1 + N) / (1 + df)); a copy has the same
    words in the same order. Where all training reports are copies, a copy it is.
    """
    train_words = [tuple(_WORD.findall(report.lower())) for report in train_reports]
    words = [tuple(_WORD.findall(report.lower())) for report in references]
    number: dict[str, int] = {}
    for report in train_words:
        for word in report:
            number.setdefault(word, len(number))
    train = _word_sets(train_words, number)
    weights = 1 + np.log((1 + len(train_words)) / (1 + np.asarray(train.sum(axis=0)).ravel()))
    targets = _unit_rows(train @ sparse.diags(weights)).T.tocsr()
    queries = _unit_rows(_word_sets(words, number) @ sparse.diags(weights))
    copies: dict[tuple[str, ...], list[int]] = {}
    for row, report in enumerate(train_words):
        copies.setdefault(report, []).append(row)
    nearest = np.empty(len(words), np.int64)
    for start in range(0, len(words), _BLOCK):
        similarity = (queries[start : start + _BLOCK] @ targets).toarray()
        for row, report in enumerate(words[start : start + _BLOCK]):
            similarity[row, copies.get(report, [])] -= 2  # below every report that is no copy
        nearest[start : start + _BLOCK] = similarity.argmax(axis=1)
    return nearest


def share_with_copies(references: Sequence[str], train_reports: Sequence[str]) -> float:
    """The share of references of which a training report is a copy, see `nearest_by_text`."""
    words = [[tuple(_WORD.findall(report.lower())) for report in side] for side in (references, train_reports)]
    in_train = set(words[1])
    return sum(report in in_train for report in words[0]) / len(words[0])


def skill(
    scores: Mapping[str, float],
    floor: Mapping[str, float],
    ceiling: Mapping[str, float],
    lower_is_better: Collection[str] = (),
) -> dict[str, float]:
    """(score - floor) / (ceiling - floor) of each score that all three have: 0 is chance, 1 the ceiling.

    A score whose ceiling is not above its floor (below, of those that are better where lower) says nothing here and is
    left out, as is the share that speaks of a prior study, which is no merit.
    """
    gains = {
        name: (ceiling[name] - floor[name]) * (-1 if name in lower_is_better else 1)
        for name in scores
        if name in floor and name in ceiling and name != "prior_share"
    }
    return {name: (scores[name] - floor[name]) / (ceiling[name] - floor[name]) for name in gains if gains[name] > 0}


def _word_sets(reports: Sequence[Sequence[str]], number: Mapping[str, int]) -> sparse.csr_matrix:
    """float64 (reports, words): 1 where the report holds the word; words without a number are left out."""
    columns = [sorted({number[word] for word in report if word in number}) for report in reports]
    ends = np.cumsum([0, *map(len, columns)])
    flat = np.array([column for report in columns for column in report], np.int64)
    return sparse.csr_matrix((np.ones(len(flat)), flat, ends), shape=(len(reports), len(number)))


def _unit_rows(matrix: sparse.csr_matrix) -> sparse.csr_matrix:
    norms = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1)).ravel())
    return sparse.diags(1 / np.maximum(norms, 1e-12)) @ matrix

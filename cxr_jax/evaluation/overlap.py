"""The n-grams that the two texts of a pair share, for many pairs at once.

Words are what white space separates. Each distinct text is read once; `tests/evaluation/test_overlap.py` holds the
counts against those made one by one, and against sacrebleu's.
"""

from collections import defaultdict
from collections.abc import Sequence
from itertools import chain, count
from typing import NamedTuple

import numpy as np
from scipy import sparse

from cxr_jax.evaluation.ratios import ratio

ORDERS = 4
_BLOCK = 1 << 14  # pairs compared at a time, for all of them may not fit


class NgramOverlap(NamedTuple):
    """What n pairs share of their n-grams, for each order.

    matches: int64 (n, orders), n-grams of the prediction that its reference has; one that the prediction repeats counts
        no more often than it stands in the reference ("clipped", BLEU's).
    cosines: float64 (n, orders), CIDEr's: of the counts times log(N / documents that hold the n-gram), the prediction's
        clipped as above in the product alone. Documents are the N references.
    """

    matches: np.ndarray
    cosines: np.ndarray


def ngram_overlap(
    references: Sequence[str],
    predictions: Sequence[str],
    *,
    occurrences: np.ndarray | None = None,
    orders: int = ORDERS,
) -> NgramOverlap:
    """The n-grams that each pair shares; occurrences, int (n,): how often each pair stands in the set (once)."""
    row: defaultdict[str, int] = defaultdict(count().__next__)
    pairs = np.array([[row[text] for text in side] for side in (references, predictions)], np.int64)
    occurrences = np.ones(len(references), np.int64) if occurrences is None else occurrences
    documents = np.bincount(pairs[0], occurrences, minlength=len(row))  # how often each text is a reference
    words = [text.split() for text in row]
    lengths = np.array([len(text) for text in words], np.int64)
    number: defaultdict[str, int] = defaultdict(count().__next__)
    tokens = np.fromiter(map(number.__getitem__, chain.from_iterable(words)), np.int64, lengths.sum())
    text_of = np.repeat(np.arange(len(words)), lengths)
    left = np.repeat(np.cumsum(lengths), lengths) - np.arange(len(tokens))  # words from here to the text's end
    matches, cosines = np.zeros((len(references), orders), np.int64), np.zeros((len(references), orders))
    starts, codes = np.arange(len(tokens)), tokens
    for order in range(orders):
        if order:  # an n-gram's number comes from that of its first n - 1 words and that of its last
            longer = left[starts] > order
            starts = starts[longer]
            _, codes = np.unique(codes[longer] * len(number) + tokens[starts + order], return_inverse=True)
        if not len(starts):
            break
        shape = len(words), int(codes.max()) + 1
        # Where two entries fall on one place, SciPy adds them: these are the counts.
        counts = sparse.csr_matrix((np.ones(len(starts), np.int32), (text_of[starts], codes)), shape=shape)
        held = np.bincount(counts.indices, np.repeat(documents, np.diff(counts.indptr)), minlength=shape[1])
        squares = np.log(occurrences.sum() / np.maximum(held, 1)) ** 2
        norms = np.sqrt(counts.power(2) @ squares)
        for block in range(0, len(references), _BLOCK):
            of_reference, of_prediction = (counts[side[block : block + _BLOCK]] for side in pairs)
            common = of_reference.minimum(of_prediction)
            matches[block : block + _BLOCK, order] = np.asarray(common.sum(axis=1)).ravel()
            cosines[block : block + _BLOCK, order] = common.multiply(of_reference) @ squares
        cosines[:, order] = ratio(cosines[:, order], norms[pairs[0]] * norms[pairs[1]])
    return NgramOverlap(matches, cosines)

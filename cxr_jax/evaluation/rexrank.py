"""BLEU-2 as ReXrank's leaderboard has it: a mean over reports of a smoothed BLEU of each, not a corpus BLEU."""

import re
from collections.abc import Sequence

import numpy as np

from cxr_jax.evaluation.overlap import ngram_overlap
from cxr_jax.evaluation.ratios import ratio

_EPSILON = 0.1  # matches, where no bigram matches
# It splits at blanks alone: a line break is a character of a word there. Here each becomes one that splits nothing.
_OTHER_SPACE = {code: 0xF0000 + code for code in range(0x3001) if chr(code).isspace() and code != ord(" ")}


def bleu_2_rexrank(references: Sequence[str], predictions: Sequence[str]) -> np.ndarray:
    """Each report's BLEU-2, float64 (n,), of the reports as they were written, whatever the protocol.

    ReXrank scores by CXR-Report-Metric (github.com/rajpurkarlab/CXR-Report-Metric, CXRMetric/run_eval.py:
    `prep_reports`, `add_bleu_col`), and that by fast_bleu with weights (1/2, 1/2): lower case, a blank before each full
    stop, split at blanks; the geometric mean of both precisions, where no bigram matches with .1 in place of 0, times
    the brevity penalty; 0 where no word matches. There a reference holds both sections, as "Findings: … Impression: …";
    here it is what the run was scored on. A prediction without a letter or a digit is empty, as under the protocols.
    """
    pairs = {pair: row for row, pair in enumerate(dict.fromkeys(zip(references, predictions, strict=True)))}
    sides = [[_prepare(report) for report in side] for side in zip(*pairs, strict=True)]
    lengths = [np.array([len(text.split()) for text in side]) for side in sides]
    matches = ngram_overlap(*sides, orders=2).matches
    totals = np.maximum(lengths[1][:, None] - np.arange(2), 1)
    precision = np.where(matches[:, 1:] > 0, matches, [[0, _EPSILON]] + matches * [[1, 0]]) / totals
    brevity = np.exp(np.minimum(0.0, 1 - ratio(lengths[0], lengths[1], over_nothing=np.inf)))
    scores = np.sqrt(precision.prod(axis=1)) * brevity
    return scores[[pairs[pair] for pair in zip(references, predictions, strict=True)]]


def _prepare(report: str) -> str:
    if not re.search(r"[^\W_]", report):
        return ""
    return report.lower().replace(".", " .").translate(_OTHER_SPACE)

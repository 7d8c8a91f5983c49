"""BLEU, ROUGE-L, METEOR and rule F1 of reports under a named protocol, with bootstrap intervals.

The first three are pycocoevalcap's numbers, which the field's tables quote, computed by sacrebleu and rouge-score.
Their defaults give other numbers on the same strings, so the settings below are part of the protocol. Rule F1 is of the
findings that `labels` reads in the reports as they were written, whatever the protocol.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from rouge_score.rouge_scorer import RougeScorer
from rouge_score.tokenizers import Tokenizer
from sacrebleu.metrics.bleu import BLEU

from cxr_jax.errors import InputError
from cxr_jax.evaluation.bootstrap import Clusters, interval
from cxr_jax.evaluation.label_metrics import resampled_macro, resampled_micro
from cxr_jax.evaluation.meteor import meteor_from_sums, meteor_statistics
from cxr_jax.evaluation.meteor_jar import find_jar, jar_statistics
from cxr_jax.labels.rules import rule_matrix

PROTOCOLS = ("r2gen", "raw", "paper")
# METEOR is the jar's where Java and the jar are installed, and else goes by another name: the two are never mixed.
METEOR, _meteor = ("meteor", jar_statistics) if find_jar() else ("meteor_exact_stem", meteor_statistics)
SCORES = ("bleu_1", "bleu_2", "bleu_3", "bleu_4", "rouge_l", METEOR, "rule_f1_micro", "rule_f1_macro")

# R2Gen's defaults for IU X-ray: --threshold 3, --max_seq_length 60, of which the start token is one.
_R2GEN_MIN_COUNT = 3
_R2GEN_REFERENCE_TOKENS = 59
# As R2Gen wrote it, ":-\[" is a range from ":" to "[": it deletes ; < = > ? @ and spares the hyphen.
_R2GEN_DELETED = re.compile(r"""[.,?;*!%^&_+():-\[\]{}"'/\\]""")
_ROUGE_BETA = 1.2

Prepare = Callable[[str], str]


@dataclass(frozen=True)
class PairStatistics:
    """What the scores of any resample of n (reference, prediction) pairs are made of.

    matches: int (n, 4), n-grams of the prediction found in the reference (clipped), for orders 1 to 4.
    totals: int (n, 4), n-grams of the prediction.
    prediction_tokens, reference_tokens: int (n,).
    rouge_l: float (n,).
    meteor: float (n, 6), `meteor.meteor_statistics`, or the jar's.
    reference_findings, predicted_findings: bool (n, 14), `labels.rule_matrix`.
    """

    matches: np.ndarray
    totals: np.ndarray
    prediction_tokens: np.ndarray
    reference_tokens: np.ndarray
    rouge_l: np.ndarray
    meteor: np.ndarray
    reference_findings: np.ndarray
    predicted_findings: np.ndarray


class _WhitespaceTokenizer(Tokenizer):
    def tokenize(self, text: str) -> list[str]:
        return text.split()


def clean_r2gen(report: str) -> str:
    """Returns the report as R2Gen scores it: lower-case sentences, stripped of punctuation, joined by " . ".

    Matches `clean_report_iu_xray` of cuhksz-nlp/R2Gen, modules/tokenizers.py, in its tokens (it leaves runs of spaces,
    which the next step of R2Gen splits at). An empty report becomes ".", as there.
    """
    for _ in range(3):
        report = report.replace("..", ".")
    report = report.replace("1. ", "")
    for number in "2345":
        report = report.replace(f". {number}. ", ". ")
    for number in "2345":
        report = report.replace(f" {number}. ", ". ")
    sentences = report.strip().lower().split(". ")
    cleaned = " . ".join(_R2GEN_DELETED.sub("", sentence) for sentence in sentences) + " ."
    return " ".join(cleaned.split())


def report_preparers(protocol: str, train_reports: Sequence[str] | None = None) -> tuple[Prepare, Prepare]:
    """Returns the two functions that turn a reference, and a prediction, into the string that is scored.

    "r2gen": `clean_r2gen`; words seen fewer than 3 times in `train_reports` become "<unk>"; references keep their first
    59 tokens (R2Gen's dataset cuts start token + report to 60, its decoder drops the start token), predictions keep all
    (R2Gen's model stops writing at 60; a retrieved report that is longer pays for it in precision).
    "raw": lower-cased and split at white space.
    "paper": words and numbers, lower-cased, without punctuation. Ur Rahman et al. name their scores and nothing of how
    they prepare the texts, so all of this is assumed, as what most users of pycocoevalcap do; vocabulary and length are
    not cut.

    Raises InputError for another protocol, or "r2gen" without training reports.
    """
    if protocol in _PREPARE_ALIKE:
        return _PREPARE_ALIKE[protocol], _PREPARE_ALIKE[protocol]
    if protocol != "r2gen":
        raise InputError(f"protocol: {protocol!r} is unknown; choose one of {', '.join(PROTOCOLS)}")
    if train_reports is None or not len(train_reports):
        raise InputError('train_reports: protocol "r2gen" takes its vocabulary from the training reports; pass them')
    check_reports("train_reports", train_reports)
    counts = Counter(token for report in train_reports for token in clean_r2gen(report).split())
    vocabulary = {token for token, count in counts.items() if count >= _R2GEN_MIN_COUNT}

    def tokens(report: str) -> list[str]:
        return [token if token in vocabulary else "<unk>" for token in clean_r2gen(report).split()]

    return (lambda report: " ".join(tokens(report)[:_R2GEN_REFERENCE_TOKENS])), (
        lambda report: " ".join(tokens(report))
    )


def score_reports(
    references: Sequence[str],
    predictions: Sequence[str],
    protocol: str = "r2gen",
    train_reports: Sequence[str] | None = None,
) -> dict[str, float]:
    """Scores predictions[i] against references[i]; returns the SCORES as fractions.

    BLEU-n is the corpus BLEU of orders 1 to n, unsmoothed: 0 where no n-gram matches, where pycocoevalcap's epsilons
    leave up to .001. ROUGE-L is the mean over pairs of the F-measure with beta 1.2. METEOR is the corpus aggregate, by
    the jar of METEOR 1.5 where it is installed ("meteor"), else by ours ("meteor_exact_stem"). Rule F1 is of CheXpert's
    14 observations, as `labels.rule_labels` reads them; macro is over those that occur in the references.
    An empty prediction is allowed and earns nothing. `report_preparers` describes the protocols.

    Raises InputError, in one line, for lists of different or no length, things that are no strings, or a protocol that
    is unknown or lacks its training reports.
    """
    prepare = report_preparers(protocol, train_reports)
    _check_pairs(references, predictions)
    return score_pairs(references, predictions, prepare)


def score_pairs(
    references: Sequence[str], predictions: Sequence[str], prepare: tuple[Prepare, Prepare]
) -> dict[str, float]:
    """`score_reports` with the functions of `report_preparers`, for several systems of one protocol."""
    found, predicted = rule_matrix(references), rule_matrix(predictions)
    references, predictions = _prepared(references, predictions, prepare)
    scores = {
        f"bleu_{order}": _bleu(order).corpus_score(predictions, [references]).score / 100 for order in range(1, 5)
    }
    scores["rouge_l"] = float(rouge_l(references, predictions).mean())
    scores[METEOR] = float(meteor_from_sums(_meteor(references, predictions).sum(axis=0)))
    whole = np.ones((1, len(references)), np.int64)
    return scores | {
        "rule_f1_micro": float(resampled_micro(found, predicted, whole)[0]),
        "rule_f1_macro": float(np.nan_to_num(resampled_macro(found, predicted, whole)[0])),
    }


def rouge_l(references: Sequence[str], predictions: Sequence[str]) -> np.ndarray:
    """Returns each pair's ROUGE-L F-measure with beta 1.2, float64 (n,), of white-space tokens."""
    scorer = RougeScorer(["rougeL"], tokenizer=_WhitespaceTokenizer())
    scores = [scorer.score(*pair)["rougeL"] for pair in zip(references, predictions, strict=True)]
    return rouge_f(np.array([s.precision for s in scores]), np.array([s.recall for s in scores]))


def rouge_f(precision: np.ndarray, recall: np.ndarray) -> np.ndarray:
    """Returns the F-measure with ROUGE-L's beta 1.2, elementwise; 0 where nothing matches."""
    weight = _ROUGE_BETA**2
    denominator = recall + weight * precision
    return np.divide(
        (1 + weight) * precision * recall, denominator, out=np.zeros_like(denominator), where=denominator > 0
    )


def bleu_from_sums(
    matches: np.ndarray, totals: np.ndarray, prediction_tokens: np.ndarray, reference_tokens: np.ndarray
) -> np.ndarray:
    """Returns BLEU-1 to BLEU-4, float64 (..., 4), from corpus sums: n-gram counts (..., 4), token counts (...)."""
    precision = np.divide(matches, totals, out=np.zeros(np.shape(matches)), where=totals > 0)
    with np.errstate(divide="ignore", over="ignore"):
        log_means = np.cumsum(np.log(precision), axis=-1) / np.arange(1, 5)
        log_brevity = np.minimum(0.0, 1 - reference_tokens / np.maximum(prediction_tokens, 1e-300))
    return np.exp(log_means + log_brevity[..., None])


def pair_statistics(
    references: Sequence[str],
    predictions: Sequence[str],
    protocol: str = "r2gen",
    train_reports: Sequence[str] | None = None,
) -> PairStatistics:
    """Returns what `resampled_scores` needs; arguments and errors are those of `score_reports`."""
    prepare = report_preparers(protocol, train_reports)
    _check_pairs(references, predictions)
    reference_findings, predicted_findings = rule_matrix(references), rule_matrix(predictions)
    references, predictions = _prepared(references, predictions, prepare)
    bleu = _bleu(4)
    # A corpus of one pair: sentence_score has the same counts but logs a warning for each pair.
    pairs = [bleu.corpus_score([p], [[r]]) for r, p in zip(references, predictions, strict=True)]
    return PairStatistics(
        matches=np.array([pair.counts for pair in pairs]),
        totals=np.array([pair.totals for pair in pairs]),
        prediction_tokens=np.array([pair.sys_len for pair in pairs]),
        reference_tokens=np.array([pair.ref_len for pair in pairs]),
        rouge_l=rouge_l(references, predictions),
        meteor=_meteor(references, predictions),
        reference_findings=reference_findings,
        predicted_findings=predicted_findings,
    )


def resampled_scores(statistics: PairStatistics, weights: np.ndarray) -> np.ndarray:
    """Returns the scores of resamples, float64 (resamples, scores) in the order of SCORES.

    weights: (resamples, n), how often each of the n pairs stands in each resample.
    """
    bleu = bleu_from_sums(
        weights @ statistics.matches,
        weights @ statistics.totals,
        weights @ statistics.prediction_tokens,
        weights @ statistics.reference_tokens,
    )
    rouge = weights @ statistics.rouge_l / weights.sum(axis=1)
    findings = statistics.reference_findings, statistics.predicted_findings
    rule_f1 = [resampled_micro(*findings, weights), resampled_macro(*findings, weights)]
    return np.column_stack([bleu, rouge, meteor_from_sums(weights @ statistics.meteor), *rule_f1])


def bootstrap_intervals(
    references: Sequence[str],
    predictions: Sequence[str],
    protocol: str = "r2gen",
    train_reports: Sequence[str] | None = None,
    clusters: Clusters | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, tuple[float, float]]:
    """Returns each score's 95 % percentile interval over resamples of the pairs, with replacement.

    clusters: (n,), what is drawn in place of single pairs, such as patients (see `bootstrap.resample_weights`). The
    other arguments and the errors are those of `score_reports`. No n-gram is counted twice: a resample is a weighted
    sum.
    """
    statistics = pair_statistics(references, predictions, protocol, train_reports)
    low, high = interval(partial(resampled_scores, statistics), len(references), clusters, resamples, seed)
    return {name: (float(low[i]), float(high[i])) for i, name in enumerate(SCORES)}


def check_reports(name: str, reports: Sequence[object]) -> None:
    """Raises InputError unless `reports` is a sequence of strings; `name` is what the message calls it."""
    if isinstance(reports, str):
        raise InputError(f"{name}: got one string; pass a list of reports")
    for position, report in enumerate(reports):
        if not isinstance(report, str):
            raise InputError(f"{name}[{position}]: got {type(report).__name__}; pass a string")


def _check_pairs(references: Sequence[str], predictions: Sequence[str]) -> None:
    check_reports("references", references)
    check_reports("predictions", predictions)
    if len(references) != len(predictions):
        raise InputError(
            f"predictions: {len(predictions)} for {len(references)} references; pass one prediction for each reference"
        )
    if not len(references):
        raise InputError("references: no reports to score; pass at least one pair")


def _prepared(
    references: Sequence[str], predictions: Sequence[str], prepare: tuple[Prepare, Prepare]
) -> tuple[list[str], list[str]]:
    return list(map(prepare[0], references)), list(map(prepare[1], predictions))


def _prepare_raw(report: str) -> str:
    return " ".join(report.lower().split())


def _prepare_paper(report: str) -> str:
    return " ".join(re.findall(r"\w+", report.lower()))


_PREPARE_ALIKE: dict[str, Prepare] = {"raw": _prepare_raw, "paper": _prepare_paper}


def _bleu(order: int) -> BLEU:
    return BLEU(max_ngram_order=order, tokenize="none", smooth_method="none", force=True)

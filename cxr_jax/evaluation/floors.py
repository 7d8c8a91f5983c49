"""Floors: what a system scores that never looks at the image. A score means little until it stands beside them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cxr_jax.errors import InputError
from cxr_jax.evaluation.label_metrics import Labels, macro_f1
from cxr_jax.evaluation.protocols import check_reports, prepare_all
from cxr_jax.evaluation.text_metrics import ReportScorer, bleu_from_sums, rouge_f
from cxr_jax.subsequences import common_subsequence, word_positions

# The search for the constant report: BLEU of this many distinct training reports, on this many validation references,
# then ROUGE-L (the slow part) of the best of them. R2Gen's IU X-ray split stays below the first two.
_CANDIDATES = 5000
_VAL_REFERENCES = 500
_FINALISTS = 200
CONSTANT = ("constant_report", "most_frequent_report")  # floors that answer every image alike


@dataclass(frozen=True)
class Pool:
    """The training and validation reports that floors and ceiling are drawn from, a study once.

    train_labels: of the training reports, where the data have some.

    Raises InputError when either list is empty, or the labels are of another number.
    """

    train: Sequence[str]
    val: Sequence[str]
    train_labels: Labels | None = None

    def __post_init__(self):
        for name, reports in (("train_reports", self.train), ("val_references", self.val)):
            check_reports(name, reports)
            if not len(reports):
                raise InputError(f"{name}: no reports; the floors need training, validation and reference reports")
        _check_labels("train_labels", self.train_labels, len(self.train))


def floors(
    scorer: ReportScorer, pool: Pool, reference_labels: Labels | None = None, seeds: int = 5
) -> dict[str, dict[str, float]]:
    """Scores blind systems against the scorer's references; returns {name: scores}, with the keys of `score_reports`.

    "random_report": a random training report for each image, the mean of `seeds` draws.
    "random_same_class_report": with labels only, the same from the training reports that have findings for an image
        that has some, from those without for one that has none: what telling normal from abnormal would earn.
    "constant_report": one training report for every image, the best on the validation reports by the mean of
        bleu_4 and rouge_l. Searched: BLEU-4 of the 5,000 most frequent distinct training reports (earlier ones first
        among equals) on at most 500 references, evenly spaced; then both scores of the best 200.
    "most_frequent_report": the training report that occurs most often (as scored, so "Normal." counts with "normal").

    Where both the pool's and the references' labels are given, each scores dict also has "finding_f1_macro"; a repeated
    report stands for the label set that most often goes with it.

    Raises InputError for labels of another number than the references.
    """
    labels = pool.train_labels if reference_labels is not None else None

    def score(name: str, rows: np.ndarray) -> dict[str, float]:
        scores = scorer.scores([pool.train[row] for row in rows])
        if labels is not None and reference_labels is not None:
            once = _usual_labels(pool.train[rows[0]], scorer, pool.train, labels) if name in CONSTANT else None
            chosen = [labels[row] if once is None else once for row in rows]
            scores["finding_f1_macro"] = macro_f1(reference_labels, chosen)
        return scores

    result = {}
    for name, draws in floor_rows(scorer, pool, reference_labels, seeds).items():
        all_scores = [score(name, rows) for rows in draws]
        result[name] = {key: float(np.mean([scores[key] for scores in all_scores])) for key in all_scores[0]}
    return result


def floor_rows(
    scorer: ReportScorer, pool: Pool, reference_labels: Labels | None = None, seeds: int = 5
) -> dict[str, list[np.ndarray]]:
    """The training reports that each of `floors` answers with: {name: draws}, a draw int64 (references,) of rows.

    Arguments and errors as there.
    """
    count = len(scorer.references)
    _check_labels("reference_labels", reference_labels, count)
    train = prepare_all(scorer.prepare_prediction, pool.train)
    scorer.expect(train)
    first_row = {report: row for row, report in reversed(list(enumerate(train)))}

    def draws(train_classes: np.ndarray, classes: np.ndarray) -> list[np.ndarray]:
        return [_draw(train_classes, classes, seed) for seed in range(seeds)]

    result = {"random_report": draws(np.zeros(len(train), bool), np.zeros(count, bool))}
    if pool.train_labels is not None and reference_labels is not None:
        abnormal = [np.array([bool(len(study)) for study in side]) for side in (pool.train_labels, reference_labels)]
        result["random_same_class_report"] = draws(*abnormal)
    constants = (
        best_constant(train, [scorer.prepare_reference(report) for report in pool.val]),
        Counter(train).most_common(1)[0][0],
    )
    return result | {
        name: [np.full(count, first_row[report])] for name, report in zip(CONSTANT, constants, strict=True)
    }


def _draw(train_classes: np.ndarray, classes: np.ndarray, seed: int) -> np.ndarray:
    """A random row of the same class for each of `classes`; of any class, where the training reports lack it."""
    rng, drawn = np.random.default_rng(seed), np.empty(len(classes), np.int64)
    for name in np.unique(classes):
        members = np.flatnonzero(train_classes == name)
        members = members if len(members) else np.arange(len(train_classes))
        drawn[classes == name] = members[rng.integers(len(members), size=(classes == name).sum())]
    return drawn


def best_constant(candidates: Sequence[str], references: Sequence[str]) -> str:
    """Returns the candidate with the best mean of BLEU-4 and ROUGE-L as the prediction for every reference.

    Both are prepared strings (`report_preparers`). `floors` states how far the search goes.
    """
    distinct = [report for report, _ in Counter(candidates).most_common(_CANDIDATES)]
    if len(references) > _VAL_REFERENCES:
        references = [references[i] for i in np.linspace(0, len(references) - 1, _VAL_REFERENCES).astype(int)]
    bleu_4 = constant_bleu(distinct, references)[:, 3]
    finalists = np.argsort(-bleu_4, kind="stable")[:_FINALISTS]
    rouge = constant_rouge_l([distinct[i] for i in finalists], references)
    return distinct[finalists[np.argmax(bleu_4[finalists] + rouge)]]


def constant_bleu(candidates: Sequence[str], references: Sequence[str]) -> np.ndarray:
    """Returns BLEU-1 to BLEU-4 of each candidate as the prediction for every reference, float64 (candidates, 4)."""
    candidate_tokens = [report.split() for report in candidates]
    reference_tokens = [report.split() for report in references]
    matches, totals = np.zeros((2, len(candidates), 4))
    for order in range(1, 5):
        numbers: dict[tuple[str, ...], int] = {}
        counts = [_ngrams(tokens, order) for tokens in reference_tokens]
        for count in counts:
            for ngram in count:
                numbers.setdefault(ngram, len(numbers))
        table = np.zeros((len(numbers), len(references)), np.uint16)
        for column, count in enumerate(counts):
            table[[numbers[ngram] for ngram in count], column] = list(count.values())
        for row, tokens in enumerate(candidate_tokens):
            own = _ngrams(tokens, order)
            known = [(numbers[ngram], count) for ngram, count in own.items() if ngram in numbers]
            totals[row, order - 1] = own.total() * len(references)
            if known:
                rows, limits = np.array(known).T
                matches[row, order - 1] = np.minimum(table[rows], limits[:, None]).sum()
    prediction_lengths = np.array([len(tokens) for tokens in candidate_tokens]) * len(references)
    reference_lengths = np.full(len(candidates), sum(map(len, reference_tokens)))
    return bleu_from_sums(matches, totals, prediction_lengths, reference_lengths)


def constant_rouge_l(candidates: Sequence[str], references: Sequence[str]) -> np.ndarray:
    """Returns the mean ROUGE-L of each candidate as the prediction for every reference, float64 (candidates,)."""
    reference_tokens = [report.split() for report in references]
    positions = [word_positions(tokens) for tokens in reference_tokens]
    lengths = np.maximum([len(tokens) for tokens in reference_tokens], 1)
    means = np.zeros(len(candidates))
    for row, report in enumerate(candidates):
        tokens = report.split()
        common = np.array([common_subsequence(tokens, *of_reference) for of_reference in positions])
        means[row] = rouge_f(common / max(len(tokens), 1), common / lengths).mean()
    return means


def _ngrams(tokens: list[str], order: int) -> Counter[tuple[str, ...]]:
    return Counter(zip(*(tokens[start:] for start in range(order)), strict=False))


def _usual_labels(report: str, scorer: ReportScorer, train: Sequence[str], train_labels: Labels) -> frozenset[str]:
    prepared = prepare_all(scorer.prepare_prediction, train)
    wanted = scorer.prepare_prediction(report)
    own = (frozenset(labels) for text, labels in zip(prepared, train_labels, strict=True) if text == wanted)
    return Counter(own).most_common(1)[0][0]


def _check_labels(name: str, labels: Labels | None, count: int) -> None:
    if labels is not None and len(labels) != count:
        raise InputError(f"{name}: {len(labels)} label sets for {count} reports; pass one for each")

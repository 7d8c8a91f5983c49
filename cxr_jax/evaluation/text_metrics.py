"""BLEU, ROUGE-L, METEOR, CIDEr and rule F1 of reports under a named protocol, with bootstrap intervals.

The first four are pycocoevalcap's numbers, which the field's tables quote. All are made of sums over pairs of a
reference and a prediction, so that a resample is a weighted sum, and the sample itself the one in which all weights are
1. What is summed comes from `overlap` (n-gram counts and the longest common subsequence behind ROUGE-L, which equal
sacrebleu's and rouge-score's: tests hold that), METEOR from its jar or from `meteor`. Both libraries' own scores are
others on the same strings: they tokenize, stem and smooth by default. CIDEr's document frequencies are those of all
references, in a resample as well: what is drawn is which pairs are scored, not what a word weighs. ReXrank's BLEU-2,
rule F1 and the share that speaks of a prior study are of the reports as they were written, whatever the protocol.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np

from cxr_jax.errors import InputError
from cxr_jax.evaluation.bootstrap import Clusters, interval
from cxr_jax.evaluation.cider import cider
from cxr_jax.evaluation.label_metrics import macro_from_sums
from cxr_jax.evaluation.label_policies import example_f1, label_f1_from_sums, label_matrices, label_names
from cxr_jax.evaluation.meteor import choose_meteor, meteor_from_sums
from cxr_jax.evaluation.overlap import ORDERS, ngram_overlap
from cxr_jax.evaluation.protocols import check_reports, prepare_all, report_preparers
from cxr_jax.evaluation.ratios import ratio
from cxr_jax.evaluation.rexrank import bleu_2_rexrank
from cxr_jax.labels.priors import speaks_of_prior
from cxr_jax.labels.rules import rule_statuses
from cxr_jax.subsequences import common_subsequences

_ROUGE_BETA = 1.2


def score_names(meteor: str = "auto", uncertain: str = "positive") -> tuple[str, ...]:
    """The names of the text scores, in their order; METEOR's says which one it is (`meteor.choose_meteor`)."""
    bleu = tuple(f"bleu_{order}" for order in range(1, 5))
    rules = ("rule_f1_micro", "rule_f1_macro", *label_names(uncertain))
    return (*bleu, "rouge_l", choose_meteor(meteor).name, "cider", "bleu_2_rexrank", *rules, "prior_share")


def score_reports(
    references: Sequence[str],
    predictions: Sequence[str],
    protocol: str = "r2gen",
    train_reports: Sequence[str] | None = None,
    meteor: str = "auto",
    uncertain: str = "positive",
) -> dict[str, float]:
    """Scores predictions[i] against references[i]; returns `score_names` with their scores as fractions.

    BLEU-n is the corpus BLEU of orders 1 to n, unsmoothed: 0 where no n-gram matches, where pycocoevalcap's epsilons
    leave up to .001. ROUGE-L is the mean over pairs of the F-measure with beta 1.2. METEOR is the corpus aggregate,
    `meteor` says whose: by the jar of METEOR 1.5 ("jar": the score "meteor"), by ours ("exact_stem": the score
    "meteor_exact_stem"), or by the jar where it is installed, else by ours ("auto"). CIDEr (`cider.cider`) is 0 to 10,
    and BLEU-2 as ReXrank has it is `rexrank.bleu_2_rexrank`. Rule F1 is of CheXpert's 14 observations, as
    `labels.rule_labels` reads them; macro is over those that occur in the references. Those with a policy in their
    names are `label_policies.resampled_label_f1`; `uncertain` is the policy. "prior_share" is the share of the
    predictions that speak of a prior study (`labels.priors`), and no merit.
    An empty prediction is allowed and earns nothing. `report_preparers` describes the protocols.

    Raises InputError, in one line, for lists of different or no length, things that are no strings, a protocol that
    is unknown or lacks its training reports, or a METEOR or a policy that is unknown or not installed.
    """
    return ReportScorer(references, protocol, train_reports, meteor, uncertain).scores(predictions)


@dataclass(frozen=True)
class PairStatistics:
    """What the scores of any resample of n (reference, prediction) pairs are made of.

    names: of the scores, `score_names`.
    matches: int (n, 4), n-grams of the prediction that the reference has (clipped), for orders 1 to 4.
    totals: int (n, 4), n-grams of the prediction.
    prediction_tokens, reference_tokens: int (n,).
    rouge_l: float (n,).
    meteor: float (n, 6), `meteor.meteor_statistics`, or the jar's.
    cider, bleu_2_rexrank: float (n,).
    reference_findings, predicted_findings: bool (n, 14), whether the rules read each of OBSERVATIONS there.
    reference_labels, predicted_labels: the same by the policy for doubt.
    speaks_of_prior: bool (n,), whether the prediction does.
    """

    names: tuple[str, ...]
    matches: np.ndarray
    totals: np.ndarray
    prediction_tokens: np.ndarray
    reference_tokens: np.ndarray
    rouge_l: np.ndarray
    meteor: np.ndarray
    cider: np.ndarray
    bleu_2_rexrank: np.ndarray
    reference_findings: np.ndarray
    predicted_findings: np.ndarray
    reference_labels: np.ndarray
    predicted_labels: np.ndarray
    speaks_of_prior: np.ndarray

    def __len__(self) -> int:
        return len(self.rouge_l)

    def sum_of(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """The weighted sums over pairs, by what is summed: float64 (resamples,) or (resamples, columns)."""
        parts, columns = self._columns
        sums = np.split(weights @ columns, np.cumsum([part.shape[1] for part in parts.values()])[:-1], axis=1)
        result = dict(zip(parts, sums, strict=True))
        result |= {name: result[name][:, 0] for name in ("prediction_tokens", "reference_tokens")}
        return {"labels": result["findings"]} | result

    @cached_property
    def _columns(self) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """What is summed, and all of it side by side as float64; labels that are the findings stand there once."""
        findings, labels = (
            np.hstack([reference & predicted, reference, predicted])
            for reference, predicted in (
                (self.reference_findings, self.predicted_findings),
                (self.reference_labels, self.predicted_labels),
            )
        )
        parts = {
            "matches": self.matches,
            "totals": self.totals,
            "prediction_tokens": self.prediction_tokens[:, None],
            "reference_tokens": self.reference_tokens[:, None],
            "means": np.stack([self.rouge_l, self.cider, self.bleu_2_rexrank, self.speaks_of_prior], axis=1),
            "meteor": self.meteor,
            "findings": findings,
            "examples": example_f1(self.reference_labels, self.predicted_labels),
        }
        if not np.array_equal(findings, labels):
            parts["labels"] = labels
        return parts, np.hstack([part.astype(np.float64) for part in parts.values()])


class ReportScorer:
    """References under a protocol, prepared and labelled once, against which any number of systems are scored.

    Arguments and errors are those of `score_reports`. `prepare_reference` and `prepare_prediction` are the protocol's.
    """

    def __init__(
        self,
        references: Sequence[str],
        protocol: str = "r2gen",
        train_reports: Sequence[str] | None = None,
        meteor: str = "auto",
        uncertain: str = "positive",
    ):
        self.prepare_reference, self.prepare_prediction = report_preparers(protocol, train_reports)
        self.names, self._meteor = score_names(meteor, uncertain), choose_meteor(meteor)
        self.uncertain = uncertain
        check_reports("references", references)
        if not len(references):
            raise InputError("references: no reports to score; pass at least one pair")
        self.references = references
        self._prepared = prepare_all(self.prepare_reference, references)
        self._statuses = rule_statuses(references)

    def statistics(self, predictions: Sequence[str]) -> PairStatistics:
        """What `sample_scores`, `resampled_scores` and `score_intervals` need of a system."""
        check_reports("predictions", predictions)
        references = self._prepared
        if len(references) != len(predictions):
            raise InputError(
                f"predictions: {len(predictions)} for {len(references)} references; pass one prediction for each "
                "reference"
            )
        prepared = prepare_all(self.prepare_prediction, predictions)
        # A pair that occurs again, as in a resample or under a constant prediction, is counted once.
        row_of: dict[tuple[str, str], int] = {}
        rows = np.array([row_of.setdefault(pair, len(row_of)) for pair in zip(references, prepared, strict=True)])
        distinct = [list(side) for side in zip(*row_of, strict=True)]
        lengths = reference_tokens, prediction_tokens = tuple(
            np.array([len(text.split()) for text in side]) for side in distinct
        )
        totals = np.maximum(prediction_tokens[:, None] - np.arange(ORDERS), 0)
        with ThreadPoolExecutor(1) as beside:  # METEOR's jar is a process of its own: the others are counted meanwhile
            meteor = beside.submit(self._meteor.statistics, *distinct)
            ngrams = ngram_overlap(*distinct, occurrences=np.bincount(rows))
            statuses = self._statuses, rule_statuses(predictions)
            findings = label_matrices(*statuses, "positive")
            labels = findings if self.uncertain == "positive" else label_matrices(*statuses, self.uncertain)
            prior = {report: speaks_of_prior(report) for report in dict.fromkeys(predictions)}
            return PairStatistics(
                names=self.names,
                matches=ngrams.matches[rows],
                totals=totals[rows],
                prediction_tokens=prediction_tokens[rows],
                reference_tokens=reference_tokens[rows],
                rouge_l=rouge_l(*distinct)[rows],
                cider=cider(ngrams.cosines, *lengths)[rows],
                bleu_2_rexrank=bleu_2_rexrank(self.references, predictions),
                reference_findings=findings[0],
                predicted_findings=findings[1],
                reference_labels=labels[0],
                predicted_labels=labels[1],
                speaks_of_prior=np.array([prior[report] for report in predictions]),
                meteor=meteor.result()[rows],
            )

    def expect(self, predictions: Sequence[str]) -> None:
        """Says what predictions will be among, prepared, which spares METEOR's jar a new start for each system."""
        self._meteor.expect(predictions)

    def scores(self, predictions: Sequence[str]) -> dict[str, float]:
        """`score_reports` of a system."""
        return sample_scores(self.statistics(predictions))


def sample_scores(statistics: PairStatistics) -> dict[str, float]:
    """The scores of all pairs, each counted once; rule F1 is 0 where the references have no finding."""
    (scores,) = resampled_scores(statistics, np.ones((1, len(statistics)), np.int64))
    return dict(zip(statistics.names, np.nan_to_num(scores).tolist(), strict=True))


def resampled_scores(statistics: PairStatistics, weights: np.ndarray) -> np.ndarray:
    """Returns the scores of resamples, float64 (resamples, scores) in the order of the statistics' names.

    weights: (resamples, n), how often each of the n pairs stands in each resample.
    """
    # One float product, for that goes through BLAS; counts this small are exact in it.
    sums = statistics.sum_of(weights.astype(np.float64))
    count = weights.sum(axis=1)
    bleu = bleu_from_sums(*(sums[name] for name in ("matches", "totals", "prediction_tokens", "reference_tokens")))
    rouge, *others, prior_share = (sums["means"] / count[:, None]).T
    hits, supports, predictions = np.split(sums["findings"], 3, axis=1)
    micro = ratio(2 * hits.sum(axis=1), (supports + predictions).sum(axis=1))
    macro = macro_from_sums(hits, supports, predictions)
    if not statistics.reference_findings.any():  # no resample has a mean over its findings
        macro = np.zeros(len(weights))
    of_labels = np.split(sums["labels"], 3, axis=1)
    labels = label_f1_from_sums(of_labels, sums["examples"], count)
    return np.column_stack([bleu, rouge, meteor_from_sums(sums["meteor"]), *others, micro, macro, labels, prior_share])


def score_intervals(
    statistics: PairStatistics, clusters: Clusters | None = None, resamples: int = 1000, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """Returns each score's 95 % percentile interval over resamples of the pairs, with replacement.

    clusters: (n,), what is drawn in place of single pairs, such as patients (see `bootstrap.resample_weights`, also for
    the errors).
    """
    low, high = interval(partial(resampled_scores, statistics), len(statistics), clusters, resamples, seed)
    return dict(zip(statistics.names, zip(low.tolist(), high.tolist(), strict=True), strict=True))


def bleu_from_sums(
    matches: np.ndarray, totals: np.ndarray, prediction_tokens: np.ndarray, reference_tokens: np.ndarray
) -> np.ndarray:
    """Returns BLEU-1 to BLEU-4, float64 (..., 4), from corpus sums: n-gram counts (..., 4), token counts (...)."""
    precision = ratio(matches, totals)
    with np.errstate(divide="ignore", over="ignore"):
        log_means = np.cumsum(np.log(precision), axis=-1) / np.arange(1, 5)
        log_brevity = np.minimum(0.0, 1 - reference_tokens / np.maximum(prediction_tokens, 1e-300))
    return np.exp(log_means + log_brevity[..., None])


def rouge_l(references: Sequence[str], predictions: Sequence[str]) -> np.ndarray:
    """Returns each pair's ROUGE-L F-measure with beta 1.2, float64 (n,), of white-space tokens."""
    lengths = (np.maximum([len(text.split()) for text in side], 1) for side in (references, predictions))
    common = common_subsequences(references, predictions)
    recall, precision = (common / of_side for of_side in lengths)
    return rouge_f(precision, recall)


def rouge_f(precision: np.ndarray, recall: np.ndarray) -> np.ndarray:
    """Returns the F-measure with ROUGE-L's beta 1.2, elementwise; 0 where nothing matches."""
    weight = _ROUGE_BETA**2
    return ratio((1 + weight) * precision * recall, recall + weight * precision)

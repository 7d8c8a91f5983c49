"""F1 of CheXpert's observations as papers report it: all fourteen or the competition's five, doubt by a policy."""

from collections.abc import Mapping, Sequence

import numpy as np

from cxr_jax.errors import InputError
from cxr_jax.evaluation.ratios import ratio
from cxr_jax.labels.indicators import indicators
from cxr_jax.labels.phrases import OBSERVATIONS

UNCERTAIN = ("positive", "negative", "ignore")
FIVE = ("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Pleural Effusion")  # Irvin et al. 2019, section 6
KINDS = ("micro", "macro", "weighted", "example")
_FIVE_COLUMNS = [OBSERVATIONS.index(observation) for observation in FIVE]

Statuses = Sequence[Mapping[str, str]]  # of each report: observation to "positive", "uncertain" or "negative"


def label_names(uncertain: str, source: str = "rule") -> tuple[str, ...]:
    """The names of `resampled_label_f1`'s scores, in its order; each says what became of doubt and of silence.

    Raises:
      InputError: a policy that is unknown.
    """
    if uncertain not in UNCERTAIN:
        raise InputError(f"uncertain: {uncertain!r} is unknown; choose one of {', '.join(UNCERTAIN)}")
    policy = f"[uncertain={uncertain},blank=negative]"
    return tuple(f"{source}_f1_{count}_{kind}{policy}" for count in (len(OBSERVATIONS), len(FIVE)) for kind in KINDS)


def label_matrices(references: Statuses, predictions: Statuses, uncertain: str) -> tuple[np.ndarray, np.ndarray]:
    """Which of the observations each reference has, and each prediction: bool (n, 14) twice.

    uncertain: "positive" or "negative", what a doubt counts as on both sides; "ignore" leaves out the decisions on
    which the reference is in doubt, which F1 does where neither side has the finding, and takes a doubt of the
    prediction as there: so no system gains by doubting. Silence ("blank") is a denial, as in CheXbert's F1.
    """
    taken = {"positive"} if uncertain == "negative" else {"positive", "uncertain"}
    reference, predicted = (_having(side, taken) for side in (references, predictions))
    if uncertain == "ignore":
        decided = ~_having(references, {"uncertain"})
        reference, predicted = reference & decided, predicted & decided
    return reference, predicted


def _having(statuses: Statuses, taken: set[str]) -> np.ndarray:
    """bool (n, 14); a report that repeats has the same object each time, and is read once."""
    rows: dict[int, int] = {}
    of_study = [rows.setdefault(id(study), len(rows)) for study in statuses]
    distinct = {id(study): study for study in statuses}.values()
    having = indicators([{name for name, of in study.items() if of in taken} for study in distinct], OBSERVATIONS)
    return having[of_study]


def resampled_label_f1(reference: np.ndarray, predicted: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """`label_f1_from_sums` of resamples; weights: (resamples, n), how often each study is drawn."""
    counts = [weights @ side for side in (reference & predicted, reference, predicted)]
    return label_f1_from_sums(counts, weights @ example_f1(reference, predicted), weights.sum(axis=1))


def example_f1(reference: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """F1 of each study's set of the fourteen, and of its set of the five, float64 (n, 2); 0 where both are empty."""
    sides = [(side, side[:, _FIVE_COLUMNS]) for side in (reference & predicted, reference, predicted)]
    hits, supports, predictions = ([part.sum(axis=1) for part in side] for side in sides)
    return np.stack([ratio(2 * h, s + p) for h, s, p in zip(hits, supports, predictions, strict=True)], axis=1)


def label_f1_from_sums(counts: Sequence[np.ndarray], examples: np.ndarray, count: np.ndarray) -> np.ndarray:
    """F1 of resamples, float64 (resamples, 8): micro, macro, weighted, example of the fourteen, then of the five.

    They are scikit-learn's `f1_score(average="micro" | "macro" | "weighted" | "samples", zero_division=0)`, by which
    CheXbert's F1 is reported: macro is over all the observations, an observation that neither side has counting as 0,
    and so does, in "example", a study of which neither side has one. (`label_metrics.finding_f1` differs in both.)

    Args:
      counts: (resamples, 14) thrice, how many studies have each of OBSERVATIONS on both sides, in the reference, in
        the prediction.
      examples: (resamples, 2), the sums of `example_f1`.
      count: (resamples,), how many studies there are.
    """
    scores = []
    for group, columns in enumerate((list(range(len(OBSERVATIONS))), _FIVE_COLUMNS)):
        h, s, p = (side[:, columns] for side in counts)
        f1 = ratio(2 * h, s + p)
        micro = ratio(2 * h.sum(axis=1), (s + p).sum(axis=1))
        weighted = ratio((f1 * s).sum(axis=1), s.sum(axis=1))
        scores += [micro, f1.mean(axis=1), weighted, examples[:, group] / count]
    return np.stack(scores, axis=1)

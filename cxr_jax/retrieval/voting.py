"""What the reports of an image's neighbours say together: a vote on each observation and its side.

Each neighbour's vote weighs softmax(similarity / τ) among those of its image.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from cxr_jax.labels.indicators import indicators
from cxr_jax.labels.rules import OBSERVATIONS, rule_labels
from cxr_jax.labels.statements import statements
from cxr_jax.retrieval.rows import Reports

VOTED = tuple(observation for observation in OBSERVATIONS if observation != "No Finding")
RARE = 8  # affirmed by fewer reports of the validation split, an observation has no threshold of its own
ROUNDS = 3  # of looking for them
KINDS = ("affirmed", "denied", "left", "right")  # of an affirmed one, left and right: both of a bilateral one


class Votes(NamedTuple):
    """The weight of the neighbours that say so, from 0 to 1, by VOTED; sides are of an affirmed observation."""

    affirmed: Float[np.ndarray, "N O"]
    denied: Float[np.ndarray, "N O"]
    left: Float[np.ndarray, "N O"]
    right: Float[np.ndarray, "N O"]


class Thresholds(NamedTuple):
    """From which weight on an observation is affirmed or denied, by VOTED."""

    affirmed: Float[np.ndarray, " O"]
    denied: Float[np.ndarray, " O"]

    def as_json(self) -> dict[str, dict[str, float]]:
        """{"affirmed", "denied"}: {observation: threshold}."""
        kinds = self._asdict().items()
        return {kind: dict(zip(VOTED, values.tolist(), strict=True)) for kind, values in kinds}

    @classmethod
    def of_json(cls, content: Any) -> "Thresholds":
        """As `as_json` gave them; raises a ValueError, KeyError or TypeError for anything else."""
        return cls(*(np.array([float(content[kind][name]) for name in VOTED]) for kind in cls._fields))

    @classmethod
    def half(cls) -> "Thresholds":
        """The majority's word."""
        return cls(np.full(len(VOTED), 0.5), np.full(len(VOTED), 0.5))

    @classmethod
    def chosen(cls, votes: Votes, reports: Sequence[str]) -> "Thresholds":
        """Those of a validation split: of what is affirmed, the highest micro F1, "No Finding" among the observations.

        Each observation by itself would be called too soon, and sick ones too often. One threshold for all is taken
        first, then each observation's in turn, where at least RARE reports affirm it. What is denied has the threshold
        of its own highest F1.

        Args:
          votes: of images whose reports these are.
        """
        affirmed, denied = read(reports)[:2]
        return cls(_joint_thresholds(affirmed, votes.affirmed), best_thresholds(denied, votes.denied))


def vote_weights(similarity: Float[np.ndarray, "N K"], scale: float) -> Float[np.ndarray, "N K"]:
    """Softmax over the neighbours of scale · similarity, scale being 1/τ."""
    powers = np.exp(scale * (similarity - similarity.max(axis=1, keepdims=True)).astype(np.float64))
    return powers / powers.sum(axis=1, keepdims=True)


def read(reports: Sequence[str]) -> Bool[np.ndarray, "4 N O"]:
    """What each report says, by KINDS and VOTED; what it affirms and denies counts as affirmed."""
    column = {observation: number for number, observation in enumerate(VOTED)}
    said = np.zeros((len(KINDS), len(reports), len(VOTED)), bool)
    for row, report in enumerate(reports):
        for observation, affirmed, side in statements(report):
            said[0 if affirmed else 1, row, column[observation]] = True
            if affirmed:
                said[2, row, column[observation]] |= side in ("left", "bilateral")
                said[3, row, column[observation]] |= side in ("right", "bilateral")
    said[1] &= ~said[0]
    return said


def vote(reports: Reports, rows: Int[np.ndarray, "N K"], weights: Float[np.ndarray, "N K"]) -> Votes:
    """The vote of each line of neighbours.

    Args:
      reports: of the pool; only those that are a neighbour are read.
      rows: the neighbours' reports.
      weights: `vote_weights`.
    """
    distinct, place = np.unique(rows, return_inverse=True)
    said = read([reports[row] for row in distinct.tolist()])
    return Votes(*(weigh(kind, place.reshape(rows.shape), weights) for kind in said))


def weigh(
    has: Bool[np.ndarray, "U L"], place: Int[np.ndarray, "N K"], weights: Float[np.ndarray, "N K"]
) -> Float[np.ndarray, "N L"]:
    """The weight of the neighbours that have each of L things; `place` says which row of `has` a neighbour's is."""
    return np.einsum("nk,nkl->nl", weights, has[place].astype(np.float64))


def agreement(
    reports: Reports, rows: Int[np.ndarray, "N K"], weights: Float[np.ndarray, "N K"]
) -> Float[np.ndarray, " N"]:
    """How far the reports of each line of neighbours agree, 0 to 1: the expected F1 of two's labels, by the rules.

    Both are drawn by their weights, with replacement; two without a label agree.
    """
    lines = zip(_labels(reports, rows), weights, strict=True)
    return np.array([of @ _f1(labels, labels) @ of for labels, of in lines], np.float64)


def support(
    texts: Sequence[str], reports: Reports, rows: Int[np.ndarray, "N K"], weights: Float[np.ndarray, "N K"]
) -> Float[np.ndarray, " N"]:
    """How far each text's neighbours say the same, 0 to 1: `agreement` of the text with one of them."""
    own = indicators(rule_labels(texts), OBSERVATIONS).astype(np.float64)
    lines = zip(own, _labels(reports, rows), weights, strict=True)
    return np.array([_f1(text[None, :], labels)[0] @ of for text, labels, of in lines], np.float64)


def _labels(reports: Reports, rows: Int[np.ndarray, "N K"]) -> Float[np.ndarray, "N K O"]:
    distinct, place = np.unique(rows, return_inverse=True)
    has = indicators(rule_labels([reports[row] for row in distinct.tolist()]), OBSERVATIONS)
    return has.astype(np.float64)[place.reshape(rows.shape)]


def _f1(a: Float[np.ndarray, "A O"], b: Float[np.ndarray, "B O"]) -> Float[np.ndarray, "A B"]:
    total = a.sum(axis=1)[:, None] + b.sum(axis=1)[None, :]
    return np.where(total > 0, 2 * (a @ b.T) / np.maximum(total, 1), 1.0)


def best_thresholds(truth: Bool[np.ndarray, "N O"], votes: Float[np.ndarray, "N O"]) -> Float[np.ndarray, " O"]:
    """For each column the threshold of the highest F1, half-way between two votes; .5 where nothing is true."""
    best = np.full(truth.shape[1], 0.5)
    for column in np.flatnonzero(truth.any(axis=0)).tolist():
        order = np.argsort(-votes[:, column], kind="stable")
        value, hits = votes[order, column], np.cumsum(truth[order, column])
        f1 = 2 * hits / (np.arange(1, len(order) + 1) + hits[-1])
        after = np.append(value[1:], 0.0)
        f1[value == after] = -1.0  # equal votes are on one side
        f1[value <= 0] = -1.0  # what nobody says is not said
        if f1.max() > 0:
            last = int(f1.argmax())
            best[column] = (value[last] + after[last]) / 2
    return best


def _joint_thresholds(truth: Bool[np.ndarray, "N O"], votes: Float[np.ndarray, "N O"]) -> Float[np.ndarray, " O"]:
    """`Thresholds.chosen`'s of what is affirmed; a study has no finding where nothing but devices is affirmed."""
    findings = np.array([observation != "Support Devices" for observation in VOTED])
    healthy = ~truth[:, findings].any(axis=1)
    total = truth.sum() + healthy.sum()

    def f1(thresholds: np.ndarray) -> float:
        called = votes >= thresholds
        well = ~called[:, findings].any(axis=1)
        return 2 * ((called & truth).sum() + (well & healthy).sum()) / (called.sum() + well.sum() + total)

    if not truth.any() or not votes.any():
        return np.full(truth.shape[1], 0.5)
    common = np.unique(np.quantile(votes[votes > 0], np.linspace(0, 1, 41)))
    best = np.full(truth.shape[1], common[int(np.argmax([f1(np.full(len(VOTED), t)) for t in common]))])
    for _ in range(ROUNDS):
        for column in np.flatnonzero(truth.sum(axis=0) >= RARE).tolist():
            levels = np.unique(np.append(votes[:, column], 0.0))
            trials = np.tile(best, (len(levels), 1))
            trials[:, column] = np.append((levels[1:] + levels[:-1]) / 2, 1.01)  # the last: never
            scores = [f1(best), *map(f1, trials)]
            if max(scores) > scores[0]:
                best = trials[int(np.argmax(scores)) - 1]
    return best

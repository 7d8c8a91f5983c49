"""From an image's neighbours to a draft of its report, each sentence with the studies that say the same.

The methods, `draft.method`: `top1` (the paper: the nearest report), `consensus` (of the nearest reports the one that
agrees best with all of them: minimum Bayes risk), `sentences` (the nearest sentences of the pool: CXR-RePaiR, Endo et
al. 2021), `compose` (sentences that say what the neighbours vote for: `composing`).
"""

import dataclasses
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from jaxtyping import Float, Int

from cxr_jax.data.reports import normalize_report
from cxr_jax.errors import InputError
from cxr_jax.labels.rules import rule_labels
from cxr_jax.labels.statements import Statement, joined, sentences, statements
from cxr_jax.retrieval.composing import Library, compose, repeats
from cxr_jax.retrieval.rows import Reports
from cxr_jax.retrieval.search import neighbours_of
from cxr_jax.retrieval.store import SplitIndex
from cxr_jax.retrieval.voting import VOTED, Thresholds, Votes, agreement, vote, vote_weights
from cxr_jax.subsequences import common_subsequence, word_positions

METHODS = ("top1", "consensus", "sentences", "compose")
KINDS = {
    "Lung Opacity": {"Edema", "Consolidation", "Pneumonia", "Lung Lesion", "Atelectasis"},
    "Consolidation": {"Pneumonia"},
    "Enlarged Cardiomediastinum": {"Cardiomegaly"},
}
NEIGHBOURS = 20  # that vote
SENTENCES = 5  # that `sentences` puts together, at most


@dataclasses.dataclass(frozen=True)
class Neighbours:
    """The studies nearest to each of N images, nearest first: rows of the pool, and cosine similarities."""

    rows: Int[np.ndarray, "N K"]
    similarity: Float[np.ndarray, "N K"]

    def __len__(self) -> int:
        return len(self.rows)


def voters_of(split: SplitIndex, pool: SplitIndex) -> Neighbours:
    """The studies of a pool that vote on each of a split's images; raises as `search.neighbours_of`."""
    similarity, rows = neighbours_of(split, pool, NEIGHBOURS)
    return Neighbours(rows, similarity)


@dataclasses.dataclass(frozen=True)
class Source:
    """A study of the pool, by its row, and its similarity to the image."""

    row: int
    similarity: float


@dataclasses.dataclass(frozen=True)
class Sentence:
    """One sentence of a draft, the neighbours that say the same, and those that say the contrary.

    `share` is the weight of the former in the vote, from 0 to 1.
    """

    text: str
    sources: tuple[Source, ...]
    against: tuple[Source, ...]
    share: float


@dataclasses.dataclass(frozen=True)
class Draft:
    """A draft; `row` is that of the pool whose report it is as a whole, None where it is put together.

    Of a whole report `text` is as it stands there, and `sentences` are those of its findings. `doubts` are the reasons
    for which it is not to be trusted, a line each (`abstention`); one that is `withheld` for them says nothing.
    """

    method: str
    text: str
    sentences: tuple[Sentence, ...]
    row: int | None = None
    doubts: tuple[str, ...] = ()
    withheld: bool = False

    def doubted(self, doubts: tuple[str, ...], abstain: bool) -> "Draft":
        """The same with reasons for doubt, for any of which it is withheld where it is to `abstain`."""
        if abstain and doubts:
            return Draft(self.method, "", (), None, doubts, True)
        return dataclasses.replace(self, doubts=doubts)


class SentencePool:
    """The distinct sentences of a pool's reports: `texts`, as they first stand, and `rows` that have them."""

    def __init__(self, reports: Reports, rows: Sequence[int]):
        found: dict[str, tuple[str, int]] = {}
        for row in rows:
            for text in sentences(reports[row]):
                found.setdefault(normalize_report(text), (text, row))
        found.pop("", None)
        self.texts, self.rows = ([pair[i] for pair in found.values()] for i in (0, 1))


class Drafter:
    """Drafts from the reports of a pool, by row, which are read as they are needed.

    Args:
      scale: 1/τ: neighbours vote with softmax(scale · similarity).
      thresholds: of `compose`, chosen on a validation split; where None, the majority has its way.
    """

    def __init__(self, reports: Reports, scale: float, thresholds: Thresholds | None = None):
        self.reports, self.scale = reports, scale
        self.thresholds = thresholds or Thresholds.half()
        self._library = Library(reports)

    def agreement(self, neighbours: Neighbours) -> Float[np.ndarray, " N"]:
        """How far the reports of each image's neighbours agree, `voting.agreement`."""
        return agreement(self.reports, neighbours.rows, vote_weights(neighbours.similarity, self.scale))

    def votes(self, neighbours: Neighbours) -> Votes:
        """What the neighbours of each image vote for."""
        return vote(self.reports, neighbours.rows, vote_weights(neighbours.similarity, self.scale))

    def drafts(
        self, method: str, neighbours: Neighbours, pool: SentencePool | None = None, nearest: Neighbours | None = None
    ) -> list[Draft]:
        """A draft for each image.

        Args:
          pool, nearest: for `sentences`: the pool's, and those nearest to each image, its rows being numbers of them.

        Raises:
          InputError: there is no such method.
        """
        weights = vote_weights(neighbours.similarity, self.scale)
        if method == "compose":
            votes = vote(self.reports, neighbours.rows, weights)
        drafts = []
        for number, of_line in enumerate(weights):
            rows, own = neighbours.rows[number].tolist(), _Line(self.reports, neighbours, number, of_line)
            if method in ("top1", "consensus"):
                best = 0 if method == "top1" else consensus(own.reports, of_line)
                report = own.reports[best]
                drafts.append(Draft(method, report, own.evidence(sentences(report)), rows[best]))
            elif method == "compose":
                wanted = wanted_statements(votes, number, self.thresholds)
                base = consensus(own.reports, of_line)
                texts = compose(wanted, own.reports, of_line.tolist(), base, self._library)
                drafts.append(Draft(method, joined(texts), own.evidence(texts)))
            elif method == "sentences" and pool is not None and nearest is not None:
                found = zip(nearest.rows[number].tolist(), nearest.similarity[number].tolist(), strict=True)
                texts, sources = [], []
                for place, similarity in found:
                    if len(texts) < SENTENCES and not repeats(pool.texts[place], texts):
                        texts.append(pool.texts[place])
                        sources.append(Source(pool.rows[place], similarity))
                drafts.append(Draft(method, joined(texts), own.evidence(texts, sources)))
            else:
                raise InputError(f"draft.method = {method!r}; it is one of {', '.join(METHODS)}")
        return drafts


class _Line:
    """One image's neighbours as evidence."""

    def __init__(self, reports: Reports, neighbours: Neighbours, number: int, weights: np.ndarray):
        pairs = zip(neighbours.rows[number].tolist(), neighbours.similarity[number].tolist(), strict=True)
        self.sources, self.weights = [Source(*pair) for pair in pairs], weights
        self.reports = [reports[source.row] for source in self.sources]

    def evidence(self, texts: Sequence[str], found_in: Sequence[Source] = ()) -> tuple[Sentence, ...]:
        """The texts with those that say the same, `found_in` before all others where it is given, and the contrary."""
        stated = [statements(report) for report in self.reports]
        result = []
        for number, text in enumerate(texts):
            own, key = statements(text), normalize_report(text)
            agree = [
                rank
                for rank, (of_report, report) in enumerate(zip(stated, self.reports, strict=True))
                if (_says(of_report, own) if own else key in _normal_sentences(report))
            ]
            against = [
                rank
                for rank, of in enumerate(stated)
                if rank not in agree and any(s.contradicts(other) for s in own for other in of)
            ]
            first = [source for source in found_in[number : number + 1]]
            others = [self.sources[rank] for rank in agree if self.sources[rank].row not in [s.row for s in first]]
            result.append(
                Sentence(
                    text,
                    (*first, *others),
                    tuple(self.sources[rank] for rank in against),
                    min(1.0, float(self.weights[agree].sum())),
                )
            )
        return tuple(result)


def _says(of_report: frozenset[Statement], own: frozenset[Statement]) -> bool:
    """Whether a report states all that a sentence does."""
    return all(any(other.implies(statement) for other in of_report) for statement in own)


@lru_cache(maxsize=1 << 14)
def _normal_sentences(report: str) -> frozenset[str]:
    return frozenset(map(normalize_report, sentences(report)))


def consensus(reports: Sequence[str], weights: Float[np.ndarray, " K"]) -> int:
    """The report with the highest expected agreement with the others, each weighing as in the vote; ties: the nearer.

    Agreement is the F1 of the label sets that the rules read, 1 of two empty ones, and ROUGE-L's F1 of the words; both
    count alike. (Minimum Bayes risk, Kumar and Byrne 2004.)
    """
    labels = [frozenset(found - {"No Finding"}) for found in rule_labels(reports)]
    agreement = np.empty((len(reports), len(reports)))
    for i, first in enumerate(reports):
        for j, second in enumerate(reports[: i + 1]):
            sizes = len(labels[i]) + len(labels[j])
            of_labels = 2 * len(labels[i] & labels[j]) / sizes if sizes else 1.0
            agreement[i, j] = agreement[j, i] = of_labels + _rouge_l(first, second)
    return int(np.argmax(np.round(agreement @ weights, 12)))


@lru_cache(maxsize=1 << 18)  # the same reports meet again at many images
def _rouge_l(first: str, second: str) -> float:
    words, others = (_words(text) for text in (first, second))
    common = common_subsequence(words[0], *others[1])
    total = len(words[0]) + len(others[0])
    return 2 * common / total if total else 1.0


@lru_cache(maxsize=1 << 14)
def _words(text: str) -> tuple[list[str], tuple[dict[str, int], int]]:
    words = normalize_report(text).split()
    return words, word_positions(words)


def wanted_statements(votes: Votes, number: int, thresholds: Thresholds) -> frozenset[Statement]:
    """What the vote of one image affirms and denies; a side where most of those who affirm name it.

    Observations stand in CheXpert's hierarchy (Irvin et al. 2019, figure 1): KINDS.
    """
    wanted = set()
    for column, observation in enumerate(VOTED):
        affirmed, denied, left, right = (float(kind[number, column]) for kind in votes)
        if affirmed >= thresholds.affirmed[column]:
            sides = [name for name, weight in (("left", left), ("right", right)) if weight > affirmed / 2]
            wanted.add(Statement(observation, True, "bilateral" if len(sides) == 2 else "".join(sides)))
        elif denied >= thresholds.denied[column]:
            wanted.add(Statement(observation, False, ""))
    there = {statement.observation for statement in wanted if statement.affirmed}
    # Where one of its kinds is there, an observation is not denied: no "lungs are clear" beside an edema.
    return frozenset(s for s in wanted if s.affirmed or there.isdisjoint(KINDS.get(s.observation, ())))

"""Sentences of the neighbours' reports, chosen so that together they say what was voted, and nothing else.

CXR-RePaiR (Endo et al. 2021) retrieves sentences by their own similarity to the image; here the vote says what is to be
said, and the sentences only how.
"""

import re
from collections.abc import Iterable, Mapping, Sequence

from cxr_jax.data.reports import normalize_report
from cxr_jax.labels.priors import speaks_of_prior
from cxr_jax.labels.rules import names_other_finding, rule_labels
from cxr_jax.labels.statements import Statement, contradictions, joined, names_date, sentences, statements
from cxr_jax.retrieval.rows import Reports

# The customary order of a report: devices, lungs, pleura, heart and mediastinum, bones.
ORDER = ("Support Devices", "Lung Opacity", "Consolidation", "Pneumonia", "Edema", "Atelectasis", "Lung Lesion",
         "Pneumothorax", "Pleural Effusion", "Pleural Other", "Cardiomegaly", "Enlarged Cardiomediastinum",
         "Fracture")  # fmt: skip
# What is normal or without findings as a whole.
_WHOLE = re.compile(
    r"\b(?:chest|disease|abnormal|process|finding|pathology|stud(?:y|ies)|exam|radiograph|film|x-?ray|lungs and heart)",
    re.IGNORECASE,
)
ALIKE = 0.6  # Jaccard index of their words from which on two sentences say the same
_SMALL = {"a", "an", "the", "is", "are", "there", "of", "in", "and", "with"}
LIBRARY = 20_000  # reports that are looked through for a sentence that no neighbour has


class Library:
    """For single statements the commonest sentence of a pool that states nothing else; read when first asked for."""

    def __init__(self, reports: Reports):
        self._reports = reports
        self._found: dict[Statement, str] | None = None

    def sentence(self, statement: Statement) -> str | None:
        """The sentence, or None."""
        if self._found is None:
            counts: dict[Statement, dict[str, int]] = {}
            for report in self._reports[:LIBRARY]:
                for text in filter(is_timeless, sentences(report)):
                    if len(states := statements(text)) == 1 and not names_other_finding(text):
                        of_statement = counts.setdefault(next(iter(states)), {})
                        of_statement[text] = of_statement.get(text, 0) + 1
            self._found = {said: max(texts, key=texts.__getitem__) for said, texts in counts.items()}
        return self._found.get(statement)


def is_timeless(sentence: str) -> bool:
    """Whether a sentence speaks of no earlier examination and names no day."""
    return not speaks_of_prior(sentence) and not names_date(sentence)


def compose(
    wanted: Iterable[Statement], reports: Sequence[str], weights: Sequence[float], base: int, library: Library
) -> list[str]:
    """The sentences of a draft, in the customary order.

    They are those of one report that fit, then the other neighbours' for what that leaves unsaid, those first that say
    much and stand in many; then the library's. Of an affirmed observation the side that is wanted is said where a
    sentence says it, and never another. What no sentence says by itself stays unsaid. What states nothing of an
    observation ("Hilar contours are normal.") is taken from that report, or where most of the vote says it, unless it
    repeats what is said; and where no finding is wanted if it denies them all. A sentence that names a finding which is
    not voted on ("Calcified granuloma.") needs most of the vote.

    Args:
      wanted: what was voted.
      reports: the neighbours', the nearest first.
      weights: theirs in the vote.
      base: the number of the report whose sentences come first.
    """
    wanted = set(wanted)
    healthy = not any(s.affirmed and s.observation != "Support Devices" for s in wanted)
    texts, support = _candidates(reports, weights)
    texts = {key: text for key, text in texts.items() if support[key] > 0.5 or not names_other_finding(text)}
    first = dict.fromkeys(key for key in map(normalize_report, sentences(reports[base])) if key in texts)
    chosen: list[str] = []
    said: set[str] = set()  # observations
    covers = {key: covered(statements(text), wanted) for key, text in texts.items()}
    fits = {key: {s.observation for s in of} for key, of in covers.items() if of}
    ranked = sorted(fits, key=lambda key: -(len(fits[key]) + support[key]))
    for key in [*(key for key in first if key in fits), *ranked]:
        if said.isdisjoint(fits[key]):
            chosen.append(texts[key])
            said |= fits[key]
    for statement in sorted(wanted, key=_place):
        found = library.sentence(statement) or library.sentence(statement._replace(side=""))
        if found is not None and statement.observation not in said:
            chosen.append(found)
            said.add(statement.observation)
    for key, text in texts.items():
        of_most = support[key] > 0.5 or key in first
        if of_most and not statements(text) and (healthy or not _all_clear(text)) and not repeats(text, chosen):
            chosen.append(text)
    return _without_contradictions(sorted(chosen, key=_section))


def _candidates(reports: Sequence[str], weights: Sequence[float]) -> tuple[dict[str, str], dict[str, float]]:
    """The neighbours' sentences that are timeless, by their normalised form, and the weight of those that have each."""
    texts: dict[str, str] = {}
    support: dict[str, float] = {}
    for report, weight in zip(reports, weights, strict=True):
        for text in filter(is_timeless, sentences(report)):
            key = normalize_report(text)
            texts.setdefault(key, text)
            support[key] = support.get(key, 0.0) + weight
    return texts, support


def covered(states: frozenset[Statement], wanted: Iterable[Statement]) -> frozenset[Statement]:
    """The wanted statements that a sentence makes; none where it makes another, or names another side."""
    by_observation: Mapping[str, Statement] = {s.observation: s for s in wanted}
    found = set()
    for state in states:
        match = by_observation.get(state.observation)
        if match is None or match.affirmed != state.affirmed or (state.affirmed and state.side not in ("", match.side)):
            return frozenset()
        found.add(match)
    return frozenset(found)


def repeats(text: str, said: Sequence[str]) -> bool:
    """Whether a sentence says again, or contradicts, what sentences before it say: by the rules, else by its words."""
    own, words = statements(text), _words(text)
    for other in said:
        theirs, others = statements(other), _words(other)
        if own and (own <= theirs or any(s.contradicts(t) for s in own for t in theirs)):
            return True
        if not own and len(words & others) >= ALIKE * len(words | others):
            return True
    return False


def _words(text: str) -> set[str]:
    return set(normalize_report(text).split()) - _SMALL


def _all_clear(text: str) -> bool:
    """Whether a sentence denies all findings, and not only those of a place: "No acute disease." """
    return "No Finding" in rule_labels([text])[0] and _WHOLE.search(text) is not None


def _place(statement: Statement) -> int:
    return ORDER.index(statement.observation)


def _section(text: str) -> int:
    """Where in a report a sentence stands: by the first of what it affirms, or else denies."""
    states = statements(text)
    affirmed = [s for s in states if s.affirmed] or states
    return min(map(_place, affirmed), default=len(ORDER))


def _without_contradictions(texts: Sequence[str]) -> list[str]:
    """The sentences, but those with which the text as a whole would contradict itself."""
    kept: list[str] = []
    for text in texts:
        if not contradictions(joined([*kept, text])):
            kept.append(text)
    return kept

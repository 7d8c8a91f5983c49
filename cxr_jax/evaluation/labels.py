"""CheXpert's 14 observations in a report, read by rules: which are named, denied or doubted, and on which side.

A labeller in the manner of NegEx (Chapman et al. 2001) and CheXpert's own (Irvin et al. 2019), written anew, without a
model and without a download. Its score is `rule_f1`; it is not CheXbert's. docs/labels.md says how far to trust it.
"""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from cxr_jax.evaluation.label_phrases import (
    BORDERLINE,
    CUES,
    ENLARGED,
    FINDINGS,
    NORMAL,
    NOT_MEANT,
    OBSERVATIONS,
    OTHER_FINDINGS,
    SIDES,
    STATEMENTS,
    STRUCTURES,
)

__all__ = ["OBSERVATIONS", "Mention", "find_mentions", "label_report", "rule_labels", "rule_matrix", "split_sentences"]

NO_FINDING, DEVICES = "No Finding", "Support Devices"
_OTHER = "Other Finding"  # none of CheXpert's, it only rules out "No Finding"
_STRENGTH = {"negative": 0, "uncertain": 1, "positive": 2}
_CACHED = 1 << 16  # reports repeat, and more so their sentences
_NEAR = 60  # characters between a finding and the side that is said of it


class Mention(NamedTuple):
    """What a report says of one observation in one place.

    observation: one of OBSERVATIONS but "No Finding". status: "positive", "negative" or "uncertain". side: "left",
    "right", "bilateral", or "" where none is said. start, end: the characters of the report that name it.
    """

    observation: str
    status: str
    side: str
    start: int
    end: int


class _Cue(NamedTuple):
    kind: str
    start: int
    end: int


def find_mentions(report: str) -> list[Mention]:
    """What the report says of the observations, in the order of the text."""
    return [mention for mention in _mentions(report) if mention.observation != _OTHER]


def label_report(report: str) -> dict[str, str]:
    """Each observation that the report speaks of → "positive", "uncertain" or "negative", in CheXpert's order.

    Where it says several things of one, positive passes uncertain, and uncertain negative. "No Finding" is positive
    where nothing but support devices is positive or uncertain, nor any of OTHER_FINDINGS, as CheXpert has it, and else
    absent. A report without a word says nothing at all.
    """
    found: dict[str, str] = {}
    for mention in _mentions(report):
        known = found.get(mention.observation)
        if known is None or _STRENGTH[mention.status] > _STRENGTH[known]:
            found[mention.observation] = mention.status
    if split_sentences(report) and all(status == "negative" for name, status in found.items() if name != DEVICES):
        found[NO_FINDING] = "positive"
    return {name: found[name] for name in OBSERVATIONS if name in found}


def rule_labels(reports: Iterable[str]) -> list[frozenset[str]]:
    """The observations of each report that are positive or uncertain: what is in doubt counts as there."""
    return [_rule_labels_of(report) for report in reports]


def rule_matrix(reports: Sequence[str]) -> np.ndarray:
    """`rule_labels` as bool (reports, observations), in the order of OBSERVATIONS."""
    rows = [[name in labels for name in OBSERVATIONS] for labels in rule_labels(reports)]
    return np.array(rows, bool).reshape(-1, len(OBSERVATIONS))


def split_sentences(report: str) -> list[tuple[int, int]]:
    """(start, end) of each sentence that holds a letter.

    A full stop ends one where white space or a capital follows; those of "1.", "2.5 cm", "Dr." or "vs." do not.
    """
    spans, start = [], 0
    for match in _BOUNDARY.finditer(report):
        spans.append((start, match.start()))
        start = match.end()
    spans.append((start, len(report)))
    trimmed = ((a + len(report[a:b]) - len(report[a:b].lstrip()), a + len(report[a:b].rstrip())) for a, b in spans)
    return [(a, b) for a, b in trimmed if any(character.isalpha() for character in report[a:b])]


def _mentions(report: str) -> list[Mention]:
    return [
        mention._replace(start=mention.start + start, end=mention.end + start)
        for start, end in split_sentences(report)
        for mention in _in_sentence(report[start:end])
    ]


@lru_cache(maxsize=_CACHED)
def _rule_labels_of(report: str) -> frozenset[str]:
    return frozenset(name for name, status in label_report(report).items() if status != "negative")


@lru_cache(maxsize=_CACHED)
def _in_sentence(sentence: str) -> tuple[Mention, ...]:
    text = sentence.translate(_LOWER)  # of the same length, which str.lower is not for every script
    named = _named(text)
    if not named:
        return ()
    listed = [each for each in named if each[0] != _OTHER]
    cues = [_Cue(str(m.lastgroup).rstrip("_"), m.start(), m.end()) for m in _CUE.finditer(text)]
    mentions = []
    for observation, status, start, end in named:
        said = _status(text, cues, start, end) if status == "positive" else status
        if said:
            mentions.append(Mention(observation, said, _side(text, listed, start, end), start, end))
    return tuple(mentions)


def _named(text: str) -> list[tuple[str, str, int, int]]:
    """(Observation, status before any cue, start, end) of all that the sentence names, in order, none twice."""
    found: list[tuple[str, str, int, int]] = []
    masked = [match.span() for match in _NOT_MEANT.finditer(text)]
    for observation, rules in _RULES.items():
        taken = list(masked)
        for status, stem, rule in rules:
            if stem is not None and not stem.search(text):
                continue
            for match in rule.finditer(text):
                if all(match.end() <= a or b <= match.start() for a, b in taken):
                    taken.append(match.span())
                    found.append((observation, status, *match.span()))
    return sorted(found, key=lambda each: each[2:])


def _status(text: str, cues: Sequence[_Cue], start: int, end: int) -> str:
    """What the cues round a named finding make of it; "" where it is only asked for, or past."""
    before = [cue for cue in cues if cue.end <= start]
    stop = max((cue.end for cue in before if cue.kind == "stop"), default=0)
    kinds = {cue.kind for cue in before if cue.start >= stop} | {cue.kind for cue in cues if start <= cue.start < end}
    after = [cue for cue in cues if cue.start >= end]
    limit = min((cue.start for cue in after if cue.kind == "stop"), default=len(text))
    # A verb between the two begins another statement: "effusion is small and pneumothorax is not seen".
    kinds |= {cue.kind for cue in after if cue.start < limit and not _VERB.search(text, end, cue.start)
              and cue.kind.endswith("after")}  # fmt: skip
    # "A versus B": whichever side of it.
    kinds |= {"uncertain_after" for cue in before if cue.start >= stop and text[cue.start : cue.end].startswith("v")
              and cue.kind == "uncertain_after"}  # fmt: skip
    if "dropped" in kinds:
        return ""
    if "negative_before" in kinds or "negative_after" in kinds:
        return "negative"
    return "uncertain" if "uncertain_before" in kinds or "uncertain_after" in kinds else "positive"


def _side(text: str, named: Sequence[tuple[str, str, int, int]], start: int, end: int) -> str:
    """The side that is said nearest before the finding, else nearest after it, with no other finding between."""
    breaks = [match.span() for match in _BREAK.finditer(text)]
    first = max((b for b in [*(b for *_, b in named), *(b for _, b in breaks)] if b <= start), default=0)
    last = min((a for a in [*(a for *_, a, _ in named), *(a for a, _ in breaks)] if a >= end), default=len(text))
    before = list(_SIDE.finditer(text, max(first, start - _NEAR), end))
    after = _SIDE.search(text, end, min(last, end + _NEAR))
    match = before[-1] if before else after
    return str(match.lastgroup) if match else ""


def _compile(patterns: Iterable[str]) -> re.Pattern[str]:
    """Any of the patterns, as whole words; a space stands for white space or a hyphen."""
    joined = "|".join(patterns)
    return re.compile(rf"(?<!\w)(?:{_spaced(joined)})(?!\w)")


def _spaced(pattern: str) -> str:
    return pattern.replace(" ?", r"[\s-]?").replace("(?= ", r"(?=\s").replace(" ", r"[\s-]+")


def _structure_rules(structure: str) -> list[tuple[str, str]]:
    """(Status, pattern) of a structure that is called enlarged, borderline or normal, before or after its name."""
    # Up to 70 characters that neither name another state, or for "enlarged" another structure, nor leave the clause.
    gap, own = (
        rf"(?:(?!(?:{ENLARGED}|{NORMAL}|but|with|however{others})\b)[^;:.]){{1,70}}?"
        for others in ("", r"|lungs?|heart|cardiac|mediastin\w+")
    )
    near = r" (?:\w+ ){0,3}?"
    return [
        ("uncertain", rf"{structure}{gap}{BORDERLINE}|{BORDERLINE}{near}{structure}"),
        ("negative", rf"{structure}{gap}{NORMAL}|{NORMAL}{near}{structure}"),
        ("positive", rf"{structure}{own}{ENLARGED}"),
    ]


_LOWER = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}
_ABBREVIATION = r"(?<!\bdr\.)(?<!\bmr\.)(?<!\bvs\.)(?<!\bDr\.)(?<!\bMr\.)(?<!\bapprox\.)(?<!\bi\.e\.)(?<!\be\.g\.)"
_BOUNDARY = re.compile(rf"(?<=[.!?]){_ABBREVIATION}\s+|(?<=[a-z)][.])(?=[A-Z])|\n+")
_CUE = re.compile(
    "|".join(rf"(?P<{kind}>(?<!\w)(?:{_spaced('|'.join(p))})(?!\w))" for kind, p in CUES.items()) + r"|(?P<stop_>;)"
)
_SIDE = re.compile("|".join(rf"(?P<{side}>(?<!\w)(?:{_spaced(pattern)})(?!\w))" for side, pattern in SIDES.items()))
_BREAK = re.compile(r"(?<!\w)(?:but|however|although|while|with)(?!\w)|[;:]")  # beyond it, a side is another finding's
_NOT_MEANT = _compile(NOT_MEANT)
_VERB = re.compile(r"(?<!\w)(?:is|are|was|were|has|have|remains?|appears?)(?!\w)")


def _rules_of(observation: str) -> list[tuple[str, re.Pattern[str] | None, re.Pattern[str]]]:
    """(Status, a quick test whether it can apply, pattern), the strongest first."""
    rules: list[tuple[str, re.Pattern[str] | None, re.Pattern[str]]] = [
        (status, None, _compile([pattern])) for name, status, pattern in STATEMENTS if name == observation
    ]
    if structure := STRUCTURES.get(observation):
        stem = _compile([structure])
        rules += [(status, stem, _compile([pattern])) for status, pattern in _structure_rules(structure)]
    return [*rules, ("positive", None, _compile(FINDINGS[observation]))]


_RULES = {observation: _rules_of(observation) for observation in FINDINGS}
_RULES[_OTHER] = [("positive", None, _compile(OTHER_FINDINGS))]

"""CheXpert's observations read from a report by rules: what it affirms, denies or doubts, and on which side.

It works offline and needs no model. What is scored with it is called `rule_f1`: it is neither CheXbert nor CheXpert's
labeller, only takes their observations. `docs/labels.md` says how far it agrees with Open-i's indexers.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from types import MappingProxyType

from cxr_jax.labels.language import is_english
from cxr_jax.labels.phrases import OBSERVATIONS, OTHER
from cxr_jax.labels.reader import Mention, read_sentence
from cxr_jax.labels.sentences import sentences_of_findings, split_sentences

__all__ = [
    "OBSERVATIONS",
    "Mention",
    "find_mentions",
    "is_read",
    "label_report",
    "names_other_finding",
    "rule_labels",
    "rule_statuses",
    "split_sentences",
]

_RANK = {"negative": 0, "uncertain": 1, "positive": 2}


def find_mentions(report: str) -> list[Mention]:
    """The observations that the report names, in order of start; what it only tells of the past is left out."""
    return [mention for mention in _mentions(report) if mention.observation in OBSERVATIONS]


def names_other_finding(report: str) -> bool:
    """Whether the report affirms or doubts a finding that is none of the observations: a granuloma, a hernia."""
    return any(mention.observation == OTHER and mention.status != "negative" for mention in _mentions(report))


def is_read(report: str) -> bool:
    """Whether the rules understand anything of the report; where not, it has no labels, which says nothing of it.

    Nothing is read where a report is blank or a placeholder, in another language, or of an indication alone.
    """
    return next(_mentions(report), None) is not None


def label_report(report: str) -> dict[str, str]:
    """Observation to status; one that is not mentioned is absent. Positive wins over uncertain over negative.

    "No Finding" is positive where something is said to be normal, or a finding denied, and no other observation than
    Support Devices is positive or uncertain, nor, as in CheXpert's labeller, any of OTHER_FINDINGS.
    """
    statuses: dict[str, str] = {}
    for mention in _mentions(report):
        known = statuses.get(mention.observation)
        if known is None or _RANK[mention.status] > _RANK[known]:
            statuses[mention.observation] = mention.status
    said = [status for observation, status in statuses.items() if observation != "Support Devices"]
    if said and all(status == "negative" for status in said):
        statuses["No Finding"] = "positive"
    return {observation: statuses[observation] for observation in OBSERVATIONS if observation in statuses}


def rule_labels(reports: Iterable[str]) -> list[frozenset[str]]:
    """Each report's observations that are positive or uncertain, for F1: uncertain counts as positive."""
    return [
        frozenset(observation for observation, status in statuses.items() if status != "negative")
        for statuses in rule_statuses(reports)
    ]


def rule_statuses(reports: Iterable[str]) -> list[Mapping[str, str]]:
    """`label_report` of each report, of one that stands there again the same object."""
    reports = list(reports)
    statuses = {report: _statuses_of(report) for report in dict.fromkeys(reports)}
    return [statuses[report] for report in reports]


@lru_cache(maxsize=1 << 15)  # the floors of an evaluation repeat reports as often as it has references
def _statuses_of(report: str) -> Mapping[str, str]:
    return MappingProxyType(label_report(report))


# Blanks of the same length, so that mentions stay where they are.
_TAG = re.compile(r"</?(?:b|i|u|p|em|strong|br|div|span|li|ul|ol|table|tr|td|th|h\d|font)\b[^<>]{0,40}>", re.IGNORECASE)


def _mentions(report: str) -> Iterator[Mention]:
    """Those of `find_mentions`, and those that only bear on "No Finding"."""
    if not is_english(report):
        return
    if "<" in report:
        report = _TAG.sub(lambda tag: " " * len(tag[0]), report)
    for start, end in sentences_of_findings(report):
        for mention in read_sentence(report[start:end]):
            yield mention._replace(start=start + mention.start, end=start + mention.end)

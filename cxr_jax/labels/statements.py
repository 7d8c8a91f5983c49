"""What a text states of the observations: affirmed or denied, on which side; and where it contradicts itself."""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from cxr_jax.labels.rules import find_mentions
from cxr_jax.labels.sentences import sentences_of_findings


class Statement(NamedTuple):
    """One observation as a text has it; what is uncertain counts as affirmed, as in `rules.rule_labels`."""

    observation: str
    affirmed: bool
    side: str  # "left", "right", "bilateral", or "" where none is said

    def implies(self, other: "Statement") -> bool:
        """Whether who says this says the other too: of no named side, of each of both, of any where all is denied."""
        return self[:2] == other[:2] and (
            other.side in ("", self.side) or self.side == "bilateral" or (not self.affirmed and self.side == "")
        )

    def contradicts(self, other: "Statement") -> bool:
        """Whether one affirms what the other denies, of the same side or of one that holds it."""
        return (
            self.observation == other.observation
            and self.affirmed != other.affirmed
            and (self.side == other.side or not {self.side, other.side} <= {"left", "right"})
        )


@lru_cache(maxsize=1 << 16)
def statements(text: str) -> frozenset[Statement]:
    """All that a report, or a sentence of one, states."""
    return frozenset(Statement(m.observation, m.status != "negative", m.side) for m in find_mentions(text))


def contradictions(report: str) -> list[str]:
    """The observations that a report affirms and denies, of sides that meet; sorted."""
    said = statements(report)
    denied = [s for s in said if not s.affirmed]
    return sorted({s.observation for s in said if s.affirmed and any(s.contradicts(other) for other in denied)})


_LEAD = re.compile(
    r"^(?:\d{1,2}[.)] (?=[^\W\d]))?(?:(?:findings?|impressions?|conclusions?|opinion|findings and impression) ?: ?)?",
    re.IGNORECASE,
)


@lru_cache(maxsize=1 << 16)
def sentences(report: str) -> tuple[str, ...]:
    """The sentences of a report's findings as they are written, with single blanks, each once.

    Those of other sections, indication and technique say, are not among them (`sentences_of_findings`), nor headings
    and list numbers.
    """
    found = (" ".join(report[start:end].split()) for start, end in sentences_of_findings(report))
    return tuple(dict.fromkeys(filter(None, (_LEAD.sub("", text) for text in found))))


def joined(texts: Iterable[str]) -> str:
    """Sentences as one text, each with its end, so that they are read as they are by themselves."""
    return " ".join(text if text.endswith((".", "!", "?", ";")) else f"{text}." for text in texts)


# Also the blanks that stand for a date once it is removed: MIMIC-CXR's ___, Open-i's XXXX.
_MONTH = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?"
    r"|nov(?:ember)?|dec(?:ember)?)\.?"
)
_DATE = re.compile(
    r"\b\d{1,2}[/.-]\d{1,2}[/.-]\d{2,4}\b|\b(?:19|20)\d\d\b|\b\d{1,2}:\d\d\b|\b\d{1,2} ?[ap]\.?m\b|___|X{4,}|\[\*\*"
    r"|\b(?:january|february|march|april|may(?= \d)|june|july|august|september|october|november|december)\b|\btoday\b"
    rf"|\byesterday\b|\b(?:mon|tues|wednes|thurs|fri|satur|sun)day\b|\b{_MONTH} \d{{1,2}}\b|\b\d{{1,2}} {_MONTH}\b",
    re.IGNORECASE,
)


def names_date(text: str) -> bool:
    """Whether a text names a day or a time, or has a blank where such a thing was removed."""
    return _DATE.search(text) is not None

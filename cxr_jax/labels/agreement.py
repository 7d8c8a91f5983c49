"""How one report stands to another, by what the rule labeller reads in both."""

from collections.abc import Sequence
from typing import NamedTuple

from cxr_jax.labels.rules import Mention

AGREES, CONTRADICTS, ALONE = "agrees", "contradicts", "alone"


class Judged(NamedTuple):
    """A mention, and how the other report stands to it: AGREES, CONTRADICTS or ALONE."""

    mention: Mention
    verdict: str


def judge(mentions: Sequence[Mention], others: Sequence[Mention]) -> list[Judged]:
    """Holds each of a report's mentions against another report's.

    AGREES: the other says the same of the observation, what is in doubt counting as there. CONTRADICTS: it says nothing
    of the kind, but the opposite, or that it is on the other side. ALONE: it is silent on it; a finding on the left
    says nothing of one that is denied on the right.
    """
    judged = []
    for mention in mentions:
        stands = {_stands(mention, other) for other in others if other.observation == mention.observation}
        verdict = next((stand for stand in (AGREES, CONTRADICTS) if stand in stands), ALONE)
        judged.append(Judged(mention, verdict))
    return judged


def passed_over(mentions: Sequence[Mention], others: Sequence[Mention]) -> list[str]:
    """The observations that the other report affirms or doubts, in its order, on which `mentions` are silent."""
    named = {mention.observation for mention in mentions}
    there = [other.observation for other in others if other.status != "negative"]
    return [observation for observation in dict.fromkeys(there) if observation not in named]


def _stands(mention: Mention, other: Mention) -> str:
    there, other_there = mention.status != "negative", other.status != "negative"
    if {mention.side, other.side} == {"left", "right"}:
        return CONTRADICTS if there and other_there else ALONE
    return AGREES if there == other_there else CONTRADICTS

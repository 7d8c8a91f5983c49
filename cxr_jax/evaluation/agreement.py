"""Where two reports agree and where they contradict each other, by what the rule labeller reads in them."""

from collections.abc import Sequence
from typing import NamedTuple

from cxr_jax.evaluation.labels import Mention

AGREES, CONTRADICTS, ALONE = "agrees", "contradicts", "alone"


class Judged(NamedTuple):
    """A mention, and how the other report stands to it: AGREES, CONTRADICTS, or ALONE where that is silent on it."""

    mention: Mention
    verdict: str


def judge(mentions: Sequence[Mention], others: Sequence[Mention]) -> list[Judged]:
    """Holds each of a report's mentions against another report's.

    They agree when the other says the same of the observation, doubt counting as there, and not only on the other
    side. Where the other says several things of it, one that agrees will do.
    """
    return [Judged(mention, _verdict(mention, others)) for mention in mentions]


def _verdict(mention: Mention, others: Sequence[Mention]) -> str:
    same = [other for other in others if other.observation == mention.observation]
    if not same:
        return ALONE
    return AGREES if any(_fits(mention, other) for other in same) else CONTRADICTS


def _fits(mention: Mention, other: Mention) -> bool:
    there = mention.status != "negative"
    opposite_sides = {mention.side, other.side} == {"left", "right"}
    return there == (other.status != "negative") and not (there and opposite_sides)

"""On which side of the patient a mention is."""

import re
from collections.abc import Sequence
from typing import NamedTuple

# What stands behind a "left" or "right" that is part of a name and no side of the patient.
NO_SIDE = r" (?:spine|heart|atri|ventric|main|brachiocephalic|paratracheal|of (?:the )?midline)"
_SIDE = re.compile(
    r"\b(?:(?P<both>bilateral(?:ly)?|both|biapical(?:ly)?|bibas(?:al|ilar)(?:ly)?)|(?P<left>left|lt|l|lll|lul)"
    r"|(?P<right>right|rt|r|rll|rml|rul))\b"
    rf"(?!{NO_SIDE})"
)
_AFTER = re.compile(
    r"(?: (?!(?:and|with|or)\b)\S+){0,5} (?:in|at|on|within|along|over|involving|overlying|of|throughout|to)\b"
)


class Place(NamedTuple):
    """A mention's first and last word; the side of one without sides, such as the heart's, is ""."""

    first: int
    last: int
    has_side: bool


def sides(
    sentence: str,
    spans: Sequence[tuple[int, int]],
    words: Sequence[str],
    mentions: Sequence[Place],
    stops: Sequence[int],
) -> list[str]:
    """The side of each mention, "left", "right", "bilateral" or "". `stops` are the words that begin a clause.

    It is looked for no further than the next mention or clause: among its own words and those right before it, then
    behind a preposition after it, then anywhere before it.
    """
    answers: list[str] = []
    for mention in mentions:
        if not mention.has_side:
            answers.append("")
            continue
        ends = [m.last for m in mentions if m.last < mention.first] + [s for s in stops if s < mention.first]
        starts = [m.first for m in mentions if m.first > mention.last] + [s for s in stops if s > mention.last]
        low, high = max(ends, default=-1) + 1, min(starts, default=len(words))
        near = max(low, mention.first - 4)
        while near < mention.first and "," in sentence[spans[near][0] : spans[mention.first][0]]:
            near += 1  # beyond a comma only if there is no better place
        after = "".join(f" {word}" for word in words[mention.last + 1 : high])
        answers.append(
            _side(" ".join(words[near : mention.last + 1]))
            or (_side(after) if _AFTER.match(after) else "")
            or _side(" ".join(words[low : mention.first]))
        )
    return answers


def _side(text: str) -> str:
    sides = {match.lastgroup for match in _SIDE.finditer(text)}
    if not sides:
        return ""
    return "bilateral" if "both" in sides or len(sides) > 1 else str(sides.pop())

"""From a view's name, as archives, releases and spreadsheets write it, to what training tells apart: one table for all.

What counts is how the picture looks, not how the patient lay: a *lateral decubitus* is taken from the front, a dorsal
or ventral one (the beam level, the patient on his back or front) from the side. Obliques are neither.
"""

import functools
import itertools
import re

FRONTAL = frozenset(
    {
        "AP", "PA", "FRONTAL", "ANTEROPOSTERIOR", "POSTEROANTERIOR", "LORDOTIC", "LLD", "RLD",
        "ANTERO POSTERIOR", "POSTERO ANTERIOR",
    }
)  # fmt: skip
LATERAL = frozenset({"LATERAL", "LAT", "LL", "RL", "LLAT", "RLAT", "LATL", "XTABLE", "X TABLE", "CROSSTABLE",
                     "CROSS TABLE", "LATERO LATERAL", "LATEROLATERAL"})  # fmt: skip
OBLIQUE = frozenset({"OBLIQUE", "OBL", "OBLIQ", "LAO", "RAO", "LPO", "RPO", "SWIMMERS", "SWIMMER"})
DECUBITUS = frozenset({"DECUBITUS", "DECUB", "DECUBITIS", "DEC"})
FROM_THE_SIDE = frozenset({"DORSAL", "VENTRAL"})
ON_THEIR_OWN = frozenset({"L"})  # in "L SPINE" a letter says nothing


@functools.lru_cache(maxsize=4096)
def view_of(name: str) -> str:
    """A view's name, in any case, to "frontal", "lateral", or "" where it is neither, or both ("LAO", "PA/LAT", "")."""
    plain = re.sub(r"\b([AP])[ .\-/]?([AP])\b\.?", _joined, name.upper())
    words = re.findall(r"[A-Z0-9]+", plain)
    pairs = [" ".join(pair) for pair in itertools.pairwise(words)]
    terms = {*words, *pairs}
    if terms & OBLIQUE:
        return ""
    if terms & DECUBITUS:
        sided = terms & (LATERAL | FRONTAL | {"LEFT", "RIGHT", "LT", "RT", "L", "R"})
        return "lateral" if terms & FROM_THE_SIDE else "frontal" if sided else ""
    frontal = bool(terms & FRONTAL)
    lateral = bool(terms & LATERAL) or (len(words) == 1 and words[0] in ON_THEIR_OWN)
    return "" if frontal == lateral else "frontal" if frontal else "lateral"


def _joined(match: re.Match[str]) -> str:
    """ "P.A.", "P-A" and "A/P" without what stands between, where the two letters differ."""
    return match[1] + match[2] if match[1] != match[2] else match[0]

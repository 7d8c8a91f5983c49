"""From a view's name, as releases and spreadsheets write it, to what training tells apart: frontal and lateral."""

import re

FRONTAL = frozenset({"AP", "PA", "FRONTAL"})  # as first word: "AP AXIAL", "PA LLD", "ap supine"
LATERAL = frozenset({"L", "LL", "RL", "LAT"})  # on their own; LATERAL in any place: "XTABLE LATERAL", "left lateral"


def view_of(name: str) -> str:
    """A view's name, in any case, to "frontal", "lateral", or "" where it is neither ("LAO", "SWIMMERS", "")."""
    words = re.findall(r"\w+", name.upper())
    if words[:1] and words[0] in FRONTAL:
        return "frontal"
    return "lateral" if "LATERAL" in words or (len(words) == 1 and words[0] in LATERAL) else ""

"""Labels as people write them: in several cases, and in words that say that there is no finding."""

import re
from collections.abc import Iterable

from cxr_jax.data.notes import Notes

_NONE = re.compile(
    r"normal(?: study| chest| cxr)?|healthy|unremarkable|no (?:acute )?(?:findings?|abnormalit(?:y|ies))"
)


def one_spelling(written: Iterable[str], notes: Notes) -> dict[str, str]:
    """Each label as it is written, and as it is first written but for case; the notes count those of several."""
    forms: dict[str, list[str]] = {}
    for label in dict.fromkeys(written):
        forms.setdefault(label.casefold(), []).append(label)
    for first, *others in forms.values():
        if others:
            shown = " and ".join(map(repr, (first, *others)))
            notes.add("labels are written in several cases, each of them is taken for one", shown)
    return {label: of_one[0] for of_one in forms.values() for label in of_one}


def means_none(label: str) -> bool:
    """Whether a label is a customary word for a study without findings: "No Finding", "normal", "no_abnormality"."""
    return bool(_NONE.fullmatch(" ".join(re.split(r"[\s_-]+", label.strip().casefold()))))

"""Headings of radiology reports, as their writers chose and misspelt them, to the part of a report below them."""

import difflib
import re
from functools import lru_cache
from typing import Literal, NamedTuple

# "both" is findings and impression in one; "view" names the exposure, and what was seen in it follows; "other" only
# ends the section above it.
Part = Literal["findings", "impression", "both", "view", "other"]

SINGLE = {
    "FINDINGS": "findings", "FINDING": "findings",
    "IMPRESSION": "impression", "IMPRESSIONS": "impression", "CONCLUSION": "impression", "CONCLUSIONS": "impression",
    "OPINION": "impression",
}  # fmt: skip
OTHER = re.compile(
    r"(?:CLINICAL |PATIENT |MEDICAL |BRIEF )?(?:INDICATIONS?|HISTORY|INFORMATION)(?: AND .*)?|INDICATIONS? FOR .*|"
    r"CLINICAL (?:DATA|DETAILS|QUESTION|DIAGNOSIS)|CLINICAL INFORMATION .*|"
    r"REASON(?: FOR (?:THE |THIS )?(?:EXAM|EXAMINATION|STUDY|REQUEST|VISIT))?|"
    r"COMPARISONS?(?: EXAMS?| EXAMINATIONS?| FILMS?| STUDY| STUDIES)?|REFERENCE EXAM|"
    r"TECHNIQUES?|(?:TYPE OF )?EXAM(?:INATION)?S?|STUDY|PROCEDURE(?: COMMENTS)?|NARRATIVE|"
    r"RECOMMENDATIONS?|NOTIFICATIONS?(?: .*)?|DATE|(?:FINAL )?ADDENDUM(?: .*)?|"
    r"(?:PROVISIONAL|PRELIMINARY) .*|PFI|WET ?READ(?:ING)?(?: .*)?|END OF IMPRESSION|SUMMARY|ACCESSION NUMBER"
)
# A heading of these alone names a view, where one of CORE is among them: "CHEST, TWO VIEWS", "PORTABLE AP CHEST".
CORE = frozenset({
    "CHEST", "CXR", "THORAX", "VIEW", "VIEWS", "RADIOGRAPH", "RADIOGRAPHS", "FILM", "FILMS", "XRAY", "XRAYS",
    "PORTABLE", "FRONTAL", "PA", "AP", "LATERAL", "LAT", "RIB", "RIBS",
})  # fmt: skip
VIEW_WORDS = CORE | {
    "A", "AN", "AND", "OF", "THE", "IN", "AT", "ON", "WITH", "TO", "X", "RAY", "RAYS", "ONE", "TWO", "THREE", "FOUR",
    "FIVE", "SINGLE", "UPRIGHT", "SEMI", "SEMIUPRIGHT", "ERECT", "SUPINE", "BEDSIDE", "LEFT", "RIGHT", "BILATERAL",
    "DECUBITUS", "OBLIQUE", "LORDOTIC", "EXPIRATORY", "INSPIRATORY", "POSTEROANTERIOR", "ANTEROPOSTERIOR", "PORT",
    "INTRAOPERATIVE", "POSTOPERATIVE", "STUDY", "EXAM", "EXAMINATION", "SERIES", "ABDOMEN", "PELVIS", "SPINE",
    "STERNUM", "NECK", "CT", "BONE", "WINDOW", "WINDOWS", "DATED", "PERFORMED", "AM", "PM", "M", "P", "HOURS", "HRS",
}  # fmt: skip
# What a misspelt word of a heading may have been.
SPELT = (*SINGLE, "INDICATION", "INDICATIONS", "COMPARISON", "COMPARISONS", "TECHNIQUE", "EXAMINATION", "HISTORY",
         "RECOMMENDATION", "RECOMMENDATIONS", "CLINICAL", "INFORMATION", "ADDENDUM")  # fmt: skip
ALIKE = 0.83  # difflib's ratio: a letter left out, doubled, wrong or changed places in a word of seven or more
MAX_LENGTH = 80


class Heading(NamedTuple):
    """What a heading stands for; whether it had to be read as a misspelling; whether it only holds such a word."""

    part: Part
    misspelt: bool = False
    loose: bool = False


@lru_cache(maxsize=4096)
def read_heading(text: str) -> Heading | None:
    """What stands before a heading's colon, in any case; None where that is no heading."""
    if len(text) > MAX_LENGTH:
        return None
    plain = re.sub(r"\(\s*S\s*\)", "S", text.upper())
    plain = " ".join(re.sub(r"[\d_#*]+", " ", plain).split()).strip(" .,-()")
    words = [word for word in re.findall(r"[A-Z]+", plain) if word not in ("AND", "OR")]
    if not words or re.search(r"[^\x00-\x7f]", plain):
        return None
    if heading := _exact(plain, words):
        return Heading(heading)
    spelt = [_spelt(word) for word in words] if len(words) <= 4 else words
    whole = "".join(words)
    if spelt != words and (heading := _exact(" ".join(spelt), spelt)):
        return Heading(heading, True)
    if len(words) > 1 and len(whole) < 12 and (heading := _exact(_spelt(whole), [_spelt(whole)])):
        return Heading(heading, True)  # "IMPRESS ION"
    if set(words) <= VIEW_WORDS and CORE & set(words):
        return Heading("view")
    if text.isupper() and len(words) <= 3:  # "RADIOGRAPHIC FINDINGS"
        parts = [SINGLE[word] for word in words if word in SINGLE]
        if parts:
            return Heading(_joined(parts), loose=True)
    return None


def _exact(plain: str, words: list[str]) -> Part | None:
    if all(word in SINGLE for word in words):
        return _joined([SINGLE[word] for word in words])
    return "other" if OTHER.fullmatch(plain) else None


def _joined(parts: list[str]) -> Part:
    if len(set(parts)) > 1:
        return "both"
    return "findings" if parts[0] == "findings" else "impression"


def _spelt(word: str) -> str:
    """The word of SPELT that this one is nearly; itself where there is none.

    It begins as that one does, unless just its first letter is missing: "compression" is no impression.
    """
    if word in SPELT or len(word) < 6:
        return word
    for near in difflib.get_close_matches(word, SPELT, n=1, cutoff=ALIKE):
        if word[0] == near[0] or word[:3] == near[1:4]:
            return near
    return word

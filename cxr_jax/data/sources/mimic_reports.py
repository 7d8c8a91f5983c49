"""Sections of MIMIC-CXR's reports, which are plain text under headers that their writers chose."""

import re
from collections.abc import Iterable

# Field of a record, and the headers whose text it takes. What writers call findings and impression in one is findings.
HEADERS = {
    "findings": (
        r"FINDINGS?", r"FINDINGS?(?: AND |/| / |, ?| & )(?:IMPRESSIONS?|CONCLUSIONS?)",
        r"IMPRESSIONS?(?: AND |/| / | & )FINDINGS?",
    ),
    "impression": (r"IMPRESSIONS?", r"CONCLUSIONS?"),
    # These only end the section above them.
    "": (r"INDICATIONS?", r"(?:CLINICAL )?HISTORY", r"CLINICAL (?:INDICATION|INFORMATION)",
         r"REASON FOR (?:THE )?(?:EXAM|EXAMINATION|STUDY)", r"COMPARISONS?", r"TECHNIQUES?",
         r"EXAM(?:INATION)?S?", r"STUDY", r"PROCEDURE", r"RECOMMENDATIONS?(?:\(S\))?",
         r"NOTIFICATIONS?", r"ADDENDUM", r"PROVISIONAL FINDINGS IMPRESSION(?: \(PFI\))?",
         r"WET READ(?: VERSION[^\n:]*)?"),
}  # fmt: skip
_NAMES = "|".join(name for names in HEADERS.values() for name in names)
# With its colon in any case. Without, only capitals alone on their line: a wrapped line may well begin with "findings".
HEADER = re.compile(rf"^[ \t]*(?:({_NAMES})[ \t]*:|((?-i:{_NAMES}))[ \t]*$)", re.IGNORECASE | re.MULTILINE)
FINAL_REPORT = re.compile(r"^[ \t]*FINAL REPORT[ \t]*(?:\([^\n]*\))?:?[ \t]*$", re.IGNORECASE | re.MULTILINE)
RULE = re.compile(r"^[ \t]*[_=-]{8,}[ \t]*$", re.MULTILINE)  # longer than the ___ that stands for what was removed


def parse_sections(report: str) -> dict[str, str]:
    """A report's text to {"findings", "impression"}: each on one line, '' where the report has none.

    A header stands at the start of a line, in any case. What stands above the last line FINAL REPORT is dropped: wet
    reads, and addenda, whose report follows in full. Sections of one name are joined in their order, for a report may
    cover two examinations. Text under no header, or under one that is not ours, is no section's. ___ stays as it is.
    """
    *_, report = FINAL_REPORT.split("\n".join(report.splitlines()))
    report = RULE.sub("", report)
    sections: dict[str, list[str]] = {field: [] for field in HEADERS}
    headers = list(HEADER.finditer(report))
    starts = [header.start() for header in headers] + [len(report)]
    for header, end in zip(headers, starts[1:], strict=True):
        sections[_field(header[1] or header[2])].append(report[header.end() : end])
    return {field: _one_line(texts) for field, texts in sections.items() if field}


def _field(header: str) -> str:
    matches = (f for f, names in HEADERS.items() if re.fullmatch("|".join(names), header, re.IGNORECASE))
    return next(matches)


def _one_line(texts: Iterable[str]) -> str:
    return " ".join(" ".join(texts).split())

"""Sections of MIMIC-CXR's reports, which are plain text under headings that their writers chose.

Cut as the release's own section_parser does where that can be known from its output: of two sections of one name the
last counts, a heading that names the views ("CHEST, TWO VIEWS:") stands for findings, and where there are neither
findings nor impression, the paragraphs below the first of a section do.
"""

import re
from collections import Counter

from cxr_jax.data.sections import Section, holds_words, last, last_paragraphs, one_line, split_lines

FINAL_REPORT = re.compile(r"^[ \t]*FINAL REPORT[ \t]*(?:\([^\n]*\))?:?[ \t]*$", re.IGNORECASE | re.MULTILINE)
RULE = re.compile(r"^[ \t]*[_=-]{8,}[ \t]*$", re.MULTILINE)  # longer than the ___ that stands for what was removed
# How a report's text was found.
(BOTH, FINDINGS, IMPRESSION, COMBINED, VIEW, MISSPELT, PARAGRAPH, NOTHING) = (
    "findings and impression under their headings",
    "findings under their heading, no impression",
    "impression under its heading, no findings",
    "findings and impression under one heading: the text is either's",
    "findings under a heading that names the views",
    "findings or impression under a misspelt heading",
    "the last paragraphs, for no heading says findings or impression: the text is findings",
    "no text that is either",
)


def parse_sections(report: str, rules: Counter[str] | None = None) -> dict[str, str]:
    """A report's text to {"findings", "impression"}: each on one line, '' where the report has none.

    A heading stands at the start of a line, in any case, see `cxr_jax.data.headings`. What stands above the last line
    FINAL REPORT is dropped, wet reads and addenda whose report follows in full, unless nothing is below it. ___ stays.

    Args:
      rules: is counted up by one, at the rule that found the text.
    """
    first, *finals = FINAL_REPORT.split(RULE.sub("", "\n".join(report.splitlines())))
    for text in reversed(finals or [first]):
        findings, impression, rule = _cut(split_lines(text))
        if findings or impression:
            break
    if rules is not None:
        rules[rule] += 1
    return {"findings": findings, "impression": impression}


def _cut(sections: list[Section]) -> tuple[str, str, str]:
    """(findings, impression, the rule that found them)."""
    findings, impression = last(sections, "findings", "both"), last(sections, "impression", "both")
    used = [s.heading for s in sections if s.heading and one_line(s.text) in (findings, impression)]
    if any(heading.misspelt for heading in used) and (findings or impression):
        return findings, impression, MISSPELT
    if not findings:
        views = (s.text for s in sections if s.heading and s.heading.part == "view" and holds_words(s.text))
        findings = one_line(" ".join(views))
        if findings:
            return findings, impression, VIEW
    if not findings and not impression:
        findings = last_paragraphs(sections)
        return findings, "", PARAGRAPH if findings else NOTHING
    if findings == impression:
        return findings, impression, COMBINED
    return findings, impression, BOTH if findings and impression else FINDINGS if findings else IMPRESSION

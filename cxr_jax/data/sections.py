"""Findings and impression in a report's text: cut at its headings, wherever they stand."""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from cxr_jax.data.headings import MAX_LENGTH, SINGLE, Heading, read_heading
from cxr_jax.data.placeholders import is_placeholder

# Where a heading ends: not within a time, "8:15 A.M.".
COLON = re.compile(r"(?<!\d)[:\uff1a]|[:\uff1a](?!\d)")
# A colon, or a line of capitals.
MAY_HAVE_HEADINGS = re.compile(r"[:;\uff1a]|^[^a-z]{6,}$|^\W*[#\[]|[A-Z]\s+[-\u2013\u2014]\s", re.MULTILINE)
# The words before a colon, of which the last few may be a heading within a line.
_WORDS = re.compile(r"(?:[A-Za-z(][A-Za-z,/&()]*[ \t]+){0,3}[A-Za-z(][A-Za-z,/&()]*[ \t]*$")
_WORD = re.compile(r"[^\W\d_]{2}")
# "[FINDINGS] Clear.", "FINDINGS - Clear."
_MARKED = re.compile(r"\[([A-Za-z]+)\][ \t]*|([A-Z]+)[ \t]+[-\u2013\u2014][ \t]+")
_ESCAPED_END = re.compile(r"(?:\\r)?\\n")
_BREAK = re.compile(r"<\s*(?:br|/p|/div|/li|/h\d)\b[^>]*>", re.IGNORECASE)
_TAG = re.compile(r"</?\s*(?:b|i|u|p|em|strong|div|span|li|ul|ol|h\d|font|table|tr|td)\b[^>]*>", re.IGNORECASE)
_NEW_SENTENCE = re.compile(r"(?:^|[.!?;:)\]]\s*|\s\s)$")


class Section(NamedTuple):
    """A heading, None above the first, and the text below it as it was written."""

    heading: Heading | None
    text: str


class Report(NamedTuple):
    """Findings and impression, each on one line, '' where there is none."""

    findings: str
    impression: str


def split_lines(report: str) -> list[Section]:
    """The sections of a report whose headings stand at the beginnings of lines; the first has no heading.

    A heading ends in a colon, or stands alone on its line in capitals. One that only names a view is text where
    findings or impression are above it.
    """
    sections: list[tuple[Heading | None, list[str]]] = [(None, [])]
    reporting = False
    for line in report.split("\n"):
        heading, rest = _heading_of(line)
        if heading and not (heading.part == "view" and reporting):
            sections.append((heading, [rest]))
            reporting = reporting or heading.part in ("findings", "impression", "both")
        else:
            sections[-1][1].append(line)
    return [Section(heading, "\n".join(lines)) for heading, lines in sections]


def cut_report(report: str) -> Report | None:
    """Findings and impression of a report that says which is which; None where it does not.

    Its headings stand at the beginnings of lines, or in its one line: in capitals, or behind a full stop where the
    report begins with a heading or has both. What stands above all headings is findings where none are so called. Of
    two sections of one name the last that is not empty counts. Where the headings are others, INDICATION say, the
    `last_paragraphs` are findings.
    """
    if not MAY_HAVE_HEADINGS.search(report):
        return None
    lines = "\n".join(report.splitlines())
    sections = [part for section in split_lines(lines) for part in _split_inline(section)]
    named = {section.heading.part for section in sections if section.heading}
    if not named & {"findings", "impression", "both"}:
        below = last_paragraphs(sections) if "other" in named else ""
        return Report(below, "") if below else None
    findings = last(sections, "findings", "both") or last(sections, "view")
    impression = last(sections, "impression", "both")
    if not findings and not sections[0].heading:
        findings = one_line(sections[0].text)
    return Report(findings, impression)


def last(sections: Sequence[Section], *parts: str) -> str:
    """The last section of these parts that holds something, on one line; '' where there is none."""
    named = (s.text for s in reversed(sections) if s.heading and s.heading.part in parts)
    return next((one_line(text) for text in named if holds_words(text)), "")


def last_paragraphs(sections: Sequence[Section]) -> str:
    """What stands under no heading of its own: below the first paragraph of the last section that has more than one.

    Above all headings the first paragraph is left out only where it is a title.
    """
    for section in reversed(sections):
        first, *below = re.split(r"\n[ \t]*\n", section.text.strip())
        paragraphs = below if section.heading or _is_title(first) else [first, *below]
        text = one_line(" ".join(part for part in paragraphs if holds_words(part)))
        if text:
            return text
    return ""


def _is_title(paragraph: str) -> bool:
    """Whether a paragraph only names the examination."""
    text = one_line(paragraph)
    heading = read_heading(text)
    return (heading is not None and heading.part == "view") or (text.isupper() and not text.endswith("."))


def plain_text(text: str) -> str:
    """The text without HTML's tags, and with a line's end where a program wrote \\n for it."""
    if "\\n" in text and "\n" not in text:
        text = _ESCAPED_END.sub("\n", text)
    if "<" in text:
        text = _TAG.sub("", _BREAK.sub("\n", text))
    return text


def holds_words(text: str) -> bool:
    """Whether a section says something: a word of two letters or more, and no placeholder."""
    return bool(_WORD.search(text)) and not is_placeholder(text)


def one_line(text: str) -> str:
    """The text with single blanks."""
    return " ".join(text.split())


def _heading_of(line: str) -> tuple[Heading | None, str]:
    """The heading that a line begins with, and the rest of the line."""
    plain = line.strip()
    text = plain.lstrip("*#> ")  # some write Markdown
    if marked := _MARKED.match(text):
        name = marked[1] or marked[2]
        if name.upper() in SINGLE:
            return read_heading(name), text[marked.end() :]
    if plain.startswith("#") and text.strip("* ").upper() in SINGLE:
        return read_heading(text.strip("* ")), ""
    colon = COLON.search(text[: MAX_LENGTH + 1])
    if colon:
        return read_heading(text[: colon.start()].strip("* ")), text[colon.end() :].removeprefix("**").lstrip(":")
    name, semicolon, rest = text.partition(";")  # "IMPRESSION; No change."
    if semicolon and name.isupper() and name.strip() in SINGLE:
        return read_heading(name.strip()), rest
    heading = read_heading(text) if text.isupper() and len(text) <= MAX_LENGTH else None
    return (heading, "") if heading and heading.part != "view" and not heading.misspelt else (None, "")


def _split_inline(section: Section) -> Iterator[Section]:
    """A section cut again at headings within its lines."""
    text = section.text
    cuts = [item for colon in COLON.finditer(text) if (item := _heading_before(text, colon))]
    both = {"findings", "impression"} <= {heading.part for _, _, heading in cuts}
    if not section.heading and not both:
        cuts = [item for item in cuts if text[item[0] : item[1]].isupper()]
    start, heading = 0, section.heading
    for place, end, following in cuts:
        yield Section(heading, text[start:place])
        start, heading = end + (text[end : end + 1] == ":"), following  # "Impression::"
    yield Section(heading, text[start:])


def _heading_before(text: str, colon: re.Match[str]) -> tuple[int, int, Heading] | None:
    """(start, end, heading) of one that ends in this colon: in capitals, or where a sentence could begin."""
    before = max(0, colon.start() - MAX_LENGTH)
    words = _WORDS.search(text, before, colon.start())
    if words is None:
        return None
    for word in re.finditer(r"\S+", words[0]):
        place = words.start() + word.start()
        name = text[place : colon.start()].strip()
        heading = read_heading(name)
        if heading is None or heading.part == "view" or heading.loose or (heading.misspelt and not name.isupper()):
            continue
        if name.isupper() or _NEW_SENTENCE.search(text[max(0, place - 8) : place]):
            return place, colon.end(), heading
    return None

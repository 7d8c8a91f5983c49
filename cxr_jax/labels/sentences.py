"""A report's sentences, and which of them stand in sections that hold no findings."""

import re
from collections.abc import Iterator
from functools import cache

_DASH = r"[-\u2013\u2014]"
# What may stand after "Pneumothorax:" as all that is said of it.
STATUS = (
    r"(?i:no(?:ne)?(?: (?:seen|evidence(?: of)?|identified|focal|acute|definite))?|n|nil|false|[-\u2013]ve"
    r"|neg(?:ative)?|absent|yes|y|true|\+ve|pos(?:itive)?|present)\b"
)

# Sections that say why and how the image was taken, and those that say what is on it.
_BACKGROUND = (
    r"(?:(?:clinical|patient|provided|relevant|brief) )?(?:history|hx|indications?|information|info|data|details"
    r"|question|context|background|presentation|diagnosis|statement|symptoms|concerns?)"
    r"|indications? for (?:the )?(?:exam(?:ination)?|study)"
    r"|(?:clinical|admitting|ordering|working|referring|preoperative) diagnos[ei]s|history of (?:the )?present illness"
    r"|(?:past )?(?:medical|surgical) history|(?:underlying )?medical condition|pmh|hpi"
    r"|(?:chief |presenting )?complaints?|signs and symptoms|referrals?|(?:clinical|referral) notes?"
    r"|icd(?:[- ]?(?:9|10))?(?: codes?)?"
    r"|reasons?(?: for (?:the |this )?(?:exam(?:ination)?|study|visit|request|referral|consult(?:ation)?|test|x-?ray))?"
    r"|comparisons?(?: (?:stud(?:y|ies)|exams?|films?|dates?))?|(?:prior|previous)(?: (?:stud(?:y|ies)|exams?|films?))?"
    r"|techniques?|procedures?|exam(?:ination)?s?(?: type)?|study|type of exam(?:ination)?|clinical|request(?:ed)?"
)
_RESULTS = (
    r"findings?|impressions?|conclusions?|opinion|interpretation|results?|report|findings and impression"
    r"|summary|comments?|observations?|recommendations?|addendum|assessment"
)
_JOINED = r"(?:{0})(?: ?(?:/|&|,|and) ?(?:{0}))*"
_BACKGROUND_HEADING = re.compile(rf"\W*{_JOINED.format(_BACKGROUND)}\s*(?::|\s{_DASH}\s|{_DASH}?\s*$)", re.IGNORECASE)
_HEADING = re.compile(rf"\W*(?:(?:{_RESULTS})\s*(?::|$)|[A-Z][^\W\d]*(?: [^\W\d]+){{0,4}}:)", re.IGNORECASE)

_LINE = r"[^\S\n\r]*[\n\r]+"
# What ends a sentence, and the characters without one of which it need not be looked for.
_BOUNDARIES = {
    "": rf"[.;!][.;!?]*(?=\s|$)(?!(?<=\.\.|.;)\s*{STATUS}\s*(?:[.,;\n\r]|$))|(?<=[a-z]{{2}})\.(?=[A-Z][a-z])"
    rf"|(?<=[a-z])(?:\.{{3,}}|…)(?=\s?[^\W\d_])(?!\s*{STATUS}\b)",
    "?": rf"(?<=[^\s(?])\?[.;!?]*(?=\s|$)(?!\s*{STATUS}\s*(?:[.,;\n\r]|$))",
    "\n\r": r"\n\s*\n"
    rf"|(?P<line>{_LINE}(?=\s*[A-Z]))"
    rf"|{_LINE}(?=\s*(?:[-\u2013\u2014*+>#]\s?[^\W_]|\(?\d{{1,2}}[.):]|\d{{1,2}}\s+[A-Z]|\d+(?:\.\d+)?\s?(?:cm|mm)\b|o\s[A-Z]))",
    ")": r"(?<=\s)(?P<marker>(?=\((?:\d{1,2}|[a-hA-H]|i{1,3}|iv|v)\)\s?[^\W_]|(?:\d{1,2}|[a-hA-H]|i{1,3}|iv|v)\)\s))",
    "-\u2013\u2014": rf"(?<=\s)(?P<dash>{_DASH}+)(?=\s)(?!\s*(?:\d|n?or\b)|\s*{STATUS}\s*(?:[.,;\n\r]|$))"
    rf"|(?<=[^\W\d])\s?(?:\u2014|--+)\s?(?=[^\W\d])(?!{STATUS}\s*(?:[.,;\n\r]|$))",
    "•▪◦●·": r"(?=[•▪◦●·])",
    ":": rf"(?<=\s)(?=[*_]{{0,3}}[A-Z])(?=[*_]{{0,3}}(?i:{_BACKGROUND}|{_RESULTS})\s*:)"
    r"|(?<=[^\W\d_]\s)(?=[A-Z][a-z]+(?: [a-z]+){0,2}:)",
    "|": rf"\|(?!\s*{STATUS}\s*(?:\||$|\n))",
    "[<": r"(?<=\s)(?=\[\d{1,2}\]\s?[A-Z]|<\d{1,2}>\s?[A-Z])",
    "①②③④⑤": r"(?=[①②③④⑤⑥⑦⑧⑨⑩])",
    "*": r"(?<=\s)(?=\*\s?[A-Z][a-z])",
    "0123456789": r"(?<=\s)(?=\d{1,2}(?:\.\)?|\)|/|:)\s?[A-Z][a-z])",
    "→⇒‣○➢=": r"\s(?=(?:→|⇒|‣|○|➢|=>)\s?[^\W\d_])",
    "+": r"(?<=[^\W\d_]\s)(?=\+\s[a-z])",
}
_WORD = re.compile(r"[^\W_]")
_ABBREVIATION = re.compile(
    r"(?:^|[^\w.])(?:drs?|mrs?|ms|vs?|st|approx|e\.g|i\.e|cf|fig|pulm|bilat|poss|prob|neg|mediast)$", re.IGNORECASE
)
# A line that ends so goes on in the next, whatever that begins with.
_OPEN = re.compile(
    r"(?:[,:/(&-]|(?<![:=] )\b(?:a|an|the|of|no|not|without|and|or|nor|in|on|at|to|for|with|from|by|as|is|are|was|were"
    r"|be|been|may|than|that|which|left|right|small|large|mild|moderate|focal|acute|new|versus|vs\.?|dr\.?|pleural|pulmonary|definite|evident|significant|interstitial|lobar|evidence))\s*$",
    re.IGNORECASE,
)
_LABEL = re.compile(r"\s*[A-Z][\w /]{2,40}:")  # "EFFUSION: SMALL" on a line of its own
_WRAPPED = 50  # characters of the longest line from which on lines may be wrapped by a program
_DENIES = re.compile(r"\W*(?:no|nil|without)\b", re.IGNORECASE)
# Hyphens that some tools set blanks round: "left - sided".
_PREFIX = re.compile(r"\b(?:non|x|pre|post|peri|sub|inter|intra|well|ill)\s*$", re.IGNORECASE)
_COMPOUND = re.compile(
    r"\s*(?:sided|based|up|space|rays?|like|shaped|specific|type|sized|quality|year|month|week|day|old|to|term|going"
    r"|defined|marginated|grade|segmental|hilar|cardiac|thoracic|bronchial|vascular|operative|lateral|inferior|superior"
    r"|parenchymal|medial|tip)\b",
    re.IGNORECASE,
)


@cache
def _boundary(marks: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(_BOUNDARIES[mark] for mark in marks))


def split_sentences(report: str) -> list[tuple[int, int]]:
    """The spans of the report's sentences, in characters, without the blanks round them; all words are in one.

    Sentences end at full stops, semicolons, blank lines, spaced dashes, and before list markers and headings; at the
    end of a line where the next begins as a sentence or list does. Decimals and abbreviations end none.
    """
    spans, start = [], 0
    marks = tuple(marks for marks in _BOUNDARIES if not marks or any(mark in report for mark in marks))
    for match in [*_boundary(marks).finditer(report), None]:
        end = match.end() if match else len(report)
        if match and not _ends(report, start, match):
            continue
        sentence = report[start:end]
        if _WORD.search(sentence):
            spans.append((end - len(sentence.lstrip()), start + len(sentence.rstrip())))
        start = end
    return spans


def _ends(report: str, start: int, match: re.Match[str]) -> bool:
    before = report[start : match.start()]
    if match.lastgroup == "line":
        return _line_ends(report, match)
    if match.lastgroup == "marker":  # not the bracket of "(see image 2)"
        return report[match.end()] == "(" or before.rfind("(") <= before.rfind(")")
    if match.lastgroup == "dash":
        if _COMPOUND.match(report, match.end()) or _PREFIX.search(before):
            return False
        return len(before.split()) > 2 or _DENIES.match(before) is not None  # not "Pleural effusion - small"
    if match.group().startswith(".") and match.group() != "..":
        return not (re.fullmatch(r"\W*\d{1,2}", before) or _ABBREVIATION.search(before))
    return True


def _line_ends(report: str, match: re.Match[str]) -> bool:
    """Whether a sentence ends with the line, where the next one begins with a capital."""
    line = report[max(report.rfind("\n", 0, match.start()), report.rfind("\r", 0, match.start())) + 1 : match.start()]
    if _LABEL.match(report, match.end()):
        return True
    if _OPEN.search(line):
        return False
    word = report[match.end() :].split(None, 1)[0]
    if word[1:].islower() or len(word) == 1:
        return True
    # A capital says nothing of an abbreviation, nor in a report of capitals: is the line as full as it can be?
    width = max(map(len, report.splitlines()))
    return width < _WRAPPED or len(line) + 1 + len(word) <= width


def sentences_of_findings(report: str) -> Iterator[tuple[int, int]]:
    """`split_sentences` without the sections that hold no findings: indication, history, comparison, technique.

    Such a section ends at the next heading or blank line; where neither follows, with its first sentence.
    """
    spans = split_sentences(report)
    if not any(mark in report for mark in (":", "\n", "\r", " - ", " \u2013 ")):  # no heading without one of them
        yield from spans
        return
    texts = [report[start:end] for start, end in spans]
    background = filled = False
    for number, ((start, end), text) in enumerate(zip(spans, texts, strict=True)):
        if heading := _BACKGROUND_HEADING.match(text):
            background, filled = True, bool(_WORD.search(text, heading.end()))
            continue
        if background and _HEADING.match(text):
            background = False
        elif background and filled:
            gap = report[spans[number - 1][1] : start]
            background = not re.search(r"\n\s*\n", gap) and (
                re.search(r"\n\s*\n", report[end:]) is not None or any(map(_HEADING.match, texts[number + 1 :]))
            )
        filled = True
        if not background:
            yield start, end

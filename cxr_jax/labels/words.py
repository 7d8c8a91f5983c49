"""The words of a sentence as the phrases spell them: contractions and abbreviations in full, marks as words.

Where a mark says something, it becomes a word of its own: `:no` and `:yes` are the answers to "Pneumothorax:", `:doubt`
is a question mark before what it doubts, `:doubted` one behind.
"""

import re

from cxr_jax.labels.sentences import STATUS

_APOSTROPHES = "'\u2019\u02bc\u00b4`"
_TOKEN = re.compile(rf"\b[A-Za-z]/[A-Za-z]{{1,3}}\b|\bw/|[^\W_\u02bc]+(?:[{_APOSTROPHES}][^\W_]+)?|\?+")
_END = r"(?=\s*(?:[.,;/|)\]]|$|\n|(?:[^\W\d_]+\s){0,2}[^\W\d_]+\s*[:=?|]))"
# What stands behind a finding and answers it.
_ANSWER = re.compile(
    rf"(?:[:;=?(\[|]\s*|\.{{2,}}\s*|\s?(?:->|=>|\u2192)\s*|\s[-\u2013\u2014]+\s*|(?<=[^\W\d_])\s?\u2014\s?)({STATUS}){_END}"
    rf"|(?:[:=]\s*)([-\u2013+01]|\(\s*[-\u2013+]\s*\)){_END}"
    r"|(?<=[^\W_])\s*((?:\(\s*[-\u2013+]\s*\)|\[\s*[xX]?\s*\]|[-\u2013+]ve\b(?!\s+for)))"
    r"|(?<=[^\W_])\s((?i:no|yes))(?=\s*(?:[.,;|)\]]|$|\n))"
)
_DOUBTFUL = re.compile(
    r":\s*((?i:can(?:not|'t| not) (?:be )?exclude[d]?|indeterminate|uncertain|equivocal|maybe|possible|questionable))"
    rf"{_END}"
)
# A sign before a finding, "(-) PTX", "+eff -ptx": one in brackets, or where both signs are used.
_SIGN = re.compile(r"(?:(?<=^)|(?<=[\s,;(]))(?:\(\s*([-\u2013+])\s*\)|([-\u2013+]))\s?(?=[A-Za-z])")
_SIGN_FIRST = re.compile(r"\W*?\(\s*[-\u2013+]\s*\)")
_SIGN_FOR = re.compile(r"([-\u2013+])ve\s+for\b", re.IGNORECASE)
_SIGNS = {"-": "negative", "\u2013": "negative", "+": "positive"}
_PERCENT = re.compile(r"\d+\s?%(?=\s+(?:resolved|cleared|gone))")
_AFFIRMED = ("y", "present", "pos", "+", "true", "1", "x")

_FULL = {
    # Contractions; those in n't are read by rule.
    "isnt": "is not",
    "arent": "are not",
    "wasnt": "was not",
    "werent": "were not",
    "hasnt": "has not",
    "havent": "have not",
    "dont": "do not",
    "doesnt": "does not",
    "didnt": "did not",
    "couldnt": "could not",
    "cant": "can not",
    "cannot": "can not",
    "can't": "can not",
    "won't": "will not",
    "shan't": "shall not",
    "there's": "there is",
    "it's": "it is",
    "that's": "that is",
    # Abbreviations.
    "acpd": "acute cardiopulmonary disease",
    "napd": "no acute pulmonary disease",
    "nacpd": "no acute cardiopulmonary disease",
    "abnl": "abnormality",
    "atel": "atelectasis",
    "chg": "change",
    "cvl": "central line",
    "cvls": "central lines",
    "dht": "feeding tube",
    "enl": "enlarged",
    "iabp": "balloon device",
    "infil": "infiltrate",
    "infils": "infiltrates",
    "pl": "pleural",
    "ppm": "pacemaker",
    "sans": "without",
    "trach": "tracheostomy tube",
    "atelec": "atelectasis",
    "atx": "atelectasis",
    "b/l": "bilateral",
    "bilat": "bilateral",
    "c/f": "concerning for",
    "c/w": "consistent with",
    "consol": "consolidation",
    "dz": "disease",
    "e/o": "evidence of",
    "eff": "effusion",
    "effs": "effusions",
    "fxs": "fractures",
    "ggo": "ground glass opacity",
    "ggos": "ground glass opacities",
    "incr": "increased",
    "infilt": "infiltrate",
    "infilts": "infiltrates",
    "lg": "large",
    "mediast": "mediastinum",
    "mod": "moderate",
    "neg": "negative",
    "nl": "normal",
    "nml": "normal",
    "opac": "opacity",
    "pna": "pneumonia",
    "pnas": "pneumonias",
    "pnx": "pneumothorax",
    "poss": "possible",
    "prob": "probable",
    "ptxs": "pneumothoraces",
    "pulm": "pulmonary",
    "s/o": "suspicious of",
    "sm": "small",
    "susp": "suspected",
    "vasc": "vascular",
    "w/": "with",
    "w/o": "without",
    "w/out": "without",
}


def read_words(sentence: str) -> tuple[list[str], list[tuple[int, int]]]:
    """The sentence's words, in lower case and in full, and the characters of each; words of one token share them."""
    words: list[str] = []
    spans: list[tuple[int, int]] = []
    marks = _marks(sentence)
    tokens = [(match.start(), match.end(), _word(sentence, match)) for match in _TOKEN.finditer(sentence)]
    if marks:
        tokens = [t for t in tokens if not any(start < t[1] and t[0] < end for start, end, _ in marks)]
        tokens = sorted([*tokens, *marks])
    for start, end, token in tokens:
        for word in token.split():
            words.append(word)
            spans.append((start, end))
    return words, spans


def _word(sentence: str, match: re.Match[str]) -> str:
    token = match.group().lower()
    if token.startswith("?"):
        return _doubt(sentence, match.end())
    if token in _FULL:
        return _FULL[token]
    return token if token.isalnum() and "\u02bc" not in token else _in_full(token)


def _marks(sentence: str) -> list[tuple[int, int, str]]:
    """(start, end, word) of the marks that say something: answers, as in "Pneumothorax: none", and signs."""
    marks = [(m.start(), m.end(), f"{_SIGNS[m[1]]} for") for m in _SIGN_FOR.finditer(sentence)]
    before = _SIGN_FIRST.match(sentence)
    for match in _ANSWER.finditer(sentence):
        group = next(number for number in range(1, 5) if match[number])
        if before and match[group].startswith("("):
            continue  # "(-) effusion (+) edema": of what follows
        answer = match[group].strip("([ )]").lower()
        start = match.start(group)
        marks.append((start, match.end(), ":yes" if answer.startswith(_AFFIRMED) else ":no"))
    marks += [(match.start(1), match.end(1), ":maybe") for match in _DOUBTFUL.finditer(sentence)]
    signs = [match for match in _SIGN.finditer(sentence) if not any(a <= match.start() < b for a, b, _ in marks)]
    both = len({match[2] for match in signs if match[2]}) > 1
    for match in signs:
        if match[1] or both or match[2] == "+":
            marks.append((match.start(), match.end(), "positive for" if "+" in match.group() else "no"))
    return [*marks, *((match.start(), match.end(), "partly") for match in _PERCENT.finditer(sentence))]


def _doubt(sentence: str, end: int) -> str:
    return ":doubt" if sentence[end : end + 2].lstrip()[:1].isalnum() else ":doubted"


def _in_full(token: str) -> str:
    token = re.sub(f"[{_APOSTROPHES}]", "'", token)
    if token in _FULL:  # with another apostrophe
        return _FULL[token]
    if token.endswith("n't"):
        return f"{token[:-3]} not"
    if token.endswith("'s"):
        return token[:-2]
    return token.replace("/", " ")

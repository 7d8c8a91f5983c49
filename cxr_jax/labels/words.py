"""The words of a sentence as the phrases spell them: contractions and abbreviations in full, marks as words.

Where a mark says something, it becomes a word of its own: `:no` and `:yes` are the answers to "Pneumothorax:", `:doubt`
is a question mark before what it doubts, `:doubted` one behind.
"""

import re

from cxr_jax.labels.sentences import STATUS

_TOKEN = re.compile(r"\b[A-Za-z]/[A-Za-z]{1,3}\b|\bw/|[^\W_]+(?:['\u2019\u02bc\u00b4`][^\W_]+)?|\?")
_ANSWER = re.compile(
    rf"(?:[:=?([]\s*|\s[-\u2013\u2014]+\s*)({STATUS})(?=\s*(?:[.,;/|)\]]|$|\n|(?:[^\W\d_]+\s){{0,2}}[^\W\d_]+\s*[:=?]))"
    r"|(?<=[^\W_])\s((?i:no|yes))(?=\s*(?:[.,;|)\]]|$|\n))"
)
_AFFIRMED = ("y", "present", "pos", "+", "true")

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
    answers, last = _answers(sentence), 0
    for match in _TOKEN.finditer(sentence):
        token, span = match.group().lower(), match.span()
        if token in _FULL:
            token = _FULL[token]
        elif not token.isalnum():
            token = _in_full(token) if token != "?" else _doubt(sentence, span[1])
        if answers:
            if span[0] < last:
                continue
            if answer := answers.get(span[0]):
                token, last = answer
                span = (span[0], last)
        if " " not in token:
            words.append(token)
            spans.append(span)
        elif token != " ":
            parts = token.split(" ")
            words += parts
            spans += [span] * len(parts)
    return words, spans


def _answers(sentence: str) -> dict[int, tuple[str, int]]:
    """Where answers such as "Pneumothorax: none" begin, their word and their end; the mark before one is blank."""
    answers: dict[int, tuple[str, int]] = {}
    for match in _ANSWER.finditer(sentence):
        answer = match[1] or match[2]
        answers[match.start()] = (" ", match.start())
        answers[match.end() - len(answer.lstrip("-\u2013+"))] = (
            ":yes" if answer.lower().startswith(_AFFIRMED) else ":no",
            match.end(),
        )
    return answers


def _doubt(sentence: str, end: int) -> str:
    return ":doubt" if sentence[end : end + 2].lstrip()[:1].isalnum() else ":doubted"


def _in_full(token: str) -> str:
    token = re.sub("[\u2019\u02bc\u00b4`]", "'", token)
    if token in _FULL:  # with another apostrophe
        return _FULL[token]
    if token.endswith("n't"):
        return f"{token[:-3]} not"
    return token.replace("/", " ")

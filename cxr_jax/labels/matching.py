"""Where the phrases of `labels.phrases` and `labels.cues` stand in a sentence's words."""

import itertools
import re
from collections.abc import Iterator
from typing import NamedTuple

from cxr_jax.labels.cues import CUES
from cxr_jax.labels.phrases import ALL_NORMAL, DISEASE, DISEASES, NAMES, OTHER, OTHER_FINDINGS, PLACES, QUALITIES


class Item(NamedTuple):
    """A phrase found in a sentence."""

    kind: str  # "name", "place", "quality", "all normal", or a key of CUES
    value: str | tuple[str, ...]
    first: int  # word
    last: int


def _compile_phrases() -> dict[str, list[tuple[re.Pattern[str], str, str | tuple[str, ...]]]]:
    """The first three letters of a phrase to its pattern, its kind and its value."""
    tables = [
        *(("name", key, text) for key, text in [*NAMES.items(), (OTHER, OTHER_FINDINGS), (DISEASE, DISEASES)]),
        ("all normal", "", ALL_NORMAL),
        *(("place", key, text) for key, text in PLACES.items()),
        *(("quality", key, text) for key, text in QUALITIES.items()),
        *((key, key, text) for key, text in CUES.items()),
    ]
    index: dict[str, list[tuple[re.Pattern[str], str, str | tuple[str, ...]]]] = {}
    named: dict[tuple[str, str], list[str]] = {}
    for kind, key, text in tables:
        for phrase in filter(None, map(str.strip, text.splitlines())):
            for words in _without_optional_start(phrase.split()):
                named.setdefault((" ".join(words), kind), []).append(key)
    for (phrase, kind), keys in named.items():
        words = phrase.split()
        value = tuple(key for key in keys if key) if kind == "name" else keys[0]
        pattern = re.compile(_word_pattern(words[0]) + "".join(map(_next_pattern, words[1:])) + r"(?![^ ])")
        for start in {option.rstrip("*")[:3] for option in words[0].split("|")}:
            index.setdefault(start, []).append((pattern, kind, value))
    return index


def _without_optional_start(words: list[str]) -> Iterator[list[str]]:
    while words[0].endswith("?"):
        yield [words[0][:-1], *words[1:]]
        words = words[1:]
    yield words


def _word_pattern(word: str) -> str:
    return "(?:" + "|".join(re.escape(option).replace(r"\*", r"\S*") for option in word.split("|")) + ")"


def _next_pattern(word: str) -> str:
    if word == "~":
        return r"(?: \S+){0,5}?"
    return f"(?: {_word_pattern(word[:-1])})?" if word.endswith("?") else " " + _word_pattern(word)


_PHRASES = _compile_phrases()


def find_phrases(words: list[str]) -> Iterator[Item]:
    """The phrases of a sentence from left to right, the longest at each place; they never overlap."""
    text = " ".join(words)
    starts = list(itertools.accumulate((len(word) + 1 for word in words), initial=0))
    word = 0
    while word < len(words):
        end, phrase = starts[word], None
        for pattern, kind, value in _PHRASES.get(words[word][:3], ()):
            match = pattern.match(text, starts[word])
            if match and (match.end() > end or (match.end() == end and kind == "name")):
                end, phrase = match.end(), (kind, value)
        if phrase is None:
            word += 1
            continue
        last = word + text.count(" ", starts[word], end)
        yield Item(*phrase, word, last)
        word = last + 1

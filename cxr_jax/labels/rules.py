"""CheXpert's observations read from a report by rules: what it affirms, denies or doubts, and on which side.

It works offline and needs no model. What is scored with it is called `rule_f1`: it is neither CheXbert nor CheXpert's
labeller, only takes their observations. `docs/labels.md` says how far it agrees with Open-i's indexers.
"""

import itertools
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

from cxr_jax.labels.phrases import CUES, NAMES, OBSERVATIONS, OTHER_FINDINGS, PLACES, QUALITIES, SAID

__all__ = ["OBSERVATIONS", "Mention", "find_mentions", "label_report", "rule_labels", "split_sentences"]

_OTHER = "other"  # an observation that is none of CheXpert's, and only hinders "No Finding"
_SIDELESS = {"Cardiomegaly", "Enlarged Cardiomediastinum", _OTHER}
_RANK = {"negative": 0, "uncertain": 1, "positive": 2}

_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)?")
_BOUNDARY = re.compile(r"[.;?!]+(?=\s|$)|(?<=[a-z]{2})\.(?=[A-Z][a-z])|\n\s*\n")
_ABBREVIATION = re.compile(r"(?:^|[^\w.])(?:drs?|mrs?|ms|vs|st|approx|e\.g|i\.e|cf|fig)$", re.IGNORECASE)
_VERBS = {"is", "are", "was", "were", "has", "have", "had", "there", "shows", "show", "demonstrates"}
_VERBS |= {"appears", "appear", "remains", "remain"}
_DOUBTS = {"likely", "possible", "probable", "suspected", "questionable"}
_ENDS_DOUBT = {"and", "or", "in", "on", "at", "with", "given", "as"}
_LINKS = {"of", "the", "and", "in", "size", "overall", "left", "right"}
_SIDE = re.compile(
    r"\b(?:(?P<both>bilateral(?:ly)?|both|biapical(?:ly)?|bibas(?:al|ilar)(?:ly)?)|(?P<left>left|lt)|(?P<right>right|rt))\b"
    r"(?! (?:heart|atri|ventric|main|brachiocephalic|paratracheal|of (?:the )?midline))"
)
_AFTER = re.compile(
    r"(?: (?!(?:and|with|or)\b)\S+){0,5} (?:in|at|on|within|along|over|involving|overlying|of|throughout|to)\b"
)


class Mention(NamedTuple):
    """One observation that a report names, at characters `start` to `end` of it."""

    observation: str
    status: str  # "positive", "negative" or "uncertain"
    side: str  # "left", "right", "bilateral", or "" where none is said
    start: int
    end: int


def split_sentences(report: str) -> list[tuple[int, int]]:
    """The spans of the report's sentences, in characters, without the blanks round them; all words are in one.

    Neither list numbers ("1."), decimals nor abbreviations end a sentence; a semicolon and a blank line do.
    """
    spans, start = [], 0
    for match in [*_BOUNDARY.finditer(report), None]:
        end = match.end() if match else len(report)
        if match and match.group().startswith(".") and match.group() != "..":
            before = report[start : match.start()]
            if re.fullmatch(r"\W*\d{1,2}", before) or _ABBREVIATION.search(before):
                continue
        sentence = report[start:end]
        if _WORD.search(sentence):
            spans.append((end - len(sentence.lstrip()), start + len(sentence.rstrip())))
        start = end
    return spans


def find_mentions(report: str) -> list[Mention]:
    """The observations that the report names, in order of start; what it only tells of the past is left out."""
    return [mention for mention in _mentions(report) if mention.observation != _OTHER]


def label_report(report: str) -> dict[str, str]:
    """Observation to status; one that is not mentioned is absent. Positive wins over uncertain over negative.

    "No Finding" is positive where no other observation than Support Devices is positive or uncertain, nor, as in
    CheXpert's labeller, any of OTHER_FINDINGS. A report without a word has no labels at all.
    """
    statuses: dict[str, str] = {}
    for mention in _mentions(report):
        known = statuses.get(mention.observation)
        if known is None or _RANK[mention.status] > _RANK[known]:
            statuses[mention.observation] = mention.status
    if _WORD.search(report) and all(
        status == "negative" or observation == "Support Devices" for observation, status in statuses.items()
    ):
        statuses["No Finding"] = "positive"
    return {observation: statuses[observation] for observation in OBSERVATIONS if observation in statuses}


def rule_labels(reports: Iterable[str]) -> list[frozenset[str]]:
    """Each report's observations that are positive or uncertain, for F1: uncertain counts as positive."""
    return [_rule_labels_of(report) for report in reports]


@lru_cache(maxsize=1 << 15)  # the floors of an evaluation repeat reports as often as it has references
def _rule_labels_of(report: str) -> frozenset[str]:
    return frozenset(observation for observation, status in label_report(report).items() if status != "negative")


def _mentions(report: str) -> Iterator[Mention]:
    for start, end in split_sentences(report):
        for mention in _read(report[start:end]):
            yield mention._replace(start=start + mention.start, end=start + mention.end)


class _Item(NamedTuple):
    kind: str  # "name", "place", "quality", or a key of CUES
    value: str | tuple[str, ...]
    first: int  # word
    last: int


class _Heard:
    """An observation as it is heard in a sentence; what follows may still deny or doubt it."""

    def __init__(self, observation: str, status: str, first: int, last: int):
        self.observation, self.status, self.first, self.last = observation, status, first, last


def _compile_phrases() -> dict[str, list[tuple[re.Pattern[str], str, str | tuple[str, ...]]]]:
    """The first three letters of a phrase to its pattern, its kind and its value."""
    tables = [
        *(("name", key, text) for key, text in [*NAMES.items(), (_OTHER, OTHER_FINDINGS)]),
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


def _items(words: list[str]) -> Iterator[_Item]:
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
        yield _Item(*phrase, word, last)
        word = last + 1


@lru_cache(maxsize=1 << 15)
def _read(sentence: str) -> tuple[Mention, ...]:
    """The mentions of one sentence."""
    return _Reader(sentence).read()


class _Reader:
    """Reads a sentence once, from left to right.

    It is in one of the moods positive, negative, uncertain or forget, which cues set and each name takes; some cues
    look back instead. Places ("heart") and what is said of them ("enlarged") meet in either order.
    """

    def __init__(self, sentence: str):
        self.sentence = sentence
        self.spans = [match.span() for match in _WORD.finditer(sentence)]
        self.words = [sentence[start:end].lower() for start, end in self.spans]
        self.items = list(_items(self.words))
        self.heard: list[_Heard] = []
        self.mood, self.denied = "positive", 0
        self.clause, self.clause_word = 0, 0  # where the clause begins, in `heard` and in words
        self.doubted_until = -1
        self.places: list[_Item] = []
        self.quality: tuple[str, int] | None = None  # one that still looks for its place, and its last word

    def read(self) -> tuple[Mention, ...]:
        """The mentions, in the order of the words."""
        readers = {"name": self._name, "place": self._place, "quality": self._quality}
        for position, item in enumerate(self.items):
            readers.get(item.kind, self._cue)(item, position)
        stops = [item.first for item in self.items if item.kind == "stop"]
        sides = _sides(self.sentence, self.spans, self.words, self.heard, stops)
        return tuple(
            Mention(h.observation, h.status, side, self.spans[h.first][0], self.spans[h.last][1])
            for h, side in sorted(zip(self.heard, sides, strict=True), key=lambda pair: pair[0].first)
            if h.status != "forget"
        )

    def _name(self, item: _Item, _: int) -> None:
        status = "uncertain" if self.mood == "positive" and item.first <= self.doubted_until else self.mood
        if self.quality == ("normal", item.first - 1):
            status = "negative"
        self.heard += [_Heard(observation, status, item.first, item.last) for observation in item.value]
        self.denied += self.mood == "negative"

    def _place(self, item: _Item, _: int) -> None:
        if self.words[item.last + 1 : item.last + 2] and self.words[item.last + 1] in _VERBS:
            self.mood = "positive"
        if self.quality and self._reaches(self.quality, item.first):
            known = self.quality[0]
            self._say(item, known)
            listed = known == "normal" or self.words[item.last + 1 : item.last + 2] == ["and"]
            self.quality = (known, item.last) if listed else None
            if known == "big":
                return
        self.places.append(item)

    def _quality(self, item: _Item, position: int) -> None:
        following, said = self._next(position), str(item.value)
        next_kind = following.kind if following and following.first == item.last + 1 else ""
        subject = self.items[position - 1] if position and self.words[item.first - 1] in _VERBS else None
        if said == "normal" and self.heard and subject and subject.first == self.heard[-1].first:
            self.heard[-1].status = "negative"  # "engorgement is within normal limits"
        if said in ("big", "more") and next_kind == "name":
            return  # a large effusion, not a large heart
        near = [] if said == "more" and next_kind == "place" else self.places
        said = "big" if said == "more" else said
        near = [place for place in near if self._belongs(place, item.first, said)]
        for place in near:
            self._say(place, said)
        self.quality = None if near else (said, item.last)
        self.places = []

    def _cue(self, item: _Item, position: int) -> None:
        kind, inside = item.kind, self.heard[self.clause :]
        if kind in ("deny", "clear of"):
            if kind == "clear of":
                for place in self.places:
                    self._say(place, "normal")
            self.mood, self.denied = "negative", 0
        elif kind == "deny before" or (kind == "resolved" and inside):
            for mention in self._behind(item):
                mention.status = "negative"
            self._begin_clause(item.last)
        elif kind == "resolved":
            self.mood, self.denied = "negative", 0
        elif kind == "doubt" or (kind == "doubt below" and self.mood == "positive"):
            self.mood = "uncertain"
        elif kind == "doubt before":
            self._doubt_before(item, position)
        elif kind == "doubt both" and self.mood == "positive":
            if inside and item.first - inside[-1].last <= 2:
                inside[-1].status = "uncertain"
                self.doubted_until = item.last + 4
        elif kind == "forget":
            self.mood = "forget"
        elif kind == "unchanged" or (
            kind == "affirm" and self.denied and self.mood == "negative" and self.words[item.first - 1] != "or"
        ):
            self.mood = "positive"
        elif kind == "affirm before" and inside and inside[-1].status == "negative":
            inside[-1].status = "positive"
        elif kind == "stop":
            self._begin_clause(item.first)
            self.places, self.quality = [], None

    def _doubt_before(self, item: _Item, position: int) -> None:
        # "The opacity is likely atelectasis": it is there, what it is remains in doubt.
        following = self._next(position)
        named = following is not None and following.kind == "name"
        between = self.words[item.last + 1 : following.first] if following and named else ["and"]
        ahead = self.words[item.last] in _DOUBTS and len(between) <= 2 and _ENDS_DOUBT.isdisjoint(between)
        subjects = [] if ahead else self._behind(item)
        for mention in subjects:
            if mention.status == "positive" or mention is self.heard[-1]:
                mention.status = "uncertain"
        if not subjects and self.mood == "positive":
            self.mood = "uncertain"  # "this is likely pneumonia"

    def _next(self, position: int) -> _Item | None:
        return self.items[position + 1] if position + 1 < len(self.items) else None

    def _begin_clause(self, word: int) -> None:
        self.mood, self.clause, self.clause_word = "positive", len(self.heard), word

    def _say(self, place: _Item, what: str) -> None:
        for observation, status in SAID.get((str(place.value), what), {}).items():
            if status != "negative" and self.mood != "positive":
                status = self.mood
            # What is said after a place overrules what stood before it: "normal heart, widened mediastinum".
            earlier = [h for h in self.heard if (h.observation, h.first) == (observation, place.first)]
            if any(h.status == "uncertain" for h in earlier) and status == "positive":
                status = "uncertain"  # "borderline cardiac enlargement"
            kept = [h for h in self.heard if h not in earlier]
            self.heard = [*kept, _Heard(observation, status, place.first, place.last)]

    def _reaches(self, quality: tuple[str, int], first: int) -> bool:
        """Whether a quality is said of the place that follows it at word `first`; "normal" also of a list of them."""
        between = self.words[quality[1] + 1 : first]
        return len(between) <= 3 if quality[0] == "normal" else _LINKS.issuperset(between)

    def _belongs(self, place: _Item, first: int, said: str) -> bool:
        """Whether a quality at word `first` is said of an earlier place: close by, or by a verb."""
        between = self.words[place.last + 1 : first]
        return len(between) <= (10 if said == "normal" or not _VERBS.isdisjoint(between) else 2)

    def _behind(self, cue: _Item) -> list[_Heard]:
        """The mentions that a cue which looks back speaks of: its own subject, not the whole sentence."""
        inside = self.heard[self.clause :]
        verbs = [w for w in range(self.clause_word, cue.first) if self.words[w] in _VERBS]
        if not verbs or not inside:
            return inside
        joints = [w for w in range(verbs[-1], cue.first) if self.words[w] in ("and", "but")]
        if joints:
            return [h for h in inside if h.first > joints[-1]]
        return [h for h in inside if h.first == inside[-1].first]


def _sides(
    sentence: str, spans: list[tuple[int, int]], words: list[str], heard: list[_Heard], stops: list[int]
) -> list[str]:
    """The side of each mention, looked for no further than the next mention or clause: among its own words and those
    right before it, then behind a preposition after it, then anywhere before it."""
    sides: list[str] = []
    for mention in heard:
        if mention.observation in _SIDELESS:
            sides.append("")
            continue
        ends = [h.last for h in heard if h.last < mention.first] + [s for s in stops if s < mention.first]
        starts = [h.first for h in heard if h.first > mention.last] + [s for s in stops if s > mention.last]
        low, high = max(ends, default=-1) + 1, min(starts, default=len(words))
        near = max(low, mention.first - 4)
        while near < mention.first and "," in sentence[spans[near][0] : spans[mention.first][0]]:
            near += 1  # beyond a comma only if there is no better place
        after = "".join(f" {word}" for word in words[mention.last + 1 : high])
        sides.append(
            _side(" ".join(words[near : mention.last + 1]))
            or (_side(after) if _AFTER.match(after) else "")
            or _side(" ".join(words[low : mention.first]))
        )
    return sides


def _side(text: str) -> str:
    sides = {match.lastgroup for match in _SIDE.finditer(text)}
    if not sides:
        return ""
    return "bilateral" if "both" in sides or len(sides) > 1 else str(sides.pop())

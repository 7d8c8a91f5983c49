"""Reads a sentence from left to right: which observations it names, and how it says them."""

from functools import lru_cache
from typing import NamedTuple

from cxr_jax.labels.cues import DESCRIPTIONS, DOUBTS, QUANTITIES
from cxr_jax.labels.matching import Item, find_phrases
from cxr_jax.labels.phrases import DISEASE, NORMAL, OTHER, SAID
from cxr_jax.labels.sides import Place, sides
from cxr_jax.labels.words import read_words

_SIDELESS = {"Cardiomegaly", "Enlarged Cardiomediastinum", OTHER, DISEASE}
_VERBS = {"is", "are", "was", "were", "has", "have", "had", "there", "shows", "show", "demonstrates"}
_VERBS |= {"appears", "appear", "remains", "remain"}
_PLURAL = {"are", "were", "have"}
_DOUBTS = set(DOUBTS.split())
_ENDS_DOUBT = {"and", "or", "in", "on", "at", "with", "given", "as"}
_LINKS = {"of", "the", "and", "in", "size", "overall", "left", "right"}
_OR = {"or", "nor"}
_ONE_DOUBT = {"otherwise", "excluded"}
_BOTH_SIDES = {"absent", "excluded", "undetected"}
_CHANGED = set(["unchanged", "stable", "larger", "smaller", "improved", "worse", "worsened", "increased", "decreased"])
_PREDICATES = {"enlarged", "widened", "dilated"}
_QUANTITIES = set(QUANTITIES.split())
_DESCRIPTIONS = _QUANTITIES | set(DESCRIPTIONS.split())


class Mention(NamedTuple):
    """One observation that a report names, at characters `start` to `end` of it."""

    observation: str
    status: str  # "positive", "negative" or "uncertain"
    side: str  # "left", "right", "bilateral", or "" where none is said
    start: int
    end: int


class _Heard:
    """An observation as it is heard in a sentence; what follows may still deny or doubt it."""

    def __init__(self, observation: str, status: str, first: int, last: int):
        self.observation, self.status, self.first, self.last = observation, status, first, last


@lru_cache(maxsize=1 << 15)
def read_sentence(sentence: str) -> tuple[Mention, ...]:
    """The mentions of one sentence, in order; also those of the pseudo-observations, which bear on "No Finding"."""
    return _Reader(sentence).read()


class _Reader:
    """Reads a sentence once, from left to right.

    It is in one of the moods positive, negative, uncertain or forget, which cues set and each name takes; some cues
    look back instead. Places ("heart") and what is said of them ("enlarged") meet in either order.
    """

    def __init__(self, sentence: str):
        self.sentence = sentence
        self.words, self.spans = read_words(sentence)
        self.items = list(find_phrases(self.words))
        self.heard: list[_Heard] = []
        self.mood, self.denied = "positive", 0
        self.clause, self.clause_word = 0, 0  # where the clause begins, in `heard` and in words
        self.doubted_until = -1
        self.unchanged = False  # what follows is there, as before
        self.advised = False  # that it be seen gone
        self.named = -1  # last word of the latest name
        self.places: list[Item] = []
        self.normal: list[Item] = []  # what says of anything that it is normal
        self.quality: tuple[str, int] | None = None  # one that still looks for its place, and its last word

    def read(self) -> tuple[Mention, ...]:
        """The mentions, in the order of the words."""
        readers = {"name": self._name, "place": self._place, "quality": self._quality, "all normal": self._all_normal}
        for position, item in enumerate(self.items):
            readers.get(item.kind, self._cue)(item, position)
        self._leave_titles()
        heard = sorted((h for h in self.heard if h.status != "forget"), key=lambda h: h.first)
        places = [Place(h.first, h.last, h.observation not in _SIDELESS) for h in heard]
        stops = [item.first for item in self.items if item.kind == "stop"]
        return tuple(
            Mention(h.observation, h.status, side, self.spans[h.first][0], self.spans[h.last][1])
            for h, side in zip(heard, sides(self.sentence, self.spans, self.words, places, stops), strict=True)
        ) + tuple(Mention(NORMAL, "negative", "", self.spans[i.first][0], self.spans[i.last][1]) for i in self.normal)

    def _leave_titles(self) -> None:
        """Forgets what only announces itself: "Effusion: no effusion is seen"."""
        for number, title in enumerate(self.heard):
            later = self.heard[number + 1 :]
            if self._between(title.last + 1)[:1] == ":" and any(h.observation == title.observation for h in later):
                title.status = "forget"

    def _name(self, item: Item, position: int) -> None:
        if item.value == (DISEASE,) and self.mood != "negative":
            return
        if self.mood == "negative" and self.denied and self._begins_anew(item, position):
            self.mood = "positive"
        if self.mood == "negative" and self.denied and self._has_changed(item):
            self.mood = "positive"
        status = "uncertain" if self.mood == "positive" and item.first <= self.doubted_until else self.mood
        if self.quality == ("normal", item.first - 1):
            status = "negative"
        if status == "positive" and self._alternative(item):
            self.heard[-1].status = status = "uncertain"
        self.heard += [_Heard(observation, status, item.first, item.last) for observation in item.value]
        self.denied += self.mood == "negative"
        self.named = item.last

    def _alternative(self, item: Item) -> bool:
        """Whether a name is another for the one before it: "atelectasis/pneumonia"."""
        previous = self.heard[-1] if self.heard else None
        return (
            previous is not None
            and previous.status != "negative"
            and item.first - previous.last <= 2
            and self._between(previous.last + 1).lstrip()[:1] == "/"
            and previous.observation not in item.value
            and OTHER not in (previous.observation, *item.value)
        )

    def _place(self, item: Item, _: int) -> None:
        following = self.words[item.last + 1 : item.last + 2]
        if _VERBS.intersection(following) or (_PREDICATES.intersection(following) and "," in self._between(item.first)):
            self.mood = "positive"
        if self.quality and self._reaches(self.quality, item.first):
            known = self.quality[0]
            self._say(item, known)
            listed = known == "normal" or self.words[item.last + 1 : item.last + 2] == ["and"]
            self.quality = (known, item.last) if listed else None
            if known == "big":
                return
        self.places.append(item)

    def _all_normal(self, item: Item, _: int) -> None:
        self.normal.append(item)

    def _quality(self, item: Item, position: int) -> None:
        following, said = self._next(position), str(item.value)
        if said == "unclear":
            if self.places or self.words[item.last] in ("normal", "unremarkable"):
                self.heard.append(_Heard(OTHER, "positive", item.first, item.last))
            self.places = []
            return
        if said == "normal" and self.mood != "forget":
            self.normal.append(item)
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

    def _cue(self, item: Item, position: int) -> None:
        kind, inside = item.kind, self.heard[self.clause :]
        if kind == "deny before" and not inside and self.words[item.first] in _BOTH_SIDES:
            kind = "deny"  # "absent pleural effusion"
        if kind in ("deny", "clear of"):
            if kind == "clear of":
                for place in self.places:
                    self._say(place, "normal")
            self.mood, self.denied = "negative", 0
        elif kind == "deny before" or (kind == "resolved" and inside and not self.advised):
            for mention in self._behind(item):
                mention.status = "negative"
            self._begin_clause(item.last)
        elif kind in ("resolved", "resolution"):
            if not self.advised:
                self.mood, self.denied = "negative", 0
        elif kind == "advice":
            self.advised = True
        elif kind == "forget before":
            for mention in self._behind(item):
                mention.status = "forget"
            self.mood = "forget"
        elif kind == "doubt" or (kind == "doubt below" and self.mood == "positive"):
            if inside and self._ends_clause(item, position) and self.words[item.last] in _DOUBTS:
                self._doubt_before(item, position)  # "effusion doubtful"
            else:
                self.mood = "uncertain"
        elif kind == "doubt before":
            self._doubt_before(item, position)
        elif (
            kind == "doubt both" and self.mood == "positive" and not (self.unchanged and self.words[item.first] == "or")
        ):
            if not inside and self.words[item.last] in ("versus", "vs"):
                self.doubted_until = item.last + 4  # "skin fold versus pneumothorax"
            if inside and item.first - inside[-1].last <= 2:
                inside[-1].status = "uncertain"
                self.doubted_until = item.last + 4
        elif kind == "forget":
            self.mood = "forget"
        elif kind == "unchanged":
            self.mood, self.unchanged = "positive", True
        elif kind == "affirm" and self.denied and self.mood == "negative" and not self._listed(item.first):
            self.mood = "positive"
        elif kind == "yes":
            for mention in [h for h in inside if h.first == inside[-1].first]:
                mention.status = "positive"
            self._begin_clause(item.last)
        elif kind == "is there" and len(inside) > 1 and inside[-1].status == inside[-2].status == "negative":
            # Of two, the second has the verb: "no effusion and atelectasis is present".
            if self.denied == 2 and not self._listed(inside[-1].first, inside[-2].last):
                inside[-1].status = "positive"
        elif kind == "affirm before" and self.heard and self.heard[-1].status == "negative":
            if inside or self.words[item.first - 1] in ("but", "one"):  # "resolved on the right but persists"
                self.heard[-1].status = "positive"
        elif kind == "stop":
            self._begin_clause(item.first)
            self.places, self.quality = [], None

    def _doubt_before(self, item: Item, position: int) -> None:
        # "The opacity is likely atelectasis": it is there, what it is remains in doubt.
        following = self._next(position)
        named = following is not None and following.kind == "name"
        between = self.words[item.last + 1 : following.first] if following and named else ["and"]
        ahead = self.words[item.last] in _DOUBTS and len(between) <= 2 and _ENDS_DOUBT.isdisjoint(between)
        subjects = [] if ahead else self._behind(item)
        last = self.words[item.last]
        if subjects and (last == ":doubted" or (last in _ONE_DOUBT and "," in self._between(subjects[-1].first))):
            subjects = [h for h in subjects if h.first == subjects[-1].first]
        if not subjects and self.heard and "one" in self.words[self.clause_word : item.first]:
            subjects = self.heard[-1:]  # "no pneumothorax, but a small one cannot be excluded"
        for mention in subjects:
            if mention.status == "positive" or mention is self.heard[-1]:
                mention.status = "uncertain"
        if not subjects and self.mood == "positive":
            self.mood = "uncertain"  # "this is likely pneumonia"

    def _begins_anew(self, item: Item, position: int) -> bool:
        """Whether a name after denied ones is not of their list: "no consolidation, small effusion"."""
        between = self.words[self.named + 1 : item.first]
        if self._listed(item.first) or self._closes_with_or(position):
            return False
        if "and" in between and not _VERBS.isdisjoint(between[: between.index("and")]):
            return True  # "no consolidation is seen and a ..."
        joints = [
            w for w in range(self.named + 1, item.first + 1) if self.words[w - 1] == "and" or "," in self._between(w)
        ]
        devices = any(h.observation == "Support Devices" for h in self.heard[self.clause :])
        if joints and "Support Devices" in item.value and not devices:
            return True
        described = self.words[joints[-1] : item.first] if joints else []
        return bool(described and described[0] in _DESCRIPTIONS) or not _QUANTITIES.isdisjoint(between)

    def _has_changed(self, item: Item) -> bool:
        """Whether a name after denied ones is there, for it has changed or not: "no pneumothorax, effusion larger"."""
        following = self.words[item.last + 1 : item.last + 2]
        return (
            not _CHANGED.isdisjoint(following)
            and (
                "," in self._between(self.named + 1) + self._between(item.first)
                or "and" in self.words[self.named + 1 : item.first]
            )
            and not self._listed(item.first)
        )

    def _listed(self, word: int, after: int | None = None) -> bool:
        """Whether "or" stands between the latest name, or the word `after`, and a word."""
        start = self.named if after is None else after
        return not _OR.isdisjoint(self.words[start + 1 : word]) or self._between(start + 1) == "/"

    def _closes_with_or(self, position: int) -> bool:
        """Whether a name is in a list that "or" closes: it follows before any other cue."""
        for following in self.items[position + 1 :]:
            if self.words[following.first] in _OR or self._between(following.first) == "/":
                return True
            if following.kind not in ("name", "place", "quality", "keep"):
                return False
        return False

    def _ends_clause(self, item: Item, position: int) -> bool:
        following = self._next(position)
        closes = self._between(item.last + 1).lstrip()[:1] in (",", ";", ")")
        return item.last == len(self.words) - 1 or closes or (following is not None and following.kind == "stop")

    def _between(self, word: int) -> str:
        """The characters between a word and the one before it, or at the sentence's end."""
        end = self.spans[word][0] if word < len(self.spans) else len(self.sentence)
        return self.sentence[self.spans[word - 1][1] : end] if word else self.sentence[:end]

    def _next(self, position: int) -> Item | None:
        return self.items[position + 1] if position + 1 < len(self.items) else None

    def _begin_clause(self, word: int) -> None:
        self.mood, self.clause, self.clause_word, self.unchanged = "positive", len(self.heard), word, False

    def _say(self, place: Item, what: str) -> None:
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

    def _belongs(self, place: Item, first: int, said: str) -> bool:
        """Whether a quality at word `first` is said of an earlier place: close by, or by a verb."""
        between = self.words[place.last + 1 : first]
        return len(between) <= (10 if said == "normal" or not _VERBS.isdisjoint(between) else 2)

    def _behind(self, cue: Item) -> list[_Heard]:
        """The mentions that a cue which looks back speaks of: its own subject, not the whole sentence."""
        inside = self.heard[self.clause :]
        verbs = [w for w in range(self.clause_word, cue.first) if self.words[w] in _VERBS]
        if not verbs or not inside:
            return inside
        joints = [w for w in range(verbs[-1], cue.first) if self.words[w] in ("and", "but")]
        if joints:
            return [h for h in inside if h.first > joints[-1]]
        subjects = [h for h in inside if h.first == inside[-1].first]
        if self.words[verbs[-1]] in _PLURAL:  # "infiltrate, effusion, and pneumothorax are absent"
            for mention in reversed(inside):
                gap = self.words[mention.last + 1 : subjects[0].first]
                near = len(gap) <= 3 and _VERBS.isdisjoint(gap)
                if (
                    mention not in subjects
                    and near
                    and ("and" in gap or "or" in gap or "," in self._between(mention.last + 1))
                ):
                    subjects.insert(0, mention)
        return subjects

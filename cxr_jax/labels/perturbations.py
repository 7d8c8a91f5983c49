"""Twins of a report that say something else in nearly the same words: sides swapped, findings denied, and so on.

Each function takes a report and gives its twin, or None where there is none: nothing to change, or the rules do not
read the change that was meant. What is random is drawn from the report itself and a seed, so that a report has one
twin. Sentences are changed by templates that leave them grammatical, and those that none fits are left as they are.
"""

import random
import re
from collections.abc import Callable, Sequence

from cxr_jax.labels.phrases import OBSERVATIONS
from cxr_jax.labels.priors import speaks_of_prior
from cxr_jax.labels.reader import Mention, read_sentence
from cxr_jax.labels.rules import find_mentions
from cxr_jax.labels.sentences import sentences_of_findings, split_sentences
from cxr_jax.labels.sides import NO_SIDE

_MIRRORED = {"left": "right", "lt": "rt", "leftward": "rightward", "lul": "rul", "lll": "rll"}
_MIRRORED |= {right: left for left, right in _MIRRORED.items()}
_WHOLE = {"right middle lobe": "left lingula", "left lingula": "right middle lobe"}
_SIDED = re.compile(rf"\b(?:{'|'.join(_WHOLE)}|(?:{'|'.join(_MIRRORED)})(?!{NO_SIDE}))\b", re.IGNORECASE)

_PRIORS = (
    "There is no significant change compared to the prior examination.",
    "Findings are unchanged from the previous study.",
    "This has improved since the prior radiograph.",
    "This is new since the previous examination.",
)

_SEEN = r"(?:seen|noted|identified|present|visualized|demonstrated|evident|appreciated|detected|found)"
_EVIDENCE = (
    r"(?:(?:radiographic |definite |convincing )?(?:evidence|signs?|findings?) (?:of|for|to suggest) )?(?:any )?"
)
_DENIALS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"(?P<there>there (?:is|are|was|were)) no {_EVIDENCE}(?P<what>.+)",
        rf"(?:specifically, )?no {_EVIDENCE}(?P<what>.+?)(?P<verb> (?:is|are|was|were))?(?P<seen> {_SEEN})",
        rf"(?:specifically, )?no {_EVIDENCE}(?P<what>.+)",
        rf"(?P<what>.+)(?P<verb> (?:is|are|was|were)) not(?P<seen> {_SEEN})",
    )
)
_AFFIRMATIONS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"(?P<there>there (?:is|are|was|were)) (?:again |also )?(?:an? |some )?(?P<what>(?!no\b).+)",
        rf"(?:an? )?(?P<what>(?!the\b).+?)(?P<verb> (?:is|are|was|were))?(?: again| also)?(?P<seen> {_SEEN})",
        r"(?:an? )?(?P<what>(?!the\b|heart\b).+)",
    )
)
_VERB = re.compile(
    r"\b(?:is|are|was|were|has|have|had|may|might|could|can|appears?|remains?|shows?|demonstrates?|suggests?"
    r"|represents?|there)\b",
    re.IGNORECASE,
)
_KNOWN = re.compile(r"(?:stable|unchanged|persistent) ", re.IGNORECASE)  # what is not there is not unchanged
_COUNTED = re.compile(r"(?:effusion|pneumothorax|nodule|mass|fracture|opacity|infiltrate|lesion|density)$")
_PLURAL = re.compile(r"(?:[^s]s|pneumothoraces|masses)$")


def swap_sides(report: str) -> str | None:
    """Left for right and right for left, of lungs and findings, not of the heart's chambers or the spine.

    Only where the rules read a side of some finding, and read each on the other one afterwards.
    """
    twin = _SIDED.sub(lambda match: _cased(match[0], _mirror(match[0].lower())), report)
    told, mirrored = ([(m.observation, m.status, m.side) for m in find_mentions(text)] for text in (report, twin))
    expected = [(name, status, _MIRRORED.get(side, side)) for name, status, side in told]
    return twin if mirrored == expected != told else None


def flip_negation(report: str) -> str | None:
    """Findings that are denied affirmed, and those that are affirmed denied, a sentence as a whole.

    "No effusion or pneumothorax." becomes "There is an effusion and pneumothorax.", "There is a nodule." "There is no
    nodule." Every sentence is flipped that a template fits, and of which the rules then read the opposite.
    """
    return _rewritten(report, _flipped)


def remove_finding(report: str, seed: int = 0) -> str | None:
    """Without the sentences that affirm or doubt one finding, drawn from those that the report has.

    Not where nothing would be left, or where another sentence still affirms it.
    """
    there = sorted({m.observation for m in find_mentions(report) if m.status != "negative"})
    if not there:
        return None
    gone = _rng(report, seed).choice(there)

    def without(sentence: str) -> str:
        return "" if any(m.observation == gone and m.status != "negative" for m in _mentions(sentence)) else sentence

    twin = _rewritten(report, without)
    twin = re.sub(r"[^\S\n]{2,}", " ", twin).strip() if twin else None
    if not twin or not re.search(r"[^\W_]", twin):
        return None
    return None if any(m.observation == gone and m.status != "negative" for m in find_mentions(twin)) else twin


def invent_prior(report: str, seed: int = 0) -> str | None:
    """With a sentence more, at its end, that speaks of a prior study; not where one does so already."""
    if speaks_of_prior(report) or not report.strip():
        return None
    closed = report.rstrip() if report.rstrip().endswith((".", "!", "?", ":")) else f"{report.rstrip()}."
    added = _rng(report, seed).choice(_PRIORS)
    return f"{closed} {added.upper() if report.isupper() else added.lower() if report.islower() else added}"


def shuffle_sentences(report: str, seed: int = 0) -> str | None:
    """The same sentences in another order; not where all are alike or there is but one."""
    spans = split_sentences(report)
    sentences = [report[start:end] for start, end in spans]
    if len(set(sentences)) < 2:
        return None
    shuffled, rng = list(sentences), _rng(report, seed)
    while shuffled == sentences:
        rng.shuffle(shuffled)
    return _put(report, spans, shuffled)


PERTURBATIONS: dict[str, Callable[[str], str | None]] = {
    "side_swapped": swap_sides,
    "negation_flipped": flip_negation,
    "finding_removed": remove_finding,
    "prior_invented": invent_prior,
    "sentences_shuffled": shuffle_sentences,
}


def _rng(report: str, seed: int) -> random.Random:
    return random.Random(f"{seed} {report}")


def _mentions(sentence: str) -> list[Mention]:
    return [mention for mention in read_sentence(sentence) if mention.observation in OBSERVATIONS]


def _mirror(found: str) -> str:
    return _WHOLE.get(found) or _MIRRORED[found]


def _cased(model: str, text: str) -> str:
    """The text with the capitals of the model: all, its first, or none."""
    if model.isupper() and len(model) > 1:
        return text.upper()
    first = next((character for character in model if character.isalpha()), "a")
    return text[:1].upper() + text[1:] if first.isupper() else text[:1].lower() + text[1:]


def _rewritten(report: str, rewrite: Callable[[str], str]) -> str | None:
    """The report with each sentence of findings rewritten; None where none was."""
    spans = list(sentences_of_findings(report))
    sentences = [report[start:end] for start, end in spans]
    changed = list(map(rewrite, sentences))
    return _put(report, spans, changed) if changed != sentences else None


def _put(report: str, spans: Sequence[tuple[int, int]], texts: Sequence[str]) -> str:
    """The report with these texts in the spans' places."""
    parts, last = [], 0
    for (start, end), text in zip(spans, texts, strict=True):
        parts += [report[last:start], text]
        last = end
    return "".join([*parts, report[last:]])


def _flipped(sentence: str) -> str:
    """The sentence that says the opposite, or the same one."""
    told = [(mention.observation, mention.status) for mention in _mentions(sentence)]
    statuses = {status for _, status in told}
    body = sentence.rstrip(" .;!")
    if statuses == {"negative"}:
        found = next(filter(None, (pattern.fullmatch(body) for pattern in _DENIALS)), None)
        said = _affirmed(found) if found else ""
    elif statuses == {"positive"}:
        found = next(filter(None, (pattern.fullmatch(body) for pattern in _AFFIRMATIONS)), None)
        said = _denied(found) if found else ""
    else:
        return sentence
    opposite = {"negative": "positive", "positive": "negative"}
    said = _cased(sentence if sentence.isupper() else sentence[:1], said) + sentence[len(body) :]
    heard = [(mention.observation, mention.status) for mention in _mentions(said)]
    return said if heard == [(name, opposite[status]) for name, status in told] else sentence


def _affirmed(denial: re.Match[str]) -> str:
    parts = denial.groupdict()
    listed = parts["what"]
    what = re.sub(r"\s*,? (?:or|nor)(?: any| no)? ", " and ", listed, flags=re.IGNORECASE)
    several = what != listed or ", " in what
    if parts.get("seen"):
        verb = parts["verb"] or ""
        verb = {" is": " are", " was": " were"}.get(verb.lower(), verb) if several else verb
        return f"{what}{verb}{parts['seen']}"
    first = re.split(r", | and ", what)[0]
    plural = _PLURAL.search(first.lower()) is not None
    there = parts.get("there") or f"There {'are' if plural else 'is'}"
    article = "" if plural or not _COUNTED.search(first.lower()) else "an " if first[0].lower() in "aeiou" else "a "
    return f"{there} {article}{what}"


def _denied(affirmation: re.Match[str]) -> str:
    parts = affirmation.groupdict()
    if not parts.get("there") and not parts.get("seen") and _VERB.search(parts["what"]):
        return ""
    what = _KNOWN.sub("", parts["what"], count=1)
    what = re.sub(r" and (?:an? )?", " or ", what, flags=re.IGNORECASE)
    if parts.get("there"):
        return f"{parts['there']} no {what}"
    what = what if what[1:2].isupper() else what[:1].lower() + what[1:]
    return f"No {what}{parts.get('verb') or ''}{parts.get('seen') or ''}"

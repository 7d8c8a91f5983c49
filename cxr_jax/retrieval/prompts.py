"""The sentences that ask an image for a label, from a labels.yaml or from Python.

Pleural Effusion:
  positive: ["There is pleural effusion.", "Pleural effusion is present."]
  negative: ["There is no pleural effusion."]
  labels: [effusion left, effusion right]   # the data's labels that count as it; else the name itself
Cardiomegaly: {}                            # the default sentences
"""

import dataclasses
import difflib
import reprlib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from cxr_jax.data.label_names import means_none
from cxr_jax.errors import InputError
from cxr_jax.yaml_file import label_of, read_mapping, texts_of

POSITIVE = ("There is {label}.", "{label} is present.", "{label}.")
NEGATIVE = ("There is no {label}.", "No {label}.", "No evidence of {label}.")
SIDES = ("right", "left", "bilateral")
EXAMPLE = "Cardiomegaly: {}"  # a line of a labels.yaml
SIDE_KEYS = ("positive", "negative")
Prompts = Mapping[str, Sequence[Sequence[str]]] | Sequence[str]  # label: (sentences that affirm, that deny)


@dataclasses.dataclass(frozen=True)
class Question:
    """A label, the sentences that affirm and deny it, and the data's labels that count as it."""

    name: str
    positive: tuple[str, ...]
    negative: tuple[str, ...]
    labels: tuple[str, ...]


def read_questions(file: Path) -> list[Question]:
    """The questions of a labels.yaml.

    Raises:
      InputError: it cannot be read, is not YAML, or not in that form; the line names the entry.
    """
    return questions_of(read_mapping(file, "labels and sentences", EXAMPLE), str(file))


def questions_of(content: Mapping[Any, Any], source: str) -> list[Question]:
    """The questions of a mapping in labels.yaml's form, which `source` names.

    Raises:
      InputError: an entry is not in that form.
    """
    return [_question(name, entry, source) for name, entry in content.items()]


def default_nothings(questions: Sequence[Question]) -> list[str]:
    """Those that ask for the absence of findings, "No Finding" say, by a default sentence, which cannot say so."""
    return [
        question.name
        for question in questions
        if means_none(question.name) and _default(POSITIVE, question.name)[0] in question.positive
    ]


def as_questions(prompts: Prompts) -> list[Question]:
    """{label: (positive sentences, negative ones)}, or labels for the default sentences, as questions.

    Raises:
      InputError: a label or a list of sentences is none.
    """
    if isinstance(prompts, str):
        raise InputError("prompts: got one string; pass a list of labels, or {label: (positive, negative)}")
    if not isinstance(prompts, Mapping):
        names = list(prompts)
        if len(set(names)) < len(names):
            raise InputError(f"prompts: label {max(names, key=names.count)} is given twice; name each once")
        return [_question(name, None, "prompts") for name in names]
    questions = []
    for name, sides in prompts.items():
        if isinstance(sides, str) or len(sides) != len(SIDE_KEYS):
            raise InputError(
                f"prompts: {name}: got {reprlib.repr(sides)}; pass (positive sentences, negative sentences)"
            )
        questions.append(_question(name, {k: list(side) for k, side in zip(SIDE_KEYS, sides, strict=True)}, "prompts"))
    return questions


def match_labels(questions: Sequence[Question], known: Collection[str], source: str) -> list[Question]:
    """The questions, their labels in the data's own spelling: case does not matter, all else does.

    Raises:
      InputError: the data have no such label; the line names those that come near.
    """
    if not known:
        raise InputError(f"{source}: asks for labels, and the data have none; give them with --labels CSV")
    spelling: dict[str, list[str]] = {}
    for label in sorted(known):
        spelling.setdefault(label.casefold(), []).append(label)
    lost = [label for question in questions for label in question.labels if label.casefold() not in spelling]
    if lost:
        near = [n for label in lost[:1] for n in difflib.get_close_matches(label.casefold(), spelling, cutoff=0.5)]
        hint = f"near it: {', '.join(own for n in near for own in spelling[n])}" if near else _some(sorted(known))
        more = f"; nor {', '.join(lost[1:])}" if lost[1:] else ""
        raise InputError(
            f"{source}: no image of the data has the label {lost[0]} ({hint}){more}; take it out, or name the data's "
            "own labels under `labels:`"
        )
    return [
        dataclasses.replace(q, labels=tuple(own for label in q.labels for own in spelling[label.casefold()]))
        for q in questions
    ]


def spoken(label: str) -> str:
    """A label as one says it within a sentence: "Pleural Effusion/left" → "left pleural effusion".

    Capitals go, but for words of capitals alone; "Hernia, Hiatal" is turned round, and "_" is a blank.
    """
    heading, *qualifiers = (part.strip() for part in label.replace("_", " ").split("/"))
    words = " ".join(reversed(heading.split(", "))) if heading.count(", ") == 1 else heading
    before = [q for q in qualifiers if q.lower() in SIDES]
    after = [q for q in qualifiers if q.lower() not in SIDES]
    whole = " ".join([*before, words, *after]).split()
    return " ".join(word if len(word) > 1 and word.isupper() else word.lower() for word in whole)


def _question(name: Any, entry: Any, source: str) -> Question:
    label = label_of(name, source)
    where = f"{source}: {name}"
    entry = {} if entry is None else entry
    if not isinstance(entry, dict):
        raise InputError(
            f"{where}: holds {reprlib.repr(entry)}; write positive: and negative: with lists of sentences, or {{}}"
        )
    for key in entry:
        if key not in (*SIDE_KEYS, "labels"):
            raise InputError(f"{where}: has no key {key}; there are positive, negative and labels")
    positive, negative = (
        texts_of(entry[key], f"{where}: {key}") if key in entry else _default(templates, label)
        for key, templates in zip(SIDE_KEYS, (POSITIVE, NEGATIVE), strict=True)
    )
    both = set(positive) & set(negative)
    if both:
        raise InputError(f"{where}: {min(both)!r} stands under positive and under negative; it can only be one")
    labels = texts_of(entry["labels"], f"{where}: labels") if "labels" in entry else (label,)
    return Question(label, positive, negative, labels)


def _default(templates: Sequence[str], label: str) -> tuple[str, ...]:
    return tuple(_sentence(template, label) for template in templates)


def _sentence(template: str, label: str) -> str:
    text = template.format(label=spoken(label))
    return text[0].upper() + text[1:]


def _some(labels: Sequence[str]) -> str:
    return f"they have {', '.join(labels[:8])}{', …' if len(labels) > 8 else ''}"

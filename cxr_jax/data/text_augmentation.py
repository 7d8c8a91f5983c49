"""Training texts that differ each time they are read: another section, a sentence less, another order, other words."""

from collections.abc import Mapping, Sequence
from threading import Lock
from typing import Any
from zlib import crc32

import numpy as np

from cxr_jax.data.label_sentences import LabelSentences
from cxr_jax.data.pipeline import Split
from cxr_jax.data.reports import choose_section, group_ids, normalize_report
from cxr_jax.data.tokens import tokenize
from cxr_jax.labels.sentences import split_sentences


def draws_texts(config: Mapping[str, Any]) -> bool:
    """Whether training texts are drawn anew."""
    return bool(config["data"]["augment_text"] or config["data"]["sentences"])


def alternatives(split: Split, config: Mapping[str, Any]) -> list[list[Sequence[str]]]:
    """What each row's training text is drawn of: one alternative of each of its parts, joined.

    Raises:
      InputError: data.sentences cannot be read, or has none for a label.
    """
    data = config["data"]
    if data["sentences"]:
        sentences = LabelSentences(data["sentences"])
        # By the report that is kept: that of a study's first image stands for its others too.
        parts: dict[str, list[Sequence[str]]] = {
            sentences.report(terms): [*sentences.of(terms)] for terms in set(split.terms) if terms
        }
        return [parts.get(report, [(report,)]) for report in split.reports]
    if "section" in data["augment_text"]:
        return [[_sections_of(*sections)] for sections in split.sections]
    return [[(report,)] for report in split.reports]


def draw_sentences(text: str, kinds: Sequence[str], rng: np.random.Generator) -> str:
    """The text with a sentence left out and its sentences shuffled, so far as `kinds` (data.augment_text) asks for it.

    Of n > 1 sentences each is left out with probability 1/(n + 1), and else none.
    """
    sentences = [text[start:end] for start, end in split_sentences(text)]
    if "leave_out" in kinds and len(sentences) > 1:
        place = int(rng.integers(len(sentences) + 1))
        sentences = sentences[:place] + sentences[place + 1 :]
    if "shuffle" in kinds:
        sentences = [sentences[place] for place in rng.permutation(len(sentences))]
    return " ".join(sentences)


class TextAugmentation:
    """Draws each row's training text anew, by data.augment_text and data.sentences; rows are a split's."""

    def __init__(self, tokenizer: Any, split: Split, config: Mapping[str, Any]):
        data = config["data"]
        self._tokenizer, self._max_tokens, self._xxxx = tokenizer, config["text"]["max_tokens"], data["xxxx"]
        self._kinds, self._lock = data["augment_text"], Lock()  # a fast tokenizer is not to be used by two threads
        self._parts = alternatives(split, config)
        self._numbered = not data["sentences"] or config["loss"]["positives"] != "pair"
        if data["sentences"]:
            self._groups = [np.repeat(g, len(part)) for g, (part, *_) in zip(split.group_ids, self._parts, strict=True)]
        else:
            numbers = group_ids([text for (part,) in self._parts for text in part])
            self._groups = np.split(numbers, np.cumsum([len(part) for (part,) in self._parts])[:-1])

    def __call__(self, row: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """A row's token_ids and token_mask, int32 (L,), and group_id, shared by equal texts before sentences change.

        Sentences of the same labels count as equal; under loss.positives=pair, whose floor is of equal texts, they do
        not.
        """
        parts = self._parts[row]
        chosen = [int(rng.integers(len(part))) for part in parts]
        whole = " ".join(part[place] for part, place in zip(parts, chosen, strict=True))
        text = draw_sentences(whole, self._kinds, rng)
        with self._lock:
            ids, mask = tokenize(self._tokenizer, [text], self._max_tokens, self._xxxx)
        group = (
            self._groups[row][chosen[0]] if self._numbered else np.int32(crc32(normalize_report(whole).encode()) >> 1)
        )
        return {"token_ids": ids[0], "token_mask": mask[0], "group_id": group}


def _sections_of(findings: str, impression: str) -> Sequence[str]:
    texts = (choose_section(findings, impression, section) for section in ("findings", "impression", "both"))
    return list(dict.fromkeys(filter(None, texts)))

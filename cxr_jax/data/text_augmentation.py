"""Training texts that differ each time they are read: another section, a sentence less, another order."""

from collections.abc import Mapping, Sequence
from threading import Lock
from typing import Any

import numpy as np

from cxr_jax.data.reports import choose_section, group_ids
from cxr_jax.data.tokens import tokenize
from cxr_jax.labels.sentences import split_sentences


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
    """Draws each row's training text anew; rows, reports and sections are a split's."""

    def __init__(
        self, tokenizer: Any, reports: Sequence[str], sections: Sequence[tuple[str, str]], config: Mapping[str, Any]
    ):
        data = config["data"]
        self._tokenizer, self._max_tokens, self._xxxx = tokenizer, config["text"]["max_tokens"], data["xxxx"]
        self._kinds, self._lock = data["augment_text"], Lock()  # a fast tokenizer is not to be used by two threads
        self._texts = [
            _sections_of(*parts) if "section" in self._kinds else [report]
            for report, parts in zip(reports, sections, strict=True)
        ]
        numbers = group_ids([text for texts in self._texts for text in texts])
        self._groups = np.split(numbers, np.cumsum([len(texts) for texts in self._texts])[:-1])

    def __call__(self, row: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """A row's token_ids and token_mask, int32 (L,), and group_id, shared by equal texts before sentences change."""
        chosen = int(rng.integers(len(self._texts[row])))
        text = draw_sentences(self._texts[row][chosen], self._kinds, rng)
        with self._lock:
            ids, mask = tokenize(self._tokenizer, [text], self._max_tokens, self._xxxx)
        return {"token_ids": ids[0], "token_mask": mask[0], "group_id": self._groups[row][chosen]}


def _sections_of(findings: str, impression: str) -> list[str]:
    texts = (choose_section(findings, impression, section) for section in ("findings", "impression", "both"))
    return list(dict.fromkeys(filter(None, texts)))

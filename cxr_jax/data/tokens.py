"""Tokens of reports: a vocabulary learnt from them, and the arrays that the text tower reads."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from tokenizers import BertWordPieceTokenizer
from transformers import BertTokenizerFast, PreTrainedTokenizerBase

from cxr_jax.data.reports import encoded_text

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


class Tokens(NamedTuple):
    """Reports as the text tower reads them, a row a report."""

    token_ids: np.ndarray  # int32 (n, L)
    token_mask: np.ndarray  # int32 (n, L), 1 for a real token

    def take(self, rows: np.ndarray) -> "Tokens":
        """Those of these rows only, in their order."""
        return Tokens(self.token_ids[rows], self.token_mask[rows])


class TextFeatures(NamedTuple):
    """Reports as a text tower that stays as it is has read them, a row a report."""

    text_features: np.ndarray  # float32 (n, D), h of Eq. (5)


def learn_wordpiece(reports: Sequence[str], vocab_size: int = 2000) -> PreTrainedTokenizerBase:
    """An uncased WordPiece vocabulary learnt from `reports`, as a BERT tokenizer; equal reports give equal numbers."""
    learner = BertWordPieceTokenizer(lowercase=True)
    split, normalize = learner.pre_tokenizer.pre_tokenize_str, learner.normalizer.normalize_str
    words = {word for report in reports for word, _ in split(normalize(report))}
    # Named beforehand, in order: the learner numbers them as it meets them in a hash map, and its ties go by number.
    inner = [f"##{character}" for character in sorted({character for word in words for character in word[1:]})]
    learner.train_from_iterator(
        list(reports),
        vocab_size=vocab_size,
        min_frequency=2,
        show_progress=False,
        special_tokens=[*SPECIAL_TOKENS, *inner],
    )
    # Anew from the vocabulary: the learner does not put [CLS] and [SEP] round a report.
    tokenizer = BertWordPieceTokenizer(learner.get_vocab(), lowercase=True)
    return BertTokenizerFast(tokenizer_object=tokenizer._tokenizer, do_lower_case=True)


def tokenize(tokenizer: Any, reports: Sequence[str], max_tokens: int, xxxx: str = "keep") -> Tokens:
    """Reports, as `encoded_text`, to tokens, cut or padded to `max_tokens`.

    Args:
      xxxx: `data.xxxx`, "keep" or "drop".
    """
    if not len(reports):  # which a tokenizer does not take
        return Tokens(np.zeros((0, max_tokens), np.int32), np.zeros((0, max_tokens), np.int32))
    texts = [encoded_text(report, xxxx) for report in reports]
    encoded = tokenizer(texts, padding="max_length", truncation=True, max_length=max_tokens, return_attention_mask=True)
    return Tokens(np.asarray(encoded["input_ids"], np.int32), np.asarray(encoded["attention_mask"], np.int32))


def whole_lengths(tokenizer: Any, reports: Sequence[str], mask: np.ndarray, xxxx: str = "keep") -> np.ndarray:
    """How many tokens each report has before it is cut, int64 (n,).

    Args:
      mask: `tokenize`'s, int32 (n, max_tokens); only reports that fill it are looked at anew.
      xxxx: as `tokenize` was given it.
    """
    lengths = mask.sum(axis=1, dtype=np.int64)
    full = np.flatnonzero(lengths == mask.shape[1])
    if len(full):
        texts = [encoded_text(reports[row], xxxx) for row in full.tolist()]
        lengths[full] = [len(ids) for ids in tokenizer(texts, verbose=False)["input_ids"]]
    return lengths

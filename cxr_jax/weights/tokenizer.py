"""A pretrained BERT's tokenizer, from a folder or the hub, its case, its sides and its padding set right."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer, BertTokenizerFast, PreTrainedTokenizerBase
from transformers.models.auto.tokenization_auto import get_tokenizer_config

from cxr_jax.data.reports import encoded_text
from cxr_jax.data.tokens import learn_wordpiece
from cxr_jax.errors import InputError
from cxr_jax.weights.hub import locate
from cxr_jax.weights.towers import pretrained_of

PADDING = ("[PAD]", "<pad>")


def load_tokenizer(name: str | Path) -> PreTrainedTokenizerBase:
    """The tokenizer of a folder or of a model on the hub; no code that comes with it is run.

    Many copies of BioBERT lower-case what their cased vocabulary keeps apart. Where a WordPiece tokenizer and its
    vocabulary disagree on case the vocabulary is right, for BERT was trained with it. Reports are cut and padded at
    their ends, whatever the tokenizer says, and padded with what is masked out where it has no token for that.
    Standard error says what was changed.

    Raises:
      InputError: there is none, or it cannot be read.
    """
    folder, local = locate(name)
    load = partial(_load, folder, local_files_only=local)
    try:
        tokenizer = load()
        if (lower_case := _wrong_case(tokenizer)) is not None:
            tokenizer = load(do_lower_case=lower_case)
            vocabulary, habit = ("uncased", "keeps capitals") if lower_case else ("cased", "lower-cases")
            print(
                f"text.pretrained = {name}: its tokenizer {habit} but its vocabulary is {vocabulary}; taken as "
                f"{vocabulary}: set do_lower_case to {str(lower_case).lower()} in its tokenizer_config.json",
                file=sys.stderr,
            )
        for change in (*_set_sides_right(tokenizer), *_set_padding_right(tokenizer)):
            print(f"text.pretrained = {name}: {change}", file=sys.stderr)
        return tokenizer
    except Exception as error:  # transformers raises a dozen kinds
        reason = str(error).strip().splitlines()[0][:200]
        raise InputError(
            f"text.pretrained = {name}: no tokenizer could be loaded ({reason}); give a folder that holds "
            "tokenizer.json or vocab.txt, or a model's name on a hub that this machine reaches"
        ) from error


def tokenizer_of(config: Mapping[str, Any], train_reports: Sequence[str]) -> PreTrainedTokenizerBase:
    """The pretrained BERT's tokenizer, or, where `text.pretrained` is empty, one learnt from the training reports.

    Raises:
      InputError: as `load_tokenizer`.
    """
    if name := pretrained_of(config, "text"):
        return load_tokenizer(name)
    return learn_wordpiece([encoded_text(report, config["data"]["xxxx"]) for report in train_reports])


def check_vocabulary(tokenizer: PreTrainedTokenizerBase, words: int, name: str) -> None:
    """Holds a tokenizer against the word embeddings' number; XLA would silently clamp the look-up.

    Args:
      name: what gave both, for the message.

    Raises:
      InputError: it counts further than they do.
    """
    last = max(tokenizer.get_vocab().values())
    if last >= words:
        raise InputError(
            f"{name}: its tokenizer counts to {last} and its weights know {words} words; give it the tokenizer that "
            "it was trained with"
        )


def _load(folder: str, **options: Any) -> PreTrainedTokenizerBase:
    settings = get_tokenizer_config(folder, local_files_only=options["local_files_only"])
    # CXR-BERT asks for a class of its own, which adds nothing to BERT's.
    kind = BertTokenizerFast if settings.get("tokenizer_class") == "CXRBertTokenizer" else AutoTokenizer
    return kind.from_pretrained(folder, trust_remote_code=False, **options)


def _wrong_case(tokenizer: Any) -> bool | None:
    """Whether a WordPiece tokenizer should lower-case, where it does otherwise; None where all is well."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None or type(backend.model).__name__ != "WordPiece" or backend.normalizer is None:
        return None
    vocabulary = tokenizer.get_vocab().keys() - set(tokenizer.all_special_tokens)
    # A few names may have been added to an uncased one; a third of BioBERT's entries have capitals.
    capitals = sum(entry != entry.lower() for entry in vocabulary)
    cased, lowers = capitals > 0.01 * len(vocabulary), backend.normalizer.normalize_str("Ab") == "ab"
    if cased and lowers:
        return False
    return True if capitals == 0 and not lowers else None


def _set_sides_right(tokenizer: Any) -> Iterator[str]:
    """BERT's positions count from the left: padded there, or without its beginning, a report is read as another."""
    for side, done in (("truncation_side", "cuts"), ("padding_side", "pads")):
        if getattr(tokenizer, side) != "right":
            setattr(tokenizer, side, "right")
            yield f"its tokenizer {done} reports at the beginning; taken as at the end: set its {side} to right"


def _set_padding_right(tokenizer: Any) -> Iterator[str]:
    if tokenizer.pad_token is None:
        # Masked out, any of its tokens will do; BERT's own is the natural one.
        own = tokenizer.get_vocab().keys() & set(PADDING)
        tokenizer.pad_token = next((token for token in PADDING if token in own), None) or tokenizer.unk_token
        yield f"its tokenizer names no token to pad with; taken as {tokenizer.pad_token}: set its pad_token"

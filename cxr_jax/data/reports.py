"""Report text: sections, normalising, groups of equal reports, findings from tags, tokens."""

import re
import sys
import unicodedata
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import BertWordPieceTokenizer
from transformers import AutoTokenizer, BertTokenizerFast, PreTrainedTokenizerBase
from transformers.models.auto.tokenization_auto import get_tokenizer_config

from cxr_jax.errors import InputError
from cxr_jax.weights.hub import locate

# MeSH headings that only name a place: what is wrong there stands in the next term ("Lung/hyperdistention").
PLACES = frozenset({"lung", "diaphragm", "aorta", "spine", "mediastinum", "thoracic vertebrae", "costophrenic angle"})
SIDES = frozenset({"left", "right", "bilateral"})

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def choose_section(findings: str, impression: str, section: str) -> str:
    """The text that `data.section` asks for: "findings", "impression", or "both" joined by a blank; '' if absent."""
    parts = {"findings": (findings,), "impression": (impression,), "both": (findings, impression)}[section]
    return " ".join(" ".join(part.split()) for part in parts if part.strip())


def clean_report(report: str) -> str:
    """The report as it is encoded: control characters and odd blanks, list numbers and doubled full stops are gone.

    Scoring has cleanings of its own (`evaluation.text_metrics`), and starts from the report as it was written.
    """
    report = unicodedata.normalize("NFKC", report)
    report = "".join(" " if unicodedata.category(c) in ("Cc", "Cf", "Co", "Cn", "Cs") else c for c in report)
    report = re.sub(r"(?:^|(?<=[.:;?!]))\s*[0-9]{1,2}[.)](?=\s+[^\W\d])", "", report)
    report = re.sub(r"\.(?:\s*\.)+", ".", report)
    return " ".join(report.split())


def encoded_text(report: str, xxxx: str) -> str:
    """What the tokenizer is given: `clean_report`; with `xxxx` "drop", without the XXXX of Open-i's de-identification.

    A report of nothing else stays as it is.
    """
    clean = clean_report(report)
    if xxxx == "keep":
        return clean
    kept = re.sub(r"\s+(?=[.,;:])", "", " ".join(re.sub(r"-?X{4,}", "", clean).split()))
    return kept if re.search(r"\w", kept) else clean


def normalize_report(report: str) -> str:
    """Lower case, words and numbers of any script only, single blanks: equal results mean the same report."""
    return " ".join(re.findall(r"[^\W_]+(?:\.[0-9]+)?", report.lower()))


def group_ids(reports: Sequence[str]) -> np.ndarray:
    """int32 (n,): reports that are equal once normalised share a number, in order of appearance."""
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(normalize_report(r), len(numbers)) for r in reports], np.int32)


def finding_labels(terms: Sequence[str]) -> frozenset[str]:
    """Side-aware findings from MeSH-style terms: "Pleural Effusion/right/small" → "Pleural Effusion/right".

    Severity and place are dropped, "normal" is the absence of findings, and a heading that only names a place takes
    what qualifies it: "Lung/hyperdistention".
    """
    findings = set()
    for term in terms:
        heading, *qualifiers = (part.strip() for part in term.split("/"))
        if heading.lower() in ("normal", "", "no indexing", "technical quality of image unsatisfactory"):
            continue
        kept = [q for q in qualifiers if q.lower() in SIDES]
        if heading.lower() in PLACES:
            kept += [q for q in qualifiers if q.lower() not in SIDES][:1]
        findings.add("/".join([heading, *kept]))
    return frozenset(findings)


def says_normal(terms: Sequence[str]) -> bool:
    """Whether the tags call the study normal, in Open-i's word or in CheXpert's."""
    return any(term.strip().lower() in ("normal", "no finding") for term in terms)


def learn_wordpiece(reports: Sequence[str], vocab_size: int = 2000) -> PreTrainedTokenizerBase:
    """An uncased WordPiece vocabulary learnt from `reports`, as a BERT tokenizer; equal reports give equal numbers."""
    learner = BertWordPieceTokenizer(lowercase=True)
    words = {w for r in reports for w, _ in learner.pre_tokenizer.pre_tokenize_str(learner.normalizer.normalize_str(r))}
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


def load_tokenizer(name: str | Path) -> PreTrainedTokenizerBase:
    """The tokenizer of a folder or of a model on the hub; no code that comes with it is run.

    Many copies of BioBERT lower-case what their cased vocabulary keeps apart. Where a WordPiece tokenizer and its
    vocabulary disagree on case the vocabulary is right, for BERT was trained with it; standard error says so.

    Raises:
      InputError: there is none, or it cannot be read.
    """
    found, local = locate(name)
    load = partial(_load_tokenizer, found, local_files_only=local)
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
        return tokenizer
    except Exception as error:  # transformers raises a dozen kinds
        reason = str(error).strip().splitlines()[0][:200]
        raise InputError(
            f"text.pretrained = {name}: no tokenizer could be loaded ({reason}); give a folder that holds "
            "tokenizer.json or vocab.txt, or a model's name on a hub that this machine reaches"
        ) from error


def _load_tokenizer(found: str, **options: Any) -> PreTrainedTokenizerBase:
    settings = get_tokenizer_config(found, local_files_only=options["local_files_only"])
    # CXR-BERT asks for a class of its own, which adds nothing to BERT's.
    kind = BertTokenizerFast if settings.get("tokenizer_class") == "CXRBertTokenizer" else AutoTokenizer
    return kind.from_pretrained(found, trust_remote_code=False, **options)


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


def tokenize(
    tokenizer: Any, reports: Sequence[str], max_tokens: int, xxxx: str = "keep"
) -> tuple[np.ndarray, np.ndarray]:
    """Reports, as `encoded_text`, to (token_ids, token_mask), int32 (n, max_tokens), cut or padded to that.

    Args:
      xxxx: `data.xxxx`, "keep" or "drop".
    """
    texts = [encoded_text(report, xxxx) for report in reports]
    encoded = tokenizer(texts, padding="max_length", truncation=True, max_length=max_tokens)
    return np.asarray(encoded["input_ids"], np.int32), np.asarray(encoded["attention_mask"], np.int32)

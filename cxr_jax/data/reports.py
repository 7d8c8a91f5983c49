"""Report text: sections, normalising, groups of equal reports, findings from tags, tokens."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import BertWordPieceTokenizer
from transformers import AutoTokenizer, BertTokenizerFast, PreTrainedTokenizerBase

from cxr_jax.errors import InputError

# MeSH headings that only name a place: what is wrong there stands in the next term ("Lung/hyperdistention").
PLACES = frozenset({"lung", "diaphragm", "aorta", "spine", "mediastinum", "thoracic vertebrae", "costophrenic angle"})
SIDES = frozenset({"left", "right", "bilateral"})


def choose_section(findings: str, impression: str, section: str) -> str:
    """The text that `data.section` asks for: "findings", "impression", or "both" joined by a blank; '' if absent."""
    parts = {"findings": (findings,), "impression": (impression,), "both": (findings, impression)}[section]
    return " ".join(" ".join(part.split()) for part in parts if part.strip())


def normalize_report(report: str) -> str:
    """Lower case, words and numbers only, single blanks: equal results mean the same report."""
    return " ".join(re.findall(r"[a-z0-9]+(?:\.[0-9]+)?", report.lower()))


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


def learn_wordpiece(reports: Sequence[str], vocab_size: int = 2000) -> PreTrainedTokenizerBase:
    """An uncased WordPiece vocabulary learnt from `reports`, as a BERT tokenizer."""
    learner = BertWordPieceTokenizer(lowercase=True)
    learner.train_from_iterator(list(reports), vocab_size=vocab_size, min_frequency=2, show_progress=False)
    return BertTokenizerFast(tokenizer_object=learner._tokenizer, do_lower_case=True)


def load_tokenizer(name: str | Path) -> PreTrainedTokenizerBase:
    """The tokenizer of a folder or of a model on the hub.

    Raises:
      InputError: there is none, or it cannot be read.
    """
    try:
        return AutoTokenizer.from_pretrained(str(name))
    except Exception as error:  # transformers raises a dozen kinds
        reason = str(error).strip().splitlines()[0][:200]
        raise InputError(
            f"text.pretrained = {name}: no tokenizer could be loaded ({reason}); give a folder that holds tokenizer.json "
            "or vocab.txt, or a model's name on the hub"
        ) from error


def tokenize(tokenizer: Any, reports: Sequence[str], max_tokens: int) -> tuple[np.ndarray, np.ndarray]:
    """Reports to (token_ids, token_mask), int32 (n, max_tokens); longer reports are cut, shorter ones padded."""
    encoded = tokenizer(list(reports), padding="max_length", truncation=True, max_length=max_tokens)
    return np.asarray(encoded["input_ids"], np.int32), np.asarray(encoded["attention_mask"], np.int32)

"""Report text: sections, cleaning, normalising, groups of equal reports, findings from tags."""

import re
import unicodedata
from collections.abc import Sequence

import numpy as np

# MeSH headings that only name a place: what is wrong there stands in the next term ("Lung/hyperdistention").
PLACES = frozenset({"lung", "diaphragm", "aorta", "spine", "mediastinum", "thoracic vertebrae", "costophrenic angle"})
SIDES = frozenset({"left", "right", "bilateral"})


def choose_section(findings: str, impression: str, section: str) -> str:
    """The text that `data.section` asks for: "findings", "impression", or "both" joined by a blank; '' if absent.

    Where one text is both, under a heading "FINDINGS AND IMPRESSION" say, it stands once.
    """
    parts = {"findings": (findings,), "impression": (impression,), "both": (findings, impression)}[section]
    return " ".join(dict.fromkeys(" ".join(part.split()) for part in parts if part.strip()))


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

"""Protocols: what is done to a report before it is scored. A score without its protocol's name says nothing."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache

from cxr_jax.errors import InputError

PROTOCOLS = ("r2gen", "raw", "paper")

# R2Gen's defaults for IU X-ray: --threshold 3, --max_seq_length 60, of which the start token is one.
_R2GEN_MIN_COUNT = 3
_R2GEN_REFERENCE_TOKENS = 59
# As R2Gen wrote it, ":-\[" is a range from ":" to "[": it deletes ; < = > ? @ and spares the hyphen.
_R2GEN_DELETED = re.compile(r"""[.,?;*!%^&_+():-\[\]{}"'/\\]""")
_R2GEN_DELETIONS = dict.fromkeys(code for code in range(128) if _R2GEN_DELETED.match(chr(code)))  # for str.translate

Prepare = Callable[[str], str]


def report_preparers(protocol: str, train_reports: Sequence[str] | None = None) -> tuple[Prepare, Prepare]:
    """Returns the two functions that turn a reference, and a prediction, into the string that is scored.

    "r2gen": `clean_r2gen`; words seen fewer than 3 times in `train_reports` become "<unk>"; references keep their first
    59 tokens (R2Gen's dataset cuts start token + report to 60, its decoder drops the start token), predictions keep all
    (R2Gen's model stops writing at 60; a retrieved report that is longer pays for it in precision).
    "raw": lower-cased and split at white space.
    "paper": words and numbers, lower-cased, without punctuation. Ur Rahman et al. name their scores and nothing of how
    they prepare the texts, so all of this is assumed, as what most users of pycocoevalcap do; vocabulary and length are
    not cut.
    Under all of them a prediction without a letter or a digit is empty: R2Gen's cleaning alone would make "." of it,
    which every reference holds.

    Raises InputError for another protocol, or "r2gen" without training reports.
    """
    if protocol in _PREPARE_ALIKE:
        return _PREPARE_ALIKE[protocol], _or_empty(_PREPARE_ALIKE[protocol])
    if protocol != "r2gen":
        raise InputError(f"protocol: {protocol!r} is unknown; choose one of {', '.join(PROTOCOLS)}")
    if train_reports is None or not len(train_reports):
        raise InputError('train_reports: protocol "r2gen" takes its vocabulary from the training reports; pass them')
    check_reports("train_reports", train_reports)
    counts = Counter(token for report in train_reports for token in clean_r2gen(report).split())
    vocabulary = {token for token, count in counts.items() if count >= _R2GEN_MIN_COUNT}

    def tokens(report: str) -> list[str]:
        return [token if token in vocabulary else "<unk>" for token in clean_r2gen(report).split()]

    return (lambda report: " ".join(tokens(report)[:_R2GEN_REFERENCE_TOKENS])), _or_empty(
        lambda report: " ".join(tokens(report))
    )


@lru_cache(maxsize=1 << 14)  # a retrieved report is a training report, whose words the vocabulary has counted
def clean_r2gen(report: str) -> str:
    """Returns the report as R2Gen scores it: lower-case sentences, stripped of punctuation, joined by " . ".

    Matches `clean_report_iu_xray` of cuhksz-nlp/R2Gen, modules/tokenizers.py, in its tokens (it leaves runs of spaces,
    which the next step of R2Gen splits at). An empty report becomes ".", as there.
    """
    for _ in range(3):
        report = report.replace("..", ".")
    report = report.replace("1. ", "")
    if re.search(r"[2-5]\. ", report):  # else nothing is left to replace: one replacement may make way for the next
        for number in "2345":
            report = report.replace(f". {number}. ", ". ")
        for number in "2345":
            report = report.replace(f" {number}. ", ". ")
    sentences = report.strip().lower().split(". ")
    cleaned = " . ".join(sentence.translate(_R2GEN_DELETIONS) for sentence in sentences) + " ."
    return " ".join(cleaned.split())


def prepare_all(prepare: Prepare, reports: Sequence[str]) -> list[str]:
    """Each report prepared; one that stands there again, once."""
    prepared = {report: prepare(report) for report in dict.fromkeys(reports)}
    return [prepared[report] for report in reports]


def check_reports(name: str, reports: Sequence[object]) -> None:
    """Raises InputError unless `reports` is a sequence of strings; `name` is what the message calls it."""
    if isinstance(reports, str):
        raise InputError(f"{name}: got one string; pass a list of reports")
    for position, report in enumerate(reports):
        if not isinstance(report, str):
            raise InputError(f"{name}[{position}]: got {type(report).__name__}; pass a string")


def _or_empty(prepare: Prepare) -> Prepare:
    """The same, but for what says nothing."""
    return lambda report: prepare(report) if re.search(r"[^\W_]", report) else ""


def _prepare_raw(report: str) -> str:
    return " ".join(report.lower().split())


def _prepare_paper(report: str) -> str:
    return " ".join(re.findall(r"\w+", report.lower()))


_PREPARE_ALIKE: dict[str, Prepare] = {"raw": _prepare_raw, "paper": _prepare_paper}

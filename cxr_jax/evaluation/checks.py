"""What a data set is checked for before anything is trained on it: a row a check, each with what would change it."""

import dataclasses
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from cxr_jax.data.notes import Note
from cxr_jax.data.pipeline import Split
from cxr_jax.errors import InputError
from cxr_jax.evaluation.tables import Table
from cxr_jax.labels.priors import speaks_of_prior
from cxr_jax.labels.rules import is_read
from cxr_jax.retrieval.rows import first_rows

EXAMPLES = 3
KNOWN_WORDS = 0.5  # of a report's words: with fewer in any other report it is in another language, or noise
UNKNOWN_TOKENS = 0.1  # of a report's tokens
IMAGES, STUDIES, SOURCE = "images", "studies", ""  # what is counted; SOURCE: what the notes of the source count
# Name: (what is counted, of what, what changes it).
CHECKS = {
    "unreadable_images": ("images are missing or cannot be read", IMAGES, "data.unreadable"),
    "warned_images": ("images were read with a warning", IMAGES, "the files; listed below"),
    "blank_images": ("images show next to nothing", IMAGES, "the files"),
    "flat_images": ("images have little contrast", IMAGES, "the files, their window"),
    "saturated_images": ("images are pure black or white to a third", IMAGES, "the files, their window"),
    "inverted_images": ("images look inverted", IMAGES, "the files, PhotometricInterpretation"),
    "lateral_images": ("images taken for frontal look lateral", IMAGES, "the views' column, data.view"),
    "no_chest_images": ("images look like no chest", IMAGES, "the files"),
    "views": ("views are named in no known way", SOURCE, "the views' column"),
    "placeholders": ("cells or reports hold nothing, or nan, None, …", SOURCE, "data.placeholders, data.section"),
    "clashing_reports": ("studies have several reports", SOURCE, "the table: one report a study"),
    "id_forms": ("ids are in doubt: written in several ways, rounded", SOURCE, "the table: ids exported as text"),
    "label_forms": ("labels are in doubt: other separators, other case", SOURCE, "the labels' column"),
    "cut_reports": ("reports have more tokens than text.max_tokens, and are cut", STUDIES, "text.max_tokens"),
    "unknown_tokens": ("reports have over 10 % tokens that the tokenizer lacks", STUDIES, "text.pretrained"),
    "unknown_words": ("reports have over half their words in no other report", STUDIES, "data.columns, the encoding"),
    "unread_reports": ("reports tell the rule labeller nothing", STUDIES, "data.columns, data.section"),
    "prior_mentions": ("reports speak of an earlier examination", STUDIES, "nothing; retrieved, they speak of it too"),
    "shared_studies": ("studies of val or test are in train too", STUDIES, "data.split"),
    "shared_patients": ("patients of val or test are in train too", "patients", "data.split=patient"),
    "shared_images": ("images of val or test have their pixels in train too", IMAGES, "the files, data.split"),
    "copied_images": ("images of val or test look the same as one in train", IMAGES, "the files, data.split"),
    "equal_reports": ("reports of val or test stand in train word for word", STUDIES, "data.split=strict"),
    "near_copies": ("reports of val or test have a near-copy in train", STUDIES, "data.split=strict"),
}
_WORD = re.compile(r"[^\W\d_]{2,}")


@dataclasses.dataclass(frozen=True)
class Check:
    """What a check found; `count` is None where it could not be made, and then `examples` say why."""

    count: int | None
    of: int | None
    examples: tuple[str, ...]


class Tokens(NamedTuple):
    """Of each report of a split: how many tokens it has before it is cut, and how many the tokenizer lacks."""

    lengths: Sequence[int]
    unknown: Sequence[int]


def of_reports(splits: Mapping[str, Split], tokens: Mapping[str, Tokens] | str, max_tokens: int) -> dict[str, Check]:
    """The checks of what is written.

    Args:
      tokens: of each split; or why they could not be counted.
      max_tokens: `text.max_tokens`.
    """
    first = {name: first_rows(split.study_ids) for name, split in splits.items()}
    rows = [(splits[name], row) for name, of_split in first.items() for row in of_split.tolist()]
    words = [set(_WORD.findall(split.reports[row].lower())) for split, row in rows]
    holders = Counter(word for report in words for word in report)
    known = [sum(holders[word] > 1 for word in report) / max(len(report), 1) for report in words]

    def those(chosen: Iterable[bool]) -> Check:
        found = [split.study_ids[row] for (split, row), is_one in zip(rows, chosen, strict=True) if is_one]
        return found_check(found, len(rows))

    result = {
        "unknown_words": those(share < KNOWN_WORDS for share in known),
        "unread_reports": those(not is_read(split.reports[row]) for split, row in rows),
        "prior_mentions": those(speaks_of_prior(split.reports[row]) for split, row in rows),
    }
    if isinstance(tokens, str):
        return result | dict.fromkeys(("cut_reports", "unknown_tokens"), Check(None, None, (tokens,)))
    counts = [(tokens[name].lengths[row], tokens[name].unknown[row]) for name in first for row in first[name].tolist()]
    return result | {
        "cut_reports": those(length > max_tokens for length, _ in counts),
        "unknown_tokens": those(unknown > UNKNOWN_TOKENS * length for length, unknown in counts),
    }


def of_source(notes: Sequence[Note]) -> dict[str, Check]:
    """The checks that reading the source has made already."""
    result = {}
    for name, (_, of, _) in CHECKS.items():
        own = [note for note in notes if note.check == name]
        if of == SOURCE:
            examples = [example for note in own for example in note.examples if example != "…"]
            result[name] = Check(sum(note.count for note in own), None, _first(examples))
    return result


def found_check(found: Sequence[str], of: int) -> Check:
    """A check that has found these, of so many."""
    return Check(len(found), of, _first(found))


def _first(examples: Sequence[str]) -> tuple[str, ...]:
    return (*examples[:EXAMPLES], *(["…"] if len(examples) > EXAMPLES else []))


def check_table(checks: Mapping[str, Mapping[str, Any]]) -> Table:
    """A row a check, as audit.json has them."""
    rows = []
    for name, (what, of, key) in CHECKS.items():
        check = checks[name]
        count = "not counted" if check["count"] is None else f"{check['count']:,}"
        total = f"{check['of']:,} {of}" if check["of"] is not None else ""
        rows.append((name, count, total, what, key, ", ".join(check["examples"])))
    return Table(("check", "found", "of", "what", "what changes it", "for example"), rows)


def parse_limits(given: Sequence[str]) -> dict[str, tuple[float, bool]]:
    """`--fail_on`'s NAME, NAME>N or NAME>P% to {name: (the most that may be, whether it is a share)}; "any" is all.

    Raises:
      InputError: there is no such check, or no such number.
    """
    limits: dict[str, tuple[float, bool]] = {}
    for text in given:
        name, _, limit = text.partition(">")
        share = limit.endswith("%")
        if name != "any" and name not in CHECKS:
            raise InputError(f"--fail_on {text}: there is no check {name!r}; it is any, or of {', '.join(CHECKS)}")
        try:
            most = float(limit.rstrip("%") or 0) / (100 if share else 1)
        except ValueError as error:
            raise InputError(f"--fail_on {text}: {limit!r} is no number; write {name}>10 or {name}>5%") from error
        limits |= dict.fromkeys(CHECKS if name == "any" else (name,), (most, share))
    return limits


def failures(checks: Mapping[str, Mapping[str, Any]], limits: Mapping[str, tuple[float, bool]]) -> list[str]:
    """The checks that found more than they may, each as "name: count"; one that could not be made has failed."""
    failed = []
    for name, (most, share) in limits.items():
        count, of = checks[name]["count"], checks[name]["of"]
        found = f"{name}: {'not counted' if count is None else count}"
        if count is None or count > (most * of if share and of is not None else most):
            failed.append(found)
    return failed

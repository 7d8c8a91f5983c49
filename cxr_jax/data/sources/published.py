"""What sources share: a split is kept or dealt anew, no patient is ever in two, and a study has one report."""

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path

from cxr_jax.data.notes import Notes
from cxr_jax.data.records import Record
from cxr_jax.data.reports import normalize_report
from cxr_jax.data.splits import SPLITS, split_by_group
from cxr_jax.errors import InputError

KEPT, DEALT = ("auto", "column"), ("patient",)


def deals_anew(split: str, release: str) -> bool:
    """Whether `data.split` asks for a split of our own, rather than the one that the release publishes.

    Raises:
      InputError: it asks for neither.
    """
    if split not in (*KEPT, *DEALT):
        raise InputError(
            f"data.split = {split}: {release} has a split of its own, kept by data.split=auto; data.split=patient "
            "deals anew"
        )
    return split in DEALT


def into_splits(records: Iterable[Record], anew: bool, seed: int, source: Path) -> dict[str, list[Record]]:
    """Records under the split that is published with each, or dealt 7:2:1 by patient, in the order given.

    By patient in any case: who has one study is dealt by study, and who has many must not be on both sides.

    Raises:
      InputError: the published split has a patient in two splits.
    """
    records = list(records)
    splits: dict[str, list[Record]] = {split: [] for split in SPLITS}
    home = split_by_group((record.patient_id for record in records), seed) if anew else {}
    for record in records:
        own = home.setdefault(record.patient_id, record.split)
        if not anew and own != record.split:
            raise InputError(
                f"{source}: {record.image_id}: patient {record.patient_id} is in {record.split} and in {own}; keep a "
                "patient in one split, or set data.split=patient"
            )
        splits[own].append(record)
    return splits


def studies_of_their_own(records: Sequence[Record], notes: Notes) -> list[Record]:
    """The records, a study id that stands under several patients made one of each: "7" of patient p1 is "p1/7"."""
    patients: dict[str, set[str]] = {}
    for record in records:
        patients.setdefault(record.study_id, set()).add(record.patient_id)
    shared = {study for study, of_study in patients.items() if len(of_study) > 1}
    for study in patients:
        if study in shared:
            notes.add("study_ids stand under several patients, and count as a study of each", repr(study))
    return [
        dataclasses.replace(record, study_id=f"{record.patient_id}/{record.study_id}")
        if record.study_id in shared
        else record
        for record in records
    ]


def one_report_a_study(records: Sequence[Record], notes: Notes) -> list[Record]:
    """The records, each with the report of its study's first; the notes say of how many studies they differed.

    A study of one image that stands in several rows keeps the text of each: these are pairs of their own.
    """
    first: dict[str, Record] = {}
    images: dict[str, set[Path]] = {}
    for record in records:
        first.setdefault(record.study_id, record)
        images.setdefault(record.study_id, set()).add(record.image)
    differing: dict[str, None] = {}
    kept = []
    for record in records:
        stands = first[record.study_id]
        # The text itself first: nearly all are equal, and normalising a large table's takes seconds.
        if _texts(record) != _texts(stands) and _normal(record) != _normal(stands):
            differing[record.study_id] = None
            if len(images[record.study_id]) > 1:
                record = dataclasses.replace(record, findings=stands.findings, impression=stands.impression)
        kept.append(record)
    for study in differing:
        if len(images[study]) > 1:
            what = "studies have images with different reports: that of the first row stands for all"
        else:
            what = "images stand in several rows with different reports: each row is a pair of its own"
        notes.add(what, repr(study), check="clashing_reports")
    return kept


def _texts(record: Record) -> tuple[str, str]:
    return record.findings, record.impression


def _normal(record: Record) -> tuple[str, ...]:
    return tuple(map(normalize_report, _texts(record)))

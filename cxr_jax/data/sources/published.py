"""What releases that come with a split share: it is kept or dealt anew, and no patient is ever in two splits."""

from collections.abc import Iterable
from pathlib import Path

from cxr_jax.data.records import Record
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

"""Images and reports from a CSV: columns image and report; optional patient_id, study_id, view, split, labels."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cxr_jax.csv_table import CsvTable, Row
from cxr_jax.data.records import Record, SourceConfig, fingerprint
from cxr_jax.data.sources.published import into_splits
from cxr_jax.data.splits import SPLITS
from cxr_jax.data.views import view_of
from cxr_jax.errors import InputError

SPLIT_NAMES = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "dev": "val"}


def describe(data: Mapping[str, Any]) -> SourceConfig:
    """The CSV, and the split in use: "column" or "patient".

    Raises:
      InputError: the file is missing, is no CSV, lacks a column or has no rows; or the split is a release's.
    """
    file = Path(data["csv"]).expanduser()
    if not data["csv"] or not file.is_file():
        raise InputError(f"data.csv = {data['csv']!r}: no such file; give a CSV with the columns image and report")
    table, rows = _read(file)
    split = _split_in_use(data["split"], table)
    settings = split, data["seed"] if split == "patient" else 0, data["stored_size"], data["stored_format"]
    images = [file.parent / row.cells["image"] for row in rows]
    return SourceConfig(
        name=fingerprint("pairs", *settings, file.read_bytes(), files=images, by=data["fingerprint_by"]),
        description=f"pairs ({file.name})",
        source=str(file),
        split=split,
        stored_size=data["stored_size"],
        stored_format=data["stored_format"],
    )


def records(data: Mapping[str, Any]) -> list[Record]:
    """One record a row.

    Raises:
      InputError: an empty cell that may not be, an unknown split, or a patient in two splits; it names the row.
    """
    file = Path(data["csv"]).expanduser()
    table, rows = _read(file)
    for row in rows:
        for name in ("image", "report"):
            if not row.cells[name]:
                raise InputError(f"{file} {row.where}: {name} is empty; fill it in or leave the row out")
    by_column = _split_in_use(data["split"], table) == "column"
    named = [_named_split(row, file) for row in rows] if by_column else [""] * len(rows)
    pairs = [_record(row, split, file) for row, split in zip(rows, named, strict=True)]
    home: dict[str, str] = {}
    for row, record in zip(rows, pairs, strict=True):
        if home.setdefault(record.patient_id, record.split) != record.split:
            raise InputError(
                f"{file} {row.where}: patient {record.patient_id} is in {record.split} and in "
                f"{home[record.patient_id]}; keep a patient in one split, or set data.split=patient"
            )
    return pairs


def splits(data: Mapping[str, Any], records: list[Record]) -> dict[str, list[Record]]:
    """By the column split, or patients dealt 7:2:1; no patient is in two splits."""
    dealt = not all(record.split for record in records)
    return into_splits(records, dealt, data["seed"], Path(data["csv"]).expanduser())


def _read(file: Path) -> tuple[CsvTable, list[Row]]:
    table = CsvTable(file, required=("image", "report"))
    rows = list(table)
    if not rows:
        raise InputError(f"{file}: has no rows; add one a pair of image and report")
    return table, rows


def _split_in_use(split: str, table: CsvTable) -> str:
    has_split = "split" in table.columns
    if split == "column" and not has_split:
        raise InputError(f"{table.file}: has no column split; add it, or set data.split=patient")
    if split in ("paper", "r2gen", "strict"):
        raise InputError(f"data.split = {split}: is of the Open-i release; for a CSV use auto, column or patient")
    return "column" if split == "column" or (split == "auto" and has_split) else "patient"


def _record(row: Row, split: str, file: Path) -> Record:
    cells = row.cells
    if not Path(cells["image"]).name:
        raise InputError(f"{file} {row.where}: image is {cells['image']!r}, which names no file; mend the path")
    # With its folders: many collections have a view1_frontal.jpg in every study's.
    study = cells.get("study_id") or str(Path(cells["image"]).with_suffix(""))
    return Record(
        image_id=f"{row.number - 2:07d}:{cells['image']}",  # an image may stand in several rows
        image=file.parent / cells["image"],
        study_id=study,
        # Where nothing says who the patient is, each study is taken as a patient of its own.
        patient_id=cells.get("patient_id") or f"study:{study}",
        view=view_of(cells.get("view", "")),
        findings=cells["report"],
        labels=tuple(label.strip() for label in cells.get("labels", "").split("|") if label.strip()),
        split=split,
    )


def _named_split(row: Row, file: Path) -> str:
    name = row.cells["split"].lower()
    split = SPLIT_NAMES.get(name, name)
    if split not in SPLITS:
        raise InputError(f"{file} {row.where}: split is {row.cells['split']!r}; it is one of {', '.join(SPLITS)}")
    return split

"""Images and reports from a table: columns image and report; optional patient_id, study_id, view, split, labels.

A CSV, JSON lines or Parquet; `findings` and `impression` may stand in columns of their own.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cxr_jax.csv_table import Row
from cxr_jax.data import ids
from cxr_jax.data.notes import Notes
from cxr_jax.data.placeholders import is_placeholder
from cxr_jax.data.records import Record, SourceConfig, fingerprint
from cxr_jax.data.reports import choose_section
from cxr_jax.data.sources.pairs_table import PairsTable, images_of, read_table
from cxr_jax.data.sources.published import into_splits, one_report_a_study
from cxr_jax.data.splits import SPLITS
from cxr_jax.data.views import view_of
from cxr_jax.errors import InputError

SPLIT_NAMES = {"training": "train", "valid": "val", "validation": "val", "validate": "val", "dev": "val",
               "testing": "test"}  # fmt: skip
UNKNOWN_VIEW = "views are neither frontal nor lateral, and count as frontal"
READING = 2  # goes up when the same table is read as other records


def describe(data: Mapping[str, Any]) -> SourceConfig:
    """The table, and the split in use: "column" or "patient".

    Raises:
      InputError: the file is missing, is no table, or lacks a column; or the split is a release's.
    """
    file = Path(data["csv"]).expanduser()
    if not data["csv"] or not file.is_file():
        raise InputError(f"data.csv = {data['csv']!r}: no such file; give a CSV with the columns image and report")
    columns, images = images_of(file, data)
    split = _split_in_use(data["split"], columns, file)
    settings = split, data["seed"] if split == "patient" else 0, data["stored_size"], data["stored_format"]
    # Not data.placeholders: where it is of account, the set is refused or there is one only.
    reading = READING, sorted(data["columns"].items())
    return SourceConfig(
        name=fingerprint(
            "pairs",
            *settings,
            *reading,
            file.read_bytes(),
            files=[_root(data) / image for image in images],
            by=data["fingerprint_by"],
        ),
        description=f"pairs ({file.name})",
        source=str(file),
        split=split,
        stored_size=data["stored_size"],
        stored_format=data["stored_format"],
    )


def records(data: Mapping[str, Any], notes: Notes) -> list[Record]:
    """One record a row.

    Raises:
      InputError: an empty cell that may not be, an unknown split, or a patient in two splits; it names the row.
    """
    return _read(data, read_table(Path(data["csv"]).expanduser(), data, notes), notes)


def splits(data: Mapping[str, Any], records: list[Record]) -> dict[str, list[Record]]:
    """By the column split, or patients dealt 7:2:1; no patient is in two splits."""
    dealt = not all(record.split for record in records)
    return into_splits(records, dealt, data["seed"], Path(data["csv"]).expanduser())


def _root(data: Mapping[str, Any]) -> Path:
    """The folder that images' relative paths start from."""
    return Path(data["root"] or Path(data["csv"]).parent).expanduser()


def _split_in_use(split: str, columns: Sequence[str], file: Path) -> str:
    has_split = "split" in columns
    if split == "column" and not has_split:
        raise InputError(f"{file}: has no column split; add it, or set data.split=patient")
    if split in ("paper", "r2gen", "strict"):
        raise InputError(f"data.split = {split}: is of the Open-i release; for a CSV use auto, column or patient")
    return "column" if split == "column" or (split == "auto" and has_split) else "patient"


def _read(data: Mapping[str, Any], table: PairsTable, notes: Notes) -> list[Record]:
    file = Path(data["csv"]).expanduser()
    root = _root(data)
    by_column = _split_in_use(data["split"], table.columns, file) == "column"
    patients, studies = _patients_and_studies(table, notes)
    labels = _labels(table.rows, notes)
    pairs = []
    home: dict[str, tuple[str, str]] = {}  # a patient's split, and its id as it is written there
    for number, row in enumerate(table.rows):
        patient, written = patients[number], row.cells.get("patient_id", "")
        split = _named_split(row, file) if by_column else ""
        other, as_written = home.setdefault(patient, (split, written))
        if other != split:
            forms = f" (written {written!r} and {as_written!r})" if written != as_written else ""
            raise InputError(
                f"{file} {row.where}: patient {patient}{forms} is in {split} and in {other}; keep a patient in one "
                "split, or set data.split=patient"
            )
        view = view_of(row.cells.get("view", ""))
        if row.cells.get("view") and not view:
            notes.add(UNKNOWN_VIEW, repr(row.cells["view"]), check="views")
        pairs.append(
            Record(
                # An image may stand in several rows.
                image_id=f"{row.number - table.first_row:07d}:{row.cells['image']}",
                image=root / row.cells["image"],
                study_id=studies[number],
                patient_id=patient,
                view=view,
                findings=row.cells["findings"],
                impression=row.cells["impression"],
                labels=labels[number],
                split=split,
            )
        )
    pairs = one_report_a_study(pairs, notes)
    section = data["section"]
    for record in pairs:
        if not choose_section(record.findings, record.impression, section):
            notes.add(f"rows have no text for data.section={section}, which leaves them out", record.image_id)
    return pairs


def _patients_and_studies(table: PairsTable, notes: Notes) -> tuple[list[str], list[str]]:
    """The patient and the study of each row: as they are named, or else the row's study, and its image."""
    named = {
        column: ids.unify([row.cells.get(column, "") for row in table.rows], column, notes)
        for column in ("patient_id", "study_id")
    }
    patients_of: dict[str, dict[str, None]] = {}
    for patient, study in zip(named["patient_id"], named["study_id"], strict=True):
        if patient and study:
            patients_of.setdefault(study, {})[patient] = None
    shared = [study for study, patients in patients_of.items() if len(patients) > 1]
    for study in shared:
        notes.add("study_ids stand under several patients, and count as a study of each", repr(study))
    patients, studies = [], []
    for row, patient, study in zip(table.rows, named["patient_id"], named["study_id"], strict=True):
        if study and not patient and len(patients_of.get(study, {})) == 1:
            (patient,) = patients_of[study]  # another of the study's rows names it
        if study in shared and patient:
            study = f"{patient}/{study}"
        # With its folders: many collections have a view1_frontal.jpg in every study's.
        study = study or str(Path(row.cells["image"]).with_suffix(""))
        if not patient and "patient_id" in table.columns:
            notes.add("rows name no patient: each such study counts as a patient of its own", repr(study))
        studies.append(study)
        # Where nothing says who the patient is, each study is taken as a patient of its own.
        patients.append(patient or f"study:{study}")
    return patients, studies


def _labels(rows: Sequence[Row], notes: Notes) -> list[tuple[str, ...]]:
    """Each row's labels, as they are written."""
    spellings: dict[str, dict[str, None]] = {}
    labels = []
    for row in rows:
        parts = [label.strip() for label in row.cells.get("labels", "").split("|")]
        kept = tuple(label for label in parts if label and not is_placeholder(label))
        for label in kept:
            spellings.setdefault(label.casefold(), {})[label] = None
            if "," in label or ";" in label:
                notes.add("labels hold , or ; which do not separate: | does", repr(label), check="label_forms")
        labels.append(kept)
    for forms in spellings.values():
        if len(forms) > 1:
            shown = " and ".join(map(repr, forms))
            notes.add("labels differ from another in case alone, and count as others", shown, check="label_forms")
    return labels


def _named_split(row: Row, file: Path) -> str:
    name = row.cells["split"].lower()
    split = SPLIT_NAMES.get(name, name)
    if split not in SPLITS:
        raise InputError(f"{file} {row.where}: split is {row.cells['split']!r}; it is one of {', '.join(SPLITS)}")
    return split

"""Images and reports from a table: columns image and report; optional patient_id, study_id, view, split, labels.

A CSV, JSON lines or Parquet; `findings` and `impression` may stand in columns of their own. With data.sentences no
report is needed: sentences of the labels stand for it.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cxr_jax.csv_table import Row
from cxr_jax.data import ids
from cxr_jax.data.label_sentences import LabelSentences
from cxr_jax.data.notes import Notes
from cxr_jax.data.records import Record, SourceConfig, fingerprint
from cxr_jax.data.reports import choose_section
from cxr_jax.data.sources.pairs_table import PairsTable, image_file, images_of, read_table
from cxr_jax.data.sources.published import into_splits, one_report_a_study, studies_of_their_own
from cxr_jax.data.splits import SPLITS
from cxr_jax.data.views import view_of
from cxr_jax.errors import InputError

SPLIT_NAMES = {"training": "train", "valid": "val", "validation": "val", "validate": "val", "dev": "val",
               "testing": "test"}  # fmt: skip
UNKNOWN_VIEW = "views are neither frontal nor lateral, and count as frontal"
READING = 3  # goes up when the same table is read as other records


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
    reading: tuple[Any, ...] = READING, sorted(data["columns"].items())
    if data["sentences"]:
        reading += (LabelSentences(data["sentences"]).content,)
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
    files = _files(data, table.rows, notes)
    by_column = _split_in_use(data["split"], table.columns, file) == "column"
    people = _patients_and_studies(file, table, _studies_by_name(data, files), notes)
    _refuse_shared_images(file, table.rows, files, [patient for patient, _ in people])
    pairs = []
    home: dict[str, tuple[str, str]] = {}  # a patient's split, and its id as it is written there
    for number, row in enumerate(table.rows):
        (patient, study), written = people[number], row.cells.get("patient_id", "")
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
                image=files[number],
                study_id=study,
                patient_id=patient,
                view=view,
                findings=row.cells["findings"],
                impression=row.cells["impression"],
                labels=table.labels[number],
                split=split,
            )
        )
    pairs = one_report_a_study(studies_of_their_own(pairs, notes), notes)
    section = data["section"]
    for record in pairs:
        if not choose_section(record.findings, record.impression, section):
            notes.add(f"rows have no text for data.section={section}, which leaves them out", record.image_id)
    return pairs


def _files(data: Mapping[str, Any], rows: Sequence[Row], notes: Notes) -> list[Path]:
    """Each row's image, its path without detours."""
    return [image_file(_root(data), row.cells["image"], notes) for row in rows]


def _studies_by_name(data: Mapping[str, Any], files: Sequence[Path]) -> list[str]:
    """The study of each image where nothing else says: its path below the root, without suffix where that is enough.

    With its folders: many collections have a view1_frontal.jpg in every study's.
    """
    root = Path(os.path.normpath(_root(data)))
    of_stem: dict[Path, set[Path]] = {}
    for file in files:
        of_stem.setdefault(file.with_suffix(""), set()).add(file)
    names = []
    for file in files:
        stem = file.with_suffix("")
        name = stem if len(of_stem[stem]) == 1 else file
        names.append(str(name.relative_to(root) if name.is_relative_to(root) else name))
    return names


def _patients_and_studies(file: Path, table: PairsTable, by_name: Sequence[str], notes: Notes) -> list[tuple[str, str]]:
    """The patient and the study of each row: as they are named, or else the row's study, and its image.

    Raises:
      InputError: a row names no patient, and its study stands under several.
    """
    named = {
        column: ids.unify([row.cells.get(column, "") for row in table.rows], column, notes)
        for column in ("patient_id", "study_id")
    }
    patients_of: dict[str, dict[str, None]] = {}
    for patient, study in zip(named["patient_id"], named["study_id"], strict=True):
        if patient and study:
            patients_of.setdefault(study, {})[patient] = None
    result = []
    for row, name, patient, study in zip(table.rows, by_name, named["patient_id"], named["study_id"], strict=True):
        if study and not patient and study in patients_of:
            patient, *others = patients_of[study]  # another of the study's rows names it
            if others:
                raise InputError(
                    f"{file} {row.where}: names no patient, and study {study} stands under {patient} and {others[0]}; "
                    "name the patient"
                )
        study = study or name
        if not patient and "patient_id" in table.columns:
            notes.add("rows name no patient: each such study counts as a patient of its own", repr(study))
        # Where nothing says who the patient is, each study is taken as a patient of its own.
        result.append((patient or f"study:{study}", study))
    return result


def _refuse_shared_images(file: Path, rows: Sequence[Row], files: Sequence[Path], patients: Sequence[str]) -> None:
    """An image of two patients would be trained on and tested.

    Raises:
      InputError: there is one.
    """
    first: dict[Path, tuple[str, str]] = {}
    for row, image, patient in zip(rows, files, patients, strict=True):
        other, where = first.setdefault(image, (patient, row.where))
        if other != patient:
            raise InputError(
                f"{file} {row.where}: image {row.cells['image']} is of {_who(patient)}, and in {where} of "
                f"{_who(other)}; leave one of the rows out"
            )


def _who(patient: str) -> str:
    return patient.replace("study:", "study ", 1) if patient.startswith("study:") else f"patient {patient}"


def _named_split(row: Row, file: Path) -> str:
    name = row.cells["split"].lower()
    split = SPLIT_NAMES.get(name, name)
    if split not in SPLITS:
        raise InputError(f"{file} {row.where}: split is {row.cells['split']!r}; it is one of {', '.join(SPLITS)}")
    return split

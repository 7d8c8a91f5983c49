"""MIMIC-CXR-JPG's tables: which image is of which study, patient, split and view, and CheXpert's labels of a study."""

import re
from pathlib import Path
from typing import NamedTuple

from cxr_jax.csv_table import CsvTable
from cxr_jax.data.sections import holds_words, one_line
from cxr_jax.data.views import view_of
from cxr_jax.errors import InputError

SPLIT, METADATA, CHEXPERT = (f"mimic-cxr-2.0.0-{name}" for name in ("split", "metadata", "chexpert"))
SECTIONED = "mimic_cxr_sectioned"  # what the release's create_section_files.py writes
SECTIONS = ("findings", "impression", "last_paragraph")
STUDY = re.compile(r"s?([0-9]{1,20})(?:\.0)?")
SPLIT_NAMES = {"train": "train", "validate": "val", "test": "test"}
# The fourteenth column, No Finding, is the absence of all these and no label.
FINDINGS = (
    "Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Enlarged Cardiomediastinum", "Fracture", "Lung Lesion",
    "Lung Opacity", "Pleural Effusion", "Pleural Other", "Pneumonia", "Pneumothorax", "Support Devices",
)  # fmt: skip
# Ids become paths, so they must hold nothing that leads out of the folder.
IDS = {
    "dicom_id": (re.compile(r"[0-9a-f-]{1,80}"), "hexadecimal digits and '-'"),
    "study_id": (re.compile(r"[0-9]{1,20}"), "digits"),
    "subject_id": (re.compile(r"[0-9]{2,20}"), "two digits or more"),
}


class Image(NamedTuple):
    """A row of the table of splits; `split` is one of ours."""

    dicom_id: str
    study_id: str
    subject_id: str
    split: str


def find_table(folder: Path, name: str) -> Path | None:
    """The table's file, packed or not; None where there is neither."""
    files = (folder / f"{name}{suffix}" for suffix in (".csv.gz", ".csv"))
    return next((file for file in files if file.is_file()), None)


def need_table(folder: Path, name: str) -> Path:
    """The table's file.

    Raises:
      InputError: there is none.
    """
    file = find_table(folder, name)
    if file is None:
        raise InputError(f"data.path = {folder}: there is no {name}.csv.gz or .csv in it; download it there")
    return file


def read_images(folder: Path) -> list[Image]:
    """The images of the table of splits, in its order.

    Raises:
      InputError: no such table, or an id, a split or a row is not what it should be; it names file and row.
    """
    file = need_table(folder, SPLIT)
    images: list[Image] = []
    subject_of: dict[str, str] = {}
    seen: set[str] = set()
    for row in CsvTable(file, (*IDS, "split")):
        dicom_id, study_id, subject_id, split = (row.cells[name] for name in (*IDS, "split"))
        for name, (pattern, wanted) in IDS.items():
            if not pattern.fullmatch(row.cells[name]):
                raise InputError(f"{file} {row.where}: {name} is {row.cells[name][:80]!r}; wanted are {wanted}")
        if split not in SPLIT_NAMES:
            raise InputError(f"{file} {row.where}: split is {split!r}; it is one of {', '.join(SPLIT_NAMES)}")
        if dicom_id in seen:
            raise InputError(f"{file} {row.where}: dicom_id {dicom_id} is there twice; remove one row")
        seen.add(dicom_id)
        if subject_of.setdefault(study_id, subject_id) != subject_id:
            raise InputError(
                f"{file} {row.where}: study_id {study_id} is of subject_id {subject_id} and of "
                f"{subject_of[study_id]}; mend one"
            )
        images.append(Image(dicom_id, study_id, subject_id, SPLIT_NAMES[split]))
    return images


def read_views(folder: Path) -> dict[str, str]:
    """dicom_id to "frontal", "lateral" or, where ViewPosition is neither, "".

    Raises:
      InputError: no such table, or it is damaged or lacks a column.
    """
    table = CsvTable(need_table(folder, METADATA), ("dicom_id", "ViewPosition"))
    return {row.cells["dicom_id"]: view_of(row.cells["ViewPosition"]) for row in table}


def read_labels(folder: Path) -> dict[str, tuple[str, ...]]:
    """study_id to the findings that CheXpert's labeller calls certain (1.0); empty where there is no such table.

    Raises:
      InputError: the table is damaged or lacks a column, or a cell is none of 1.0, 0.0, -1.0 and empty.
    """
    file = find_table(folder, CHEXPERT)
    labels: dict[str, tuple[str, ...]] = {}
    for row in CsvTable(file, ("study_id", *FINDINGS)) if file else ():
        strange = {row.cells[name] for name in FINDINGS} - {"", "1", "0", "-1", "1.0", "0.0", "-1.0"}
        if strange:
            raise InputError(f"{file} {row.where}: has a cell {min(strange)[:80]!r}; wanted are 1.0, 0.0, -1.0 or none")
        labels[row.cells["study_id"]] = tuple(name for name in FINDINGS if row.cells[name] in ("1", "1.0"))
    return labels


def find_sectioned(folder: Path) -> Path | None:
    """The table of the reports' sections, beside the other tables or with the reports; None where there is none."""
    folders = (folder, folder / "mimic-cxr-reports", folder / "files", folder / "mimic-cxr-reports" / "files")
    return next((file for place in folders if (file := find_table(place, SECTIONED))), None)


def read_sections(file: Path) -> dict[str, dict[str, str]]:
    """study_id to its sections, those of SECTIONS that hold something, each on one line.

    Raises:
      InputError: the table is damaged or lacks a column, or a study is no study's or there twice.
    """
    table = CsvTable(file, ("study", "findings", "impression"))
    sections: dict[str, dict[str, str]] = {}
    for row in table:
        match = STUDY.fullmatch(row.cells["study"])
        if not match:
            raise InputError(f"{file} {row.where}: study is {row.cells['study'][:80]!r}; wanted is s50414267, say")
        if match[1] in sections:
            raise InputError(f"{file} {row.where}: study {row.cells['study']} is there twice; remove one row")
        texts = {name: one_line(row.cells.get(name, "")) for name in SECTIONS}
        sections[match[1]] = {name: text for name, text in texts.items() if holds_words(text)}
    return sections

"""MIMIC-CXR-JPG as PhysioNet publishes it: its tables, and `files/p10/p10000032/s50414267/<dicom_id>.jpg`.

Reports lie beside the studies' folders, `files/p10/p10000032/s50414267.txt`, or below `mimic-cxr-reports/files/`; what
`mimic_cxr_sectioned.csv` holds of a report, where that table lies with them, is taken rather than cut anew. The tables
may be unpacked (.csv), and the one of CheXpert's labels may be absent.
"""

import hashlib
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tqdm import tqdm

from cxr_jax.data.notes import Notes
from cxr_jax.data.records import Record, SourceConfig, fingerprint
from cxr_jax.data.sources import mimic_tables as tables
from cxr_jax.data.sources.mimic_reports import parse_sections
from cxr_jax.data.sources.published import deals_anew, into_splits
from cxr_jax.errors import InputError

FILES, REPORTS = "files", "mimic-cxr-reports"
READING = 2  # goes up when the same release is read as other records


def describe(data: Mapping[str, Any]) -> SourceConfig:
    """The release's folder.

    The fingerprint is of the tables alone: PhysioNet's versions do not change. Who edits a report clears data.cache.

    Raises:
      InputError: a table or the folder of images is missing, or the split is another's.
    """
    folder = Path(data["path"]).expanduser()
    if not data["path"] or not (folder / FILES).is_dir():
        raise InputError(f"data.path = {data['path']!r}: there is no folder {FILES} in it; give MIMIC-CXR-JPG's folder")
    anew = deals_anew(data["split"], "MIMIC-CXR-JPG")
    needed = [tables.need_table(folder, name) for name in (tables.SPLIT, tables.METADATA)]
    optional = (tables.find_table(folder, tables.CHEXPERT), tables.find_sectioned(folder))
    digests = []
    for table in [*needed, *filter(None, optional)]:
        with table.open("rb") as file:
            digests.append((table.name, hashlib.file_digest(file, "sha256").hexdigest()))
    settings = anew, data["seed"] if anew else 0, data["stored_size"], data["stored_format"]
    return SourceConfig(
        name=fingerprint("mimic", READING, *settings, digests),
        description=f"MIMIC-CXR-JPG ({'dealt anew by patient' if anew else 'official split'})",
        source=str(folder),
        split="patient" if anew else "column",
        stored_size=data["stored_size"],
        stored_format=data["stored_format"],
    )


def records(data: Mapping[str, Any], notes: Notes) -> list[Record]:
    """One record an image of a study that has findings or an impression; see `read_release`."""
    return read_release(Path(data["path"]).expanduser(), notes)


def splits(data: Mapping[str, Any], records: list[Record]) -> dict[str, list[Record]]:
    """The official split, unless data.split asks for patients dealt 7:2:1.

    Raises:
      InputError: a patient is in two splits.
    """
    table = tables.need_table(Path(data["path"]).expanduser(), tables.SPLIT)
    return into_splits(records, deals_anew(data["split"], "MIMIC-CXR-JPG"), data["seed"], table)


def read_release(folder: Path, notes: Notes) -> list[Record]:
    """Every image of a study that has findings or an impression, with its official split.

    The notes say how the text of how many reports was found, how many studies have none, and how many views are
    neither frontal nor lateral.

    Raises:
      InputError: a table or a report is not what it should be; or files are missing: it names the first, and how many.
    """
    studies: dict[str, list[tables.Image]] = {}
    for image in tables.read_images(folder):
        studies.setdefault(image.study_id, []).append(image)
    views, labels = tables.read_views(folder), tables.read_labels(folder)
    sectioned = tables.find_sectioned(folder)
    cut = tables.read_sections(sectioned) if sectioned else {}
    rules: Counter[str] = Counter()
    apart = folder / REPORTS / FILES
    reports = apart if apart.is_dir() else folder / FILES
    records: list[Record] = []
    missing: dict[str, list[Path]] = {"report": [], "image": []}
    for study, images in tqdm(studies.items(), desc="reading reports", unit="study", leave=False, disable=None):
        subject = images[0].subject_id
        place = f"p{subject[:2]}/p{subject}/s{study}"
        sections = _published(cut[study], rules) if study in cut else _read_report(reports / f"{place}.txt", rules)
        if sections is None:
            missing["report"].append(reports / f"{place}.txt")
        elif not sections["findings"] and not sections["impression"]:
            notes.add("studies without findings and impression are left out", study, check="placeholders")
        else:
            home = folder / FILES / place
            present = _listing(home)
            for image in images:
                file = home / f"{image.dicom_id}.jpg"
                if file.name not in present:
                    missing["image"].append(file)
                    continue
                if image.dicom_id not in views:
                    table = tables.need_table(folder, tables.METADATA)
                    raise InputError(
                        f"{table}: has no row of dicom_id {image.dicom_id}; take both tables of one version"
                    )
                records.append(
                    Record(
                        image_id=image.dicom_id,
                        image=file,
                        study_id=study,
                        patient_id=subject,
                        view=views[image.dicom_id],
                        findings=sections["findings"],
                        impression=sections["impression"],
                        labels=labels.get(study, ()),
                        split=image.split,
                    )
                )
    for kind, files in missing.items():
        if files:
            raise InputError(
                f"{files[0]}: no such {kind}; {len(files)} that the table of splits lists are missing: download them, "
                "or take their rows out"
            )
    for rule, count in rules.most_common():
        notes.add(f"reports: {rule}", count=count)
    for record in records:
        if not record.view:
            notes.add("views are neither frontal nor lateral, and count as frontal", record.image_id, check="views")
    return records


def _published(sections: Mapping[str, str], rules: Counter[str]) -> dict[str, str]:
    """Findings and impression by mimic_cxr_sectioned.csv; where it has neither, its last paragraph is findings."""
    findings, impression = sections.get("findings", ""), sections.get("impression", "")
    paragraph = "" if findings or impression else sections.get("last_paragraph", "")
    source = "the last paragraph" if paragraph else "findings or impression" if findings or impression else "neither"
    rules[f"{source}, by {tables.SECTIONED}"] += 1
    return {"findings": findings or paragraph, "impression": impression}


def _read_report(file: Path, rules: Counter[str]) -> dict[str, str] | None:
    """A report's sections; None where there is no such file."""
    try:
        return parse_sections(file.read_text("utf-8"), rules)
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: cannot be read as text in UTF-8 ({error}); download it again") from error


def _listing(folder: Path) -> frozenset[str]:
    """The names in a study's folder, in one call rather than one an image."""
    try:
        return frozenset(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return frozenset()

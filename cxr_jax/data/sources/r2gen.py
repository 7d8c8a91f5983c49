"""R2Gen's folder layout: `annotation.json`, and the images below `images/`; of IU X-ray, or of MIMIC-CXR.

annotation.json is `{"train": [entry, …], "val": […], "test": […]}`, and an entry
`{"id": "CXR1_IM-0001", "report": "…", "image_path": ["CXR1_IM-0001/0.png", …], "split": "train"}`; the form for MIMIC
adds study_id and subject_id. A report is the study's findings; there is no impression.

R2Gen does not say which image is lateral. By its convention an entry of two has the frontal one first, so the second is
taken for lateral. (Open-i's table of projections, in Open-i's order, has it so for nine in ten of these studies.)
"""

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from cxr_jax.data import ids
from cxr_jax.data.json_objects import is_text
from cxr_jax.data.notes import Notes
from cxr_jax.data.placeholders import is_no_report
from cxr_jax.data.records import Record, SourceConfig, fingerprint
from cxr_jax.data.sources.annotation import Homes, read_lists, refuse_twice
from cxr_jax.data.sources.published import deals_anew, into_splits, one_report_a_study, studies_of_their_own
from cxr_jax.data.splits import SPLITS
from cxr_jax.errors import InputError

ANNOTATION, IMAGES = "annotation.json", "images"
ID = re.compile(r"\w[\w.-]*")
# How the releases that R2Gen is published for number theirs.
ORIGINS = {
    "IU X-ray": re.compile(r"CXR\d+_(\d+_)?IM-\d+(-\d+)?/\d"),
    "MIMIC-CXR": re.compile(r"[0-9a-f]{8}(-[0-9a-f]{8}){4}/\d"),
}


def describe(data: Mapping[str, Any]) -> SourceConfig:
    """The folder.

    Raises:
      InputError: the folder has not that layout, annotation.json is not what it should be, or the split is another's.
    """
    folder = Path(data["path"]).expanduser()
    if not data["path"] or not (folder / ANNOTATION).is_file() or not (folder / IMAGES).is_dir():
        raise InputError(
            f"data.path = {data['path']!r}: lacks {ANNOTATION} or the folder {IMAGES}; give the folder that holds "
            "R2Gen's two"
        )
    anew = _deals_anew(data)
    published = read_annotation(folder, Notes())
    settings = anew, data["seed"] if anew else 0, data["stored_size"], data["stored_format"]
    text = (folder / ANNOTATION).read_bytes()
    images = [record.image for record in published]
    return SourceConfig(
        name=fingerprint("r2gen", *settings, text, files=images, by=data["fingerprint_by"]),
        description=_description([record.image_id for record in published], anew),
        source=str(folder),
        split="patient" if anew else "column",
        stored_size=data["stored_size"],
        stored_format=data["stored_format"],
    )


def records(data: Mapping[str, Any], notes: Notes) -> list[Record]:
    """One record an image that has a report.

    Raises:
      InputError: an entry of annotation.json is not what it should be.
    """
    return read_annotation(Path(data["path"]).expanduser(), notes)


def splits(data: Mapping[str, Any], records: list[Record]) -> dict[str, list[Record]]:
    """R2Gen's own, unless data.split asks for patients dealt 7:2:1.

    Raises:
      InputError: a patient is in two splits.
    """
    return into_splits(records, _deals_anew(data), data["seed"], Path(data["path"]).expanduser() / ANNOTATION)


def _deals_anew(data: Mapping[str, Any]) -> bool:
    return deals_anew({"r2gen": "auto"}.get(data["split"], data["split"]), "R2Gen's release")


def read_annotation(folder: Path, notes: Notes) -> list[Record]:
    """Every image that has a report, with R2Gen's split; the notes say what was taken for granted.

    Raises:
      InputError: not JSON, not the lists it should hold, or an entry that is wrong: named by list and place in it.
    """
    file = folder / ANNOTATION
    lists, of_file = read_lists(file)
    for line in of_file:
        notes.add(line, count=0)
    published: list[Record] = []
    homes: Homes = {}
    for split, (key, entries) in lists.items():
        for number, entry in enumerate(entries):
            where = f"{file}: {key}[{number}]"
            of_entry = _read_entry(entry, split, where, folder / IMAGES)
            refuse_twice(homes, "id", entry["id"], f"{key}[{number}]", file)
            for path in entry["image_path"]:
                refuse_twice(homes, "image", path, f"{key}[{number}]", file)
            said = entry.get("split", split)
            if said != split and (key == split or said in SPLITS):
                raise InputError(f"{where}: split is {said!r} in the list {key}; move the entry or mend its split")
            if not entry["report"].strip() or is_no_report(entry["report"]):
                what = "entries without a report are left out"
                notes.add(what, repr(entry["report"].strip()), check="placeholders")
            else:
                published += of_entry
    subjects = ids.unify([record.patient_id for record in published], "subject_id", notes)
    studies = ids.unify([record.study_id for record in published], "study_id", notes)
    published = [
        dataclasses.replace(record, patient_id=subject, study_id=study)
        for record, subject, study in zip(published, subjects, studies, strict=True)
    ]
    return one_report_a_study(studies_of_their_own(published, notes), notes)


def _read_entry(entry: Any, split: str, where: str, images: Path) -> list[Record]:
    """An entry's records, one an image."""
    if not isinstance(entry, dict):
        raise InputError(f"{where}: is {type(entry).__name__}; wanted is an object with id, report and image_path")
    paths = entry.get("image_path")
    for key in ("id", "report"):
        if not isinstance(entry.get(key), str):
            raise InputError(f"{where}: {key} is {_shown(entry.get(key))}; wanted is a string")
    if not isinstance(paths, list) or not paths or not all(isinstance(path, str) for path in paths):
        raise InputError(f"{where}: image_path is {_shown(paths)}; wanted is a list of one path or more")
    if not is_text(entry["report"]):
        raise InputError(f"{where}: report holds half a character (a lone surrogate); mend it")
    for key in ("id", "study_id", "subject_id"):
        value = entry.get(key, "0")
        if isinstance(value, bool) or not isinstance(value, str | int) or not ID.fullmatch(str(value)):
            raise InputError(f"{where}: {key} is {_shown(value)}; wanted are letters, digits, '.', '_' and '-'")
    for path in paths:
        pure = PurePosixPath(path)
        if not pure.name or pure.is_absolute() or ".." in pure.parts or "\\" in path or not path.isprintable():
            raise InputError(f"{where}: image_path holds {_shown(path)}; wanted is a path below the folder {IMAGES}")
    study = str(entry.get("study_id", entry["id"]))
    views = ("", "lateral") if len(paths) == 2 else ("",) * len(paths)
    return [
        Record(
            image_id=f"{entry['id']}/{place}",
            image=images / path,
            study_id=study,
            # IU X-ray has no patient ids: a study is its own patient.
            patient_id=str(entry.get("subject_id", study)),
            view=view,
            findings=entry["report"].strip(),
            split=split,
        )
        for place, (path, view) in enumerate(zip(paths, views, strict=True))
    ]


def _description(image_ids: list[str], anew: bool) -> str:
    """Which data and which split these are, going by their ids: a claim about quality names its data."""
    known = [name for name, pattern in ORIGINS.items() if all(map(pattern.fullmatch, image_ids))]
    if not image_ids or not known:
        return f"images and reports in R2Gen's layout ({'dealt anew by patient' if anew else 'their own split'})"
    split = "dealt anew by patient" if anew else "R2Gen's split"
    return f"{known[0]} (R2Gen's release, {split})"


def _shown(value: Any) -> str:
    return "missing" if value is None else repr(value)[:80]

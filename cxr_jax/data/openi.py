"""IU X-ray from the release that Open-i publishes: `ecgen-radiology/*.xml`, and `NLMCXR_png/*.png` or `NLMCXR_dcm`.

The phantom writes the same layout, so the builder that is practised on drawings is the one that reads the real thing.
"""

import csv
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from cxr_jax.data.phantom import RELEASE_FILE
from cxr_jax.data.records import Record, RecordBuilder, SourceConfig, fingerprint, split_by_group
from cxr_jax.errors import InputError

DRAWN = "phantom (drawn images, not patients)"
REPORTS, IMAGES, PROJECTIONS = "ecgen-radiology", "NLMCXR_png", "indiana_projections.csv"
DICOMS = "NLMCXR_dcm"


class Openi(RecordBuilder):
    """One record an image of the release; a study without findings and impression, or without image, is left out."""

    def records(self) -> dict[str, list[Record]]:
        """Splits by study (`paper`); Open-i has no patient ids, so a study is its own patient."""
        records = list(read_release(Path(self.builder_config.source)))
        split_of = split_by_group((r.study_id for r in records), self.builder_config.seed)
        splits: dict[str, list[Record]] = {"train": [], "val": [], "test": []}
        for record in records:
            splits[split_of[record.study_id]].append(record)
        return splits


def config_for(path: str | Path, split: str, seed: int, stored_size: int) -> SourceConfig:
    """The builder's configuration for a release's folder.

    Raises:
      InputError: the folder is not a release, or the split is not one of a release's.
    """
    folder = Path(path).expanduser()
    for name, instead in ((REPORTS, REPORTS), (IMAGES, DICOMS)):
        if not (folder / name).is_dir() and not (folder / instead).is_dir():
            raise InputError(
                f"data.path = {path}: there is no folder {name} in it; unpack NLMCXR_reports.tgz and NLMCXR_png.tgz "
                "(or NLMCXR_dcm.tgz) there"
            )
    if split not in ("paper", "auto"):
        raise InputError(f"data.split = {split}: a release is split by study; set data.split=paper")
    files = [*(folder / REPORTS).glob("*.xml"), *image_files(folder).values()]
    table = folder / PROJECTIONS
    views = table.read_bytes() if table.is_file() else b""
    name = fingerprint("openi", "paper", seed, stored_size, views, files=files)
    return SourceConfig(
        name=name,
        # A claim about quality names its data: drawings never pass for patients.
        description=DRAWN if (folder / RELEASE_FILE).is_file() else "IU X-ray (Open-i release)",
        source=str(folder),
        split="paper",
        seed=seed,
        stored_size=stored_size,
    )


def read_release(folder: Path) -> Iterator[Record]:
    """Every image that has both a file and a report, study by study in numeric order.

    Raises:
      InputError: a report is not well-formed XML or has no id, or two reports claim one image.
    """
    owner: dict[str, Path] = {}
    views = read_projections(folder / PROJECTIONS)
    available = image_files(folder)
    numbered = sorted((folder / REPORTS).glob("*.xml"), key=lambda f: (len(f.stem), f.stem))
    for file in numbered:
        try:
            root = ElementTree.parse(file).getroot()
        except ElementTree.ParseError as error:
            raise InputError(f"{file}: not well-formed XML ({error}); unpack the release again") from error
        identifier = root.find("uId")
        if identifier is None or not identifier.get("id"):
            raise InputError(f"{file}: has no uId; unpack the release again")
        study = str(identifier.get("id"))
        sections = {e.get("Label", ""): (e.text or "").strip() for e in root.iter("AbstractText")}
        if not sections.get("FINDINGS") and not sections.get("IMPRESSION"):
            continue
        labels = tuple((e.text or "").strip() for e in root.iterfind("MeSH/major"))
        for image_id in (e.get("id", "") for e in root.iter("parentImage")):
            if image_id in available:
                if image_id in owner:
                    raise InputError(f"{file}: image {image_id} is also in {owner[image_id].name}; remove one report")
                owner[image_id] = file
                yield Record(
                    image_id=image_id,
                    image=available[image_id],
                    study_id=study,
                    patient_id=study,
                    view=views.get(image_id, ""),
                    findings=sections.get("FINDINGS", ""),
                    impression=sections.get("IMPRESSION", ""),
                    indication=sections.get("INDICATION", ""),
                    labels=labels,
                )


def image_files(folder: Path) -> dict[str, Path]:
    """Image id to file: the PNGs, and where there is none of an image, its DICOM file (its id without the CXR)."""
    dicoms = {f"CXR{file.stem}": file for file in (folder / DICOMS).rglob("*.dcm")}
    return dicoms | {file.stem: file for file in (folder / IMAGES).glob("*.png")}


def read_projections(table: Path) -> dict[str, str]:
    """Image id to "frontal" or "lateral", from the table of projections; empty where there is none."""
    if not table.is_file():
        return {}
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
        return {f"CXR{row['filename'].split('.')[0]}": row["projection"].strip().lower() for row in rows}
    except (KeyError, AttributeError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{table}: wanted is a CSV in UTF-8 with the columns filename and projection") from error

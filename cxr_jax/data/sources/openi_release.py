"""What Open-i's release holds, unpacked or packed: its reports, the images they name, and how many there are of each.

What is damaged is refused, not skipped: a report that is no XML, an image that cannot be decoded, an archive that is
cut short each end in one line that names the file. A benchmark must not shrink by what a download lost.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from xml.etree import ElementTree
from xml.parsers import expat

from cxr_jax.data import archives
from cxr_jax.data.records import Record, fingerprint
from cxr_jax.data.sources.openi_views import plain_id, read_views
from cxr_jax.errors import InputError

REPORTS, IMAGES = "ecgen-radiology", "NLMCXR_png"
ARCHIVES = {REPORTS: "NLMCXR_reports.tgz", IMAGES: "NLMCXR_png.tgz"}
MAX_REPORT, MAX_IMAGE, MAX_IMAGES = 1 << 20, 1 << 26, 1 << 35  # bytes: the largest real report has 8,967


@dataclasses.dataclass(frozen=True)
class ReleaseCounts:
    """What a release holds; the first four are known of the official one."""

    reports: int
    images: int  # that reports name
    with_findings: int
    without_image: int  # reports that name none
    missing_files: int = 0  # images that are named, and have no file
    unnamed_files: int = 0  # image files that no report names
    unknown_views: int = 0

    def lines(self, official: "ReleaseCounts | None" = None) -> list[str]:
        """One line a count, with its difference from those of `official`."""
        labels = {
            "reports": "reports",
            "images": "images they name",
            "with_findings": "reports with findings",
            "without_image": "reports without an image",
            "missing_files": "images named that have no file",
            "unnamed_files": "image files that no report names",
            "unknown_views": "images of unknown view, counted as frontal",
        }
        lines = []
        for name, label in labels.items():
            count, note = getattr(self, name), ""
            if official and name != "unknown_views" and count != (wanted := getattr(official, name)):
                note = (
                    f"  (official release: {wanted:,}; {abs(count - wanted):,} {'more' if count > wanted else 'fewer'})"
                )
            lines.append(f"  {count:>6,} {label}{note}")
        return lines


OFFICIAL = ReleaseCounts(reports=3955, images=7470, with_findings=3425, without_image=104)


@dataclasses.dataclass(frozen=True)
class Study:
    """One report of the release, and the ids of its images."""

    file: str
    study_id: str
    sections: Mapping[str, str]  # by label: FINDINGS, IMPRESSION, INDICATION, COMPARISON
    major: tuple[str, ...]  # MeSH terms that people gave it
    image_ids: tuple[str, ...]


def read_release(folder: Path, cache: Path) -> tuple[list[Record], ReleaseCounts]:
    """Every image that has both a file and a report, study by study in numeric order; and what the release holds.

    Raises:
      InputError: a report is not well-formed XML or has no id, two reports claim one image, or an archive is damaged.
    """
    # The reports first: they are read in seconds, where unpacking ten gigabytes of images takes minutes.
    studies, views = list(read_studies(folder)), read_views(folder)
    available = _image_files(folder, cache)
    owner: dict[str, Study] = {}
    records = []
    for study in studies:
        for image_id in study.image_ids:
            if image_id in owner:
                raise InputError(
                    f"{study.file}: image {image_id} is also in {Path(owner[image_id].file).name}; remove one report"
                )
            owner[image_id] = study
            if image_id in available and (study.sections.get("FINDINGS") or study.sections.get("IMPRESSION")):
                records.append(
                    Record(
                        image_id=image_id,
                        image=available[image_id],
                        study_id=study.study_id,
                        patient_id=study.study_id,
                        view=views.get(plain_id(image_id), ""),
                        findings=study.sections.get("FINDINGS", ""),
                        impression=study.sections.get("IMPRESSION", ""),
                        labels=study.major,
                    )
                )
    counts = ReleaseCounts(
        reports=len(studies),
        images=len(owner),
        with_findings=sum(bool(study.sections.get("FINDINGS")) for study in studies),
        without_image=sum(not study.image_ids for study in studies),
        missing_files=len(owner.keys() - available.keys()),
        unnamed_files=len(available.keys() - owner.keys()),
        unknown_views=sum(not record.view for record in records),
    )
    return records, counts


def read_studies(folder: Path) -> Iterator[Study]:
    """The reports in the order of their numbers, from the unpacked folder, or else straight from the archive.

    Raises:
      InputError: a report is not well-formed XML, is too large, or has no id; or the archive is damaged.
    """
    unpacked, archive = folder / REPORTS, folder / ARCHIVES[REPORTS]
    if unpacked.is_dir():
        files = [f for f in unpacked.iterdir() if archives.REPORT_NAME.fullmatch(f.name)]
        for file in sorted(files, key=lambda f: (len(f.stem), f.stem)):
            if file.stat().st_size > MAX_REPORT:
                raise InputError(f"{file}: has more than {MAX_REPORT:,} bytes, which no report has; unpack it again")
            yield parse_study(file.read_bytes(), str(file))
        return
    contents = dict(archives.members(archive, archives.REPORT_NAME, MAX_REPORT))
    for name in sorted(contents, key=lambda n: (len(n), n)):
        yield parse_study(contents[name], f"{archive}: {name}")


def parse_study(content: bytes, file: str) -> Study:
    """One of Open-i's XML files.

    Raises:
      InputError: naming `file`; it is not well-formed, declares a document type (Open-i's do not, and entities can grow
        without bound), or has no uId.
    """
    try:
        root = _parse_xml(content, file)
    except (expat.ExpatError, LookupError, UnicodeError) as error:
        raise InputError(f"{file}: not well-formed XML ({error}); download or unpack the release again") from error
    identifier = root.find("uId")
    if identifier is None or not identifier.get("id"):
        raise InputError(f"{file}: has no uId; download or unpack the release again")
    return Study(
        file=file,
        study_id=str(identifier.get("id")),
        sections={e.get("Label", ""): (e.text or "").strip() for e in root.iter("AbstractText")},
        major=tuple((e.text or "").strip() for e in root.iterfind("MeSH/major")),
        image_ids=tuple(dict.fromkeys(e.get("id", "") for e in root.iter("parentImage"))),
    )


def _parse_xml(content: bytes, file: str) -> ElementTree.Element:
    def refuse(*_: object) -> None:
        raise InputError(f"{file}: declares a document type, which no report of Open-i does; download it again")

    tree, parser = ElementTree.TreeBuilder(), expat.ParserCreate()
    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler = tree.start
    parser.EndElementHandler = tree.end
    parser.CharacterDataHandler = tree.data
    parser.Parse(content, True)
    return tree.close()


def is_here(folder: Path, name: str) -> bool:
    """Whether the folder called `name`, or its archive, is in the release."""
    return (folder / name).is_dir() or (folder / ARCHIVES[name]).is_file()


def source_files(folder: Path, name: str) -> list[Path]:
    """The files that make up REPORTS or IMAGES: those of the unpacked folder, or the archive alone."""
    unpacked = folder / name
    suffix = {REPORTS: "*.xml", IMAGES: "*.png"}[name]
    return list(unpacked.glob(suffix)) if unpacked.is_dir() else [folder / ARCHIVES[name]]


def _image_files(folder: Path, cache: Path) -> dict[str, Path]:
    """Image id to its file, unpacked below `cache` where only the archive is here."""
    unpacked, archive = folder / IMAGES, folder / ARCHIVES[IMAGES]
    if not unpacked.is_dir():
        name = fingerprint("images", archives.checksum(archive), files=[archive])
        unpacked = archives.unpack(archive, archives.IMAGE_NAME, MAX_IMAGE, MAX_IMAGES, cache / f"openi-images-{name}")
    return {file.stem: file for file in unpacked.glob("*.png")}

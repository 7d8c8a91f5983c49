"""IU X-ray from the release that Open-i publishes, unpacked or as the two archives that are downloaded.

In one folder: `ecgen-radiology/*.xml` or `NLMCXR_reports.tgz`, and `NLMCXR_png/*.png` or `NLMCXR_png.tgz`. The phantom
has the same layout, so what is practised on drawings is what reads the real thing.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cxr_jax.data import archives
from cxr_jax.data.notes import Notes
from cxr_jax.data.records import Record, SourceConfig, fingerprint
from cxr_jax.data.reports import choose_section
from cxr_jax.data.sources.annotation import r2gen_split
from cxr_jax.data.sources.openi_download import fetch_release
from cxr_jax.data.sources.openi_release import (
    ARCHIVES,
    IMAGES,
    OFFICIAL,
    REPORTS,
    is_here,
    read_release,
    source_files,
)
from cxr_jax.data.sources.openi_views import TABLES
from cxr_jax.data.splits import SPLITS, split_by_group, strict_split
from cxr_jax.errors import InputError
from cxr_jax.phantom.release import RELEASE_FILE

ANNOTATIONS = ("annotation.json", "r2gen_annotation.json")
REAL, DRAWN, REHEARSAL = (
    "IU X-ray (Open-i release)",
    "phantom (drawn images, not patients)",
    "IU X-ray reports with drawn images (rehearsal, not patients)",
)


def describe(data: Mapping[str, Any]) -> SourceConfig:
    """The release in data.path, downloaded first where data.download says so; the split in use is `_split_in_use`'s.

    Raises:
      InputError: the folder is not a release, the split is not one of a release's, or the download fails.
    """
    if not data["path"]:
        raise InputError("data.path is not set; --config.data.path=FOLDER names the folder of the Open-i release")
    folder = Path(data["path"]).expanduser()
    if data["download"]:
        fetch_release(folder)
    split = _split_in_use(data)
    missing = [name for name in (REPORTS, IMAGES) if not is_here(folder, name)]
    if missing:
        raise InputError(
            f"data.path = {folder}: there is no folder {' and no folder '.join(missing)} in it, nor "
            f"{' nor '.join(ARCHIVES[name] for name in missing)}; download NLMCXR_reports.tgz and NLMCXR_png.tgz from "
            "Open-i (https://openi.nlm.nih.gov/faq, Indiana University - Chest X-rays) and put both into that folder, "
            "or set --config.data.download=true"
        )
    contents = [folder / table for table in TABLES]
    if split == "r2gen":
        contents.append(_annotation(data))
    sources = [source_files(folder, name) for name in (REPORTS, IMAGES)]
    name = fingerprint(
        "openi",
        split,
        0 if split == "r2gen" else data["seed"],
        data["section"] if split == "strict" else "",
        data["stored_size"],
        data["stored_format"],
        *(file.read_bytes() if file.is_file() else b"" for file in contents),
        *(archives.checksum(files[0]) for files in sources if files and files[0].suffix == ".tgz"),
        files=[file for files in sources for file in files],
        by=data["fingerprint_by"],
    )
    return SourceConfig(
        name=name,
        # A claim about quality names its data: drawings never pass for patients.
        description=_description(folder),
        source=str(folder),
        split=split,
        stored_size=data["stored_size"],
        stored_format=data["stored_format"],
    )


def records(data: Mapping[str, Any], notes: Notes) -> list[Record]:
    """One record an image of the release; a study without findings and impression, or without image, is left out.

    Says on stderr what the release holds, and where it differs from the official one unless it is drawn.

    Raises:
      InputError: as `read_release`.
    """
    folder = Path(data["path"]).expanduser()
    records, counts = read_release(folder, Path(data["cache"]).expanduser())
    description = _description(folder)
    lines = [f"{folder}: {description}", *counts.lines(None if description == DRAWN else OFFICIAL)]
    print("\n".join(lines), file=sys.stderr, flush=True)
    return records


def splits(data: Mapping[str, Any], records: list[Record]) -> dict[str, list[Record]]:
    """Splits by study; Open-i has no patient ids, so a study is its own patient. Says on stderr how large they are.

    `paper`: 7:2:1, seeded. `r2gen`: the published lists; a study in none of them is left out. `strict`: 7:2:1, and no
    near-copy of a report's data.section in another split.

    Raises:
      InputError: R2Gen's lists are not what they should be.
    """
    split, listed = _split_in_use(data), ""
    if split == "r2gen":
        split_of = r2gen_split(_annotation(data))
        listed = f"; of {len(split_of):,} studies listed"
    elif split == "strict":
        texts = {r.study_id: choose_section(r.findings, r.impression, data["section"]) for r in records}
        split_of = strict_split(texts, data["seed"])
    else:
        split_of = split_by_group((record.study_id for record in records), data["seed"])
    parts: dict[str, list[Record]] = {name: [] for name in SPLITS}
    for record in records:
        if record.study_id in split_of:
            parts[split_of[record.study_id]].append(record)
    sizes = ", ".join(
        f"{name} {len({record.study_id for record in part}):,} studies ({len(part):,} images)"
        for name, part in parts.items()
    )
    print(f"  {split} split: {sizes}{listed}", file=sys.stderr, flush=True)
    return parts


def _split_in_use(data: Mapping[str, Any]) -> str:
    """data.split; "paper" where that is "auto"."""
    split = {"auto": "paper"}.get(data["split"], data["split"])
    if split not in ("paper", "r2gen", "strict"):
        raise InputError(f"data.split = {split}: a release is split by study; set data.split=paper, r2gen or strict")
    return split


def _description(folder: Path) -> str:
    """What scores are reported under: REAL, unless the release says that its images are drawn."""
    if not (folder / RELEASE_FILE).is_file():
        return REAL
    return REHEARSAL if b'"rehearsal"' in (folder / RELEASE_FILE).read_bytes() else DRAWN


def _annotation(data: Mapping[str, Any]) -> Path:
    """R2Gen's annotation.json: data.annotation, or that in the release's folder."""
    given, folder = data["annotation"], Path(data["path"]).expanduser()
    candidates = [Path(given).expanduser()] if given else [folder / name for name in ANNOTATIONS]
    for file in candidates:
        if file.is_file():
            return file
    raise InputError(
        f"data.split = r2gen: there is no {' or '.join(map(str, candidates))}; it is the annotation.json of R2Gen's "
        "IU X-ray; put it there or set data.annotation=FILE"
    )

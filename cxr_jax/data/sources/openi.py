"""IU X-ray from the release that Open-i publishes, unpacked or as the two archives that are downloaded.

In one folder: `ecgen-radiology/*.xml` or `NLMCXR_reports.tgz`, and `NLMCXR_png/*.png` or `NLMCXR_png.tgz`. The phantom
writes the same layout, so the builder that is practised on drawings is the one that reads the real thing.
"""

from functools import cached_property
from pathlib import Path

from cxr_jax.data import archives
from cxr_jax.data.records import SPLITS, Record, RecordBuilder, SourceConfig, fingerprint, split_by_group
from cxr_jax.data.reports import choose_section
from cxr_jax.data.sources.openi_release import (
    ARCHIVES,
    IMAGES,
    OFFICIAL,
    REPORTS,
    ReleaseCounts,
    is_here,
    read_release,
    source_files,
)
from cxr_jax.data.sources.openi_views import TABLES
from cxr_jax.data.splits import r2gen_split, strict_split
from cxr_jax.errors import InputError
from cxr_jax.phantom.release import RELEASE_FILE

ANNOTATIONS = ("annotation.json", "r2gen_annotation.json")
REAL, DRAWN, REHEARSAL = (
    "IU X-ray (Open-i release)",
    "phantom (drawn images, not patients)",
    "IU X-ray reports with drawn images (rehearsal, not patients)",
)


class Openi(RecordBuilder):
    """One record an image of the release; a study without findings and impression, or without image, is left out."""

    @cached_property
    def _release(self) -> tuple[list[Record], ReleaseCounts]:
        return read_release(Path(self.builder_config.source), Path(self.builder_config.cache))

    def records(self) -> dict[str, list[Record]]:
        """Splits by study; Open-i has no patient ids, so a study is its own patient.

        `paper`: 7:2:1, seeded. `r2gen`: the published lists; a study in none of them is left out. `strict`: 7:2:1, and
        no near-copy of a report in another split.
        """
        config, (records, _) = self.builder_config, self._release
        if config.split == "r2gen":
            split_of = r2gen_split(Path(config.annotation))
        elif config.split == "strict":
            texts = {r.study_id: choose_section(r.findings, r.impression, config.section) for r in records}
            split_of = strict_split(texts, config.seed)
        else:
            split_of = split_by_group((r.study_id for r in records), config.seed)
        splits: dict[str, list[Record]] = {split: [] for split in SPLITS}
        for record in records:
            if record.study_id in split_of:
                splits[split_of[record.study_id]].append(record)
        return splits

    def summary(self) -> list[str]:
        """The counts of the release and of its splits; of what is not drawn, beside the official ones."""
        config, (_, counts) = self.builder_config, self._release
        splits = ", ".join(
            f"{name} {len({r.study_id for r in part}):,} studies ({len(part):,} images)"
            for name, part in self.records().items()
        )
        if config.split == "r2gen":
            splits += f"; of {len(r2gen_split(Path(config.annotation))):,} studies listed"
        official = None if config.description == DRAWN else OFFICIAL
        return [f"{config.source}: {config.description}", *counts.lines(official), f"  {config.split} split: {splits}"]


def config_for(
    path: str | Path,
    split: str,
    seed: int,
    stored_size: int,
    stored_format: str = "png",
    *,
    cache: Path,
    annotation: str = "",
    section: str = "findings",
) -> SourceConfig:
    """The builder's configuration for a release's folder.

    Args:
      cache: the folder below which an archive of images is unpacked.
      annotation: R2Gen's annotation.json, where it does not lie in the release's folder; of the split `r2gen`.
      section: the part of a report that the split `strict` compares.

    Raises:
      InputError: the folder is not a release, or the split is not one of a release's.
    """
    folder = Path(path).expanduser()
    split = {"auto": "paper"}.get(split, split)
    if split not in ("paper", "r2gen", "strict"):
        raise InputError(f"data.split = {split}: a release is split by study; set data.split=paper, r2gen or strict")
    missing = [name for name in (REPORTS, IMAGES) if not is_here(folder, name)]
    if missing:
        raise InputError(
            f"data.path = {path}: there is no folder {' and no folder '.join(missing)} in it, nor "
            f"{' nor '.join(ARCHIVES[name] for name in missing)}; download NLMCXR_reports.tgz and NLMCXR_png.tgz from "
            "Open-i (https://openi.nlm.nih.gov/faq, Indiana University - Chest X-rays) and put both into that folder, "
            "or set --config.data.download=true"
        )
    listed = _annotation(folder, annotation) if split == "r2gen" else None
    contents = [*(folder / table for table in TABLES), *([listed] if listed else [])]
    sources = [source_files(folder, name) for name in (REPORTS, IMAGES)]
    name = fingerprint(
        "openi",
        split,
        0 if split == "r2gen" else seed,
        section if split == "strict" else "",
        stored_size,
        stored_format,
        *(file.read_bytes() if file.is_file() else b"" for file in contents),
        *(archives.checksum(files[0]) for files in sources if files and files[0].suffix == ".tgz"),
        files=[file for files in sources for file in files],
    )
    return SourceConfig(
        name=name,
        # A claim about quality names its data: drawings never pass for patients.
        description=_description(folder),
        source=str(folder),
        split=split,
        seed=seed,
        stored_size=stored_size,
        stored_format=stored_format,
        cache=str(cache),
        annotation=str(listed or ""),
        section=section,
    )


def _description(folder: Path) -> str:
    """What scores are reported under: REAL, unless the release says that its images are drawn."""
    if not (folder / RELEASE_FILE).is_file():
        return REAL
    return REHEARSAL if b'"rehearsal"' in (folder / RELEASE_FILE).read_bytes() else DRAWN


def _annotation(folder: Path, given: str) -> Path:
    candidates = [Path(given).expanduser()] if given else [folder / name for name in ANNOTATIONS]
    for file in candidates:
        if file.is_file():
            return file
    raise InputError(
        f"data.split = r2gen: there is no {' or '.join(map(str, candidates))}; it is the annotation.json of R2Gen's "
        "IU X-ray; put it there or set data.annotation=FILE"
    )

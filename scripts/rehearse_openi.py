"""Draws a radiograph for every image that the real IU X-ray reports name: the whole run, before the 14 GB download.

    python scripts/rehearse_openi.py --reports NLMCXR_reports.tgz --out data/rehearsal
    python -m cxr_jax.train --config configs/base.py --config.data.path=data/rehearsal --workdir runs/rehearsal

Reports, ids and counts are the release's own; each image is drawn from its report's MeSH terms, so scores say whether
the system works, and nothing about patients. `release.json` marks it, and whatever is fed from it says "drawn".
"""

import argparse
import json
import re
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from cxr_jax.data.archives import IMAGE_NAME, REPORT_NAME, members
from cxr_jax.data.sources.openi_release import IMAGES, MAX_REPORT, REPORTS, parse_study
from cxr_jax.data.sources.openi_views import PROJECTIONS, plain_id, read_views
from cxr_jax.errors import InputError
from cxr_jax.phantom.drawing import draw_study
from cxr_jax.phantom.release import RELEASE_FILE, draw_in_parallel, write_projections
from cxr_jax.phantom.reports import DEGREES, KINDS, LOBES, Finding

# Which drawn finding a MeSH term becomes: the heading, and what its qualifiers must hold. The first match counts;
# terms that the pen has nothing for (most of "spine/degenerative", say) stay undrawn.
KIND_OF_TERM = (
    (r"cardiomegaly|heart failure|cardiac shadow/.*enlarged", "cardiomegaly"),
    (r"pleural effusion|costophrenic angle/.*blunted", "effusion"),
    (r"pneumothorax", "pneumothorax"),
    (r"calcified granuloma|granuloma|calcinosis/lung", "granuloma"),
    (r"nodule|mass|density/.*round", "nodule"),
    (r"pulmonary atelectasis|opacity/.*base|cicatrix/lung", "atelectasis"),
    (r"airspace disease|infiltrate|pneumonia|consolidation|opacity|density", "consolidation"),
    (r"lung/.*hyperdistention|.*emphysema|pulmonary disease, chronic obstructive|lung, hyperlucent", "hyperinflation"),
    (r"diaphragm/.*elevated|diaphragmatic eventration", "elevated"),
    (r"pulmonary edema|pulmonary congestion", "edema"),
    (r"hernia, hiatal", "hernia"),
    (r"scoliosis", "scoliosis"),
    (r"implanted medical device|medical device", "pacemaker"),
    (r"surgical instruments|spinal fusion", "sternotomy"),
    (r"catheters, indwelling|tube, inserted", "central_line"),
)


class Study(NamedTuple):
    """One report of the release: its number, the ids of its images with their views, and what they should show."""

    number: int
    images: tuple[tuple[str, str], ...]
    findings: tuple[Finding, ...]


def findings_from_terms(terms: Sequence[str], rng: np.random.Generator) -> tuple[Finding, ...]:
    """What the pen can draw of a report's MeSH terms; where a term gives no side, lobe or degree, `rng` does."""
    findings: dict[tuple[str, str], Finding] = {}
    for term in (term.lower() for term in terms):
        name = next((kind for pattern, kind in KIND_OF_TERM if re.match(pattern, term)), None)
        if name is None:
            continue
        for side in _sides(term, KINDS[name].sides, rng):
            place = next((lobe for lobe in LOBES if lobe in term and lobe in KINDS[name].places), "")
            if not place or (side, place) == ("left", "middle lobe"):
                place = _pick(tuple(p for p in KINDS[name].places if (side, p) != ("left", "middle lobe")), rng)
            findings.setdefault((name, side), Finding(name, side, place, _severity(term, KINDS[name].severities, rng)))
    return tuple(findings.values())


def _pick(options: tuple[str, ...], rng: np.random.Generator) -> str:
    return options[int(rng.integers(len(options)))]


def _sides(term: str, sides: tuple[str, ...], rng: np.random.Generator) -> tuple[str, ...]:
    qualifiers = term.split("/")[1:]
    if "bilateral" in qualifiers and len(sides) > 1:
        return ("bilateral",) if "bilateral" in sides else ("right", "left")
    return tuple(side for side in sides if side and side in qualifiers) or (_pick(sides, rng),)


def _severity(term: str, severities: tuple[str, ...], rng: np.random.Generator) -> str:
    words = dict(zip((*DEGREES, "small", "large"), (0, 1, 2, 0, 2), strict=True))
    named = [words[part] for part in term.split("/") if part in words]
    return severities[named[0]] if named and len(severities) == 3 else _pick(severities, rng)


def read_study(content: bytes, file: str, views: Mapping[str, str], seed: int) -> Study:
    """The study of one report; an image whose view no table gives is lateral where it is its study's second.

    Raises:
      InputError: the report is not well-formed XML, or an image's id could lead out of the folder.
    """
    report = parse_study(content, file)
    for image_id in report.image_ids:
        if not IMAGE_NAME.fullmatch(f"{image_id}.png"):
            raise InputError(f"{file}: image id {image_id!r} is none of the release's; download the archive again")
    shown = tuple(
        (image_id, views.get(plain_id(image_id), "lateral" if place == 1 else "frontal"))
        for place, image_id in enumerate(report.image_ids)
    )
    number = int(Path(file).stem)
    findings = findings_from_terms(report.major, np.random.default_rng([seed, number, 0]))
    return Study(number, shown, findings)


def draw(folder: Path, size: int, seed: int, study: Study) -> None:
    """Draws one study's images; every frontal of a study is the same patient, exposed anew."""
    for repeat, (image_id, view) in enumerate(study.images):
        frontal, lateral = draw_study(study.findings, [seed, study.number, repeat // 2], size)
        Image.fromarray(lateral if view == "lateral" else frontal).save(folder / f"{image_id}.png")


def main() -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reports", required=True, type=Path, metavar="TGZ", help="Open-i's NLMCXR_reports.tgz")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="a new folder for the release")
    parser.add_argument("--tables", type=Path, metavar="DIR", help="folder of indiana_projections.csv, for the views")
    parser.add_argument("--size", type=int, default=336, help="pixels a side (default 336)")
    parser.add_argument("--seed", type=int, default=0, help="another seed gives other patients (default 0)")
    options = parser.parse_args()
    try:
        print(rehearse(options.reports, options.out, options.tables, options.size, options.seed))
    except (InputError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def rehearse(archive: Path, out: Path, tables: Path | None, size: int, seed: int) -> str:
    """Writes the whole release to `out`, under its name only once it is whole; returns a line that sums it up."""
    start = time.monotonic()
    if out.exists():
        raise InputError(f"{out}: is there already; give a new folder, or delete it")
    draft = out.with_name(f"{out.name}.unfinished")
    shutil.rmtree(draft, ignore_errors=True)
    (draft / REPORTS).mkdir(parents=True)
    (draft / IMAGES).mkdir()
    views = read_views(tables) if tables else {}
    studies = []
    for name, content in sorted(members(archive, REPORT_NAME, MAX_REPORT), key=lambda entry: int(Path(entry[0]).stem)):
        (draft / REPORTS / name).write_bytes(content)
        studies.append(read_study(content, name, views, seed))
    if not studies:
        raise InputError(f"{archive}: holds no report; give NLMCXR_reports.tgz")
    draw_in_parallel(partial(draw, draft / IMAGES, size, seed), studies)
    shown = (
        (study.number, plain_id(image_id).removeprefix("CXR"), view)
        for study in studies
        for image_id, view in study.images
    )
    write_projections(draft / PROJECTIONS, shown)
    release = {"name": "rehearsal", "drawn": True, "studies": len(studies), "image_size": size, "seed": seed}
    (draft / RELEASE_FILE).write_text(json.dumps(release, indent=2) + "\n")
    draft.rename(out)
    count = sum(len(study.images) for study in studies)
    drawable = sum(bool(study.findings) for study in studies)
    megabytes = sum(file.stat().st_size for file in out.rglob("*") if file.is_file()) / 1e6
    return (
        f"{out}: {len(studies)} real reports, {count} drawn images ({drawable} studies show a finding), "
        f"{megabytes:.0f} MB, {time.monotonic() - start:.0f} s"
    )


if __name__ == "__main__":
    sys.exit(main())

"""A release of drawn chest radiographs with reports, in the layout of Open-i's download; no patient is shown."""

import csv
import json
import multiprocessing
import os
import threading
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image

from cxr_jax.errors import InputError
from cxr_jax.files import write_json
from cxr_jax.phantom.drawing import draw_study
from cxr_jax.phantom.reports import Finding, Report, sample_findings, write_report

T = TypeVar("T")

# Goes up whenever the same arguments would give other bytes.
VERSION = 7
MIN_IMAGE_SIZE = 32
RELEASE_FILE = "release.json"
# Names the release while it is being written, so that an interrupted one can be taken up again.
UNFINISHED_FILE = "release.unfinished.json"
NOTICE = "Drawn by cxr_jax.phantom; the images show no patient and the report describes a drawing."
VIEWS = (("1001", "Frontal"), ("2001", "Lateral"))


def study_findings_and_report(seed: int, number: int) -> tuple[tuple[Finding, ...], Report]:
    """What study `number` (from 1) of the release with this seed shows, and its report; nothing is drawn."""
    rng = np.random.default_rng([seed, number])
    findings = sample_findings(rng)
    return findings, write_report(findings, rng)


def write_release(
    folder: str | os.PathLike[str],
    num_studies: int,
    image_size: int = 128,
    seed: int = 0,
    workers: int | None = None,
) -> Path:
    """Write `num_studies` drawn studies to `folder` in Open-i's layout and return the folder.

    Study n depends on `seed`, n and `image_size` (pixels a side) alone. `release.json` is written last: the release is
    whole if it is there, and a second call with equal arguments returns at once. `workers` processes draw (default:
    one for each CPU; 1 draws in this process); as they are spawned, a script must call this under
    `if __name__ == "__main__":`.

    Raises:
        InputError: an argument is out of range, or the folder holds something else.
    """
    _check_arguments(num_studies, image_size, seed, workers)
    root = Path(folder)
    release = {
        "name": "phantom",
        "drawn": True,
        "studies": num_studies,
        "image_size": image_size,
        "seed": seed,
        "version": VERSION,
    }
    if _is_whole(root, release):
        return root
    root.mkdir(parents=True, exist_ok=True)
    write_json(root / UNFINISHED_FILE, release)
    for name in ("ecgen-radiology", "NLMCXR_png"):
        (root / name).mkdir(exist_ok=True)
    numbers = range(1, num_studies + 1)
    draw_in_parallel(partial(_write_study, root, image_size, seed), numbers, workers)
    shown = ((number, _image_name(number, view), projection) for number in numbers for view, projection in VIEWS)
    write_projections(root / "indiana_projections.csv", shown)
    write_json(root / RELEASE_FILE, release)
    (root / UNFINISHED_FILE).unlink(missing_ok=True)
    return root


def _check_arguments(num_studies: int, image_size: int, seed: int, workers: int | None) -> None:
    if num_studies < 1:
        raise InputError(f"phantom: studies is {num_studies}; ask for at least 1")
    if image_size < MIN_IMAGE_SIZE:
        raise InputError(f"phantom: image size is {image_size} pixels; ask for at least {MIN_IMAGE_SIZE}")
    if seed < 0:
        raise InputError(f"phantom: seed is {seed}; give a number from 0 up")
    if workers is not None and workers < 1:
        raise InputError(f"phantom: workers is {workers}; give at least 1, or none to use every CPU")


def _is_whole(root: Path, release: dict[str, object]) -> bool:
    """Whether `root` holds this release; False means that it may be written there."""
    if not root.exists():
        return False
    if not root.is_dir():
        raise InputError(f"{root}: is a file, not a folder; give a folder for the phantom release")
    for name in (RELEASE_FILE, UNFINISHED_FILE):
        if (root / name).exists():
            there = _read_json(root / name)
            if there == release:
                return name == RELEASE_FILE
            wanted = ", ".join(f"{key} {release[key]}" for key in ("studies", "image_size", "seed", "version"))
            raise InputError(
                f"{root / name}: another release ({there}) than {wanted}; give an empty folder or delete this"
            )
    if any(root.iterdir()):
        raise InputError(f"{root}: holds files that are no phantom release; give a new or an empty folder")
    return False


def _read_json(path: Path) -> object:
    try:
        return json.loads(path.read_text())
    except ValueError:
        return "unreadable"


def draw_in_parallel(write: Callable[[T], None], studies: Sequence[T], workers: int | None = None) -> None:
    """Calls `write` on every study, in processes unless a pool would cost more than it saves."""
    count = min(workers or _cpu_count(), -(-len(studies) // 8))
    if count <= 1:
        for study in studies:
            write(study)
        return
    # Spawned, not forked: the caller may hold threads (JAX does), and a fork would copy their locks.
    context = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(count, context, _end_with_the_caller) as pool:
            for _ in pool.map(write, studies, chunksize=16):
                pass
    except BrokenProcessPool as error:
        raise InputError(
            "phantom: the drawing processes ended early; call write_release under `if __name__ == '__main__':`, "
            "give the machine more memory, or pass workers=1"
        ) from error


def _end_with_the_caller() -> None:
    """In a drawing process: it ends with the process that waits for it, however that ends."""
    caller = multiprocessing.parent_process()
    assert caller is not None

    def wait() -> None:
        caller.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _cpu_count() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _image_name(number: int, view: str) -> str:
    return f"{number}_IM-{number:04d}-{view}"


def _write_study(root: Path, image_size: int, seed: int, number: int) -> None:
    findings, report = study_findings_and_report(seed, number)
    for (view, _), image in zip(VIEWS, draw_study(findings, [seed, number], image_size), strict=True):
        Image.fromarray(image).save(root / "NLMCXR_png" / f"CXR{_image_name(number, view)}.png")
    (root / "ecgen-radiology" / f"{number}.xml").write_bytes(report_xml(number, report))


def report_xml(number: int, report: Report) -> bytes:
    """The report as one of Open-i's XML files (UTF-8)."""
    root = ElementTree.Element("eCitation")

    def add(parent: ElementTree.Element, name: str, text: str | None = None, **attributes: str) -> ElementTree.Element:
        element = ElementTree.SubElement(parent, name, attributes)
        element.text = text
        return element

    add(root, "meta", type="rr")
    add(root, "uId", id=f"CXR{number}")
    add(root, "pmcId", id=str(number))
    add(root, "docSource", "CXR")
    add(root, "IUXRId", id=str(number))
    add(root, "licenseType", NOTICE)
    add(root, "articleType", "XR")
    add(root, "publisher", "cxr_jax phantom (drawn, no patients)")
    add(root, "title", "Drawn chest radiographs")
    add(root, "note", NOTICE)
    add(root, "specialty", "pulmonary diseases")
    add(root, "subset", "CXR")
    citation = add(root, "MedlineCitation", Owner="cxr_jax phantom", Status="drawn")
    article = add(citation, "Article", PubModel="Electronic")
    add(article, "ArticleTitle", "Drawn chest radiographs")
    abstract = add(article, "Abstract")
    for label in ("comparison", "indication", "findings", "impression"):
        add(abstract, "AbstractText", getattr(report, label), Label=label.upper())
    author = add(add(article, "AuthorList", CompleteYN="Y"), "Author", ValidYN="Y")
    add(author, "LastName", "Phantom (a program, not a radiologist)")
    add(article, "Language", "eng")
    mesh = add(root, "MeSH")
    for tag in report.tags:
        add(mesh, "major", tag)
    for tag in report.tags:
        if tag != "normal":
            add(mesh, "automatic", tag.split("/")[0].lower())
    for place, (view, projection) in enumerate(VIEWS, start=1):
        image = add(root, "parentImage", id=f"CXR{_image_name(number, view)}")
        add(image, "figureId", f"F{place}")
        add(image, "caption", f"Drawn chest radiograph, {projection.lower()}")
        panel = add(image, "panel", type="single")
        add(panel, "url", f"/phantom/CXR{_image_name(number, view)}.jpg")
        add(panel, "imgModality", "7")
    ElementTree.indent(root, space="   ")
    return ElementTree.tostring(root, encoding="utf-8", xml_declaration=True) + b"\n"


def write_projections(path: Path, images: Iterable[tuple[int, str, str]]) -> None:
    """The table that says which image is frontal and which lateral, of (study's number, id without CXR, view)."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("uid", "filename", "projection"))
        for number, name, view in images:
            writer.writerow((number, f"{name}.dcm.png", view.capitalize()))

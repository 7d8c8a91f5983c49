"""What the command line names, read and embedded: the set, its questions, its sample, its pool."""

import dataclasses
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from cxr_jax import ids
from cxr_jax.csv_table import listed
from cxr_jax.data import copies
from cxr_jax.data.class_sample import class_sample, classes_of, sizes_of
from cxr_jax.data.column_maps import ColumnMap, read_column_map
from cxr_jax.data.external import ExternalSet, read_external
from cxr_jax.data.label_names import means_none
from cxr_jax.data.notes import Notes, say
from cxr_jax.data.reports import normalize_report
from cxr_jax.errors import InputError
from cxr_jax.export.folder import ExportFolder
from cxr_jax.retrieval.corpus import TRAIN, read_pool
from cxr_jax.retrieval.external import Embedder
from cxr_jax.retrieval.model import Model
from cxr_jax.retrieval.prompts import EXAMPLE, Question, default_nothings, match_labels, questions_of
from cxr_jax.retrieval.store import SplitIndex, splits_in
from cxr_jax.runtime.run_folder import RunFolder
from cxr_jax.yaml_file import read_mapping


@dataclass(frozen=True)
class Options:
    """What the command line asks for, under its options' names; "" where it does not."""

    workdir: str
    data: str
    name: str = ""
    zero_shot: str = ""
    pool: tuple[str, ...] = (TRAIN,)
    columns: str = ""
    images: str = ""
    calibrate: str = ""
    uncertain: str = "ignore"
    blank: str = "ignore"
    sample: str = ""
    seed: int = 0
    protocol: str = "raw"
    top_k: int = 3
    out: str = ""
    compare: str = ""


@dataclass(frozen=True)
class Asked:
    """All that was read before the model is loaded."""

    external: ExternalSet
    questions: list[Question]
    classes: tuple[str, ...]  # of the sample; none without
    class_of: np.ndarray  # int64 (n,), the number of each image's class; empty without
    calibration: ExternalSet | None


def read_asked(options: Options, config: Mapping[str, Any], notes: Notes) -> Asked:
    """Reads all files but images.

    Raises:
      InputError: one is not in its form, or there are neither labels nor reports.
    """
    columns = read_column_map(options.columns) if options.columns else ColumnMap("--columns", {})
    external = _read(options, options.data, columns, config, notes)
    classes: tuple[str, ...] = ()
    class_of = np.zeros(0, np.int64)
    if options.sample:
        count, size = sizes_of(options.sample)
        classes = classes_of(count, external.names, external.columns.classes, options.data)
        rows, class_of = class_sample(external.values, external.names, classes, size, options.seed)
        external = external.take(rows)
    questions = _questions(options, external, classes or external.names, notes)
    if not questions and not any(external.reports):
        raise InputError(
            f"{options.data}: has neither labels nor reports in its columns {', '.join(external.columns.cells)}; say "
            "by --columns where they stand"
        )
    calibration = None
    if options.calibrate:
        others = Notes()
        calibration = _read(options, options.calibrate, columns, config, others)
        say(options.calibrate, others.all)
    return Asked(external, questions, classes, class_of, calibration)


def check_reports(options: Options, asked: Asked, run: RunFolder | ExportFolder, what: str) -> None:
    """Refuses an option that is of retrieved reports, which `what` names, where there are none to score.

    Raises:
      InputError: the set has labels alone, or the model no pool to retrieve from.
    """
    if not any(asked.external.reports):
        raise InputError(
            f"{what}: is of retrieved reports, and {options.data} has labels alone and no report to hold them against; "
            "leave it out, or say by --columns where the reports stand"
        )
    if options.pool == (TRAIN,) and TRAIN not in splits_in(run.index):
        raise InputError(
            f"{what}: is of retrieved reports, and {options.workdir} has no pool of reports; name one by --pool FILE, "
            "or export the run again with --with_index"
        )


def _read(options: Options, file: str, columns: ColumnMap, config: Mapping[str, Any], notes: Notes) -> ExternalSet:
    images = Path(options.images).expanduser() if options.images else None
    data = config["data"]
    if images and not images.is_dir():
        raise InputError(f"--images {options.images}: is no folder; name the one that paths of images start from")
    return read_external(Path(file).expanduser(), columns, images, data["section"], data["view"], notes)


def _questions(options: Options, external: ExternalSet, names: Sequence[str], notes: Notes) -> list[Question]:
    """What is asked of the images: by --zero_shot, or by the map's prompts, or else each of the names."""
    asked = _asked(options, external, names, notes)
    for name in default_nothings(asked):
        notes.add(
            "labels say that there is no finding, and are asked for by default sentences all the same, which do not "
            "say so: write sentences of their own",
            repr(name),
        )
    return asked


def _asked(options: Options, external: ExternalSet, names: Sequence[str], notes: Notes) -> list[Question]:
    if not external.names:
        if options.zero_shot:
            raise InputError(f"--zero_shot: {options.data} has no labels to hold it against; say where by --columns")
        return []
    source, stated = options.zero_shot or external.columns.source, external.columns.prompts
    if options.zero_shot and options.zero_shot.strip() != "{}":
        questions = questions_of(read_mapping(source, "labels and sentences", EXAMPLE), source)
    elif stated and not options.zero_shot:
        # A map serves all of a data set's tables, of which some lack a label.
        known = {name.casefold() for name in external.names}
        asked = questions_of(stated, f"{source}: prompts")
        there = [tuple(label for label in q.labels if label.casefold() in known) for q in asked]
        questions = [dataclasses.replace(q, labels=labels) for q, labels in zip(asked, there, strict=True) if labels]
    else:
        questions = questions_of({name: {} for name in names}, source)
        for name in default_nothings(questions):
            notes.add(
                "labels say that there is no finding, and are not asked for: name them under normal: in --columns, or "
                "write sentences for them (--zero_shot)",
                repr(name),
            )
        findings = [question for question in questions if not means_none(question.name)]
        if not findings:
            raise InputError(
                f"{options.data}: its only labels, {listed(names)}, say that there is no finding; write sentences for "
                "them (--zero_shot), or say by --columns where the findings stand"
            )
        questions = findings
    return match_labels(questions, external.names, source)


@dataclass(frozen=True)
class Embedded:
    """The set as the model sees it, and what it retrieves from."""

    embedder: Embedder
    external: ExternalSet
    query: SplitIndex
    class_of: np.ndarray
    pool: SplitIndex | None
    facts: dict[str, Any]  # of metrics.json


def embed(
    options: Options, model: Model, run: RunFolder | ExportFolder, asked: Asked, name: str, notes: Notes
) -> Embedded:
    """Embeds what can be read, and makes the pool, without the studies of the set itself.

    Raises:
      InputError: no image can be read, or the pool is not what it should be.
    """
    embedder = Embedder(model, run.step() if isinstance(run, ExportFolder) else model.pool.step)
    readable, z_v = embedder.images([record.image for record in asked.external.records], notes, progress)
    external = asked.external.take(readable)
    query = embedder.index(name, external.records, external.reports, z_v)
    barred = set(query.columns.study_ids.tolist())
    barred_ids, in_training = {study.decode() for study in barred}, {"by_id": 0, "by_picture": 0}
    if model.has_pool:
        known = {ids.key(study.decode()) for study in model.pool.columns.study_ids}
        in_training["by_id"] = sum(ids.key(row.study_id) in known for row in query.rows)
        seen, trained = (copies.sketches(index.thumbnails) for index in (query, model.pool))
        pairs = copies.copies(seen, trained)
        in_training["by_picture"] = len({image for image, _ in pairs})
        barred_ids |= {model.pool.rows[row].study_id for _, row in pairs}
        for what, count in zip(("study ids", "pictures"), in_training.values(), strict=True):
            if count:
                notes.add(
                    f"images are in the run's training split too, by their {what}: what is scored of them was trained "
                    "on; their studies are left out of the pool",
                    count=count,
                )
    pool, lost = None, 0
    if model.has_pool or options.pool != (TRAIN,):
        pool, lost = read_pool(embedder, options.pool, notes, barred_ids)
        if options.pool != (TRAIN,):
            held = set(map(normalize_report, (row.report for row in pool.rows)))
            if own := sum(normalize_report(report) in held for report in external.reports if report):
                notes.add(
                    "true reports stand in --pool word for word: an image may find its own, unless both tables name "
                    "its study by study_id",
                    count=own,
                )
    facts = {
        "dataset": Path(options.data).name,
        "data": options.data,
        "columns": options.columns,
        "data_split": "none",
        "split": name,
        "step": embedder.step,
        "n": len(query),  # of scores of reports: of the images that have one
        "n_images": len(query),
        "n_patients": len({row.patient_id for row in query.rows}),
        "in_training": in_training,
        "pool": {"of": list(options.pool), "studies": len(pool.columns.study_ids) if pool else 0, "left_out": lost},
    }
    return Embedded(
        embedder, external, query, asked.class_of[readable] if options.sample else asked.class_of, pool, facts
    )


def progress(batches: Iterable[Any], count: int) -> Iterator[Any]:
    """A bar on a terminal."""
    terminal = sys.stderr.isatty()
    return iter(tqdm(batches, total=count, desc="images", unit="batch", dynamic_ncols=True, disable=not terminal))

"""The labels of a set from elsewhere, asked of its images by sentences; thresholds from the run's val, or a table."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cxr_jax.data.external import ExternalSet
from cxr_jax.data.label_values import truth_and_known
from cxr_jax.data.notes import Notes, say
from cxr_jax.errors import InputError
from cxr_jax.evaluation.comparison import same_images
from cxr_jax.evaluation.label_comparison import compare_labels, margins_of
from cxr_jax.evaluation.predictions import Line
from cxr_jax.evaluation.zero_shot import zero_shot_metrics
from cxr_jax.export.folder import ExportFolder
from cxr_jax.labels.indicators import indicators
from cxr_jax.recipes.external_set import Asked, Embedded, Options, progress
from cxr_jax.retrieval.model import Model
from cxr_jax.retrieval.prompts import Question
from cxr_jax.retrieval.store import SplitIndex, splits_in
from cxr_jax.retrieval.zero_shot import margins
from cxr_jax.runtime.run_folder import RunFolder

Labelled = tuple[np.ndarray, np.ndarray, np.ndarray]  # image embeddings, truth, whether it is known


def zero_shot(
    options: Options, model: Model, run: RunFolder | ExportFolder, asked: Asked, embedded: Embedded
) -> tuple[dict[str, Any], np.ndarray]:
    """What zero_shot.json holds, and the margin (`retrieval.zero_shot`) of each label of each image, float64 (n, L).

    Raises:
      InputError: --calibrate names no image that can be read.
    """
    questions, query = asked.questions, embedded.query
    truth, known = truth_of(embedded.external, questions, options.uncertain, options.blank)
    if asked.calibration is None:
        (images, val_truth, val_known), where = _of_val(run, query, questions), "the run's val"
    else:
        (images, val_truth, val_known), where = _of_table(options, asked, embedded), options.calibrate
    both = np.concatenate([query.image_embeddings, images])
    margin, val_margin = np.split(margins(both, questions, model.encode_text, model.scale), [len(query)])
    patients = [row.patient_id for row in query.rows]
    metrics = zero_shot_metrics(
        questions, truth, margin, val_truth, val_margin, patients, known=known, val_known=val_known
    )
    lacking = [name for name, entry in metrics["labels"].items() if entry["threshold"] is None]
    remarks = [
        f"Doubt (-1): {options.uncertain}; blank: {options.blank}. What is ignored does not count for its label."
    ]
    if lacking:
        why = (
            "has no image that shows them" if asked.calibration else "does not have these labels, or none that is there"
        )
        some = "all" if len(lacking) == len(questions) else ", ".join(lacking)
        more = "" if asked.calibration else "; --calibrate FILE takes thresholds from a table"
        remarks.append(f"No threshold, so no F1, of {some}: {where} {why}{more}.")
    if len(lacking) < len(questions):
        remarks.append(f"F1 at the threshold that is best on {where}.")
    result = {
        "scale": model.scale,
        "labels_from": options.data,
        "policy": {"uncertain": options.uncertain, "blank": options.blank},
        "thresholds": f"highest F1 on {where}" if len(lacking) < len(questions) else "none",
        "no_threshold": lacking,
        **metrics,
        "remarks": remarks,
    }
    return result, margin


def compared(
    options: Options,
    asked: Asked,
    embedded: Embedded,
    metrics: Mapping[str, Any],
    lines: Sequence[Line],
    others: Sequence[Line],
) -> dict[str, dict[str, Any]]:
    """`label_comparison.compare_labels` with another model's lines, of the labels that both were asked for.

    Args:
      metrics: what `zero_shot` returned. lines: the set's, with their margins.

    Returns:
      Nothing where no label that can be measured was asked for by both.

    Raises:
      InputError: the two are not of the same images, or the tables say otherwise of a label.
    """
    others = same_images(lines, others)
    both = [
        (number, question.name, mine, theirs)
        for number, question in enumerate(asked.questions)
        if "auroc" in metrics["labels"][question.name]
        and (mine := margins_of(lines, question.name)) is not None
        and (theirs := margins_of(others, question.name)) is not None
    ]
    if not both:
        return {}
    columns, names, mine, theirs = zip(*both, strict=True)
    counted = {label for number in columns for label in asked.questions[number].labels}
    for line, other in zip(lines, others, strict=True):
        said = other.get("label_values") or {}
        for label in sorted(counted & said.keys()):
            if line["label_values"][label] != said[label]:
                raise InputError(
                    f"--compare {options.compare}: says otherwise of {label} in image {line['image_id']}; compare "
                    "evaluations of one table"
                )
    truth, known = truth_of(embedded.external, asked.questions, options.uncertain, options.blank)
    rows = list(columns)
    patients = [row.patient_id for row in embedded.query.rows]
    ours, others_margins = np.stack(mine, axis=1), np.stack(theirs, axis=1)
    return compare_labels(names, truth[:, rows], known[:, rows], ours, others_margins, patients)


def truth_of(
    external: ExternalSet, questions: Sequence[Question], uncertain: str, blank: str
) -> tuple[np.ndarray, np.ndarray]:
    """Of each image and question: whether it is so, and whether that is known, bool (n, L).

    A question of several labels is so where one of them is there, and not where each is known not to be.
    """
    there, sure = truth_and_known(external.values, uncertain, blank)
    truth, known = (np.zeros((len(external), len(questions)), bool) for _ in range(2))
    for i, question in enumerate(questions):
        columns = [external.names.index(label) for label in question.labels]
        truth[:, i] = (there[:, columns] & sure[:, columns]).any(axis=1)
        known[:, i] = truth[:, i] | sure[:, columns].all(axis=1)
    return truth, known


def _of_val(run: RunFolder | ExportFolder, query: SplitIndex, questions: Sequence[Question]) -> Labelled:
    """The run's val where it knows the labels: under the same name, whatever the case, on either side."""
    if "val" not in splits_in(run.index):
        return _nothing(query.image_embeddings.shape[1], len(questions))
    val = SplitIndex.load(run.index, "val")
    val.check_checkpoint(query.step, query.checkpoint, "the model")
    labels = [row.labels for row in val.rows]
    own = {label for of_row in labels for label in of_row}
    columns = [
        {label for label in own if {label.casefold(), label.split("/")[0].casefold()} & wanted}
        for question in questions
        if (wanted := {name.casefold() for name in (question.name, *question.labels)})
    ]
    known = np.tile([bool(column) for column in columns], (len(val), 1))
    return val.image_embeddings, indicators(labels, columns), known


def _of_table(options: Options, asked: Asked, embedded: Embedded) -> Labelled:
    calibration, notes = asked.calibration, Notes()
    assert calibration is not None
    readable, images = embedded.embedder.images([record.image for record in calibration.records], notes, progress)
    calibration = calibration.take(readable)
    patients = {record.patient_id for record in embedded.external.records}
    shared = sum(record.patient_id in patients for record in calibration.records)
    if shared:
        notes.add(f"images are of patients of {options.data}: the thresholds are too good there", count=shared)
    say(options.calibrate, notes.all)
    known = {name.casefold(): name for name in calibration.names}
    there = [tuple(known[label.casefold()] for label in q.labels if label.casefold() in known) for q in asked.questions]
    questions = [Question(q.name, (), (), labels) for q, labels in zip(asked.questions, there, strict=True)]
    truth, sure = truth_of(calibration, questions, options.uncertain, options.blank)
    return images, truth, sure & np.array([bool(labels) for labels in there])[None, :]


def _nothing(width: int, questions: int) -> Labelled:
    return np.zeros((0, width), np.float32), np.zeros((0, questions), bool), np.zeros((0, questions), bool)

"""Retrieval by class within a balanced sample: precision at K and mean average precision."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cxr_jax.evaluation.class_retrieval import class_columns, class_scores
from cxr_jax.evaluation.retrieval_metrics import means
from cxr_jax.retrieval.model import Model
from cxr_jax.retrieval.prompts import Question, questions_of
from cxr_jax.retrieval.store import SplitIndex
from cxr_jax.retrieval.zero_shot import ensemble


def by_class(
    model: Model, query: SplitIndex, classes: Sequence[str], class_of: np.ndarray, questions: Sequence[Question]
) -> dict[str, Any]:
    """{direction: precision@k, map and chance, of images with intervals}: what is right is of the query's class.

    "image_to_image": each image among the others of other studies; "image_to_report": among the reports, where all
    images have one, its own too; "sentence_to_image": the sentences that affirm a class, put together, among the
    images, and "sentences" says which.
    """
    images, patients = query.image_embeddings, [row.patient_id for row in query.rows]
    studies = query.columns.studies
    own = studies[:, None] == studies
    result = {
        "image_to_image": class_scores(class_columns(images @ images.T, class_of, class_of, barred=own), patients)
    }
    if all(row.report for row in query.rows):
        first = query.one_row_per_study()
        columns = class_columns(images @ query.text_embeddings[first].T, class_of, class_of[first])
        result["image_to_report"] = class_scores(columns, patients)
    asked = {label: question.positive for question in questions for label in question.labels}
    default = {question.name: question.positive for question in questions_of({name: {} for name in classes}, "")}
    sentences = {name: asked.get(name, default[name]) for name in classes}
    texts = np.array([ensemble(model.encode_text(list(of_class))) for of_class in sentences.values()], np.float32)
    columns = class_columns(texts @ images.T, np.arange(len(classes)), class_of)
    result["sentence_to_image"] = means(columns)  # a query a class: too few to draw from
    return result | {"sentences": {name: list(of_class) for name, of_class in sentences.items()}}


def remarks_of(by_class: Mapping[str, Any]) -> list[str]:
    """What cannot be measured of a sample, and why: a sentence a direction and reason."""
    lacking: dict[str, list[str]] = {}
    for direction, scores in by_class.items():
        for name, why in scores.get("not_measurable", {}).items():
            lacking.setdefault(f"{direction.replace('_', ' ')}: {why}", []).append(name)
    return [f"No {', '.join(names)} of {where}." for where, names in lacking.items()]


def sample_csv(query: SplitIndex, classes: Sequence[str], class_of: np.ndarray) -> str:
    """The sample as a table: class, image, study_id, patient_id."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["class", "image", "study_id", "patient_id"])
    for row, number in zip(query.rows, class_of, strict=True):
        writer.writerow([classes[number], row.image_id, row.study_id, row.patient_id])
    return file.getvalue()

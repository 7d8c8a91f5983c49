"""A run's split, labelled by opposite sentences."""

import sys
from pathlib import Path
from typing import Any

import numpy as np

import cxr_jax
from cxr_jax.evaluation import tables
from cxr_jax.evaluation.zero_shot import zero_shot_metrics
from cxr_jax.files import write_json
from cxr_jax.labels.csv_files import read_labels
from cxr_jax.labels.indicators import indicators
from cxr_jax.retrieval.prompts import default_nothings, match_labels, read_questions
from cxr_jax.retrieval.store import SplitIndex
from cxr_jax.retrieval.zero_shot import margins
from cxr_jax.runtime import parallel
from cxr_jax.runtime.run_folder import RunFolder


def zero_shot_split(workdir: str | Path, prompts: str | Path, split: str = "test", labels_from: str = "") -> Path:
    """Scores a split's labels, prints the table and writes `eval/<split>/zero_shot.json`, which it returns.

    Images are not read again: the index has their embeddings.

    Args:
      prompts: a labels.yaml, see `cxr_jax.retrieval.prompts`.
      labels_from: a CSV of another tool's labels of val and of the split (`cxr_jax.labels.csv_files`), which then
        stand in for the data's own.

    Raises:
      InputError: a file is not in its form or asks for a label that the data lack, or the folder holds no finished
        run, or the run no such split.
    """
    questions = read_questions(Path(prompts))
    for name in default_nothings(questions):
        print(
            f"{prompts}: {name} says that there is no finding, which default sentences do not say; write sentences of "
            "its own",
            file=sys.stderr,
        )
    run = RunFolder(workdir)
    config = run.load_config()
    held_out = {name: SplitIndex.load(run.index, name) for name in ("val", "test")}
    query, val = held_out[split], held_out["val"]
    given = {name: _given_labels(labels_from, held_out[name]) for name in sorted({split, "val"}) if labels_from}
    parallel.cache_compilations(Path(config["data"]["cache"]).expanduser() / "compiled")
    model = cxr_jax.load(workdir)
    for index in held_out.values():
        index.check_checkpoint(model.pool.step, model.pool.checkpoint, "the model")
    rows = {"train": model.pool.rows, **{name: index.rows for name, index in held_out.items()}}
    labels = given or {name: [frozenset(row.labels) for row in of_split] for name, of_split in rows.items()}
    known = {label for of_split in labels.values() for study in of_split for label in study}
    questions = match_labels(questions, known, str(prompts))

    images = np.concatenate([query.image_embeddings, val.image_embeddings])
    margin, val_margin = np.split(margins(images, questions, model.encode_text, model.scale), [len(query)])
    columns = [question.labels for question in questions]
    truth, val_truth = (indicators(labels[name], columns) for name in (split, "val"))
    patients = [row.patient_id for row in query.rows]
    metrics: dict[str, Any] = {
        "dataset": config["data"]["description"],
        "data_split": config["data"]["split_used"],
        "split": split,
        "step": query.step,
        "labels_from": labels_from or "the data set",
        "n": len(query),
        "n_patients": len(set(patients)),
        "scale": model.scale,
        "thresholds": "highest F1 on val",
        **zero_shot_metrics(questions, truth, margin, val_truth, val_margin, patients),
    }
    own = ", which is this split itself: F1 is too good" if split == "val" else ""
    origin = f", labels of {labels_from}" if labels_from else ""
    print(
        f"{metrics['dataset']}, split by {metrics['data_split']}: {split} split, {len(query)} images of "
        f"{len(set(patients))} patients, zero-shot by {prompts}{origin}\n\n"
        f"{tables.format_table(*tables.zero_shot_table(metrics))}\n\n"
        f"F1 at the threshold that is best on val{own}. A guess has AUROC .500 and as average precision the share.\n"
    )
    folder = run.evaluation(split)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "zero_shot.json"
    write_json(file, metrics)
    print(f"scores and sentences: {file}")
    return file


def _given_labels(file: str, index: SplitIndex) -> list[frozenset[str]]:
    """Each image's labels: those that the CSV gives its study."""
    studies = list(dict.fromkeys(row.study_id for row in index.rows))
    labels = dict(zip(studies, read_labels(Path(file), studies), strict=True))
    return [labels[row.study_id] for row in index.rows]

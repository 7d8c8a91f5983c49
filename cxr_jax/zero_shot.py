"""Labels asked of a split by opposite sentences, and how often the answers are right: `retrieve --zero_shot`."""

from pathlib import Path
from typing import Any

import numpy as np

from cxr_jax.evaluation.tables import Table, format_table
from cxr_jax.evaluation.zero_shot import indicators, label_metrics, margins
from cxr_jax.labels.csv_files import read_labels
from cxr_jax.retrieval import model as inference
from cxr_jax.retrieval.prompts import match_labels, read_questions
from cxr_jax.retrieval.store import SplitIndex
from cxr_jax.runtime import parallel
from cxr_jax.runtime.run_folder import RunFolder, write_json


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
    run = RunFolder(workdir)
    config = run.load_config()
    held_out = {name: SplitIndex.load(run.index, name) for name in ("val", "test")}
    query, val = held_out[split], held_out["val"]
    given = {name: _given_labels(labels_from, held_out[name]) for name in sorted({split, "val"}) if labels_from}
    parallel.cache_compilations(Path(config["data"]["cache"]).expanduser() / "compiled")
    model = inference.load(workdir)
    rows = {"train": model.pool.rows, **{name: index.rows for name, index in held_out.items()}}
    labels = given or {name: [frozenset(row.labels) for row in each] for name, each in rows.items()}
    known = {label for each in labels.values() for study in each for label in study}
    questions = match_labels(questions, known, str(prompts))

    images = np.concatenate([query.image_embeddings, val.image_embeddings])
    margin, val_margin = np.split(margins(images, questions, model.encode_text, model.scale), [len(query)])
    truth, val_truth = (indicators(labels[name], questions) for name in (split, "val"))
    patients = [row.patient_id for row in query.rows]
    metrics: dict[str, Any] = {
        "dataset": config["data"]["description"],
        "data_split": config["data"].get("split_used", config["data"]["split"]),
        "split": split,
        "step": query.step,
        "labels_from": labels_from or "the data set",
        "n": len(query),
        "n_patients": len(set(patients)),
        "scale": model.scale,
        "thresholds": "highest F1 on val",
        **label_metrics(questions, truth, margin, val_truth, val_margin, patients),
    }
    own = ", which is this split itself: F1 is too good" if split == "val" else ""
    origin = f", labels of {labels_from}" if labels_from else ""
    print(
        f"{metrics['dataset']}, split by {metrics['data_split']}: {split} split, {len(query)} images of "
        f"{len(set(patients))} patients, zero-shot by {prompts}{origin}\n\n"
        f"{format_table(*table(metrics))}\n\n"
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


def table(metrics: dict[str, Any]) -> Table:
    """Columns and rows: a label each, then their macro mean; what cannot be measured is said to be so."""
    rows = []
    for name, entry in metrics["labels"].items():
        head = [name, str(entry["n_positive"]), f"{entry['prevalence']:.3f}"]
        rows.append([*head, *_cells(entry)] if "auroc" in entry else [*head, entry["not_measurable"], *[""] * 5])
    macro = metrics["macro"]
    if macro:
        head = [f"macro mean of {macro['n_labels']}", "", f"{macro['floors']['average_precision']:.3f}"]
        rows.append([*head, *_cells(macro)])
    return ["", "positive", "share", "AUROC", "95 %", "AP", "F1", "95 %", "always yes"], rows


def _cells(entry: dict[str, Any]) -> list[str]:
    def score(name: str) -> list[str]:
        if entry[name] is None:
            return ["none on val", ""]
        return [f"{entry[name]:.3f}", "{:.3f}-{:.3f}".format(*entry["intervals"][name])]

    return [*score("auroc"), score("average_precision")[0], *score("f1"), f"{entry['floors']['f1']:.3f}"]

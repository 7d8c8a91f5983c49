"""Any system's reports, a JSON object a line, to be scored and compared as our own are.

A line holds at least `study_id` and `prediction`; the predictions.jsonl of a run holds more. References and the reports
that floors and ceiling are drawn from come from a run's index or from an annotation.json in R2Gen's form.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cxr_jax.data.sources.annotation import read_lists
from cxr_jax.errors import InputError
from cxr_jax.evaluation.bootstrap import sample_and_resamples
from cxr_jax.evaluation.label_metrics import finding_f1, indicators, resampled_macro
from cxr_jax.evaluation.scoring import Pool
from cxr_jax.evaluation.text_metrics import SCORES, pair_statistics, resampled_scores
from cxr_jax.labels.csv_files import read_labels

Line = Mapping[str, Any]


def read_predictions(file: Path) -> list[Line]:
    """The lines of a predictions file.

    Raises:
      InputError: it cannot be read, or a line is no JSON object with a study_id and a prediction.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: cannot be read ({error}); give a predictions.jsonl") from error
    lines: list[Line] = []
    for number, content in enumerate(text.splitlines(), start=1):
        if not content.strip():
            continue
        try:
            line = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{file}: line {number} is no JSON ({error}); write one object a line") from error
        if not isinstance(line, dict) or not all(isinstance(line.get(key), str) for key in ("study_id", "prediction")):
            raise InputError(f"{file}: line {number} lacks study_id or prediction, both strings; write both")
        lines.append(line)
    if not lines:
        raise InputError(f"{file}: holds no line; write one object a line, with study_id and prediction")
    return lines


def read_annotation(file: Path, split: str) -> tuple[Pool, dict[str, str]]:
    """(The reports of train and val, the references of `split` by id) of an annotation.json in R2Gen's form.

    Raises:
      InputError: it cannot be read, or is not in that form.
    """
    lists, _ = read_lists(file)
    reports: dict[str, dict[str, str]] = {name: {} for name in lists}
    for name, (key, entries) in lists.items():
        for number, entry in enumerate(entries):
            fields = entry if isinstance(entry, dict) else {}
            if not isinstance(fields.get("id"), str) or not isinstance(fields.get("report"), str):
                raise InputError(f"{file}: {key}[{number}]: lacks id or report, both strings; mend it")
            reports[name][fields["id"]] = fields["report"]
    return Pool(list(reports["train"].values()), list(reports["val"].values())), reports[split]


def references_of(lines: Sequence[Line], references: Mapping[str, str], source: str) -> list[str]:
    """The reference of each line, found by its study_id; "CXR12" stands for R2Gen's "CXR12_IM-0003" too.

    Raises:
      InputError: a line's study is none of the split's, or a study of the split has no line.
    """
    known = {name.split("_")[0]: name for name in references} | {name: name for name in references}
    missing = set(references)
    found = []
    for line in lines:
        name = known.get(line["study_id"])
        if name is None:
            raise InputError(f"{source}: study {line['study_id']} is not in the split; leave it out or name its split")
        missing.discard(name)
        found.append(references[name])
    if missing:
        raise InputError(
            f"{source}: {len(missing)} of the split's {len(references)} studies have no prediction ({min(missing)} "
            "first); a system is scored on all of them, an empty prediction is allowed"
        )
    return found


def label_scores(
    lines: Sequence[Line], references: Mapping[str, str], files: tuple[str, str], source: str
) -> dict[str, Any]:
    """F1 of another tool's labels of the predictions against its labels of the references; its doubt counts as there.

    Args:
      references: by study, in the split's order; lines, source: as `references_of`.
      files: CSVs (see `label_csv.read_labels`) of the references, by the split's studies, and of the predictions, by
        the lines'. Without a column study_id: a row a study of the split, and a row a line, in their orders.

    Returns:
      "scores", "intervals": of label_f1_micro, _macro and _example, over patients where the lines name them;
      "references", "predictions": the files; "per_finding": as `finding_f1`.

    Raises:
      InputError: a file is not in that form, lacks a study, or the references have no label at all.
    """
    true_file, predicted_file = files
    of_study = dict(zip(references, read_labels(Path(true_file), list(references)), strict=True))
    if not any(of_study.values()):
        raise InputError(f"{true_file}: no study of the split has a label; is it the right file?")
    found = read_labels(Path(predicted_file), _ids_of_predictions(lines))
    true = [of_study[name] for name in references_of(lines, {name: name for name in references}, source)]
    f1 = finding_f1(true, found, patients_of(lines))
    kinds = ("micro", "macro", "example")
    return {
        "scores": {f"label_f1_{kind}": f1[kind] for kind in kinds},
        "intervals": {f"label_f1_{kind}": list(f1["intervals"][kind]) for kind in kinds},
        "references": true_file,
        "predictions": predicted_file,
        "per_finding": f1["per_finding"],
    }


def label_table(scores: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Columns and rows of `label_scores`: the means with their intervals, then each label."""
    rows = [
        [kind, "", "", "", f"{scores['scores'][name]:.3f}", "{:.3f}-{:.3f}".format(*scores["intervals"][name])]
        for kind in ("micro", "macro", "example")
        if (name := f"label_f1_{kind}")
    ]
    for label, each in scores["per_finding"].items():
        rows.append([label, str(each["support"]), *(f"{each[key]:.3f}" for key in ("precision", "recall", "f1")), ""])
    return ["labels, doubt counted as there", "studies", "precision", "recall", "F1", "95 % interval"], rows


def compare(
    lines: Sequence[Line],
    others: Sequence[Line],
    protocol: str,
    train_reports: Sequence[str],
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, dict[str, Any]]:
    """Paired bootstrap, over patients where the lines name them, of two systems on the same images.

    Returns:
      {score: {"difference": first minus second, "interval": 95 % percentile interval of it, "p": two-sided, the share
      of resamples on the other side of 0, doubled, with the sample itself counted in}}. Both systems are drawn by the
      same weights.

    Raises:
      InputError: the two are not of the same images with the same references.
    """
    others = paired(lines, others)
    clusters = [line.get("patient_id") or _key(line) for line in lines]
    weights = sample_and_resamples(len(lines), clusters, resamples, seed)
    first, second = (resampled_system(system, weights, protocol, train_reports) for system in (lines, others))
    return {name: difference(first[name] - second[name]) for name in first if name in second}


def patients_of(lines: Sequence[Line]) -> list[str]:
    """The patient of each line, or its study where the lines do not name patients."""
    return [line.get("patient_id") or line["study_id"] for line in lines]


def paired(lines: Sequence[Line], others: Sequence[Line]) -> list[Line]:
    """The other system's lines in the order of `lines`.

    Raises:
      InputError: the two are not of the same images with the same references.
    """
    other_of = {_key(line): line for line in others}
    if {_key(line) for line in lines} != other_of.keys() or len(lines) != len(others):
        raise InputError(f"the two runs answer different images ({len(lines)} and {len(others)}); compare one split")
    others = [other_of[_key(line)] for line in lines]
    if [line["reference"] for line in lines] != [line["reference"] for line in others]:
        raise InputError("the two runs have different references; compare runs of the same data and section")
    return others


def resampled_system(
    lines: Sequence[Line], weights: np.ndarray, protocol: str, train_reports: Sequence[str]
) -> dict[str, np.ndarray]:
    """Each score of a system in each resample, float64 (resamples,); weights: (resamples, lines)."""
    references, predictions = ([line[side] for line in lines] for side in ("reference", "prediction"))
    statistics = pair_statistics(references, predictions, protocol, train_reports)
    scores = dict(zip(SCORES, resampled_scores(statistics, weights).T, strict=True))
    labels = [line.get("labels") or () for line in lines]
    if any(labels):
        predicted = [line.get("predicted_labels") or () for line in lines]
        scores["finding_f1_macro"] = resampled_macro(*indicators(labels, predicted)[1:], weights)
    return scores


def difference(values: np.ndarray) -> dict[str, Any]:
    """`compare`'s entry of a score, from its difference in the sample (first) and in the resamples (the rest)."""
    low, high = np.nanpercentile(values[1:], [2.5, 97.5])
    beyond = min((values[1:] <= 0).sum(), (values[1:] >= 0).sum())
    p = 2 * (beyond + 1) / len(values)  # with the sample counted in, for no p is 0
    return {"difference": float(values[0]), "interval": [float(low), float(high)], "p": float(min(1.0, p))}


def _ids_of_predictions(lines: Sequence[Line]) -> list[str]:
    """The study of each line; the second, other prediction of one (of another image) goes by a name no table has.

    So a table by study, which cannot tell the two apart, is refused; one in the order of the lines is not.
    """
    seen: dict[str, list[str]] = {}
    names = []
    for line in lines:
        of_study = seen.setdefault(line["study_id"], [])
        if line["prediction"] not in of_study:
            of_study.append(line["prediction"])
        number = of_study.index(line["prediction"]) + 1
        names.append(line["study_id"] if number == 1 else f"{line['study_id']}, its prediction {number}")
    return names


def _key(line: Line) -> str:
    return line.get("image_id") or line["study_id"]

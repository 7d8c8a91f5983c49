"""Any system's reports, a JSON object a line, to be scored as our own are (and compared, `comparison`).

A line holds at least `study_id` and `prediction`; the predictions.jsonl of a run holds more. References and the reports
that floors and ceiling are drawn from come from a run's index or from an annotation.json in R2Gen's form.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cxr_jax.data.sources.annotation import read_lists
from cxr_jax.errors import InputError
from cxr_jax.evaluation.floors import Pool
from cxr_jax.evaluation.label_metrics import finding_f1
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
    of_lines = []
    for line in lines:
        name = known.get(line["study_id"])
        if name is None:
            raise InputError(f"{source}: study {line['study_id']} is not in the split; leave it out or name its split")
        missing.discard(name)
        of_lines.append(references[name])
    if missing:
        raise InputError(
            f"{source}: {len(missing)} of the split's {len(references)} studies have no prediction ({min(missing)} "
            "first); a system is scored on all of them, an empty prediction is allowed"
        )
    return of_lines


def label_scores(
    lines: Sequence[Line], references: Mapping[str, str], files: tuple[str, str], source: str
) -> dict[str, Any]:
    """F1 of another tool's labels of the predictions against its labels of the references; its doubt counts as there.

    Args:
      references: by study, in the split's order; lines, source: as `references_of`.
      files: CSVs (see `csv_files.read_labels`) of the references, by the split's studies, and of the predictions, by
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
    predicted = read_labels(Path(predicted_file), _ids_of_predictions(lines))
    true = [of_study[name] for name in references_of(lines, {name: name for name in references}, source)]
    f1 = finding_f1(true, predicted, patients_of(lines))
    kinds = ("micro", "macro", "example")
    return {
        "scores": {f"label_f1_{kind}": f1[kind] for kind in kinds},
        "intervals": {f"label_f1_{kind}": list(f1["intervals"][kind]) for kind in kinds},
        "references": true_file,
        "predictions": predicted_file,
        "per_finding": f1["per_finding"],
    }


def patients_of(lines: Sequence[Line]) -> list[str]:
    """The patient of each line, or its study where the lines do not name patients."""
    return [line.get("patient_id") or line["study_id"] for line in lines]


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

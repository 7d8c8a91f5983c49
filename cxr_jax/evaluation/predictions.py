"""Any system's reports, to be scored as our own are (and compared, `comparison`), from the files that tools write.

An object a line, in a JSON list, or a row of a CSV holds at least `study_id` and `prediction`; the predictions.jsonl of
a run holds more. ReXrank's one object has them by study, as `model_prediction`. References and the reports that floors
and ceiling are drawn from come from a run's index or from an annotation.json in R2Gen's form.
"""

import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from cxr_jax import ids
from cxr_jax.data.json_objects import is_text, name_of, read_values
from cxr_jax.data.placeholders import is_no_report
from cxr_jax.data.sections import cut_report
from cxr_jax.data.sources.annotation import Homes, read_lists, refuse_twice
from cxr_jax.data.tables import PARQUET, open_table
from cxr_jax.errors import InputError
from cxr_jax.evaluation.bootstrap import interval
from cxr_jax.evaluation.floors import Pool
from cxr_jax.evaluation.label_metrics import finding_f1
from cxr_jax.evaluation.label_policies import label_matrices, label_names, resampled_label_f1
from cxr_jax.labels.csv_files import read_statuses
from cxr_jax.labels.phrases import OBSERVATIONS

Line = Mapping[str, Any]
TABLES = (".csv", ".tsv", ".txt", ".gz", *PARQUET)
REXRANK = "model_prediction"
IDS = ("study_id", "image_id", "patient_id")


def read_predictions(file: Path, labels_alone: bool = False) -> list[Line]:
    """The lines of a predictions file, their ids as strings.

    Args:
      labels_alone: whether a line may be of an image that was labelled, and answered with no report.

    Raises:
      InputError: it cannot be read, an entry lacks a study_id or a prediction, or two are of the same study and image.
    """
    located = _from_table(file) if file.suffix.lower() in TABLES else _from_json(file)
    lines: list[Line] = []
    places: dict[tuple[str, str], tuple[str, str]] = {}
    headed = 0
    for where, value in located:
        line = dict(value) if isinstance(value, dict) else {}
        if "prediction" not in line and REXRANK in line:
            line["prediction"] = line[REXRANK]
            headed += is_text(line[REXRANK]) and cut_report(line[REXRANK]) is not None
        names = {name: name_of(line[name]) for name in IDS if name in line}
        answered = is_text(line.get("prediction")) or (labels_alone and "prediction" not in line)
        if not names.get("study_id") or not answered:
            raise InputError(
                f"{file}: {where} lacks study_id or prediction, an id and a string; write both, an empty prediction "
                "as ''"
            )
        line |= {name: text or "" for name, text in names.items()}
        of_image = ids.key(line["study_id"]), line.get("image_id", "")
        other, written = places.setdefault(of_image, (where, line["study_id"]))
        if other != where:
            forms = "" if written == line["study_id"] else f" (there {written})"
            raise InputError(
                f"{file}: {where}: study_id {line['study_id']} is also in {other}{forms}; keep one of the two, or tell "
                "images apart by image_id"
            )
        lines.append(line)
    if not lines:
        raise InputError(f"{file}: holds no line; write one object a line, with study_id and prediction")
    if headed:
        print(
            f"{file}: {headed:,} predictions have headings (Findings:, Impression:), and are scored with them, as they "
            "are written",
            file=sys.stderr,
        )
    return lines


def _from_json(file: Path) -> Sequence[tuple[str, Any]]:
    values = read_values(file, "a predictions.jsonl")
    if isinstance(values, list):
        return values
    if "study_id" in values:  # the one object of one line
        return [("line 1", values)]
    return [
        (f"entry {name!r}", {"study_id": name, **value} if isinstance(value, dict) else value)
        for name, value in values.items()
    ]


def _from_table(file: Path) -> Sequence[tuple[str, Any]]:
    table = open_table(file)
    wanted = {column.casefold().replace(" ", "_"): column for column in table.columns}
    columns = {name: wanted[name] for name in (*IDS, "prediction", REXRANK) if name in wanted}
    if "study_id" not in columns or not {"prediction", REXRANK} & columns.keys():
        raise InputError(
            f"{file}: has the columns {', '.join(table.columns) or 'none'}; wanted are study_id and prediction"
        )
    return [(row.where, row.cells) for row in table.rows(columns)]


def read_annotation(file: Path, split: str) -> tuple[Pool, dict[str, str]]:
    """(The reports of train and val, the references of `split` by id) of an annotation.json in R2Gen's form.

    Raises:
      InputError: it cannot be read, is not in that form, or has an id twice.
    """
    lists, _ = read_lists(file)
    reports: dict[str, dict[str, str]] = {name: {} for name in lists}
    homes: Homes = {}
    left_out = 0
    for name, (key, entries) in lists.items():
        for number, entry in enumerate(entries):
            fields = entry if isinstance(entry, dict) else {}
            entry_id = name_of(fields.get("id"))
            if entry_id is None or not isinstance(fields.get("report"), str):
                raise InputError(f"{file}: {key}[{number}]: lacks id or report, both strings; mend it")
            refuse_twice(homes, "id", entry_id, f"{key}[{number}]", file)
            if not fields["report"].strip() or is_no_report(fields["report"]):
                left_out += 1
            else:
                reports[name][entry_id] = fields["report"]
    if left_out:
        print(f"{file}: {left_out:,} entries without a report are left out", file=sys.stderr)
    return Pool(list(reports["train"].values()), list(reports["val"].values())), reports[split]


def references_of(lines: Sequence[Line], references: Mapping[str, str], source: str) -> list[str]:
    """The reference of each line, found by its study_id; "CXR12" stands for R2Gen's "CXR12_IM-0003" too.

    Ids that differ in ".0", leading zeros, case or blanks only (`cxr_jax.ids.key`) are one; stderr says how many.

    Raises:
      InputError: a line's study is none of the split's, or a study of the split has no line.
    """
    known = {name.split("_")[0]: name for name in references} | {name: name for name in references}
    by_key: dict[str, set[str]] = {}
    for written, name in known.items():
        by_key.setdefault(ids.key(written), set()).add(name)
    missing = set(references)
    of_lines: list[str] = []
    otherwise: list[str] = []
    answered: dict[str, str] = {}
    for line in lines:
        alike = by_key.get(ids.key(line["study_id"]), set())
        if line["study_id"] in known:
            name = known[line["study_id"]]
        elif len(alike) == 1:
            (name,) = alike
            otherwise.append(f"{line['study_id']} for {name}")
        else:
            raise InputError(f"{source}: study {line['study_id']} is not in the split; leave it out or name its split")
        other = answered.setdefault(name, line["study_id"])
        if other != line["study_id"]:
            raise InputError(f"{source}: {other} and {line['study_id']} are both study {name}; keep one of the two")
        missing.discard(name)
        of_lines.append(references[name])
    if missing:
        raise InputError(
            f"{source}: {len(missing)} of the split's {len(references)} studies have no prediction ({min(missing)} "
            "first); a system is scored on all of them, an empty prediction is allowed"
        )
    if otherwise:
        print(f"{source}: {len(otherwise)} study_ids are written otherwise ({otherwise[0]})", file=sys.stderr)
    return of_lines


def label_scores(
    lines: Sequence[Line],
    references: Mapping[str, str],
    files: tuple[str, str],
    source: str,
    uncertain: str = "positive",
) -> dict[str, Any]:
    """F1 of another tool's labels of the predictions against its labels of the references.

    Args:
      references: by study, in the split's order; lines, source: as `references_of`.
      files: CSVs (see `csv_files.read_statuses`; the case of labels does not matter) of the references, by the split's
        studies, and of the predictions, by the lines'. Without a column study_id: a row a study of the split, and a
        row a line, in their orders.
      uncertain: the policy for doubt (`label_policies.label_matrices`) of the scores that are named by it.

    Returns:
      "scores", "intervals", over patients where the lines name them: of label_f1_micro, _macro and _example, of all the
      file's labels, doubt counting as there; and, where any of them is CheXpert's, `label_policies.label_names`;
      "references", "predictions": the files; "per_finding": as `finding_f1`.

    Raises:
      InputError: a file is not in that form, lacks a study, or the references have no label at all.
    """
    true_file, predicted_file = files
    of_study = dict(zip(references, read_statuses(Path(true_file), list(references)), strict=True))
    if not any(of_study.values()):
        raise InputError(f"{true_file}: no study of the split has a label; is it the right file?")
    spelt = {label.casefold(): label for of_one in of_study.values() for label in of_one}
    spelt |= {observation.casefold(): observation for observation in OBSERVATIONS}
    predicted = _spelt(read_statuses(Path(predicted_file), _ids_of_predictions(lines)), spelt)
    found = references_of(lines, {name: name for name in references}, source)
    true = _spelt([of_study[name] for name in found], spelt)
    patients = patients_of(lines)
    f1 = finding_f1([*map(set, true)], [*map(set, predicted)], patients)
    kinds = ("micro", "macro", "example")
    scores = {f"label_f1_{kind}": f1[kind] for kind in kinds}
    intervals = {f"label_f1_{kind}": list(f1["intervals"][kind]) for kind in kinds}
    if set(OBSERVATIONS) & {label for of_one in true for label in of_one}:
        names = label_names(uncertain, "label")
        score = partial(resampled_label_f1, *label_matrices(true, predicted, uncertain))
        low, high = interval(score, len(true), patients)
        scores |= dict(zip(names, score(np.ones((1, len(true)), np.int64))[0].tolist(), strict=True))
        intervals |= {name: [float(low[i]), float(high[i])] for i, name in enumerate(names)}
    return {
        "scores": scores,
        "intervals": intervals,
        "references": true_file,
        "predictions": predicted_file,
        "per_finding": f1["per_finding"],
    }


def _spelt(statuses: Sequence[Mapping[str, str]], spelt: Mapping[str, str]) -> list[dict[str, str]]:
    """The same, each label in the spelling that is known of it."""
    return [{spelt.get(label.casefold(), label): of for label, of in of_one.items()} for of_one in statuses]


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

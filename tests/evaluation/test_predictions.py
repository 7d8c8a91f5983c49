"""Other systems' reports: read, matched to their references, and scored through the command line."""

import json

import numpy as np
import pytest

from cxr_jax import evaluate
from cxr_jax.errors import InputError
from cxr_jax.evaluation.predictions import label_scores
from cxr_jax.evaluation.text_metrics import score_reports

TRAIN = ["The lungs are clear.", "Large left effusion.", "The heart is enlarged.", "Normal chest."]
TEST = {"CXR1_IM-1": "Left effusion.", "CXR2_IM-7": "The lungs are clear.", "CXR3_IM-2": "Heart enlarged."}


def lines_of(predictions, **more):
    studies = [name.split("_")[0] for name in TEST]
    return [
        {"study_id": study, "prediction": report, **{key: values[i] for key, values in more.items()}}
        for i, (study, report) in enumerate(zip(studies, predictions, strict=True))
    ]


@pytest.fixture
def annotation(tmp_path):
    lists = {"train": TRAIN, "val": TRAIN[:2], "test": list(TEST.values())}
    ids = {"train": [f"CXR9{i}" for i in range(4)], "val": ["CXR80", "CXR81"], "test": list(TEST)}
    table = {name: [{"id": i, "report": r} for i, r in zip(ids[name], lists[name], strict=True)] for name in lists}
    (tmp_path / "annotation.json").write_text(json.dumps(table))
    return tmp_path / "annotation.json"


def write(tmp_path, lines):
    (tmp_path / "system.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return tmp_path / "system.jsonl"


def test_any_systems_reports_are_scored_beside_floors_and_ceiling(annotation, tmp_path, capsys):
    file = write(tmp_path, lines_of(["Large left effusion.", "Normal chest.", ""])[::-1])
    evaluate.main(["--annotation", str(annotation), "--score", str(file), "--protocol", "raw"])
    metrics = json.loads((tmp_path / "system.metrics.json").read_text())
    references = list(TEST.values())[::-1]
    expected = score_reports(references, ["", "Normal chest.", "Large left effusion."], "raw")
    assert metrics["scores"] == pytest.approx(expected)
    assert metrics["ceiling"].keys() == metrics["scores"].keys()
    assert {"constant_report", "random_report", "most_frequent_report"} == metrics["floors"].keys()
    text = capsys.readouterr().out
    for words in ("system.jsonl", "ceiling: nearest by the true text", "a random training report", "skill"):
        assert words in text


def write_tables(tmp_path, references, predictions):
    for name, text in (("true.csv", references), ("predicted.csv", predictions)):
        (tmp_path / name).write_text(text)
    return ["--labels", str(tmp_path / "true.csv"), str(tmp_path / "predicted.csv")]


TRUE_LABELS = "study_id,labels\nCXR3_IM-2,Cardiomegaly\nCXR1_IM-1,Edema|Effusion\nCXR2_IM-7,\nCXR4,Edema\n"


@pytest.mark.parametrize(
    "predicted",
    [
        "study_id,Edema,Effusion\nCXR1,0,-1\nCXR2,u,\nCXR3,0,0.0\n",
        "Reports,Edema,Effusion\ntext,0,0.0\ntext,u,\ntext,0,-1\n",  # CheXbert's: in the order of the lines
    ],
)
def test_labels_of_another_tool_add_their_f1(annotation, tmp_path, capsys, predicted):
    file = write(tmp_path, lines_of(["Large left effusion.", "Normal chest.", ""])[::-1])
    arguments = ["--annotation", str(annotation), "--score", str(file), "--protocol", "raw"]
    evaluate.main(arguments)
    without = json.loads((tmp_path / "system.metrics.json").read_text())
    tables = write_tables(tmp_path, TRUE_LABELS, predicted)
    evaluate.main([*arguments, *tables])
    metrics = json.loads((tmp_path / "system.metrics.json").read_text())
    # By hand: {Edema, Effusion} read as {Effusion}; nothing read as {Edema}; {Cardiomegaly} read as nothing.
    expected = {"label_f1_micro": 2 / (3 + 2), "label_f1_macro": 1 / 3, "label_f1_example": (2 / 3 + 0 + 0) / 3}
    assert metrics["scores"] == pytest.approx(without["scores"] | expected)
    assert all(metrics["intervals"][name][0] <= expected[name] <= metrics["intervals"][name][1] for name in expected)
    assert [metrics["labels"][side] for side in ("references", "predictions")] == tables[1:]
    assert metrics["labels"]["per_finding"]["Effusion"] == {"precision": 1, "recall": 1, "f1": 1, "support": 1}
    assert "\nCardiomegaly " in capsys.readouterr().out


def test_an_interval_of_labels_is_over_patients(annotation, tmp_path):
    references = {f"s{i}": "" for i in range(40)}
    lines = [{"study_id": study, "prediction": "x"} for study in references]
    of_patients = [line | {"patient_id": str(i // 10)} for i, line in enumerate(lines)]
    right = [True] * 20 + [False] * 20
    tables = write_tables(
        tmp_path, "Edema\n" + "1\n" * 40, "Edema\n" + "".join("1\n" if hit else "0\n" for hit in right)
    )
    narrow, wide = (
        np.ptp(label_scores(system, references, (tables[1], tables[2]), "")["intervals"]["label_f1_example"])
        for system in (lines, of_patients)
    )
    assert wide > 1.5 * narrow


@pytest.mark.parametrize(
    ("predicted", "words"),
    [
        ("study_id,Edema\na,1\n", r"predicted\.csv: column study_id: 1 of 2 studies are missing \(a, its prediction 2"),
        ("Edema\n1\n0\n", None),
    ],
)
def test_two_predictions_of_one_study_are_told_apart_by_their_order_alone(tmp_path, predicted, words):
    """A run's lines are of images, and a study may have two."""
    lines = [{"study_id": "a", "prediction": report} for report in ("Edema.", "Clear.")]
    tables = write_tables(tmp_path, "study_id,Edema\na,1\n", predicted)
    if words:
        with pytest.raises(InputError, match=words):
            label_scores(lines, {"a": "Edema."}, (tables[1], tables[2]), "")
        return
    scores = label_scores(lines, {"a": "Edema."}, (tables[1], tables[2]), "")
    assert scores["per_finding"]["Edema"]["recall"] == 1 / 2


@pytest.mark.parametrize(
    ("references", "given", "words"),
    [
        (TRUE_LABELS, 1, "--labels: got 1 files; takes two with --score"),
        (TRUE_LABELS, 3, "--labels: got 3 files; takes two with --score"),
        (TRUE_LABELS.replace("CXR2_IM-7", "CXR2"), 2, r"true\.csv: column study_id: 1 of 3 .* \(CXR2_IM-7 first"),
        ("study_id,labels\nCXR1_IM-1,\nCXR2_IM-7,\nCXR3_IM-2,\n", 2, r"true\.csv: no study of the split has a label"),
        ("study_id,Edema\nCXR1_IM-1,yes\n", 2, r"true\.csv.* column Edema: 'yes' is unknown"),
    ],
)
def test_faulty_labels_are_refused_before_anything_is_scored(annotation, tmp_path, references, given, words):
    file = write(tmp_path, lines_of(["a", "b", "c"]))
    flag, *tables = write_tables(tmp_path, references, "Edema\n1\n1\n1\n")
    with pytest.raises(InputError, match=words) as error:
        evaluate.main(["--annotation", str(annotation), "--score", str(file), flag, *(tables * 2)[:given]])
    assert "\n" not in str(error.value)
    assert not (tmp_path / "system.metrics.json").exists()


@pytest.mark.parametrize("source", [["--annotation"], ["--zero_shot", "labels.yaml", "--workdir"]])
def test_labels_without_a_system_are_refused(annotation, source):
    with pytest.raises(InputError, match=r"--labels: got 2 files"):
        evaluate.main(["--labels", "a.csv", "b.csv", *source, str(annotation)])


def test_floors_and_ceiling_come_without_a_system(annotation, tmp_path, capsys):
    evaluate.main(["--annotation", str(annotation)])
    text = capsys.readouterr().out
    assert "ceiling: nearest by the true text" in text
    assert "skill" not in text
    # Three different reports: nothing to tie, and all are among the first five.
    assert "chance: 0.333/1.000/1.000 in random order, 0.333/1.000/1.000 with equal reports tied" in text
    assert list(tmp_path.iterdir()) == [annotation]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda lines: lines[1:], r"1 of the split's 3 studies have no prediction \(CXR1_IM-1 first\)"),
        (lambda lines: [*lines, {"study_id": "CXR90", "prediction": ""}], "study CXR90 is not in the split"),
        (lambda lines: [*lines, {"study_id": "CXR1"}], "line 4 lacks study_id or prediction"),
        (lambda lines: [*lines, [1]], "line 4 lacks study_id or prediction"),
        (lambda lines: [], "holds no line"),
    ],
)
def test_lines_that_do_not_answer_the_split_are_refused(annotation, tmp_path, change, words):
    file = write(tmp_path, change(lines_of(TEST.values())))
    with pytest.raises(InputError, match=words) as error:
        evaluate.main(["--annotation", str(annotation), "--score", str(file)])
    assert str(file) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"{", b"\xff", b"[" * 100_000])
def test_files_that_are_no_predictions_are_refused(annotation, tmp_path, content):
    (tmp_path / "system.jsonl").write_bytes(content)
    with pytest.raises(InputError, match=r"system\.jsonl"):
        evaluate.main(["--annotation", str(annotation), "--score", str(tmp_path / "system.jsonl")])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [([], "--workdir: is missing"), (["--score", "x.jsonl"], r"x\.jsonl: lies in no run's folder")],
)
def test_a_source_of_references_must_be_named(arguments, words):
    with pytest.raises(InputError, match=words):
        evaluate.main(arguments)

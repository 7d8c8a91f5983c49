"""Other systems' reports: read, matched to their references, and scored through the command line."""

import json

import numpy as np
import pytest

from cxr_jax import evaluate
from cxr_jax.errors import InputError
from cxr_jax.evaluation.label_policies import label_names
from cxr_jax.evaluation.predictions import label_scores, read_annotation, read_predictions, references_of
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
    policies = {name: metrics["scores"].pop(name) for name in label_names("positive", "label")}
    assert metrics["scores"] == pytest.approx(without["scores"] | expected)
    # Of the fourteen the tables name Edema and Cardiomegaly; "Effusion" is none of them.
    assert policies["label_f1_14_micro[uncertain=positive,blank=negative]"] == 0
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


# Files that travel between tools

ODD = "Clear.\u2028No effusion.\u2029Heart\u0085normal."
WANTED = [("1", ODD), ("2", "")]


def plain(lines):
    return [(line["study_id"], line["prediction"]) for line in lines]


def as_lines(ids=("1", "2"), key="prediction"):
    return [{"study_id": name, key: text} for name, (_, text) in zip(ids, WANTED, strict=True)]


def dump(value):
    return json.dumps(value, ensure_ascii=False)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("p.jsonl", "\n".join(map(dump, as_lines()))),
        ("p.jsonl", "\ufeff" + "\r\n".join(map(dump, as_lines())) + "\r\n\r\n"),
        ("p.jsonl", "\n".join(map(dump, as_lines((1, 2))))),
        ("p.jsonl", "\n".join(map(dump, as_lines((1.0, 2.0))))),
        ("p.json", dump(as_lines((1, 2)))),
        ("p.json", json.dumps(as_lines(), indent=2)),
        ("p.jsonl", "\ufeff" + dump(as_lines())),
        (
            "p.json",
            dump({"1": {"model_prediction": ODD, "findings": "x", "subject_id": 7}, "2": {"model_prediction": ""}}),
        ),
        ("p.csv", f'study_id,prediction\n1,"{ODD}"\n2,\n'),
        ("p.csv", f'\ufeffStudy_ID;Prediction;other\n1;"{ODD}";x\n2;;x\n'),
        ("p.tsv", f"study_id\tmodel_prediction\n1\t{ODD}\n2\t\n"),
    ],
)
def test_what_other_tools_write_is_read(tmp_path, name, text):
    (tmp_path / name).write_bytes(text.encode())
    assert plain(read_predictions(tmp_path / name)) == WANTED


def test_one_object_is_one_line(tmp_path):
    assert plain(read_predictions(write(tmp_path, as_lines()[:1]))) == WANTED[:1]


def test_headings_of_a_prediction_are_said_and_stay(tmp_path, capsys):
    text = "Findings:Clear lungs.Impression:Normal."
    (tmp_path / "p.json").write_text(json.dumps({"50051329": {"model_prediction": text}}))
    assert plain(read_predictions(tmp_path / "p.json")) == [("50051329", text)]
    assert "p.json: 1 predictions have headings" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("p.jsonl", "\n".join(map(dump, as_lines(("7", "7")))), "line 2: study_id 7 is also in line 1; keep one"),
        ("p.jsonl", "\n".join(map(dump, as_lines(("7", 7)))), "line 2: study_id 7 is also in line 1"),
        ("p.jsonl", "\n".join(map(dump, as_lines(("s7", "S07")))), r"study_id S07 is also in line 1 \(there s7\)"),
        ("p.json", dump(as_lines((7, 7.0))), "entry 2: study_id 7 is also in entry 1"),
        ("p.json", '{"7": {"model_prediction": "a"}, "7": {"model_prediction": "b"}}', "'7' is there twice; keep one"),
        ("p.csv", "study_id,prediction\n7,a\n8,b\n7.0,c\n", r"row 4: study_id 7.0 is also in row 2 \(there 7\)"),
        ("p.csv", "id,prediction\n7,a\n", "has the columns id, prediction; wanted are study_id and prediction"),
        ("p.csv", "study_id,prediction\n,a\n", "row 2 lacks study_id"),
        ("p.jsonl", '{"study_id": 7, "prediction": null}', "line 1 lacks study_id or prediction"),
        ("p.jsonl", '{"study_id": 7, "prediction": "a", "prediction": "b"}', "'prediction' is there twice"),
        ("p.jsonl", '{"study_id": true, "prediction": "a"}', "line 1 lacks study_id"),
        ("p.jsonl", '{"study_id": "7", "prediction": "\\ud800"}', "line 1 lacks study_id or prediction"),
        ("p.json", '{"7": "text"}', "entry '7' lacks study_id or prediction"),
        ("p.json", "[]", "holds no line"),
        ("p.json", "{}", "holds no line"),
    ],
)
def test_what_is_doubtful_is_refused_with_the_id(tmp_path, name, text, words):
    (tmp_path / name).write_text(text, "utf-8")
    with pytest.raises(InputError, match=words) as error:
        read_predictions(tmp_path / name)
    assert str(tmp_path / name) in str(error.value)
    assert "\n" not in str(error.value)


def test_images_of_a_study_are_told_apart_by_their_own_ids(tmp_path):
    lines = [{"study_id": "s", "image_id": image, "prediction": "x"} for image in ("a", "b")]
    assert len(read_predictions(write(tmp_path, lines))) == 2
    with pytest.raises(InputError, match="line 3: study_id s is also in line 1"):
        read_predictions(write(tmp_path, [*lines, lines[0]]))


def test_ids_that_were_written_otherwise_find_their_reference(capsys):
    lines = [{"study_id": name, "prediction": ""} for name in ("7.0", "008", "cxr9")]
    assert references_of(lines, {"7": "a", "8": "b", "CXR9_IM-1": "c"}, "p.jsonl") == ["a", "b", "c"]
    assert capsys.readouterr().err == "p.jsonl: 3 study_ids are written otherwise (7.0 for 7)\n"
    with pytest.raises(InputError, match=r"p\.jsonl: 7\.0 and 7 are both study 7; keep one"):
        references_of([*lines, {"study_id": "7", "prediction": ""}], {"7": "a", "8": "b", "CXR9_IM-1": "c"}, "p.jsonl")
    with pytest.raises(InputError, match="study 07 is not in the split"):
        references_of([{"study_id": "07", "prediction": ""}], {"7": "a", "007": "b"}, "p.jsonl")


@pytest.mark.parametrize(
    ("other", "words"), [("test", r"test\[1\]: id 5.* is also in test\[0\]"), ("train", r"id (00)?5.* is also")]
)
@pytest.mark.parametrize("forms", [("5", "5"), ("5", 5), ("005", "5"), ("5", "5.0")])
def test_an_annotation_with_an_id_twice_is_refused(tmp_path, other, words, forms):
    table = {"train": [], "val": [], "test": [{"id": forms[0], "report": "a"}]}
    table[other].append({"id": forms[1], "report": "b"})
    (tmp_path / "annotation.json").write_text(json.dumps(table), "utf-8-sig")
    with pytest.raises(InputError, match=words):
        read_annotation(tmp_path / "annotation.json", "test")


def test_an_annotation_with_a_list_twice_is_refused(tmp_path):
    (tmp_path / "annotation.json").write_text('{"train": [], "val": [], "test": [], "test": []}')
    with pytest.raises(InputError, match=r"annotation\.json: 'test' is there twice"):
        read_annotation(tmp_path / "annotation.json", "test")


def test_an_annotation_with_a_mark_and_whole_numbers_is_read(tmp_path):
    table = {name: [{"id": number, "report": name}] for number, name in enumerate(("train", "val", "test"))}
    (tmp_path / "annotation.json").write_text(json.dumps(table), "utf-8-sig")
    pool, references = read_annotation(tmp_path / "annotation.json", "test")
    assert (pool.train, pool.val, references) == (["train"], ["val"], {"2": "test"})


def test_a_reference_that_is_no_report_is_left_out_and_counted(tmp_path, capsys):
    entries = [{"id": "1", "report": "Clear."}, {"id": "2", "report": "nan"}, {"id": "3", "report": " "}]
    table = {"train": entries[:1], "val": [{"id": "9", "report": "Normal."}], "test": [{"id": "7", "report": "Edema."}]}
    table["test"] += [{**entry, "id": f"t{entry['id']}"} for entry in entries[1:]]
    (tmp_path / "annotation.json").write_text(json.dumps(table))
    assert read_annotation(tmp_path / "annotation.json", "test")[1] == {"7": "Edema."}
    assert capsys.readouterr().err == f"{tmp_path / 'annotation.json'}: 2 entries without a report are left out\n"

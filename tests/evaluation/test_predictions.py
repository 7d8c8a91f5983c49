"""Other systems' reports: read, matched to their references, scored through the command line, and compared."""

import json

import numpy as np
import pytest

from cxr_jax import retrieve
from cxr_jax.errors import InputError
from cxr_jax.evaluation import predictions as outside
from cxr_jax.evaluation.label_metrics import macro_f1
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
    retrieve.main(["--annotation", str(annotation), "--score", str(file), "--protocol", "raw"])
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
    for name, text in (("true.csv", references), ("found.csv", predictions)):
        (tmp_path / name).write_text(text)
    return ["--labels", str(tmp_path / "true.csv"), str(tmp_path / "found.csv")]


TRUE_LABELS = "study_id,labels\nCXR3_IM-2,Cardiomegaly\nCXR1_IM-1,Edema|Effusion\nCXR2_IM-7,\nCXR4,Edema\n"


@pytest.mark.parametrize(
    "found",
    [
        "study_id,Edema,Effusion\nCXR1,0,-1\nCXR2,u,\nCXR3,0,0.0\n",
        "Reports,Edema,Effusion\ntext,0,0.0\ntext,u,\ntext,0,-1\n",  # CheXbert's: in the order of the lines
    ],
)
def test_labels_of_another_tool_add_their_f1(annotation, tmp_path, capsys, found):
    file = write(tmp_path, lines_of(["Large left effusion.", "Normal chest.", ""])[::-1])
    arguments = ["--annotation", str(annotation), "--score", str(file), "--protocol", "raw"]
    retrieve.main(arguments)
    without = json.loads((tmp_path / "system.metrics.json").read_text())
    tables = write_tables(tmp_path, TRUE_LABELS, found)
    retrieve.main([*arguments, *tables])
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
        tmp_path, "Edema\n" + "1\n" * 40, "Edema\n" + "".join("1\n" if each else "0\n" for each in right)
    )
    narrow, wide = (
        np.ptp(outside.label_scores(each, references, (tables[1], tables[2]), "")["intervals"]["label_f1_example"])
        for each in (lines, of_patients)
    )
    assert wide > 1.5 * narrow


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ("study_id,Edema\na,1\n", r"found\.csv: column study_id: 1 of 2 studies are missing \(a, its prediction 2"),
        ("Edema\n1\n0\n", None),
    ],
)
def test_two_predictions_of_one_study_are_told_apart_by_their_order_alone(tmp_path, found, words):
    """A run's lines are of images, and a study may have two."""
    lines = [{"study_id": "a", "prediction": report} for report in ("Edema.", "Clear.")]
    tables = write_tables(tmp_path, "study_id,Edema\na,1\n", found)
    if words:
        with pytest.raises(InputError, match=words):
            outside.label_scores(lines, {"a": "Edema."}, (tables[1], tables[2]), "")
        return
    scores = outside.label_scores(lines, {"a": "Edema."}, (tables[1], tables[2]), "")
    assert scores["per_finding"]["Edema"]["recall"] == 1 / 2


@pytest.mark.parametrize(
    ("references", "given", "words"),
    [
        (TRUE_LABELS, 1, "--labels: got 1 files; takes two with --score"),
        (TRUE_LABELS, 3, "--labels: got 3 files; takes two with --score"),
        (TRUE_LABELS.replace("CXR2_IM-7", "CXR2"), 2, r"true\.csv: column study_id: 1 of 3 .* \(CXR2_IM-7 first"),
        ("study_id,labels\nCXR1_IM-1,\nCXR2_IM-7,\nCXR3_IM-2,\n", 2, r"true\.csv: no study of the split has a label"),
        ("study_id,Edema\nCXR1_IM-1,yes\n", 2, r"true\.csv: line 2, column Edema: 'yes' is unknown"),
    ],
)
def test_faulty_labels_are_refused_before_anything_is_scored(annotation, tmp_path, references, given, words):
    file = write(tmp_path, lines_of(["a", "b", "c"]))
    flag, *tables = write_tables(tmp_path, references, "Edema\n1\n1\n1\n")
    with pytest.raises(InputError, match=words) as error:
        retrieve.main(["--annotation", str(annotation), "--score", str(file), flag, *(tables * 2)[:given]])
    assert "\n" not in str(error.value)
    assert not (tmp_path / "system.metrics.json").exists()


@pytest.mark.parametrize("more", [[], ["--zero_shot", "labels.yaml"]])
def test_labels_without_a_system_are_refused(annotation, tmp_path, more):
    with pytest.raises(InputError, match=r"--labels: got 2 files"):
        retrieve.main(["--annotation", str(annotation), "--labels", "a.csv", "b.csv", *more])


def test_floors_and_ceiling_come_without_a_system(annotation, tmp_path, capsys):
    retrieve.main(["--annotation", str(annotation)])
    text = capsys.readouterr().out
    assert "ceiling: nearest by the true text" in text
    assert "skill" not in text
    # Three different reports: nothing to tie, and all found among the first five.
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
        retrieve.main(["--annotation", str(annotation), "--score", str(file)])
    assert str(file) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"{", b"\xff", b"[" * 100_000])
def test_files_that_are_no_predictions_are_refused(annotation, tmp_path, content):
    (tmp_path / "system.jsonl").write_bytes(content)
    with pytest.raises(InputError, match=r"system\.jsonl"):
        retrieve.main(["--annotation", str(annotation), "--score", str(tmp_path / "system.jsonl")])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [([], "--workdir: is missing"), (["--score", "x.jsonl"], r"x\.jsonl: lies in no run's folder")],
)
def test_a_source_of_references_is_asked_for(arguments, words):
    with pytest.raises(InputError, match=words):
        retrieve.main(arguments)


WORDS = ("edema", "w1", "w2", "effusion", "w4", "w5")


def random_lines(seed, count=40, skill=0.0):
    """A system that gives the reference in a share `skill` of the cases, and words of the same kind in the others."""
    rng, truth = np.random.default_rng(seed), np.random.default_rng(0)
    lines = []
    for i in range(count):
        reference = " ".join(WORDS[j] for j in truth.integers(6, size=8))
        guess = reference if rng.random() < skill else " ".join(WORDS[j] for j in rng.integers(6, size=8))
        labels, found = [f"f{truth.integers(3)}"], [f"f{rng.integers(3)}"]
        lines.append({"study_id": f"s{i}", "image_id": f"i{i}", "reference": reference, "prediction": guess}
                     | {"labels": labels, "predicted_labels": labels if guess == reference else found})  # fmt: skip
    return lines


def test_the_difference_is_that_of_the_scores_and_changes_sign_with_the_order():
    a, b = random_lines(1, skill=0.5), random_lines(2)
    found, swapped = outside.compare(a, b[::-1], "raw", TRAIN), outside.compare(b, a, "raw", TRAIN)
    references = [line["reference"] for line in a]
    scores = [score_reports(references, [line["prediction"] for line in system], "raw") for system in (a, b)]
    for name in scores[0]:
        assert found[name]["difference"] == pytest.approx(scores[0][name] - scores[1][name])
        assert found[name]["difference"] == pytest.approx(-swapped[name]["difference"])
        assert found[name]["interval"] == pytest.approx([-x for x in swapped[name]["interval"][::-1]])
        assert found[name]["interval"][0] < found[name]["difference"] < found[name]["interval"][1]
    labels = [line["labels"] for line in a]
    f1 = [macro_f1(labels, [line["predicted_labels"] for line in system]) for system in (a, b)]
    assert found["finding_f1_macro"]["difference"] == pytest.approx(f1[0] - f1[1])
    assert found["bleu_4"]["p"] < 0.05


def test_a_system_does_not_differ_from_itself():
    found = outside.compare(random_lines(1), random_lines(1), "raw", TRAIN)
    assert all(score["difference"] == 0 and score["p"] == 1 for score in found.values())


def test_two_systems_of_one_kind_seldom_differ_by_chance():
    pairs = [outside.compare(random_lines(2 * s + 3), random_lines(2 * s + 4), "raw", TRAIN) for s in range(30)]
    assert sum(found["rouge_l"]["p"] < 0.05 for found in pairs) <= 5


def test_runs_on_other_images_or_references_are_not_compared():
    lines = random_lines(1)
    with pytest.raises(InputError, match="different images"):
        outside.compare(lines, lines[1:], "raw", TRAIN)
    with pytest.raises(InputError, match="different references"):
        outside.compare(lines, [{**line, "reference": "other"} for line in lines], "raw", TRAIN)

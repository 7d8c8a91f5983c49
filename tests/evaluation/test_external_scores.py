"""Other people's metrics by files: what is written, what is read back, and what is refused in one line."""

import csv
import json

import numpy as np
import pytest

from cxr_jax import evaluate
from cxr_jax.errors import InputError
from cxr_jax.evaluation.external_scores import (
    COLUMNS,
    Exchange,
    ExternalScore,
    add_scores,
    parse_scores,
    read_scores,
    scores_of_lines,
    write_texts,
)
from cxr_jax.evaluation.floors import Pool
from cxr_jax.evaluation.scoring import score_system
from cxr_jax.evaluation.systems import systems_of
from cxr_jax.evaluation.text_metrics import ReportScorer
from tests.evaluation.runs import make_run, metrics

TRAIN = ["The lungs are clear.", "Large left effusion.", "The heart is enlarged.", "Normal chest."]
POOL = Pool(TRAIN, TRAIN[:2])
LINES = [
    {"study_id": "007", "image_id": "", "reference": 'Left "small" effusion,\nold.', "prediction": "Effusion."},
    {"study_id": "a b", "image_id": "", "reference": "Clear.", "prediction": ""},
    {"study_id": "c", "image_id": "", "reference": "Heart enlarged.", "prediction": "Heart enlarged."},
]
SYSTEMS = {
    "system", "constant_report", "most_frequent_report", "ceiling", *(f"random_report_{i}" for i in range(1, 6))
}  # fmt: skip


def systems(lines=LINES):
    references, predictions = ([line[side] for line in lines] for side in ("reference", "prediction"))
    return systems_of(ReportScorer(references, "raw", TRAIN), POOL, predictions)


def rows_of(file):
    with file.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def write_scores(file, rows, score=lambda row: len(row["hypothesis"]), columns=None):
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns or [*COLUMNS, "score"], extrasaction="ignore")
        writer.writeheader()
        writer.writerows({"score": score(row), **row} for row in rows)
    return file


@pytest.fixture
def texts(tmp_path):
    write_texts(tmp_path / "out", LINES, [line["reference"] for line in LINES], systems())
    return tmp_path / "out"


def test_texts_are_of_every_system_as_two_tools_read_them(texts):
    rows = rows_of(texts / "texts.csv")
    assert {row["system"] for row in rows} == SYSTEMS
    assert len(rows) == 3 * len(SYSTEMS)
    own = [row for row in rows if row["system"] == "system"]
    assert [(row["study_id"], row["reference"], row["hypothesis"]) for row in own] == [
        (line["study_id"], line["reference"], line["prediction"]) for line in LINES
    ]
    radeval = json.loads((texts / "ceiling" / "radeval.json").read_text())
    assert radeval["references"] == [line["reference"] for line in LINES]
    assert set(radeval["hypotheses"]) <= set(TRAIN)
    predictions, references = (rows_of(texts / "system" / f"{side}.csv") for side in ("predictions", "references"))
    assert [(row["study_id"], row["report"]) for row in predictions] == [
        ("0", "Effusion."), ("1", ""), ("2", "Heart enlarged.")
    ]  # fmt: skip
    assert references[0] == {"study_id": "0", "report": LINES[0]["reference"]}


def test_a_file_in_the_folders_place_is_named(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(InputError, match=r"--texts .*out: cannot be made a folder \(File exists\); name another"):
        write_texts(tmp_path / "out", LINES, [], {})


def test_scores_are_read_whatever_their_order_and_other_columns(texts, tmp_path):
    rows = rows_of(texts / "texts.csv")
    file = write_scores(tmp_path / "s.csv", rows[::-1])
    score = read_scores("length", file, False, LINES, systems())
    assert score.values.keys() == SYSTEMS
    assert score.values["system"].tolist() == [9, 0, 15]
    # Without the texts, and with the id as a spreadsheet spoils it.
    bare = [{**row, "study_id": row["study_id"].replace("007", "7.0")} for row in rows]
    file = write_scores(tmp_path / "t.csv", bare, columns=["study_id", "system", "score"])
    np.testing.assert_array_equal(
        read_scores("l", file, True, LINES, systems()).values["ceiling"], score.values["ceiling"]
    )


def changed(rows, **cells):
    return [{**rows[0], **cells}, *rows[1:]]


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda rows: rows[1:], "1 of 3 scores of system are missing .007 first.; score every row"),
        (lambda rows: rows[:9], r"3 of 3 scores of .* are missing"),
        (lambda rows: [*rows, rows[0]], r"row \d+ \(line \d+\): study 007 comes a second time for system"),
        (lambda rows: changed(rows, score="good"), r"row 2, column score: 'good' is no finite number"),
        (lambda rows: changed(rows, score="nan"), r"row 2, column score: 'nan' is no finite number"),
        (lambda rows: changed(rows, score="inf"), r"column score: 'inf' is no finite number"),
        (lambda rows: changed(rows, score=""), r"column score: '' is no finite number"),
        (lambda rows: changed(rows, system="R2Gen"), r"row 2, column system: 'R2Gen' is none of system, "),
        (lambda rows: changed(rows, study_id="x"), "row 2: study x is none of those that are scored"),
        (
            lambda rows: changed(rows, hypothesis="Edema."),
            "row 2, column hypothesis: is not what system says of study 007",
        ),
        (lambda rows: [], "3 of 3 scores of system are missing"),
    ],
)
def test_faulty_scores_are_one_line(texts, tmp_path, spoil, words):
    rows = [{**row, "score": "0.5"} for row in rows_of(texts / "texts.csv")]
    file = write_scores(tmp_path / "s.csv", spoil(rows))
    with pytest.raises(InputError, match=words) as error:
        read_scores("m", file, True, LINES, systems())
    assert "\n" not in str(error.value)
    assert "s.csv" in str(error.value)


def test_a_table_without_the_columns_is_refused(tmp_path):
    for text, words in (
        ("study_id,score\na,1\n", "no column system"),
        ("", "no column system"),
        (None, "no such file"),
    ):
        file = tmp_path / f"{words}.csv"
        if text is not None:
            file.write_text(text)
        with pytest.raises(InputError, match=words):
            read_scores("m", file, True, LINES, systems())


def test_images_of_one_study_are_told_apart_by_image_id(tmp_path):
    lines = [{**LINES[0], "image_id": "x"}, {**LINES[0], "image_id": "y", "prediction": "None."}]
    write_texts(tmp_path / "out", lines, [line["reference"] for line in lines], systems(lines))
    file = write_scores(tmp_path / "s.csv", rows_of(tmp_path / "out" / "texts.csv"))
    assert read_scores("m", file, True, lines, systems(lines)).values["system"].tolist() == [9, 5]
    file = write_scores(
        tmp_path / "t.csv", rows_of(tmp_path / "out" / "texts.csv"), columns=["system", "study_id", "score"]
    )
    with pytest.raises(InputError, match="no column image_id"):
        read_scores("m", file, True, lines, systems(lines))


@pytest.mark.parametrize(
    ("given", "better", "words"),
    [
        (["chrf"], [], "--scores chrf: is no NAME=FILE"),
        (["=a.csv"], [], "is no NAME=FILE"),
        (["a b=a.csv"], [], "is no NAME=FILE"),
        (["a="], [], "is no NAME=FILE"),
        (["a=x", "a=y"], [], "a comes twice"),
        (["a=x"], ["no", "no"], "2 answers for 1 scores"),
        ([], ["no"], "goes with --scores"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(given, better, words):
    with pytest.raises(InputError, match=words):
        parse_scores(given, better)


def test_which_is_better_is_said_once_or_for_each():
    assert [better for *_, better in parse_scores(["a=x", "b=y"], [])] == [True, True]
    assert [better for *_, better in parse_scores(["a=x", "b=y"], ["no"])] == [False, False]
    assert [better for *_, better in parse_scores(["a=x", "b=y"], ["no", "yes"])] == [False, True]


def scored(higher_is_better, worse, own, best):
    """The metrics of a system whose score is `own` everywhere, random reports' `worse`, the ceiling's `best`."""
    values = {name: np.full(3, worse) for name in SYSTEMS} | {"system": np.full(3, own), "ceiling": np.full(3, best)}
    predictions, references = ([line[side] for line in LINES] for side in ("prediction", "reference"))
    result = score_system(POOL, references, predictions, "raw", meteor="exact_stem")
    return add_scores(result, [ExternalScore("m", "m.csv", higher_is_better, values)])


def test_a_score_from_elsewhere_has_interval_floors_ceiling_and_skill():
    result = scored(True, 1.0, 2.0, 5.0)
    assert (result["scores"]["m"], result["intervals"]["m"], result["ceiling"]["m"]) == (2, [2, 2], 5)
    assert {floor["m"] for floor in result["floors"].values()} == {1}
    assert result["skill"]["m"] == pytest.approx(0.25)
    assert result["external"] == {"m": {"file": "m.csv", "higher_is_better": True}}
    assert "m" not in scored(True, 5.0, 2.0, 1.0)["skill"]


def test_skill_of_a_score_that_is_better_where_lower():
    assert scored(False, 5.0, 4.0, 1.0)["skill"]["m"] == pytest.approx(0.25)
    assert "m" not in scored(False, 1.0, 4.0, 5.0)["skill"]


def test_a_score_of_ours_is_not_overwritten():
    predictions, references = ([line[side] for line in LINES] for side in ("prediction", "reference"))
    result = score_system(POOL, references, predictions, "raw", meteor="exact_stem")
    with pytest.raises(InputError, match="--scores bleu_1: is the name of a score of ours"):
        add_scores(result, [ExternalScore("bleu_1", "f", True, {name: np.zeros(3) for name in SYSTEMS})])


def test_scores_of_lines_are_those_that_all_have():
    assert scores_of_lines([{"scores": {"a": 1, "b": 2}}, {"scores": {"a": 3}}])["a"].tolist() == [1, 3]
    assert scores_of_lines([{"scores": {"a": 1}}, {}]) == scores_of_lines([{}]) == {}
    with pytest.raises(InputError, match="scores of a are not all finite numbers"):
        scores_of_lines([{"scores": {"a": "1"}}])


def test_a_runs_way_out_and_back_with_a_paired_test_and_its_page(tmp_path, capsys):
    """`overlap` stands in for any metric: the share of the reference's words that the hypothesis has."""

    def overlap(row):
        words = set(row["reference"].split())
        return len(words & set(row["hypothesis"].split())) / len(words)

    for name, noise in (("a", 0.5), ("b", 1.5)):
        run = make_run(tmp_path / name, noise, count=30)
        evaluate.main(["--workdir", str(run), "--protocol", "raw", "--texts", str(tmp_path / f"texts_{name}")])
        write_scores(tmp_path / f"{name}.csv", rows_of(tmp_path / f"texts_{name}" / "texts.csv"), overlap)
    for name, more in (("b", []), ("a", ["--compare", str(tmp_path / "b")])):
        scores = f"overlap={tmp_path / name}.csv"
        evaluate.main(["--workdir", str(tmp_path / name), "--protocol", "raw", "--scores", scores, *more])
    first, second = (metrics(tmp_path / name) for name in ("a", "b"))
    low, high = first["intervals"]["overlap"]
    assert low < first["scores"]["overlap"] < high <= 1
    assert 0 < first["floors"]["random_same_class_report"]["overlap"] < first["scores"]["overlap"]
    assert 0 < first["ceiling"]["overlap"] < 1
    compared = first["comparison"]["scores"]["overlap"]
    assert compared["difference"] == pytest.approx(first["scores"]["overlap"] - second["scores"]["overlap"])
    assert compared["p"] < 0.05
    printed = capsys.readouterr().out
    assert printed.count(" overlap") >= 2
    assert "overlap" in (tmp_path / "a" / "eval" / "test" / "index.html").read_text()
    assert "overlap" in (tmp_path / "a" / "eval" / "test" / "tables.md").read_text()


def test_nothing_to_exchange_costs_nothing(monkeypatch):
    monkeypatch.setattr("cxr_jax.evaluation.external_scores.systems_of", lambda *_: pytest.fail("drawn"))
    assert Exchange().of(LINES, POOL, "raw") == []

"""`evaluate --data` on a run with random weights: what is written, of labels, of reports, and of what is in both."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.special import expit

import cxr_jax
from cxr_jax import evaluate
from cxr_jax.errors import InputError
from cxr_jax.export.folder import ExportFolder
from cxr_jax.recipes.external_opened import output_folder
from cxr_jax.recipes.external_set import Options
from cxr_jax.retrieval.prompts import as_questions
from cxr_jax.retrieval.store import SplitIndex
from cxr_jax.retrieval.zero_shot import margins
from tests.evaluation.test_zero_shot import naive_auroc, naive_f1

LABELS = ("Edema", "Mass")


@pytest.fixture
def folder(tmp_path, drawn):
    shutil.copytree(drawn, tmp_path / "set")
    return tmp_path / "set"


def table_of(folder, name="mine.csv", reports=True, rows=16, first=0):
    """Edema of every second image, Mass of every third, in doubt or blank at times; reports of the first twelve."""
    lines = ["image,patient_id,Edema,Mass" + (",report" if reports else "")]
    for i in range(first, first + rows):
        cells = [f"{i}.png", f"p{i // 2}", "-1" if i == 4 else str(i % 2), "" if i == 5 else str(int(i % 3 == 0))]
        lines.append(",".join([*cells, *([f"finding number {i % 5} is seen ." if i < 12 else ""] if reports else [])]))
    (folder / name).write_text("\n".join(lines) + "\n")
    return folder / name


def written(run, name):
    place = run.evaluation(name)
    lines = [json.loads(line) for line in (place / "predictions.jsonl").read_text().splitlines()]
    return json.loads((place / "metrics.json").read_text()), lines, place


def test_labels_and_reports(run, folder, capsys):
    table = table_of(folder)
    (folder / "3.png").write_text("no image")
    evaluate.main(["--workdir", str(run.root), "--data", str(table), "--zero_shot", "{Edema: {}, mass: {}}"])
    metrics, lines, place = written(run, "mine")
    assert sorted(file.name for file in place.iterdir()) == [
        "index.html", "metrics.json", "predictions.jsonl", "tables.md", "zero_shot.json"
    ]  # fmt: skip
    assert (metrics["n_images"], metrics["n_patients"], metrics["n"]) == (15, 8, 11)
    assert (metrics["dataset"], metrics["split"], metrics["protocol"]) == ("mine.csv", "mine", "raw")
    assert any("1 images cannot be read" in note and "3.png" in note for note in metrics["notes"])
    assert {"own_constant_report", "own_random_report", "constant_report"} <= metrics["floors"].keys()
    assert {"recall@1", "chance_recall@1", "tied_chance_recall@1"} <= metrics["retrieval"]["image_to_text"].keys()
    assert metrics["scores"].keys() == metrics["intervals"].keys()
    assert metrics["constant_chosen_on"] == "val"

    zero_shot = json.loads((place / "zero_shot.json").read_text())
    assert zero_shot["policy"] == {"uncertain": "ignore", "blank": "ignore"}
    assert zero_shot["no_threshold"] == ["Edema"]  # the run's val has masses
    assert zero_shot["thresholds"] == "highest F1 on the run's val"
    model = cxr_jax.load(run.root)
    kept = [i for i in range(16) if i != 3]
    entry = zero_shot["labels"]["Edema"]
    chance = model.zero_shot([folder / f"{i}.png" for i in kept], {"Edema": (entry["positive"], entry["negative"])})
    np.testing.assert_allclose([line["probabilities"]["Edema"] for line in lines], chance["Edema"], atol=1e-5)
    known = [i for i in kept if i != 4]
    truth = np.array([i % 2 == 1 for i in known])
    score = np.array([line["probabilities"]["Edema"] for line in lines if line["image_id"] != "4.png"])
    assert entry["n_known"] == 14
    assert entry["auroc"] == pytest.approx(naive_auroc(truth, score))
    by_id = {line["image_id"]: line for line in lines}
    assert by_id["4.png"]["label_values"] == {"Edema": -1, "Mass": 0}
    assert by_id["5.png"]["label_values"] == {"Edema": 1, "Mass": None}
    assert by_id["15.png"]["reference"] == ""
    assert by_id["0.png"]["prediction"] == model.retrieve(folder / "0.png", 1)[0].row.report
    printed = capsys.readouterr()
    assert "Retrieved reports" in printed.out
    assert str(place / "index.html") in printed.out
    assert "4 images have no report" in printed.out
    assert "one report of this set" in (place / "tables.md").read_text()
    page = (place / "index.html").read_text()
    assert page.count("<article") == 15
    assert page.count("<h3>True report</h3>") == 11


def test_labels_alone_by_default_sentences_and_thresholds_of_another_table(run, folder, tmp_path):
    shutil.copytree(folder, tmp_path / "other")
    table, other = table_of(folder, reports=False, rows=10), table_of(tmp_path / "other", "c.csv", False, 8, 8)
    (tmp_path / "other" / "c.csv").write_text(other.read_text().replace(",p", ",q"))
    arguments = ["--workdir", str(run.root), "--data", str(table), "--calibrate", str(other), "--name", "by c"]
    evaluate.main([*arguments, "--uncertain", "positive", "--blank", "negative"])
    metrics, lines, place = written(run, "by c")
    assert "scores" not in metrics
    assert metrics["n"] == 10
    zero_shot = json.loads((place / "zero_shot.json").read_text())
    assert zero_shot["thresholds"] == f"highest F1 on {other}"
    assert zero_shot["policy"] == {"uncertain": "positive", "blank": "negative"}
    edema = zero_shot["labels"]["Edema"]
    assert edema["positive"][0] == "There is edema."
    assert (edema["n_known"], edema["n_positive"]) == (10, 6)
    truth = np.array([line["label_values"]["Edema"] in (1, -1) for line in lines])
    chance = np.array([line["probabilities"]["Edema"] for line in lines])
    assert edema["f1"] == pytest.approx(naive_f1(truth, chance >= edema["threshold"]))
    model, questions = cxr_jax.load(run.root), as_questions({"Edema": (edema["positive"], edema["negative"])})
    z_v = model.encode_image([tmp_path / "other" / f"{i}.png" for i in range(8, 16)])
    of_other = expit(margins(z_v, questions, model.encode_text, model.scale)[:, 0])
    there = np.array([i % 2 == 1 for i in range(8, 16)])
    best = max(naive_f1(there, of_other >= value) for value in of_other)
    assert naive_f1(there, of_other >= edema["threshold"] - 1e-6) == pytest.approx(best)


def test_thresholds_of_the_sets_own_patients_are_said_to_be(run, folder, capsys):
    table = table_of(folder, reports=False)
    evaluate.main(["--workdir", str(run.root), "--data", str(table), "--calibrate", str(table), "--name", "twice"])
    assert f"16 images are of patients of {table}: the thresholds are too good there" in capsys.readouterr().err


def test_a_sample_by_class(run, folder):
    table = table_of(folder, name="t.csv")
    arguments = ["--workdir", str(run.root), "--data", str(table), "--sample", "2x2", "--seed", "1"]
    evaluate.main(arguments)
    metrics, lines, place = written(run, "t_2x2")
    sample = list(csv.DictReader((place / "sample.csv").read_text().splitlines()))
    assert [row["class"] for row in sample] == ["Edema", "Edema", "Mass", "Mass"]
    assert [row["image"] for row in sample] == [line["image_id"] for line in lines]
    by_class = metrics["by_class"]
    assert (by_class["sample"], by_class["seed"], by_class["classes"]) == ("2x2", 1, ["Edema", "Mass"])
    assert by_class["sentences"]["Mass"][0] == "There is mass."
    assert {"image_to_image", "sentence_to_image"} <= by_class.keys()
    assert 0 <= by_class["sentence_to_image"]["map"] <= 1
    evaluate.main([*arguments, "--name", "again"])
    assert (run.evaluation("again") / "sample.csv").read_text() == (place / "sample.csv").read_text()


def test_a_sample_of_one_each_says_what_it_cannot_measure(run, folder, capsys):
    table = table_of(folder, name="one.csv")
    evaluate.main(["--workdir", str(run.root), "--data", str(table), "--sample", "2x1"])
    place = run.evaluation("one_2x1")
    for name in ("metrics.json", "zero_shot.json"):
        json.loads((place / name).read_text(), parse_constant=pytest.fail)
    by_class = json.loads((place / "metrics.json").read_text())["by_class"]["image_to_image"]
    assert "map" not in by_class
    assert by_class["not_measurable"] == {"map": "no query has another target of its class"}
    assert "No map of image to image: no query has another target of its class." in capsys.readouterr().out


def test_one_image_is_a_set(run, folder):
    table = table_of(folder, name="single.csv", rows=1)
    evaluate.main(["--workdir", str(run.root), "--data", str(table)])
    for name in ("metrics.json", "zero_shot.json"):
        json.loads((run.evaluation("single") / name).read_text(), parse_constant=pytest.fail)
    evaluate.main(["--workdir", str(run.root), "--data", str(table), "--probes"])
    json.loads((run.evaluation("single") / "probes.json").read_text(), parse_constant=pytest.fail)


def test_what_was_trained_on_is_said_and_not_found(run, folder, pictures, capsys):
    train = SplitIndex.load(run.index, "train")
    # A copy that was enlarged and stored anew, and that the model need not see as the same.
    anew = Image.fromarray(pictures[0]).resize((150, 150), Image.Resampling.BICUBIC)
    anew.save(folder / "seen.jpg", quality=40)
    study, report = train.rows[1].study_id, train.rows[1].report
    (folder / "seen.csv").write_text(
        f"image\tstudy_id\treport\nseen.jpg\tnew\t{train.rows[0].report}\n0.png\t{study.lower()}\t{report}\n"
        "1.png\tx\tClear lungs.\n"
    )
    evaluate.main(["--workdir", str(run.root), "--data", str(folder / "seen.csv"), "--top_k", "9999"])
    metrics, lines, _ = written(run, "seen")
    assert metrics["in_training"]["by_picture"] == 1
    assert metrics["pool"]["left_out"] == 2
    found = {neighbour for line in lines for neighbour in line["neighbours"]}
    assert not found & {study, train.rows[0].study_id}
    assert len(found) == metrics["pool"]["studies"] == len(train.columns.study_ids) - 2
    assert "in the run's training split too, by their pictures" in capsys.readouterr().err


def test_an_export_without_index_answers_with_a_pool_of_its_own(bare, folder, tmp_path, capsys):
    (tmp_path / "export").mkdir()
    ExportFolder(tmp_path / "export").save_config(bare.config, "0", 3)
    table = table_of(folder, "x.csv")
    arguments = ["--workdir", str(tmp_path / "export"), "--data", str(table)]
    # Without a pool: what its labels give, and recall within the set.
    evaluate.main([*arguments, "--name", "bare"])
    bare_metrics = json.loads((tmp_path / "export" / "eval" / "bare" / "metrics.json").read_text())
    assert "scores" not in bare_metrics
    assert bare_metrics["n"] == 12
    assert "recall@1" in bare_metrics["retrieval"]["image_to_text"]
    assert any("no pool of reports (export it --with_index" in remark for remark in bare_metrics["remarks"])
    assert "no pool of reports" in capsys.readouterr().out
    zero_shot = json.loads((tmp_path / "export" / "eval" / "bare" / "zero_shot.json").read_text())
    assert "auroc" in zero_shot["labels"]["Edema"]
    page = (tmp_path / "export" / "eval" / "bare" / "index.html").read_text()
    assert page.count("<h3>True report</h3>") == 12
    with pytest.raises(InputError, match=r"--texts: is of retrieved reports, and .*export has no pool of reports"):
        evaluate.main([*arguments, "--texts", str(tmp_path / "texts")])
    (tmp_path / "corpus.txt").write_text("The heart is large .\n\nClear lungs .\n")
    evaluate.main([*arguments, "--pool", str(tmp_path / "corpus.txt"), "--out", str(tmp_path / "results")])
    lines = (tmp_path / "results" / "x" / "predictions.jsonl").read_text().splitlines()
    assert {json.loads(line)["prediction"] for line in lines} <= {"The heart is large .", "Clear lungs ."}
    metrics = json.loads((tmp_path / "results" / "x" / "metrics.json").read_text())
    assert metrics["constant_chosen_on"] == "the pool"
    assert metrics["pool"] == {"of": [str(tmp_path / "corpus.txt")], "studies": 2, "left_out": 0}
    # Labels need no pool at all.
    evaluate.main(["--workdir", str(tmp_path / "export"), "--data", str(table_of(folder, "y.csv", reports=False))])
    assert (tmp_path / "export" / "eval" / "y" / "zero_shot.json").is_file()
    assert "cases" in (tmp_path / "export" / "eval" / "y" / "index.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--name", "test"], "--name test: is a split of the run's own"),
        (["--name", "a/b"], "--name a/b: is no name of a folder"),
        (["--name", ".."], "is no name of a folder"),
        (["--columns", "{labels: nothing}"], "has none of the label columns nothing"),
        (["--zero_shot", "{Fracture: {}}"], r"no image of the data has the label Fracture \(they have Edema, Mass\)"),
        (["--images", "absent"], "--images absent: is no folder"),
        (["--calibrate", "absent.csv"], r"absent\.csv: no such file"),
        (["--sample", "2x500"], "--sample: .* fewer than 500"),
        (["--sample", "many"], "--sample many: write how many classes"),
        (["--compare", "absent.jsonl"], r"absent\.jsonl: cannot be read"),
        (["--labels", "x"], "--data and --labels: do not go together"),
        (["--probes", "--calibrate", "x"], "--probes and --calibrate: do not go together"),
        (["--score", "x"], "--data and --score: do not go together"),
    ],
)
def test_bad_arguments_are_found_before_the_model_is_loaded(run, folder, monkeypatch, arguments, says):
    monkeypatch.setattr(cxr_jax, "load", lambda workdir: pytest.fail("loaded"))
    table = table_of(folder)
    with pytest.raises(InputError, match=says):
        evaluate.main(["--workdir", str(run.root), "--data", str(table), *arguments])


def test_options_of_a_set_need_one(run):
    with pytest.raises(InputError, match="--sample: is of a set from elsewhere; give --data FILE with it"):
        evaluate.main(["--workdir", str(run.root), "--sample", "2x2"])


def test_neither_labels_nor_reports(run, folder):
    (folder / "bare.csv").write_text("image,patient_id\n0.png,p\n")
    with pytest.raises(InputError, match="has neither labels nor reports in its columns image, patient_id"):
        evaluate.main(["--workdir", str(run.root), "--data", str(folder / "bare.csv")])


def test_no_image_can_be_read(run, folder):
    (folder / "gone.csv").write_text("image,Edema\nx.png,1\ny.png,0\n")
    with pytest.raises(InputError, match=r"none of 2 images can be read; the first: .*x\.png"):
        evaluate.main(["--workdir", str(run.root), "--data", str(folder / "gone.csv")])


def test_where_the_results_go(run, tmp_path):
    """Beside the model, but for one on the hub, whose folder is the hub's client's."""
    of = [
        output_folder(Options(workdir, "a/b.c.csv", **options), run)
        for workdir, options in (
            (str(run.root), {}), ("owner/name", {}), ("owner/name", {"out": str(tmp_path), "name": "x"}),
            (str(run.root), {"sample": "5x200"}),
        )
    ]  # fmt: skip
    assert of == [run.evaluation("b"), Path("eval/b"), tmp_path / "x", run.evaluation("b_5x200")]


def test_the_prompts_of_a_map_are_asked_of_the_labels_that_are_there(run, folder):
    columns = "{prompts: {Effusion: {}, Mass: {labels: [mass, Nodule], positive: [A mass.], negative: [No mass.]}}}"
    evaluate.main(["--workdir", str(run.root), "--data", str(table_of(folder, "p.csv", False)), "--columns", columns])
    labels = json.loads((run.evaluation("p") / "zero_shot.json").read_text())["labels"]
    assert {name: (entry["counts_as"], entry["positive"]) for name, entry in labels.items()} == {
        "Mass": (["Mass"], ["A mass."])
    }


def test_a_name_for_no_finding_is_asked_by_sentences_of_its_own_alone(run, folder, capsys):
    (folder / "n.csv").write_text("image,finding\n0.png,normal\n1.png,Edema\n2.png,normal\n3.png,Edema\n")
    arguments = ["--workdir", str(run.root), "--data", str(folder / "n.csv"), "--columns", "{labels: finding}"]
    evaluate.main(arguments)
    assert list(json.loads((run.evaluation("n") / "zero_shot.json").read_text())["labels"]) == ["Edema"]
    assert "1 labels say that there is no finding, and are not asked for: name them under normal:" in (
        capsys.readouterr().err
    )
    evaluate.main([*arguments, "--zero_shot", "{normal: {positive: [Clear.], negative: [Ill.]}}"])
    assert list(json.loads((run.evaluation("n") / "zero_shot.json").read_text())["labels"]) == ["normal"]
    assert "say that there is no finding" not in capsys.readouterr().err
    evaluate.main([*arguments, "--zero_shot", "{normal: {}}"])
    assert "asked for by default sentences all the same" in capsys.readouterr().err
    (folder / "n.csv").write_text("image,finding\n0.png,normal\n1.png,\n")
    with pytest.raises(InputError, match="its only labels, normal, say that there is no finding"):
        evaluate.main(arguments)

"""`evaluate --data` with --texts, --scores, --compare and --probes: as a run's own split has them."""

import csv
import json
import shutil

import numpy as np
import pytest

import cxr_jax
from cxr_jax import evaluate
from cxr_jax.errors import InputError
from cxr_jax.retrieval.external import Embedder
from tests.recipes.test_external import table_of, written

SYSTEMS = {
    "system", "constant_report", "most_frequent_report", "ceiling", "own_constant_report",
    *(f"{floor}_{i}" for i in range(1, 6) for floor in ("random_report", "own_random_report")),
}  # fmt: skip


@pytest.fixture
def folder(tmp_path, drawn):
    shutil.copytree(drawn, tmp_path / "set")
    return tmp_path / "set"


@pytest.fixture
def scored(run, folder, tmp_path):
    """The set's texts, scored elsewhere by how many words they share with the reference."""
    table = table_of(folder, "m.csv")
    arguments = ["--workdir", str(run.root), "--data", str(table)]
    evaluate.main([*arguments, "--texts", str(tmp_path / "texts")])
    with (tmp_path / "texts" / "texts.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    for row in rows:
        row["score"] = len(set(row["reference"].split()) & set(row["hypothesis"].split()))
    with (tmp_path / "shared.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    return arguments, rows, tmp_path / "shared.csv"


def test_texts_go_out_and_scores_come_back(run, scored, capsys):
    arguments, rows, file = scored
    assert {row["system"] for row in rows} == SYSTEMS
    lines = [line for line in written(run, "m")[1] if line["reference"]]
    assert [(row["image_id"], row["reference"], row["hypothesis"]) for row in rows if row["system"] == "system"] == [
        (line["image_id"], line["reference"], line["prediction"]) for line in lines
    ]
    assert len(lines) == 12
    own = {row["reference"] for row in rows}
    assert {row["hypothesis"] for row in rows if row["system"].startswith("own_")} <= own
    evaluate.main([*arguments, "--scores", f"shared={file}"])
    metrics, lines, place = written(run, "m")
    mean = np.mean([row["score"] for row in rows if row["system"] == "system"])
    assert metrics["scores"]["shared"] == pytest.approx(mean)
    low, high = metrics["intervals"]["shared"]
    assert low <= mean <= high
    draws = [row["score"] for row in rows if row["system"].startswith("own_random")]
    assert metrics["floors"]["own_random_report"]["shared"] == pytest.approx(np.mean(draws))
    assert "shared" in metrics["ceiling"]
    assert "shared" in metrics["floors"]["constant_report"]
    assert metrics["external"]["shared"]["higher_is_better"]
    assert [("scores" in line) for line in lines] == [bool(line["reference"]) for line in lines]
    assert "shared" in (place / "index.html").read_text()
    assert "shared" in (place / "tables.md").read_text()
    assert "shared" in capsys.readouterr().out


def test_another_evaluation_of_the_set_is_compared_on_reports_labels_and_scores(run, scored, tmp_path, monkeypatch):
    arguments, _, file = scored
    evaluate.main([*arguments, "--scores", f"shared={file}"])
    first = written(run, "m")[1]
    # A model that answers otherwise, by other embeddings of the same images.
    rng = np.random.default_rng(0)
    images = Embedder.images

    def noisy(self, *given):
        rows, z = images(self, *given)
        z = z + rng.normal(size=z.shape).astype(np.float32)
        return rows, z / np.linalg.norm(z, axis=1, keepdims=True)

    with monkeypatch.context() as patched:
        patched.setattr(Embedder, "images", noisy)
        evaluate.main([*arguments, "--out", str(tmp_path / "other" / "eval")])
    other = tmp_path / "other" / "eval" / "m" / "predictions.jsonl"
    theirs = [json.loads(line) for line in other.read_text().splitlines()]
    assert [line["prediction"] for line in theirs] != [line["prediction"] for line in first]
    zero_shot = json.loads((run.evaluation("m") / "zero_shot.json").read_text())
    of_other = json.loads((other.parent / "zero_shot.json").read_text())
    # By its folder, and by the file.
    for given in (str(tmp_path / "other"), str(other)):
        evaluate.main([*arguments, "--compare", given])
        metrics, _, place = written(run, "m")
        assert metrics["comparison"]["with"] == given
        assert metrics["comparison"]["scores"].keys() <= metrics["scores"].keys()
        theirs_metrics = json.loads((other.parent / "metrics.json").read_text())
        for score in ("bleu_1", "rouge_l"):
            difference = metrics["scores"][score] - theirs_metrics["scores"][score]
            assert metrics["comparison"]["scores"][score]["difference"] == pytest.approx(difference)
        compared = json.loads((place / "zero_shot.json").read_text())["comparison"]
        assert compared["with"] == given
        for label in ("Edema", "Mass"):
            difference = zero_shot["labels"][label]["auroc"] - of_other["labels"][label]["auroc"]
            assert compared["labels"][label]["auroc"]["difference"] == pytest.approx(difference)
        macro = zero_shot["macro"]["auroc"] - of_other["macro"]["auroc"]
        assert compared["labels"]["macro mean"]["auroc"]["difference"] == pytest.approx(macro)
        assert f"Retrieved reports minus those of {given}" in (place / "tables.md").read_text()
    # Both have other people's scores: these are compared too.
    scores = [{**line, "scores": {"shared": 0.0}} if line["reference"] else line for line in theirs]
    (tmp_path / "with.jsonl").write_text("".join(json.dumps(line) + "\n" for line in scores))
    evaluate.main([*arguments, "--scores", f"shared={file}", "--compare", str(tmp_path / "with.jsonl")])
    metrics = written(run, "m")[0]
    assert metrics["comparison"]["scores"]["shared"]["difference"] == pytest.approx(metrics["scores"]["shared"])


def test_labels_alone_are_compared_and_other_images_or_tables_refused(run, folder, tmp_path):
    table = table_of(folder, "l.csv", reports=False)
    arguments = ["--workdir", str(run.root), "--data", str(table)]
    with pytest.raises(InputError, match=rf"--workdir {run.root} --data {table} --name l"):
        evaluate.main([*arguments, "--compare", str(run.root)])
    evaluate.main(arguments)
    evaluate.main([*arguments, "--compare", str(run.root)])
    compared = json.loads((run.evaluation("l") / "zero_shot.json").read_text())["comparison"]["labels"]
    assert compared["macro mean"]["auroc"] == {"difference": 0, "interval": [0, 0], "p": 1}
    assert "comparison" not in written(run, "l")[0]
    lines = written(run, "l")[1]

    def other(*changed):
        file = tmp_path / "changed.jsonl"
        file.write_text("".join(json.dumps(line) + "\n" for line in changed))
        return [*arguments, "--compare", str(file)]

    with pytest.raises(InputError, match=r"different images \(16 and 15\): the other one lacks 1, 0\.png for one"):
        evaluate.main(other(*lines[1:]))
    wrong = {**lines[0], "label_values": {"Edema": 1, "Mass": 1}}
    with pytest.raises(InputError, match=r"says otherwise of Edema in image 0\.png"):
        evaluate.main(other(wrong, *lines[1:]))
    bare = [{key: value for key, value in line.items() if key != "margins"} for line in lines]
    with pytest.raises(InputError, match="has neither reports nor labels that were scored here too"):
        evaluate.main(other(*bare))


def test_probes_are_of_texts_and_of_the_models_preference(run, folder, capsys):
    (folder / "r.csv").write_text(
        "image,patient_id,report\n"
        + "".join(
            f"{i}.png,p{i},{'Small left effusion . No pneumothorax .' if i % 2 else 'Large heart . No edema .'}\n"
            for i in range(8)
        )
    )
    arguments = ["--workdir", str(run.root), "--data", str(folder / "r.csv"), "--probes"]
    evaluate.main(arguments)
    found = json.loads((run.evaluation("r") / "probes.json").read_text())
    assert (found["split"], found["n"], found["protocol"]) == ("r", 8, "raw")
    assert found["scores"]["side_swapped"]["true"]["n"] == 4
    assert found["scores"]["negation_flipped"]["true"]["n"] == 8
    model = cxr_jax.load(run.root)
    z_v = model.encode_image([folder / f"{i}.png" for i in range(1, 8, 2)])
    true, twin = model.encode_text(
        ["Small left effusion . No pneumothorax .", "Small right effusion . No pneumothorax ."]
    )
    preferred = found["model"]["side_swapped"]
    assert preferred["n"] == 4
    assert preferred["accuracy"] == np.where(abs(z_v @ (true - twin)) <= 1e-6, 0.5, z_v @ (true - twin) > 0).mean()
    printed = capsys.readouterr().out
    assert "r.csv, 8 images of 8 patients, protocol raw" in printed
    assert "the true report preferred to its twin" in printed
    assert not (run.evaluation("r") / "metrics.json").exists()


@pytest.mark.parametrize("more", [["--texts", "out"], ["--scores", "a=a.csv"], ["--probes"]])
def test_what_is_of_reports_says_so_where_there_are_labels_alone(run, folder, monkeypatch, more):
    monkeypatch.setattr(cxr_jax, "load", lambda workdir: pytest.fail("loaded"))
    table = table_of(folder, "alone.csv", reports=False)
    with pytest.raises(InputError, match=rf"{more[0]}: is of retrieved reports, and .*alone\.csv has labels alone"):
        evaluate.main(["--workdir", str(run.root), "--data", str(table), *more])

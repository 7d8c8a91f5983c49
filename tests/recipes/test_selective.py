"""A split under a run's checks, from the command line: curves, calibration, and drafts that are withheld."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest

import cxr_jax
from cxr_jax import evaluate, retrieve
from cxr_jax.data import images
from cxr_jax.errors import InputError
from cxr_jax.retrieval import abstention
from cxr_jax.retrieval.abstention import Gauge, limits_of, measures_of
from cxr_jax.retrieval.loading import checks_of
from cxr_jax.retrieval.model import Model
from cxr_jax.retrieval.store import SplitIndex

UNSEEN = ("likeness", "embedding", "agreement", "similarity", "support")


@pytest.fixture
def own(run, bare, tmp_path, monkeypatch) -> Path:
    """A copy of the run whose index has limits, by which a third of the validation split is far from the training's."""
    folder = Path(shutil.copytree(run.root, tmp_path / "run"))
    train, val = (SplitIndex.load(folder / "index", name) for name in ("train", "val"))
    gauge = Gauge(train)
    limits = limits_of(val, train, gauge, bare.scale)
    values = measures_of(val, train, gauge, bare.scale).embedding
    limits = dataclasses.replace(
        limits, lowest={**limits.lowest, "likeness": 0.9, "embedding": float(sorted(values)[8])}
    )
    abstention.save(folder / "index", limits, train.step, train.checkpoint)
    model = Model(
        bare.config, bare.variables, bare.tokenizer, train, checks=lambda model: checks_of(model, limits, None)
    )
    model._encode = bare._encode
    monkeypatch.setattr(cxr_jax, "load", lambda _: model)
    return folder


@pytest.mark.parametrize("method", ["top1", "compose"])
def test_a_split_has_its_curves_and_its_calibration(own, method, capsys):
    evaluate.main(["--workdir", str(own), "--split", "val", "--method", method])
    folder = own / "eval" / ("val" if method == "top1" else "val-compose")
    metrics = json.loads((folder / "metrics.json").read_text())
    selective, calibration = metrics["selective"], metrics["calibration"]
    assert selective["aurc"].keys() == {*UNSEEN, "random", "oracle"}
    assert selective["curves"].keys() == selective["intervals"].keys() == selective["aurc"].keys()
    assert selective["n"] == 24
    assert selective["risk"].startswith("1 - F1")
    assert selective["kept"]["embedding"]["val"] == pytest.approx(16 / 24)
    assert selective["coverage"] <= 16 / 24
    assert calibration.keys() == {"val"}
    assert 0 <= calibration["val"]["ece"] <= 1
    page = (folder / "index.html").read_text()
    for words in ("Risk of the images answered", "Share that is true", "oracle order", "ECE"):
        assert words in page
    assert "AURC" in capsys.readouterr().out


@pytest.mark.parametrize("method", ["top1", "compose"])
def test_doubted_images_are_withheld_and_named(own, method, capsys):
    evaluate.main(["--workdir", str(own), "--split", "val", "--method", method, "--abstain"])
    folder = own / "eval" / ("val-abstain" if method == "top1" else "val-compose-abstain")
    metrics = json.loads((folder / "metrics.json").read_text())
    withheld = [json.loads(line) for line in (folder / "withheld.jsonl").read_text().splitlines()]
    answered = [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]
    assert len(withheld) == metrics["abstention"]["withheld"] >= 8
    assert len(answered) == metrics["n"] == 24 - len(withheld)
    assert metrics["abstention"]["coverage"] == len(answered) / 24
    assert metrics["abstention"]["reasons"]["far from the training images"] >= 8
    assert "selective" not in metrics
    assert {line["study_id"] for line in withheld}.isdisjoint(line["study_id"] for line in answered)
    assert all(line["reasons"] for line in withheld)
    assert f"{len(withheld)} of 24 withheld" in capsys.readouterr().out
    for name in ("tables.md", "index.html"):
        assert f"{len(withheld)} of 24 images are doubted and their drafts withheld" in (folder / name).read_text()


def test_an_index_of_before_is_scored_with_a_line_that_says_so(own, capsys):
    (own / "index" / abstention.FILE).unlink()
    evaluate.main(["--workdir", str(own), "--split", "val"])
    assert capsys.readouterr().err.count("not checked: the index is of an older version") == 1
    metrics = json.loads((own / "eval" / "val" / "metrics.json").read_text())
    assert "selective" not in metrics
    assert "calibration" not in metrics
    evaluate.main(["--workdir", str(own), "--split", "val", "--abstain"])  # its model knows of a validation split
    assert (own / "eval" / "val-abstain" / "withheld.jsonl").read_text().count("\n") >= 8
    assert "not checked" not in capsys.readouterr().err


def test_nothing_is_left_to_score(own):
    index = own / "index"
    content = json.loads((index / abstention.FILE).read_text())
    content["lowest"]["likeness"] = 2.0
    (index / abstention.FILE).write_text(json.dumps(content))
    with pytest.raises(InputError, match="--abstain: all 24 images of val are doubted"):
        evaluate.main(["--workdir", str(own), "--split", "val", "--abstain"])


@pytest.mark.parametrize("more", [["--compare", "x"], ["--zero_shot", "{}"], ["--data", "x.csv"], ["--texts", "x"]])
def test_what_needs_all_images_withholds_none(own, more):
    with pytest.raises(InputError, match=r"--abstain and --.*: do not go together"):
        evaluate.main(["--workdir", str(own), "--abstain", *more])


def test_retrieve_withholds_the_draft_and_names_the_reason(own, pictures, tmp_path, capsys):
    (tmp_path / "a.png").write_bytes(images.encode_png(255 - pictures[0]))
    retrieve.main(["--workdir", str(own), "--image", str(tmp_path / "a.png"), "--abstain"])
    printed = capsys.readouterr()
    assert "draft (top1): withheld\n" in printed.out
    assert "        from CXR" not in printed.out
    assert "a.png: warning: inverted: " in printed.err
    retrieve.main(["--workdir", str(own), "--image", str(tmp_path / "a.png"), "--method", "top1"])
    printed = capsys.readouterr()
    assert "draft (top1):\n" in printed.out
    assert "a.png: warning: inverted: " in printed.err
    retrieve.main(["--workdir", str(own), "--split", "val", "--abstain"])
    assert "withheld" in capsys.readouterr().out

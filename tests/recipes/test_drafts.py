"""A split scored by drafts of every method, from the command line."""

import html
import json
import shutil
from pathlib import Path

import pytest

import cxr_jax
from cxr_jax import evaluate, retrieve
from cxr_jax.data import images
from cxr_jax.errors import InputError
from cxr_jax.retrieval.store import SplitIndex
from tests.recipes.conftest import REPORTS


@pytest.fixture
def own(run, tmp_path, monkeypatch) -> Path:
    """A copy of the run, which may be written to."""
    load = cxr_jax.load
    monkeypatch.setattr(cxr_jax, "load", lambda _: load(run.root))
    return Path(shutil.copytree(run.root, tmp_path / "run"))


@pytest.mark.parametrize("method", ["top1", "consensus", "sentences", "compose"])
def test_a_split_is_scored_by_its_drafts(own, method, capsys):
    evaluate.main(["--workdir", str(own), "--split", "val", "--method", method])
    printed = capsys.readouterr().out
    assert f"drafts by {method}" in printed
    assert ("retrieved report (top 1)" if method == "top1" else f"draft ({method})") in printed
    folder = own / "eval" / ("val" if method == "top1" else f"val-{method}")
    metrics = json.loads((folder / "metrics.json").read_text())
    lines = [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]
    assert metrics["method"] == method
    chosen = {"compose": "the thresholds of drafts' votes, those of drafts' labels",
              "sentences": "the thresholds of drafts' labels"}  # fmt: skip
    said = ", ".join(["the constant report", *([chosen[method]] if method in chosen else [])])
    assert ", ".join(metrics["chosen_on_val"]) == said
    for text in (printed, (folder / "tables.md").read_text(), html.unescape((folder / "index.html").read_text())):
        assert f"Chosen on this very split, val, so that their scores are too good: {said}." in text
    assert metrics["n"] == len(lines) == 24
    assert set(metrics["contradictory"]) == set(metrics["words"]) == {"true", "predicted"}
    train = SplitIndex.load(own / "index", "train")
    labels_of = {row.report: set(row.labels) for row in train.rows}
    for line in lines:
        whole = line["prediction"] in labels_of
        assert whole or method in ("sentences", "compose")
        assert set(line["predicted_labels"]) <= {"Mass/left"}
    page = (folder / "index.html").read_text()
    assert ("<h3>Draft" in page) == (method != "top1")
    assert ("put together" in page) == (method in ("sentences", "compose"))


def test_methods_are_compared_on_the_same_images(own, capsys):
    evaluate.main(["--workdir", str(own), "--split", "val"])
    evaluate.main(["--workdir", str(own), "--split", "val", "--method", "consensus", "--compare", str(own)])
    assert f"{own} minus {own}" in capsys.readouterr().out
    metrics = json.loads((own / "eval" / "val-consensus" / "metrics.json").read_text())
    assert "rouge_l" in metrics["comparison"]["scores"]
    assert json.loads((own / "eval" / "val" / "metrics.json").read_text())["method"] == "top1"


def test_a_runs_own_method_is_the_default(own):
    config = json.loads((own / "config.json").read_text())
    config["draft"]["method"] = "consensus"
    (own / "config.json").write_text(json.dumps(config))
    evaluate.main(["--workdir", str(own), "--split", "val"])
    assert json.loads((own / "eval" / "val" / "metrics.json").read_text())["method"] == "consensus"
    evaluate.main(["--workdir", str(own), "--split", "val", "--method", "top1"])
    assert json.loads((own / "eval" / "val-top1" / "metrics.json").read_text())["method"] == "top1"


def test_retrieve_prints_the_draft_and_who_says_so(own, pictures, tmp_path, capsys):
    (tmp_path / "a.png").write_bytes(images.encode_png(pictures[0]))
    retrieve.main(["--workdir", str(own), "--image", str(tmp_path / "a.png"), "--method", "consensus"])
    printed = capsys.readouterr().out
    assert "draft (consensus):" in printed
    assert "        from CXR" in printed
    assert "(share " in printed
    assert printed.count("finding number") >= 4  # the draft, and three neighbours
    retrieve.main(["--workdir", str(own), "--image", str(tmp_path / "a.png")])
    assert "draft (" not in capsys.readouterr().out
    assert len(REPORTS) == 32


@pytest.mark.parametrize("more", [["--zero_shot", "{}"], ["--probes"], ["--score", "x.jsonl"], ["--data", "x.csv"]])
def test_drafts_are_of_a_runs_own_split(own, more):
    with pytest.raises(InputError, match=r"--method and --.*: do not go together"):
        evaluate.main(["--workdir", str(own), "--method", "compose", *more])


def test_a_text_alone_has_no_draft(own):
    with pytest.raises(InputError, match="--method: is of drafts for images"):
        retrieve.main(["--workdir", str(own), "--text", "effusion", "--method", "compose"])

"""The command line around a run. Whole runs are in test_train.py; here a stand-in for the model reads brightness."""

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from cxr_jax import config as configuration
from cxr_jax import retrieve
from cxr_jax.data import images
from cxr_jax.errors import InputError
from cxr_jax.retrieval import model as inference
from cxr_jax.retrieval.model import Neighbour
from cxr_jax.retrieval.store import Row, SplitIndex
from cxr_jax.runtime.run_folder import RunFolder


class Brightness(inference.Model):
    """Stands in for a model: an image's report is its brightness."""

    def __init__(self):
        self.config = {"data": {"cache": ""}}

    def retrieve(self, image, top_k):
        grey = int(images.read_grey(image).mean())
        return [self.neighbour(grey + rank) for rank in range(top_k)]

    def retrieve_images(self, text, top_k):
        return [self.neighbour(len(text) + rank) for rank in range(top_k)]

    def neighbour(self, number):
        row = Row(f"image{number}", f"study{number}", "p", f"Report {number}. " * 20, ("Nodule/left", "Scoliosis"), 0)
        return Neighbour(0.5, row, b"")


@pytest.fixture
def workdir(tmp_path, request, monkeypatch):
    monkeypatch.chdir(request.config.rootpath)
    config = configuration.load("configs/phantom.py", [f"data.cache={tmp_path / 'cache'}"]).to_dict()
    config["data"]["description"] = "drawn"
    RunFolder(tmp_path / "run").start(config)
    return str(tmp_path / "run")


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "images"
    (folder / "below.png").mkdir(parents=True)
    for name, grey in (("b.png", 20), ("a.JPG", 100), ("c.tif", 200)):
        Image.new("L", (40, 40), grey).save(folder / name)
    (folder / "notes.txt").write_text("no image")
    return folder


@pytest.fixture
def model(monkeypatch):
    model = Brightness()
    monkeypatch.setattr(inference, "load", lambda workdir: model)
    monkeypatch.setattr(retrieve.parallel, "cache_compilations", lambda folder: None)
    return model


def test_a_folder_stands_for_its_images_in_order(folder):
    found = retrieve.image_files([str(folder / "b.png"), str(folder)])
    assert [file.name for file in found] == ["b.png", "a.JPG", "b.png", "c.tif"]


def test_a_folder_without_images_is_refused(tmp_path):
    with pytest.raises(InputError, match=f"{tmp_path}: no image in this folder"):
        retrieve.image_files([str(tmp_path)])


def test_each_image_is_answered_with_its_nearest_reports(workdir, folder, model, capsys):
    retrieve.main(["--workdir", workdir, "--image", str(folder), "--top_k", "2"])
    text = capsys.readouterr().out
    places = [
        text.index(word) for word in ("a.JPG", "study100 ", "study101 ", "b.png", "study20 ", "c.tif", "study200 ")
    ]
    assert places == sorted(places)
    assert "  1. +0.500  study100 (image100)  [Nodule/left, Scoliosis]\n" in text
    assert text.count("study") == 6
    assert all(len(line) < 120 for line in text.splitlines())
    assert " ".join(text.split()).count("Report 100.") == 20


def test_one_unreadable_image_does_not_withhold_the_others(workdir, folder, model, capsys):
    (folder / "aa.png").write_text("no image")
    (folder / "ab.png").touch()
    with pytest.raises(InputError, match=r"aa\.png: not an image .*\(and 1 more\)"):
        retrieve.main(["--workdir", workdir, "--image", str(folder)])
    text = capsys.readouterr().out
    assert "study20 " in text
    assert "study200 " in text
    assert "aa.png" not in text


def test_a_text_is_answered_with_its_nearest_images(workdir, model, capsys):
    retrieve.main(["--workdir", workdir, "--text", "nodule", "--top_k", "1"])
    text = capsys.readouterr().out
    assert '"nodule"' in text
    assert text.count("study") == text.count("study6 ") == 1


def test_images_and_text_together(workdir, folder, model, capsys):
    retrieve.main(["--workdir", workdir, "--image", str(folder / "b.png"), "--text", "nodule", "--top_k", "1"])
    text = capsys.readouterr().out
    assert text.index("study20 ") < text.index("study6 ")


@pytest.mark.parametrize("arguments", [["--image", "EMPTY"], ["--top_k", "0"], ["--image", "x.png", "--top_k", "-1"]])
def test_bad_arguments_are_found_before_the_model_is_loaded(workdir, tmp_path, monkeypatch, arguments):
    monkeypatch.setattr(inference, "load", lambda workdir: pytest.fail("loaded"))
    (tmp_path / "empty").mkdir()
    arguments = [str(tmp_path / "empty") if argument == "EMPTY" else argument for argument in arguments]
    with pytest.raises(InputError):
        retrieve.main(["--workdir", workdir, *arguments])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--workdir"),
        (["--workdir", "x", "--split", "train"], "--split"),
        (["--workdir", "x", "--protocol", "none"], "--protocol"),
        (["--workdir", "x", "--top_k", "many"], "--top_k"),
        (["--workdir", "x", "--nothing"], "--nothing"),
        (["--workdir", "x", "--image"], "--image"),
    ],
)
def test_arguments_that_cannot_be_understood(arguments, message):
    with pytest.raises(InputError, match=message) as error:
        retrieve.main(arguments)
    assert "\n" not in str(error.value)


def test_help_explains_the_three_uses(capsys):
    with pytest.raises(SystemExit) as stop:
        retrieve.main(["--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    for word in ("--split", "--image FILE|DIR", "--text", "--protocol", "--top_k", "training split"):
        assert word in text


def test_a_run_that_is_not_finished_has_no_index(workdir):
    for arguments in ([], ["--text", "nodule"]):
        with pytest.raises(InputError, match=r"index/.*there is no split .* in this run's index \(there: none\)"):
            retrieve.main(["--workdir", workdir, *arguments])


# Answers to --split, on an index whose answer is known


def random_split(name, count, seed, first_study):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(count, 16)).astype(np.float32)
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    texts = [f"the heart is of size {i % 5} . no effusion ." for i in range(count)]
    rows = [Row(f"{name}{i}", f"s{first_study + i}", f"p{i}", texts[i], ("Nodule",), i % 5) for i in range(count)]
    thumbnail = images.encode_jpeg(np.zeros((8, 8), np.uint8))
    return SplitIndex(name, 7, rows, z, z, [thumbnail] * count)


def test_a_split_is_scored_and_shown(workdir, capsys):
    run = RunFolder(workdir)
    for number, (name, count) in enumerate({"train": 20, "val": 6, "test": 5}.items()):
        random_split(name, count, number, 100 * number).save(run.index)
    retrieve.main(["--workdir", workdir, "--split", "test"])
    written = sorted(file.name for file in run.evaluation("test").iterdir())
    assert written == ["index.html", "metrics.json", "predictions.jsonl", "tables.md"]
    assert (run.evaluation("test") / "predictions.jsonl").read_text().count("\n") == 5
    text = capsys.readouterr().out
    assert "drawn, split by paper: test split, 5 images, protocol r2gen, pool of 20 training reports" in text
    assert str(run.evaluation("test") / "index.html") in text
    retrieve.main(["--workdir", workdir, "--split", "val"])
    assert (run.evaluation("val") / "metrics.json").is_file()


def test_a_run_is_compared_with_another(workdir, tmp_path, capsys):
    run = RunFolder(workdir)
    for number, (name, count) in enumerate({"train": 20, "val": 6, "test": 5}.items()):
        random_split(name, count, number, 100 * number).save(run.index)
    with pytest.raises(InputError, match=r"predictions\.jsonl: is not there; score that run first"):
        retrieve.main(["--workdir", workdir, "--compare", workdir])
    retrieve.main(["--workdir", workdir])
    file = run.evaluation("test") / "predictions.jsonl"
    (tmp_path / "other.jsonl").write_text(file.read_text())
    for other in (workdir, str(tmp_path / "other.jsonl")):
        retrieve.main(["--workdir", workdir, "--compare", other])
        assert f"minus {other}\n" in capsys.readouterr().out
        comparison = json.loads((run.evaluation("test") / "metrics.json").read_text())["comparison"]
        assert comparison["with"] == other
        assert comparison["scores"]["bleu_1"] == {"difference": 0, "interval": [0, 0], "p": 1}


def test_another_systems_lines_are_scored_by_a_runs_index(workdir, tmp_path):
    run = RunFolder(workdir)
    for number, (name, count) in enumerate({"train": 20, "val": 6, "test": 5}.items()):
        random_split(name, count, number, 100 * number).save(run.index)
    retrieve.main(["--workdir", workdir])
    file = run.evaluation("test") / "predictions.jsonl"
    (tmp_path / "same.jsonl").write_text(file.read_text())
    retrieve.main(["--workdir", workdir, "--score", str(tmp_path / "same.jsonl")])
    own = json.loads((run.evaluation("test") / "metrics.json").read_text())
    other = json.loads((tmp_path / "same.metrics.json").read_text())
    own["scores"].pop("finding_f1_macro")
    assert other["scores"] == pytest.approx(own["scores"])
    assert other["floors"]["constant_report"]["bleu_4"] == own["floors"]["constant_report"]["bleu_4"]
    # A file that lies in a run needs no more to be found.
    retrieve.main(["--score", str(file)])
    inside = json.loads((run.evaluation("test") / "predictions.metrics.json").read_text())
    assert inside["scores"] == other["scores"]


def test_a_reader_that_has_enough_is_no_fault(tmp_path):
    """As `… | head -1` does: the pipe is closed before all is printed."""
    reports = [{"id": f"CXR{i}", "report": f"Report number {i}."} for i in range(6)]
    (tmp_path / "a.json").write_text(json.dumps({"train": reports[:2], "val": reports[2:4], "test": reports[4:]}))
    command = [sys.executable, "-u", "-m", "cxr_jax.retrieve", "--annotation", str(tmp_path / "a.json")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 141

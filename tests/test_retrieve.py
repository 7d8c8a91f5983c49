"""The command line around a run. Whole runs are in test_train.py; here a stand-in for the model reads brightness."""

import numpy as np
import pytest
from PIL import Image

import cxr_jax
from cxr_jax import config as configuration
from cxr_jax import retrieve
from cxr_jax.errors import InputError
from cxr_jax.retrieval.draft import Draft
from cxr_jax.retrieval.model import Model, Neighbour
from cxr_jax.retrieval.rows import Row
from cxr_jax.runtime.run_folder import RunFolder
from tests.data.test_dicom import saved as dicom_file


class Brightness(Model):
    """Stands in for a model: an image's report is its brightness."""

    def __init__(self):
        self.config, self.calls = {"data": {"cache": ""}, "draft": {"method": "top1"}}, []
        self.checks, self.doubted = object(), {}  # {brightness: reasons}

    def doubts_each(self, images):
        return [self.doubted.get(int(image.mean()), ()) for image in images]

    def retrieve_each(self, images, top_k, recall, find="reports", text=""):
        self.calls.append((len(images), recall))
        self.asked = find, text
        return [[self.neighbour(int(image.mean()) + rank) for rank in range(top_k)] for image in images]

    def retrieve_images(self, text, top_k, recall):
        self.calls.append((text, recall))
        return [self.neighbour(len(text) + rank) for rank in range(top_k)]

    def neighbour(self, number):
        row = Row(f"image{number}", f"study{number}", "p", f"Report {number}. " * 20, ("Nodule/left", "Scoliosis"), 0)
        return Neighbour(0.5, row, b"")


@pytest.fixture
def workdir(tmp_path, request, monkeypatch):
    monkeypatch.chdir(request.config.rootpath)
    config = configuration.load("configs/phantom.py", [f"data.cache={tmp_path / 'cache'}"])
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
    monkeypatch.setattr(cxr_jax, "load", lambda workdir: model)
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


def test_all_images_of_a_call_are_answered_together(workdir, folder, model, monkeypatch, capsys):
    (folder / "aa.png").write_text("no image")
    for size, calls in ((32, [3]), (2, [1, 2])):
        monkeypatch.setattr(retrieve, "BATCH", size)
        with pytest.raises(InputError, match=r"aa\.png: not an image"):
            retrieve.main(["--workdir", workdir, "--image", str(folder)])
        assert model.calls == [(count, 1.0) for count in calls]
        del model.calls[:]
        assert capsys.readouterr().out.count("  1. ") == 3


def test_an_approximate_search_is_asked_for(workdir, folder, model):
    retrieve.main(["--workdir", workdir, "--image", str(folder), "--text", "nodule", "--approximate", ".9"])
    assert model.calls == [(3, 0.9), ("nodule", 0.9)]


def test_what_is_said_of_an_image_is_printed_beside_its_answer(workdir, tmp_path, model, capsys):
    rows = np.linspace(0, 4095, 40 * 50).round().astype(np.uint16).reshape(40, 50)
    file = dicom_file(tmp_path, rows, bits=12, WindowCenter=20_000, WindowWidth=100)
    retrieve.main(["--workdir", workdir, "--image", str(file), "--top_k", "1"])
    printed = capsys.readouterr()
    assert "study127 " in printed.out
    assert printed.err == (
        f"{file}: warning: window left out: centre 20000, width 100 leaves nearly one grey; "
        "the data's own range is shown\n"
    )


def test_what_is_doubted_of_an_image_is_said_before_its_answer(workdir, folder, model, capsys):
    model.doubted = {20: ("unlike the training images: no", "far from them: yes")}
    retrieve.main(["--workdir", workdir, "--image", str(folder), "--top_k", "1"])
    printed = capsys.readouterr()
    lines = [line for line in printed.err.splitlines() if "flat picture" not in line]
    assert lines == [f"{folder / 'b.png'}: warning: {reason}" for reason in model.doubted[20]]
    assert "study20 " in printed.out
    retrieve.main(["--workdir", workdir, "--image", str(folder / "b.png"), "--find", "images"])
    assert "unlike" not in capsys.readouterr().err  # no report is given


def test_an_index_without_limits_says_so_once(workdir, folder, model, capsys):
    model.checks = None
    retrieve.main(["--workdir", workdir, "--image", str(folder), "--top_k", "1"])
    printed = capsys.readouterr()
    assert printed.err.count("images are not checked: the index is of an older version") == 1
    assert "study20 " in printed.out


@pytest.mark.parametrize("given", [["--abstain"], ["--method", "top1"]])
def test_a_draft_beside_images_says_so_too(workdir, folder, model, capsys, given):
    model.checks = None
    model.draft_each = lambda images, method, abstain: [Draft(method, "", ())] * len(images)
    retrieve.main(["--workdir", workdir, "--image", str(folder / "b.png"), "--find", "images", *given])
    printed = capsys.readouterr()
    assert "draft (top1)" in printed.out
    assert printed.err.count("images are not checked") == 1


def test_a_text_has_no_draft_to_withhold(workdir):
    with pytest.raises(InputError, match="--abstain: is of drafts for images"):
        retrieve.main(["--workdir", workdir, "--text", "nodule", "--abstain"])


def test_a_folder_is_looked_through_however_deep(workdir, folder, model, capsys):
    (folder / "b" / "c").mkdir(parents=True)
    Image.new("L", (9, 9), 150).save(folder / "b" / "c" / "IM0001", "PNG")
    retrieve.main(["--workdir", workdir, "--image", str(folder), "--top_k", "1"])
    assert "study150 " in capsys.readouterr().out


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


def test_images_are_found_by_an_image_and_what_is_added(workdir, folder, model, capsys):
    arguments = ["--workdir", workdir, "--image", str(folder / "b.png"), "--find", "images", "--add", " left effusion "]
    retrieve.main(arguments)
    assert model.asked == ("images", "left effusion")
    assert 'b.png and "left effusion"' in capsys.readouterr().out


def test_another_pool_is_of_images(workdir):
    for option in ("--pool", "--add"):
        with pytest.raises(InputError, match=f"{option}: is of images; give it with --image"):
            retrieve.main(["--workdir", workdir, option, "x", "--text", "nodule"])


def test_images_and_text_together(workdir, folder, model, capsys):
    retrieve.main(["--workdir", workdir, "--image", str(folder / "b.png"), "--text", "nodule", "--top_k", "1"])
    text = capsys.readouterr().out
    assert text.index("study20 ") < text.index("study6 ")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--image", "EMPTY"],
        ["--top_k", "0"],
        ["--image", "x.png", "--top_k", "-1"],
        ["--image", "x.png", "--approximate", "0"],
        ["--image", "x.png", "--approximate", "95"],
        ["--image", "x.png", "--approximate", "nan"],
        ["--approximate", ".95"],
    ],
)
def test_bad_arguments_are_found_before_the_model_is_loaded(workdir, tmp_path, monkeypatch, arguments):
    monkeypatch.setattr(cxr_jax, "load", lambda workdir: pytest.fail("loaded"))
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
    for word in ("--split", "--image FILE|DIR", "--text", "--protocol", "--top_k", "--approximate", "training split"):
        assert word in text


def test_a_run_that_is_not_finished_has_no_index(workdir):
    for arguments in ([], ["--text", "nodule"]):
        with pytest.raises(InputError, match=r"index/.*there is no split .* in this run's index \(there: none\)"):
            retrieve.main(["--workdir", workdir, *arguments])

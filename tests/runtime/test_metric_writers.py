"""Where metrics go: metrics.jsonl, its picture, TensorBoard, Weights & Biases."""

import json
import math
import re
import sys
import types

import pytest
from PIL import Image

from cxr_jax.errors import InputError
from cxr_jax.runtime.metric_writers import (
    Curves,
    JsonLines,
    MetricWriter,
    TensorBoard,
    WeightsAndBiases,
    open_writers,
    read_lines,
)

VALIDATION = {"val_loss": 1.0, "val_recall@1": 0.1, "val_recall@5": 0.3, "val_recall@10": 0.5}


@pytest.fixture
def file(tmp_path):
    return tmp_path / "metrics.jsonl"


# metrics.jsonl


def test_metrics_are_a_line_each(file):
    assert read_lines(file) == []
    writer = JsonLines(file, 0)
    assert read_lines(file) == []
    writer.write(1, {"loss": 2.5})
    writer.write(2, {"loss": 2.25, "val_loss": float("nan")})
    assert file.read_text().count("\n") == 2  # at once, before it is closed
    writer.close()
    first, second = read_lines(file)
    assert first == {"step": 1, "loss": 2.5}
    assert second["step"] == 2
    assert math.isnan(second["val_loss"])


def test_a_line_that_a_crash_cut_short_is_left_out(file):
    writer = JsonLines(file, 0)
    for step in (1, 2, 3):
        writer.write(step, {"loss": 1.5})
    file.write_text(file.read_text()[:-12])
    assert [line["step"] for line in read_lines(file)] == [1, 2]
    JsonLines(file, 2).write(3, {"loss": 0.5})
    assert read_lines(file) == [{"step": 1, "loss": 1.5}, {"step": 2, "loss": 1.5}, {"step": 3, "loss": 0.5}]
    assert all(json.loads(line) for line in file.read_text().splitlines())


def test_a_resumed_run_forgets_what_it_will_write_again(file):
    writer = JsonLines(file, 0)
    for step in (10, 20, 30):
        writer.write(step, {"loss": 1.0})
        writer.write(step, {"val_loss": 2.0})
    before = file.read_text().splitlines()
    JsonLines(file, 20)
    assert file.read_text().splitlines() == before[:4]
    JsonLines(file, 0)
    assert file.read_text() == ""


def test_numbers_keep_their_bits_through_a_resume(file):
    values = {"loss": 0.1 + 0.2, "gradient_norm": 1e-300, "temperature": 0.07000000029802322}
    JsonLines(file, 0).write(1, values)
    JsonLines(file, 1)
    assert read_lines(file) == [{"step": 1, **values}]


# The picture


def dark_share(file):
    grey = Image.open(file).convert("L")
    return sum(grey.histogram()[:200]) / (grey.width * grey.height)


def test_curves_are_drawn_after_a_validation(file, tmp_path):
    lines, curves = JsonLines(file, 0), Curves(file, tmp_path / "curves.png")
    for step in range(1, 60):
        for writer in (lines, curves):
            writer.write(step, {"loss": 5 / step, "temperature": 0.07})
    assert not curves.picture.exists()
    for writer in (lines, curves):
        writer.write(60, VALIDATION)
    with Image.open(curves.picture) as image:
        assert image.width > 2 * image.height > 400
    full = dark_share(curves.picture)
    JsonLines(file, 0)
    curves.write(60, VALIDATION)
    assert full > 1.2 * dark_share(curves.picture)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["curves.png", "metrics.jsonl"]


# TensorBoard


def scalars(folder):
    """{(name, step): value} of all event files, in the order that they were written in, and where they purge."""
    from tensorboardX.proto.event_pb2 import Event

    found, purged = {}, []
    for file in sorted(folder.glob("events.*")):
        data, at = file.read_bytes(), 0
        while at < len(data):  # length, its checksum, the event, its checksum
            length = int.from_bytes(data[at : at + 8], "little")
            event = Event.FromString(data[at + 12 : at + 12 + length])
            at += 16 + length
            if event.session_log.status == event.session_log.START:
                purged.append(event.step)
                found = {key: value for key, value in found.items() if key[1] < event.step}
            found |= {(value.tag, event.step): value.simple_value for value in event.summary.value}
    return found, purged


def test_tensorboard_reads_what_was_written(tmp_path):
    pytest.importorskip("tensorboardX")
    writer = TensorBoard(tmp_path / "tensorboard", 0)
    for step in (1, 2, 3):
        writer.write(step, {"loss": 0.5 * step, "temperature": 0.0625})
    writer.write(3, {"val_recall@1": 0.25})
    writer.close()
    found, _ = scalars(tmp_path / "tensorboard")
    expected = {
        (name, step): value for step in (1, 2, 3) for name, value in (("loss", step / 2), ("temperature", 2**-4))
    }
    assert found == expected | {("val_recall_1", 3): 0.25}  # tensorboardX's own: it takes no @


def test_tensorboard_forgets_what_a_resumed_run_writes_again(tmp_path):
    pytest.importorskip("tensorboardX")
    for first, value in ((0, 1.0), (2, 5.0)):
        writer = TensorBoard(tmp_path, first)
        for step in range(first + 1, 5):
            writer.write(step, {"loss": value})
        writer.close()
        # Files are read by their names, which have the second in them.
        for file in tmp_path.glob("events.*"):
            if not file.name.startswith("events.0"):
                file.rename(file.with_name(f"events.0{first}"))
    found, purged = scalars(tmp_path)
    assert found == {("loss", 1): 1.0, ("loss", 2): 1.0, ("loss", 3): 5.0, ("loss", 4): 5.0}
    assert purged[-1] == 3


def test_tensorboard_without_its_package(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(
        InputError, match=r'tensorboard = true: needs tensorboardX; pip install "cxr_jax\[tensorboard\]"'
    ):
        TensorBoard(tmp_path, 0)


# Weights & Biases


class Wandb(types.ModuleType):
    """As much of wandb as is used."""

    def __init__(self):
        super().__init__("wandb")
        self.runs, self.logged, self.finished = [], [], 0

    def init(self, **options):
        self.runs.append(options)
        return self

    def log(self, values):
        self.logged.append(values)

    def finish(self):
        self.finished += 1


def test_weights_and_biases_goes_on_in_one_run(tmp_path, monkeypatch):
    wandb = Wandb()
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    file = tmp_path / "wandb_id"
    for step in (1, 2):
        writer = WeightsAndBiases("chest", file, {"seed": 3})
        writer.write(step, {"loss": 0.5})
        writer.close()
    known = file.read_text().strip()
    assert [run["id"] for run in wandb.runs] == [known, known]
    assert re.fullmatch("[0-9a-f]{8}", known)
    WeightsAndBiases("chest", tmp_path / "another", {})
    assert wandb.runs[-1]["id"] != known
    for run in wandb.runs[:2]:
        assert run["project"] == "chest"
        assert run["resume"] == "allow"
        assert run["config"] == {"seed": 3}
        assert run["dir"] == str(tmp_path)
    assert wandb.logged == [{"step": 1, "loss": 0.5}, {"step": 2, "loss": 0.5}]
    assert wandb.finished == 2


def test_weights_and_biases_themselves(tmp_path, monkeypatch):
    """Offline, where the package is installed: two starts leave one run."""
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    for step in (1, 2):
        writer = WeightsAndBiases("chest", tmp_path / "wandb_id", {"seed": 3})
        writer.write(step, {"loss": 0.5})
        writer.close()
    known = (tmp_path / "wandb_id").read_text().strip()
    assert {file.name for file in tmp_path.rglob("*.wandb")} == {f"run-{known}.wandb"}


def test_weights_and_biases_without_their_package(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(InputError, match=r'wandb is set: it needs wandb; pip install "cxr_jax\[wandb\]"'):
        WeightsAndBiases("chest", tmp_path / "wandb_id", {})
    assert not (tmp_path / "wandb_id").exists()


# Together


@pytest.mark.parametrize(
    ("asked", "kinds"),
    [
        ({"tensorboard": False, "wandb": ""}, [JsonLines, Curves]),
        ({"tensorboard": True, "wandb": "chest"}, [JsonLines, Curves, TensorBoard, WeightsAndBiases]),
    ],
)
def test_the_writers_that_the_configuration_asks_for(file, monkeypatch, asked, kinds):
    if asked["tensorboard"]:
        pytest.importorskip("tensorboardX")
    monkeypatch.setitem(sys.modules, "wandb", Wandb())
    writers = open_writers(file, asked, 0)
    assert [type(writer) for writer in writers] == kinds
    assert all(isinstance(writer, MetricWriter) for writer in writers)
    for writer in writers:  # metrics.jsonl before its picture
        writer.write(1, VALIDATION)
        writer.close()
    assert read_lines(file) == [{"step": 1, **VALIDATION}]
    made = {path.name for path in file.parent.iterdir()}
    assert made == {"metrics.jsonl", "curves.png"} | ({"tensorboard", "wandb_id"} if asked["wandb"] else set())

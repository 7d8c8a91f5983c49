"""The command that embeds: what its file holds, against the Python API; killed, damaged, repeated."""

import csv
import json
import os
import signal
import time
from pathlib import Path

import jax
import numpy as np
import pytest

import cxr_jax
from cxr_jax import embed
from cxr_jax.data import images
from cxr_jax.errors import InputError
from cxr_jax.export.folder import ExportFolder
from cxr_jax.retrieval import embedding_file, streaming
from cxr_jax.runtime import parallel
from tests.retrieval.test_model import REPORTS, build
from tests.runtime.launch import start

COUNT = 12


@pytest.fixture(autouse=True)
def no_cache(monkeypatch):
    monkeypatch.setattr(parallel, "cache_compilations", lambda folder: None)  # conftest's stays in use


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Path:
    """A model of random weights, as an export of step 7 without its index."""
    model = build(0)
    model.config["data"]["cache"] = str(tmp_path_factory.mktemp("cache"))
    export = ExportFolder(tmp_path_factory.mktemp("export"))
    export.save_config(model.config, "0", 7)
    model.tokenizer.save_pretrained(export.tokenizer)
    export.save_variables(jax.device_get(model.variables))
    return export.root


@pytest.fixture(scope="module")
def model(exported):
    return cxr_jax.load(exported)


@pytest.fixture
def folder(tmp_path):
    """Images, one of them deep and with blanks in its name, beside a text."""
    inner = tmp_path / "images" / "a study"
    inner.mkdir(parents=True)
    for number in range(COUNT):
        place = inner / "view 1.png" if number == 5 else inner.parent / f"{number:02d}.png"
        pixels = np.random.default_rng(number).integers(0, 256, (40, 30 + number), dtype=np.uint8)
        place.write_bytes(images.encode_png(pixels))
    (inner / "notes.txt").write_text("no image")
    return tmp_path / "images"


def write_table(folder, rows, columns="image,Patient ID,study_id,report,finding"):
    with (folder / "pairs.csv").open("w", newline="") as file:
        csv.writer(file).writerows([columns.split(","), *rows])
    return folder / "pairs.csv"


def run(exported, data, out, *more):
    embed.main(["--workdir", str(exported), "--data", str(data), "--out", str(out), "--batch", "4", *more])
    return embedding_file.read(out)


def test_a_table_with_images_and_reports(exported, model, folder, tmp_path, capsys):
    names = sorted(str(file.relative_to(folder)) for file in folder.rglob("*.png"))
    rows = [[name, f"p {i // 2}", f"00{i}", REPORTS[i % 5], "mass"] for i, name in enumerate(names)]
    rows[3][3], rows[4][0], rows[5][3] = "nan", "", f"FINDINGS: {REPORTS[1]}\nIMPRESSION: Normal."
    rows.append(rows[0])
    got = run(exported, write_table(folder, rows), tmp_path / "out.npz")
    assert {name: cells[:2] for name, cells in got.columns.items()} == {
        "image": names[:2], "patient_id": ["p 0", "p 0"], "study_id": ["000", "001"], "finding": ["mass"] * 2,
    }  # fmt: skip
    z_v, z_t = got.vectors["image_embedding"], got.vectors["text_embedding"]
    assert (z_v.dtype, z_v.shape, z_t.shape) == (np.float32, (13, 16), (13, 16))
    assert np.flatnonzero(np.isnan(z_v).any(axis=1)).tolist() == [4]
    assert np.flatnonzero(np.isnan(z_t).any(axis=1)).tolist() == [3]
    with_image = [row for row in range(13) if row != 4]
    expected = model.encode_image([folder / rows[row][0] for row in with_image])
    np.testing.assert_allclose(z_v[with_image], expected, atol=1e-5)
    texts = [f"{REPORTS[1]} Normal." if row == 5 else rows[row][3] for row in range(13) if row != 3]
    np.testing.assert_allclose(np.delete(z_t, 3, axis=0), model.encode_text(texts), atol=1e-5)
    assert {key: got.about[key] for key in ("run", "step", "unreadable")} == {
        "run": str(exported), "step": 7, "unreadable": 0,
    }  # fmt: skip
    said = capsys.readouterr()
    assert "1 rows name no image (row 6)" in said.err
    assert "1 rows have no report, but nothing or a placeholder (row 5)" in said.err
    # Each once: row 13 is row 1 again, and the texts are five reports and one of them with an impression.
    assert "11 images encoded" in said.out
    assert "6 texts encoded" in said.out
    assert not (tmp_path / "out.npz.parts").exists()
    with np.load(tmp_path / "out.npz") as arrays:
        assert arrays["image"].tolist()[:2] == names[:2]
        assert json.loads(str(arrays["about"]))["checkpoint"]


def test_a_folder_and_a_text_file(exported, model, folder, tmp_path):
    got = run(exported, folder, tmp_path / "images.npz")
    assert got.columns["image"][-1] == str(Path("a study") / "view 1.png")
    np.testing.assert_allclose(
        got.vectors["image_embedding"], model.encode_image([folder / name for name in got.columns["image"]]), atol=1e-5
    )
    (tmp_path / "texts.txt").write_text(f"{REPORTS[0]}\n\n  \n{REPORTS[1]}\n{REPORTS[0]}\n")
    got = run(exported, tmp_path / "texts.txt", tmp_path / "texts.npz")
    assert got.columns == {"line": ["1", "4", "5"]}
    expected = model.encode_text([REPORTS[0], REPORTS[1], REPORTS[0]])
    np.testing.assert_allclose(got.vectors["text_embedding"], expected, atol=1e-5)


def test_what_cannot_be_read_costs_only_itself(exported, model, folder, tmp_path, capsys):
    (folder / "03.png").write_bytes(b"")
    (folder / "07.png").write_bytes((folder / "07.png").read_bytes()[:99])
    rows = [[f"{number:02d}.png", "p"] for number in (0, 3, 7, 8, 99)]
    table, out = write_table(folder, rows, "Path,patient"), tmp_path / "out.npz"
    for _ in range(2):  # and once more, when all is there
        with pytest.raises(InputError, match=r"unreadable\.txt: lists the images that cannot be read \(3\)"):
            run(exported, table, out, "--columns", "{image: Path, patient_id: patient}")
    assert "is there already" in capsys.readouterr().out
    lines = (tmp_path / "out.npz.unreadable.txt").read_text().splitlines()
    assert [line.partition(": ")[0] for line in lines] == [str(folder / f"{n}.png") for n in ("03", "07", "99")]
    got = embedding_file.read(out)
    z = got.vectors["image_embedding"]
    assert got.columns == {"image": [row[0] for row in rows], "patient_id": ["p"] * 5}
    assert np.isnan(z).all(axis=1).tolist() == [False, True, True, False, True]
    np.testing.assert_allclose(z[[0, 3]], model.encode_image([folder / "00.png", folder / "08.png"]), atol=1e-5)


@pytest.mark.slow
def test_a_killed_command_goes_on_and_ends_as_if_it_had_not_been(exported, tmp_path):
    """One device and one image at a time, so a part is of 16 images; killed as soon as the third is there."""
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(160):
        pixels = np.random.default_rng(number).integers(0, 256, (300, 300), dtype=np.uint8)
        (folder / f"{number:03d}.png").write_bytes(images.encode_png(pixels))
    (folder / "050.png").write_bytes(b"damaged")

    def begin(out):
        command = ["--workdir", str(exported), "--data", str(folder), "--out", str(out), "--batch", "1"]
        return start(["cxr_jax.embed", *command])

    whole, killed = tmp_path / "whole.parquet", tmp_path / "killed.parquet"
    begin(whole).communicate()
    assert whole.exists()
    process, parts = begin(killed), tmp_path / "killed.parquet.parts" / "image"
    while not (parts / "000002").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    stored = {file: file.stat().st_mtime_ns for file in parts.rglob("embeddings.npy")}
    assert 3 <= len(stored) < 10
    assert not killed.exists()
    process = begin(killed)
    out, err = process.communicate()
    assert process.returncode == 2
    assert err.splitlines()[-1].startswith(f"error: {killed}.unreadable.txt: lists the images that cannot be read (1)")
    assert f"{16 * len(stored)} of 160 images are stored" in out
    assert f"{160 - 16 * len(stored)} images encoded" in out
    # The folder's name is in what made it; nothing else differs.
    assert killed.read_bytes() == whole.read_bytes()
    assert not parts.parent.exists()


def test_an_interrupted_command_goes_on(exported, folder, tmp_path, monkeypatch, capsys):
    whole, out = tmp_path / "whole.npz", tmp_path / "out.npz"
    run(exported, folder, whole)
    monkeypatch.setattr("cxr_jax.retrieval.streaming.WINDOW", 1)
    square = streaming.StreamingEncoder._square

    def interrupted(encoder, file):
        if file.name == "10.png":  # in the third batch; the one before it is still on the devices
            raise KeyboardInterrupt
        return square(encoder, file)

    with monkeypatch.context() as patch:
        patch.setattr(streaming.StreamingEncoder, "_square", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(exported, folder, out)
    assert not out.exists()
    capsys.readouterr()
    run(exported, folder, out)
    assert "4 of 12 images are stored\n8 images encoded" in capsys.readouterr().out
    assert out.read_bytes() == whole.read_bytes()


def test_parts_of_something_else_are_thrown_away(exported, folder, tmp_path, capsys):
    parts = tmp_path / "out.npz.parts"
    (parts / "image" / "000000").mkdir(parents=True)
    (parts / "about.json").write_text('{"checkpoint": "another"}')
    run(exported, folder, tmp_path / "out.npz")
    said = capsys.readouterr().out
    assert f"{parts}: held parts of another checkpoint, other data or batches, and is begun anew" in said
    assert "12 images encoded" in said


def test_another_file_under_the_name_is_not_overwritten(exported, folder, tmp_path):
    out = tmp_path / "out.npz"
    run(exported, folder, out)
    before = out.read_bytes()
    os.utime(folder / "00.png", ns=(0, 1))
    with pytest.raises(InputError, match=r"out\.npz: is there, of another checkpoint or other data"):
        run(exported, folder, out)
    np.savez(tmp_path / "mine.npz", x=np.zeros(3))
    with pytest.raises(InputError, match=r"mine\.npz: is no whole file of embeddings"):
        run(exported, folder, tmp_path / "mine.npz")
    assert out.read_bytes() == before


def test_two_at_once_are_refused(exported, folder, tmp_path):
    parts = tmp_path / "out.npz.parts"
    parts.mkdir()
    with (
        embed.lock.hold(parts / "lock", "x"),
        pytest.raises(InputError, match=f"process {os.getpid()} .*wait for it or stop it"),
    ):
        run(exported, folder, tmp_path / "out.npz")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "x.csv", "--out", "o.npz"], "--workdir: is missing"),
        (["--workdir", "w", "--data", "nowhere.csv", "--out", "o.npz"], "--data nowhere.csv: no such file or folder"),
        (["--workdir", "w", "--data", ".", "--out", "o.csv"], "--out o.csv: ends in none of .npz, .parquet, .pq"),
        (["--workdir", "w", "--data", ".", "--out", "o.npz"], "w: "),
        (["--workdir", "w", "--data", ".", "--out", "o.npz", "--batch", "-1"], "--batch -1: must be at least 1"),
        (["--workdir", "w", "--data", ".", "--out", "o.npz", "--columns", "[a]"], "--columns '[a]'"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(InputError) as error:
        embed.main(arguments)
    assert message in str(error.value)
    assert "\n" not in str(error.value)

import subprocess
import sys

import numpy as np
import pytest

from cxr_jax.config import DATASETS
from cxr_jax.data import images, records
from cxr_jax.data.prepare import prepare
from cxr_jax.errors import InputError
from tests.data.settings import make_data, toy_source

SIDES = {"train": 6, "val": 2, "test": 2}


def files_of(folder):
    """The images of `source`, by split, whether they are there or not."""
    return {split: [folder / f"{split}{i}.png" for i in range(count)] for split, count in SIDES.items()}


@pytest.fixture(autouse=True)
def _registered(monkeypatch):
    monkeypatch.setitem(DATASETS, "toy", "a_toy_source")
    monkeypatch.setitem(sys.modules, "a_toy_source", toy_source("a_toy_source", files_of))


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "source"
    folder.mkdir()
    for files in files_of(folder).values():
        for i, file in enumerate(files):
            file.write_bytes(images.encode_png(np.full((20, 30), 10 * i, np.uint8)))
    return folder


@pytest.fixture
def data(source, tmp_path):
    return make_data(tmp_path / "cache", dataset="toy", path=source, stored_size=10)


def stored(builder, split):
    return {fields["image_id"].decode(): fields for fields in builder.as_data_source(split)}


def test_what_is_stored_is_what_was_given(data):
    builder = prepare(data)
    for split, count in SIDES.items():
        examples = stored(builder, split)
        assert set(examples) == {f"{split}{i}" for i in range(count)}
        for i in range(count):
            fields = examples[f"{split}{i}"]
            assert fields["findings"] == f"Report {split}{i}.".encode()
            assert fields["image"].shape == (10, 15, 1)
            assert np.all(fields["image"] == 10 * i)


def test_jpeg_is_stored_on_demand_smaller_and_nearly_the_same(source, data):
    noise = np.random.default_rng(0).integers(90, 160, (60, 80), np.uint8)
    for file in source.iterdir():
        file.write_bytes(images.encode_png(noise))
    encoded = {}
    for stored_format in ("png", "jpeg"):
        builder = prepare(data | {"stored_size": 60, "stored_format": stored_format})
        decoders = {"image": records.tfds.decode.SkipDecoding()}
        encoded[stored_format] = builder.as_data_source("train", decoders=decoders)[0]["image"]
    assert encoded["png"].startswith(b"\x89PNG")
    assert encoded["jpeg"].startswith(b"\xff\xd8")
    assert len(encoded["jpeg"]) < len(encoded["png"])
    difference = images.decode(encoded["jpeg"]).astype(int) - images.decode(encoded["png"])
    assert 0 < np.abs(difference).max() < 16


def test_a_prepared_set_is_not_read_from_its_source_again(source, data, monkeypatch):
    toy = sys.modules["a_toy_source"]
    reads = []
    monkeypatch.setattr(toy, "records", lambda data, read=toy.records: reads.append(data) or read(data))
    prepare(data)
    assert len(reads) == 1  # nor twice while it is prepared
    for file in source.iterdir():
        file.unlink()
    assert len(stored(prepare(data), "train")) == SIDES["train"]
    assert len(reads) == 1


def test_a_set_stored_with_other_features_is_built_again(data, monkeypatch):
    """Its version is part of where it lies: what older code stored is not misread."""
    with monkeypatch.context() as older:
        older.setattr(records.RecordBuilder, "VERSION", "1.1.0")
        folder = prepare(data).data_path
    builder = prepare(data)
    assert builder.data_path != folder
    assert stored(builder, "train")["train0"].keys() == {*records.TEXTS, "image", "labels"}


def test_a_build_that_fails_half_way_is_begun_anew(source, data):
    bad = source / "val1.png"
    whole = bad.read_bytes()
    bad.write_bytes(whole[:40])
    with pytest.raises(InputError, match=r"val1\.png"):
        prepare(data)
    bad.write_bytes(whole)
    assert len(stored(prepare(data), "val")) == 2


def test_a_killed_build_is_begun_anew(data, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as killed:
        killed.setitem(images.ENCODERS, "png", stop)
        with pytest.raises(KeyboardInterrupt):
            prepare(data)
    builder = prepare(data)
    assert {split: len(stored(builder, split)) for split in SIDES} == SIDES


def test_a_missing_image_is_found_before_any_is_decoded(source, data, monkeypatch):
    (source / "test1.png").unlink()
    monkeypatch.setattr(images, "read_grey", lambda path: pytest.fail(f"{path} was decoded"))
    with pytest.raises(InputError, match=r"test1\.png: no such image"):
        prepare(data)


@pytest.mark.parametrize("split", ["train", "val"])
def test_an_empty_split_is_refused(data, monkeypatch, split):
    with monkeypatch.context() as emptied:
        emptied.setitem(SIDES, split, 0)
        with pytest.raises(InputError, match=f"the {split} split is empty.*{split} 0"):
            prepare(data)
    monkeypatch.setitem(SIDES, "test", 0)
    assert "test" not in prepare(data).info.splits


# What is imported


def test_preparing_data_imports_neither_tensorflow_nor_jax(source, tmp_path):
    code = (
        "import sys; from cxr_jax.data.prepare import prepare\n"
        "builder = prepare(eval(sys.argv[1]))\n"
        "print(len(builder.as_data_source('train')), [m for m in ('tensorflow', 'torch', 'jax') if m in sys.modules])"
    )
    lines = ["image,report", *(f"{file.name},Report {i}." for i, file in enumerate(sorted(source.iterdir())))]
    (source / "pairs.csv").write_text("\n".join(lines))
    data = make_data(tmp_path / "cache", csv=source / "pairs.csv", split="patient", stored_size=10)
    result = subprocess.run([sys.executable, "-c", code, repr(data)], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "7 []"
    assert result.stderr == ""

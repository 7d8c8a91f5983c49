import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cxr_jax.config import DATASETS
from cxr_jax.data import encoders, images, lock, records, shards, side_files
from cxr_jax.data import prepare as prepare_module
from cxr_jax.data.prepare import prepare, verify
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


def contents(builder):
    return {file.name: file.read_bytes() for file in Path(builder.data_path).iterdir()}


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
    monkeypatch.setattr(toy, "records", lambda *given, read=toy.records: reads.append(given) or read(*given))
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
    assert stored(builder, "train")["train0"].keys() == {*records.TEXTS, "image", "labels", "warnings"}


def test_what_was_said_of_each_image_is_stored_in_both_places_and_counted_once(data, capsys):
    builder = prepare(data)
    said = "10 of 10 images were read with a warning (flat picture 10); python -m cxr_jax.audit lists them"
    assert capsys.readouterr() == (f"{data['path']}: {said}\n", "")
    prepare(data)
    assert capsys.readouterr() == ("", "")
    rows = side_files.read_rows(Path(builder.data_path)).to_pylist()
    flat = "flat picture: nearly one grey (mean {}, standard deviation 0.0 of 255)"
    for row in rows:
        said = [flat.format(10 * int(row["image_id"][-1]))]
        assert row["warnings"] == said
        assert [w.decode() for w in stored(builder, row["split"])[row["image_id"]]["warnings"]] == said


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


def test_what_a_build_had_finished_is_kept_and_only_the_rest_is_encoded(source, data, monkeypatch):
    uninterrupted = contents(prepare(data | {"cache": data["cache"] + "-other"}))
    encoded = []
    encode_file = encoders.encode_file
    monkeypatch.setattr(
        encoders, "encode_file", lambda path, *rest: encoded.append(path.name) or encode_file(path, *rest)
    )
    monkeypatch.setattr(shards, "SHARD_IMAGES", 2)
    bad = source / "val1.png"
    whole, stat = bad.read_bytes(), bad.stat()
    bad.write_bytes(whole[:40])
    with pytest.raises(InputError, match=r"val1\.png"):
        prepare(data)
    assert not list(Path(data["cache"]).glob("records/*/*"))  # what is half done is not seen
    first, encoded[:] = list(encoded), []
    bad.write_bytes(whole)
    os.utime(bad, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    builder = prepare(data)
    assert first == [*(f"train{i}.png" for i in range(6)), "val0.png", "val1.png"]
    assert encoded == ["val0.png", "val1.png", "test0.png", "test1.png"]
    assert [len(lengths) for lengths in (builder.info.splits[split].shard_lengths for split in SIDES)] == [3, 1, 1]
    assert contents(builder)[side_files.THUMBNAILS] == uninterrupted[side_files.THUMBNAILS]
    assert contents(builder)[side_files.ROWS] == uninterrupted[side_files.ROWS]
    assert not (Path(data["cache"]) / "unfinished").exists()


def test_a_finished_shard_whose_image_has_changed_is_made_again(source, data):
    """What `describe` calls the set by may not say so: the shard itself knows."""
    data = data | {"path": str(source)}
    (source / "test1.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"test1\.png"):
        prepare(data)
    for name, grey in (("test1.png", 10), ("train0.png", 99)):
        (source / name).write_bytes(images.encode_png(np.full((20, 30), grey, np.uint8)))
    assert np.all(stored(prepare(data), "train")["train0"]["image"] == 99)


def test_without_locks_one_that_is_overtaken_finds_the_set(data, monkeypatch):
    def unsupported(*_):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(lock.fcntl, "flock", unsupported)
    write = shards.write

    def overtaken(*arguments):
        monkeypatch.setattr(shards, "write", write)
        prepare(data)
        write(*arguments)

    monkeypatch.setattr(shards, "write", overtaken)
    assert verify(prepare(data)) == sum(SIDES.values())
    assert [path.name for path in Path(data["cache"]).iterdir()] == ["records"]


def test_what_a_kill_after_the_end_left_over_is_cleared_away(data, monkeypatch):
    with monkeypatch.context() as killed:
        killed.setattr(prepare_module.shutil, "rmtree", lambda *_, **__: None)
        prepare(data)
    assert list(Path(data["cache"]).glob("unfinished/*/train-*"))
    prepare(data)
    assert [path.name for path in Path(data["cache"]).iterdir()] == ["records"]


def test_workers_change_nothing(source, data):
    one, two = (contents(prepare(data | {"cache": f"{data['cache']}{n}"}, workers=n)) for n in (1, 2))
    assert one == two


def test_the_set_lies_in_the_local_cache_where_there_is_one(data, tmp_path):
    builder = prepare(data | {"cache_local": str(tmp_path / "node")})
    assert Path(builder.data_path).is_relative_to(tmp_path / "node")
    assert not Path(data["cache"]).exists()


def test_two_images_of_one_id_are_refused(data, monkeypatch):
    twice = toy_source("twice", lambda folder: files_of(folder) | {"val": [folder / "val0.png"] * 2})
    monkeypatch.setitem(sys.modules, "a_toy_source", twice)
    with pytest.raises(InputError, match="image id val0 comes twice in val"):
        prepare(data)


def test_a_cache_that_cannot_be_written_is_named(data, tmp_path):
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(InputError, match=r"cache: cannot be written \(.*\); make room, or change data\.cache"):
        prepare(data)


# Verifying


def test_a_set_as_it_was_stored_is_verified(data):
    assert verify(prepare(data)) == sum(SIDES.values())


@pytest.mark.parametrize("damage", ["thumbnails.bin", "rows.parquet", "records-val"])
def test_damage_is_found(data, damage):
    builder = prepare(data)
    (file,) = Path(builder.data_path).glob(f"{damage}*")
    content = file.read_bytes()
    half = len(content) // 2
    file.write_bytes(content[:half] + bytes(255 - b for b in content[half : half + 200]) + content[half + 200 :])
    with pytest.raises(InputError, match=re.escape(builder.data_path.as_posix())):
        verify(prepare(data))


def test_a_missing_image_is_found_before_any_is_decoded(source, data, monkeypatch):
    (source / "test1.png").unlink()
    monkeypatch.setattr(images, "grey_of", lambda path: pytest.fail(f"{path} was decoded"))
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
    assert result.stdout.splitlines()[-1] == "7 []"
    assert result.stderr == ""


@pytest.mark.parametrize("bad", [b"", b"no image", None], ids=["empty", "no image", "missing"])
def test_images_that_cannot_be_read_are_dropped_where_that_is_asked_for(source, data, capsys, monkeypatch, bad):
    monkeypatch.setattr(shards, "SHARD_IMAGES", 2)
    names = ("train0.png", "train4.png", "train5.png", "test1.png")  # 4 and 5 are all of a shard
    for name in names:
        (source / name).unlink() if bad is None else (source / name).write_bytes(bad)
    with pytest.raises(InputError, match=r"train0\.png: .*(no such image|not an image)"):
        prepare(data)
    drop = data | {"unreadable": "drop"}
    capsys.readouterr()
    for _ in range(2):  # as it is prepared, and when it is there
        builder = prepare(drop)
        said = capsys.readouterr().err
        assert "4 images cannot be read, and are left out" in said
        assert "train0.png" in said
    assert verify(builder) == sum(SIDES.values()) - 4
    assert sorted(stored(builder, "train")) == ["train1", "train2", "train3"]
    table = side_files.read_rows(Path(builder.data_path))
    unreadable = side_files.unreadable(table)
    assert {split: sorted(images) for split, images in unreadable.items()} == {
        "train": ["train0", "train4", "train5"],
        "test": ["test1"],
    }
    assert str(source / "train0.png") in unreadable["train"]["train0"]
    for _, _, rows, thumbnails in side_files.by_split(builder, table):
        assert [row["position"] for row in rows] == list(range(len(rows)))
        assert all(images.decode(thumbnails[row["position"]]).size for row in rows)
    with pytest.raises(InputError, match=r"4 images cannot be read \(.*train0\.png.*\); or set data\.unreadable=drop$"):
        prepare(data)


def test_a_set_of_no_readable_image_is_refused(source, data):
    for file in source.glob("*.png"):
        file.write_bytes(b"")
    with pytest.raises(InputError, match="not one image can be read"):
        prepare(data | {"unreadable": "drop"})

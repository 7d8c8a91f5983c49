import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxr_jax.data import images, records
from cxr_jax.errors import InputError

SIDES = {"train": 6, "val": 2, "test": 2}


class Drawn(records.RecordBuilder):
    """Records of the images that lie in the source's folder, by split."""

    def records(self):
        folder = records.Path(self.builder_config.source)
        return {
            split: [
                records.Record(f"{split}{i}", folder / f"{split}{i}.png", f"s{split}{i}", f"p{i}", "", f"Report {i}.")
                for i in range(count)
            ]
            for split, count in SIDES.items()
        }


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "source"
    folder.mkdir()
    for split, count in SIDES.items():
        for i in range(count):
            (folder / f"{split}{i}.png").write_bytes(images.encode_png(np.full((20, 30), 10 * i, np.uint8)))
    return folder


def prepare(source, cache):
    return records.prepare(Drawn, records.SourceConfig(name="drawn", source=str(source), stored_size=10), cache)


def stored(builder, split):
    return {fields["image_id"].decode(): fields for fields in builder.as_data_source(split)}


def test_what_is_stored_is_what_was_given(source, tmp_path):
    builder = prepare(source, tmp_path / "cache")
    for split, count in SIDES.items():
        found = stored(builder, split)
        assert set(found) == {f"{split}{i}" for i in range(count)}
        for i in range(count):
            fields = found[f"{split}{i}"]
            assert fields["findings"] == f"Report {i}.".encode()
            assert fields["image"].shape == (10, 15, 1)
            assert np.all(fields["image"] == 10 * i)


def test_jpeg_is_stored_on_demand_smaller_and_nearly_the_same(tmp_path):
    noise = np.random.default_rng(0).integers(90, 160, (60, 80), np.uint8)
    source = tmp_path / "source"
    source.mkdir()
    for split, count in SIDES.items():
        for i in range(count):
            (source / f"{split}{i}.png").write_bytes(images.encode_png(noise))
    encoded = {}
    for stored_format in ("png", "jpeg"):
        config = records.SourceConfig(
            name=stored_format, source=str(source), stored_size=60, stored_format=stored_format
        )
        builder = records.prepare(Drawn, config, tmp_path / "cache")
        decoders = {"image": records.tfds.decode.SkipDecoding()}
        encoded[stored_format] = builder.as_data_source("train", decoders=decoders)[0]["image"]
    assert encoded["png"].startswith(b"\x89PNG")
    assert encoded["jpeg"].startswith(b"\xff\xd8")
    assert len(encoded["jpeg"]) < len(encoded["png"])
    difference = images.decode(encoded["jpeg"]).astype(int) - images.decode(encoded["png"])
    assert 0 < np.abs(difference).max() < 16


def test_a_prepared_set_is_not_read_from_its_source_again(source, tmp_path):
    prepare(source, tmp_path / "cache")
    for file in source.iterdir():
        file.unlink()
    assert len(stored(prepare(source, tmp_path / "cache"), "train")) == SIDES["train"]


def test_a_set_stored_with_other_features_is_built_again(source, tmp_path, monkeypatch):
    """Its version is part of where it lies: what older code stored is not misread."""
    with monkeypatch.context() as older:
        older.setattr(records.RecordBuilder, "VERSION", "1.0.0")
        folder = prepare(source, tmp_path / "cache").data_path
    builder = prepare(source, tmp_path / "cache")
    assert builder.data_path != folder
    assert {"comparison", "caption", "terms"} <= stored(builder, "train")["train0"].keys()


def test_a_build_that_fails_half_way_is_begun_anew(source, tmp_path):
    bad = source / "val1.png"
    whole = bad.read_bytes()
    bad.write_bytes(whole[:40])
    with pytest.raises(InputError, match=r"val1\.png"):
        prepare(source, tmp_path / "cache")
    bad.write_bytes(whole)
    assert len(stored(prepare(source, tmp_path / "cache"), "val")) == 2


def test_a_killed_build_is_begun_anew(source, tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setitem(records.ENCODERS, "png", stop)
    with pytest.raises(KeyboardInterrupt):
        prepare(source, tmp_path / "cache")
    monkeypatch.undo()
    builder = prepare(source, tmp_path / "cache")
    assert {split: len(stored(builder, split)) for split in SIDES} == SIDES


def test_a_missing_image_is_found_before_any_is_decoded(source, tmp_path, monkeypatch):
    (source / "test1.png").unlink()
    monkeypatch.setattr(records, "read_grey", lambda path: pytest.fail(f"{path} was decoded"))
    with pytest.raises(InputError, match=r"test1\.png: no such image"):
        prepare(source, tmp_path / "cache")


@pytest.mark.parametrize("split", ["train", "val"])
def test_an_empty_split_is_refused(source, tmp_path, monkeypatch, split):
    monkeypatch.setitem(SIDES, split, 0)
    with pytest.raises(InputError, match=f"the {split} split is empty.*{split} 0"):
        prepare(source, tmp_path / "cache")
    monkeypatch.undo()
    monkeypatch.setitem(SIDES, "test", 0)
    assert "test" not in prepare(source, tmp_path / "cache").info.splits


def test_a_builder_without_records_says_so(tmp_path):
    builder = records.RecordBuilder(config=records.SourceConfig(name="x"), data_dir=str(tmp_path))
    with pytest.raises(TypeError, match="RecordBuilder must say"):
        builder.records()


# Splits


def test_split_is_seven_two_one_and_seeded():
    names = [f"study{i}" for i in range(1000)]
    split = records.split_by_group(names, seed=5)
    assert Counter(split.values()) == {"train": 700, "val": 200, "test": 100}
    assert records.split_by_group(reversed(names), seed=5) == split
    other = records.split_by_group(names, seed=6)
    assert sum(split[n] != other[n] for n in names) > 300
    # By number, the splits are mixed: a release's order means something.
    assert Counter(split[n] for n in names[:100])["train"] < 90


@given(st.lists(st.text(max_size=3), max_size=60), st.integers(0, 2**31))
def test_each_group_is_in_one_split(groups, seed):
    split = records.split_by_group(groups, seed)
    assert set(split) == set(groups)
    sizes = Counter(split.values())
    for name, share in (("train", 0.7), ("val", 0.2), ("test", 0.1)):
        assert abs(sizes[name] - share * len(split)) <= 1


# Fingerprints


@pytest.fixture
def two_files(tmp_path):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.png").write_bytes(b"123")
        (tmp_path / folder / "b.png").write_bytes(b"45")
    return sorted((tmp_path / "one").iterdir()), sorted((tmp_path / "two").iterdir())


def test_fingerprint_ignores_the_folder_and_the_order(two_files):
    one, two = two_files
    assert records.fingerprint("x", 1, files=one) == records.fingerprint("x", 1, files=reversed(two))


def test_fingerprint_follows_settings_names_and_sizes(two_files):
    one, two = two_files
    first = records.fingerprint("x", 1, files=one)
    assert first != records.fingerprint("x", 2, files=one)
    assert first != records.fingerprint("x1", files=one)
    assert first != records.fingerprint("x", 1, files=one[:1])
    assert first != records.fingerprint("x", 1, files=[*one[:1], one[1].rename(one[1].with_name("c.png"))])
    two[0].write_bytes(b"1234")
    assert first != records.fingerprint("x", 1, files=two)


# What is imported


def test_preparing_data_imports_neither_tensorflow_nor_jax(source, tmp_path):
    code = (
        "import sys; from pathlib import Path; from cxr_jax.data import pairs, openi, records, reports\n"
        "config = pairs.config_for(sys.argv[1], 'patient', 0, 10)\n"
        "builder = records.prepare(pairs.Pairs, config, Path(sys.argv[2]))\n"
        "print(len(builder.as_data_source('train')), [m for m in ('tensorflow', 'torch', 'jax') if m in sys.modules])"
    )
    lines = ["image,report", *(f"{file.name},Report {i}." for i, file in enumerate(sorted(source.iterdir())))]
    (source / "pairs.csv").write_text("\n".join(lines))
    command = [sys.executable, "-c", code, str(source / "pairs.csv"), str(tmp_path / "cache")]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "7 []"
    assert result.stderr == ""

import resource
import subprocess
import sys

import numpy as np
import pytest

from cxr_jax.data import encoders, images, shards
from cxr_jax.data.records import Record, RecordBuilder, SourceConfig
from cxr_jax.errors import InputError, Preempted


@pytest.fixture
def builder(tmp_path):
    return RecordBuilder(config=SourceConfig(name="a", source="here"), data_dir=tmp_path, file_format="array_record")


@pytest.fixture
def records(tmp_path):
    made = []
    for number in range(5):
        file = tmp_path / f"{number}.png"
        file.write_bytes(images.encode_png(np.full((9, 9), number, np.uint8)))
        made.append(Record(f"i{number}", file, f"s{number}", "p", "", f"Report {number}."))
    return made


def encoded(shard):
    return [encoders.encode_file(record.image, 9, "png") for record in shard.records]


def test_shards_cut_each_split_in_the_order_of_ids(builder, records, monkeypatch):
    monkeypatch.setattr(shards, "SHARD_IMAGES", 2)
    planned = shards.plan({"train": records[::-1], "val": records[:1]}, builder)
    assert [(s.split, [r.image_id for r in s.records]) for s in planned] == [
        ("train", ["i0", "i1"]),
        ("train", ["i2", "i3"]),
        ("train", ["i4"]),
        ("val", ["i0"]),
    ]
    monkeypatch.setattr(shards, "MAX_SHARDS", 2)
    assert [len(s.records) for s in shards.plan({"train": records}, builder)] == [3, 2]


def test_a_shards_name_follows_all_that_it_is_stored_as(builder, records, tmp_path):
    (first,) = shards.plan({"train": records}, builder)
    assert shards.plan({"train": records}, builder) == [first]
    names = {first.name}
    names |= {s.name for s in shards.plan({"val": records}, builder)}
    names |= {s.name for s in shards.plan({"train": records[:4]}, builder)}
    other = Record(**{**vars(records[0]), "findings": "Other."})
    names |= {s.name for s in shards.plan({"train": [other, *records[1:]]}, builder)}
    smaller = SourceConfig(name="a", source="here", stored_size=8)
    smaller_builder = RecordBuilder(config=smaller, data_dir=tmp_path, file_format="array_record")
    names |= {s.name for s in shards.plan({"train": records}, smaller_builder)}
    records[0].image.write_bytes(images.encode_png(np.full((9, 9), 77, np.uint8)))
    names |= {s.name for s in shards.plan({"train": records}, builder)}
    assert len(names) == 6


def test_a_shard_is_there_whole_or_not_at_all(builder, records, tmp_path):
    (shard,) = shards.plan({"train": records}, builder)
    folder = tmp_path / "unfinished"
    folder.mkdir()

    def breaking():
        yield from encoded(shard)[:3]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        shards.write(folder, shard, breaking(), builder)
    assert list(folder.iterdir()) == []
    for _ in range(2):  # and a second writer, too late, does no harm
        shards.write(folder, shard, encoded(shard), builder)
        assert [path.name for path in folder.iterdir()] == [shard.name]


def test_sweeping_keeps_what_is_wanted_alone(builder, records, tmp_path):
    planned = shards.plan({"train": records}, builder)
    folder = tmp_path / "unfinished"
    for name in (planned[0].name, "train-of-other-images", f"{shards.PART}{planned[0].name}-1"):
        (folder / name).mkdir(parents=True)
    shards.sweep(folder, planned)
    assert [path.name for path in folder.iterdir()] == [planned[0].name]


FULL = """
import resource, sys
import numpy as np
from pathlib import Path
from cxr_jax.data import encoders, images, shards
from cxr_jax.data.records import Record, RecordBuilder, SourceConfig
folder = Path(sys.argv[1])
file = folder / "a.png"
file.write_bytes(images.encode_png(np.random.default_rng(0).integers(0, 255, (200, 200), np.uint8)))
builder = RecordBuilder(config=SourceConfig(name="a"), data_dir=folder, file_format="array_record")
(shard,) = shards.plan({"train": [Record(str(i), file, "s", "p", "", "") for i in range(40)]}, builder)
encoded = [encoders.encode_file(file, 200, "png")] * 40
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
try:
    shards.write(folder / "unfinished", shard, encoded, builder)
except ValueError as error:
    print(f"{type(error).__name__}: {error}", [p.name for p in (folder / "unfinished").iterdir()])
"""


@pytest.mark.parametrize("limit", [1000, 1_000_000])  # the thumbnails do not fit; the records do not
def test_a_full_disk_is_one_line(tmp_path, limit):
    (tmp_path / "unfinished").mkdir()
    run = subprocess.run([sys.executable, "-c", FULL, tmp_path, str(limit)], capture_output=True, text=True, check=True)
    (line,) = run.stdout.splitlines()
    assert line.startswith(f"InputError: {tmp_path / 'unfinished'}: cannot be written (")
    assert line.endswith("make room, or change data.cache []")


def test_the_limit_of_the_last_test_is_its_childs_own():
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


def test_a_missing_image_is_refused(builder, records):
    records[3].image.unlink()
    with pytest.raises(InputError, match=r"here: .*3\.png: no such image"):
        shards.plan({"train": records}, builder)


def test_a_stop_in_the_midst_of_serialising_or_decoding_stays_what_it_is(builder, records, tmp_path, monkeypatch):
    """A signal's handler raises it anywhere: TFDS would put words of its own before it, a reader take it for damage."""

    def stop(*_, **__):
        raise Preempted("SIGTERM")

    pictures = encoded(shards.Shard("train", "train-a", records))
    with monkeypatch.context() as patch:
        patch.setattr("tensorflow_datasets.core.example_serializer._item_to_tf_feature", stop)
        with pytest.raises(Preempted, match=r"^SIGTERM$"):
            shards.write(tmp_path, shards.Shard("train", "train-a", records), pictures, builder)
    assert not (tmp_path / "train-a").exists()
    monkeypatch.setattr("PIL.Image.open", stop)
    with pytest.raises(Preempted, match=r"^SIGTERM$"):
        images.read(records[0].image)

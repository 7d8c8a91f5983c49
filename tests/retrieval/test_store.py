import contextlib
import dataclasses
import json
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest

from cxr_jax.errors import InputError
from cxr_jax.retrieval import store
from cxr_jax.retrieval.rows import Columns, Lazily, Row
from cxr_jax.retrieval.store import SplitIndex

STUDIES = ["s2", "s1", "s2", "s3", "s1"]


@pytest.fixture(name="split")
def made_split():
    rng = np.random.default_rng(0)
    rows = [
        Row(f"{i}", study, f"p{study}", f"Größe {i}\u2028“normal”\x85.", ("a", "b")[: i % 3], i % 2)
        for i, study in enumerate(STUDIES)
    ]
    images, texts = rng.normal(size=(2, 5, 8)).astype(np.float32)
    return SplitIndex("test", 70, rows, images, texts, [b"jpeg" * i for i in range(5)], checkpoint="0123")


def test_a_split_is_read_as_it_was_saved(split, tmp_path):
    split.save(tmp_path / "index")
    back = SplitIndex.load(tmp_path / "index", "test")
    assert (back.name, back.step, back.checkpoint, len(back)) == ("test", 70, "0123", 5)
    assert list(back.rows) == split.rows
    assert list(back.thumbnails) == split.thumbnails
    for name in ("image_embeddings", "text_embeddings"):
        np.testing.assert_array_equal(getattr(back, name), getattr(split, name))
        assert getattr(back, name).dtype == np.float32
    for name, column in vars(split.columns).items():
        np.testing.assert_array_equal(getattr(back.columns, name), column)
    assert [place.name for place in (tmp_path / "index").iterdir()] == ["test"]


def test_a_split_of_a_folder_can_be_saved_over_itself(split, tmp_path):
    split.save(tmp_path)
    back = SplitIndex.load(tmp_path, "test")
    back.save(tmp_path)
    # What was mapped is still there for whoever has it open.
    for index in (back, SplitIndex.load(tmp_path, "test")):
        assert list(index.rows) == split.rows
        np.testing.assert_array_equal(index.image_embeddings, split.image_embeddings)
    assert [place.name for place in tmp_path.iterdir()] == ["test"]


def test_attention_is_kept_where_there_is_some(split, tmp_path):
    maps = np.random.default_rng(0).integers(256, size=(5, 3, 3), dtype=np.uint8)
    for kept, expected in ((maps, maps), (np.zeros((5, 0, 0), np.uint8), None), (None, None)):
        dataclasses.replace(split, attention=kept).save(tmp_path)
        found = SplitIndex.load(tmp_path, "test").attention
        assert (found is None) == (expected is None)
        assert found is None or np.array_equal(found, expected)
    dataclasses.replace(split, attention=maps[:4]).save(tmp_path)
    damaged(tmp_path)


def test_each_study_counts_once(split, tmp_path):
    assert split.one_row_per_study().tolist() == [0, 1, 3]
    split.save(tmp_path)
    assert SplitIndex.load(tmp_path, "test").one_row_per_study().tolist() == [0, 1, 3]


def test_a_split_that_is_not_there_names_those_that_are(split, tmp_path):
    with pytest.raises(InputError, match=r"no split train .*\(there: none\)"):
        SplitIndex.load(tmp_path, "train")
    split.save(tmp_path)
    with pytest.raises(InputError, match=r"train: there is no split train .*\(there: test\)"):
        SplitIndex.load(tmp_path, "train")


def test_a_save_that_breaks_off_leaves_what_was_there(split, tmp_path, monkeypatch):
    def stop(file, array):
        if file.name == "studies.npy":
            raise KeyboardInterrupt
        file.touch()

    broken = dataclasses.replace(split, step=71)
    monkeypatch.setattr(np, "save", stop)
    with pytest.raises(KeyboardInterrupt):
        broken.save(tmp_path)
    with pytest.raises(InputError, match="no split test"):
        SplitIndex.load(tmp_path, "test")
    monkeypatch.undo()
    split.save(tmp_path)
    monkeypatch.setattr(np, "save", stop)
    with pytest.raises(KeyboardInterrupt):
        broken.save(tmp_path)
    assert SplitIndex.load(tmp_path, "test").step == 70
    assert [place.name for place in tmp_path.iterdir()] == ["test"]


def forget_checksums(folder):
    """As the first indices of this layout are: what is wrong in a file has to be seen by what is in it."""
    file = folder / "test" / "index.json"
    about = json.loads(file.read_text())
    del about["crc32"]
    file.write_text(json.dumps(about))


def damaged(folder):
    with pytest.raises(InputError, match=r"test: damaged \(.*\); remove it, and") as error:
        SplitIndex.load(folder, "test")
    assert "\n" not in str(error.value)


FILES = ["index.json", "rows.jsonl", "thumbnails.bin", *(f"{name}.npy" for name in store.ARRAYS if name != "attention")]


@pytest.mark.parametrize("sums", [True, False])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, None])
@pytest.mark.parametrize("name", FILES)
def test_truncated_and_missing_files_are_refused(split, tmp_path, name, share, sums):
    split.save(tmp_path)
    if not sums:
        forget_checksums(tmp_path)
    assert sorted(file.name for file in (tmp_path / "test").iterdir()) == sorted(FILES)
    file = tmp_path / "test" / name
    data = file.read_bytes()
    file.unlink()
    if share is None and name == "index.json":
        with pytest.raises(InputError, match="there is no split test"):
            SplitIndex.load(tmp_path, "test")
        return
    if share is not None:
        file.write_bytes(data[: int(share * len(data))])
    damaged(tmp_path)


@pytest.mark.parametrize("name", [name for name in store.ARRAYS if name != "attention"])
def test_other_arrays_are_refused(split, tmp_path, name):
    split.save(tmp_path)
    forget_checksums(tmp_path)
    file = tmp_path / "test" / f"{name}.npy"
    array = np.load(file)
    for wrong in (array[:-1], array.astype(np.float64) if array.dtype.kind != "S" else array[None], array[None]):
        np.save(file, wrong)
        damaged(tmp_path)
    np.save(file, np.array([{}], object), allow_pickle=True)
    damaged(tmp_path)
    with file.open("wb") as opened:
        np.savez(opened, array=array)
    damaged(tmp_path)


def test_embeddings_of_different_widths_are_refused(split, tmp_path):
    dataclasses.replace(split, text_embeddings=split.text_embeddings[:, 1:]).save(tmp_path)
    damaged(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", '{"layout": 2}', '{"layout": 9, "split": "test"}', "null"])
def test_an_index_json_of_something_else_is_refused(split, tmp_path, text):
    split.save(tmp_path)
    (tmp_path / "test" / "index.json").write_text(text)
    damaged(tmp_path)


def test_a_split_under_anothers_name_is_refused(split, tmp_path):
    """Test reports must not come into the pool by a folder's name."""
    split.save(tmp_path)
    (tmp_path / "test").rename(tmp_path / "train")
    with pytest.raises(InputError, match="holds split test"):
        SplitIndex.load(tmp_path, "train")


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_bit_is_seen(split, tmp_path, name):
    split = dataclasses.replace(split, attention=np.ones((5, 2, 2), np.uint8))
    split.save(tmp_path)
    file = tmp_path / "test" / name
    data = file.read_bytes()
    for place in range(0, 8 * len(data), 13 if name == "index.json" else 29):
        flipped = bytearray(data)
        flipped[place // 8] ^= 1 << place % 8
        file.write_bytes(flipped)
        if name != "index.json":
            damaged(tmp_path)
            continue
        with contextlib.suppress(InputError):  # here a blank may become another; what opens is as it was saved
            back = SplitIndex.load(tmp_path, "test")
            np.testing.assert_array_equal(back.image_embeddings, split.image_embeddings)


def test_swapped_and_lost_files_are_seen(split, tmp_path):
    dataclasses.replace(split, attention=np.ones((5, 2, 2), np.uint8)).save(tmp_path)
    one, other = (tmp_path / "test" / f"{side}_embeddings.npy" for side in ("image", "text"))
    images, texts = one.read_bytes(), other.read_bytes()
    one.write_bytes(texts)
    other.write_bytes(images)
    damaged(tmp_path)
    one.write_bytes(images)
    other.write_bytes(texts)
    SplitIndex.load(tmp_path, "test")
    (tmp_path / "test" / "attention.npy").unlink()
    damaged(tmp_path)


def test_studies_out_of_range_are_refused(split, tmp_path):
    split.save(tmp_path)
    forget_checksums(tmp_path)
    file = tmp_path / "test" / "studies.npy"
    for wrong in (-1, 3):
        np.save(file, np.array([0, 1, 2, wrong, 0], np.int32))
        damaged(tmp_path)


def test_an_index_of_no_rows_opens(split, tmp_path):
    none = np.zeros((0, 8), np.float32)
    dataclasses.replace(split, rows=[], thumbnails=[], image_embeddings=none, text_embeddings=none).save(tmp_path)
    back = SplitIndex.load(tmp_path, "test")
    assert (len(back), list(back.rows), len(back.one_row_per_study())) == (0, [], 0)


WRITER = """
    import dataclasses, itertools, sys
    from pathlib import Path
    import numpy as np
    from cxr_jax.retrieval.rows import Row
    from cxr_jax.retrieval.store import SplitIndex

    rows = [Row(str(i), f"s{i}", "p", "A report.", (), i) for i in range(200)]
    for step in itertools.count():
        z = np.full((200, 16), step, np.float32)
        SplitIndex("test", step, rows, z, z, [b"jpeg"] * 200, checkpoint=str(step)).save(Path(sys.argv[1]))
        print(step, flush=True)
"""


def start_writer(folder):
    command = [sys.executable, "-c", textwrap.dedent(WRITER), str(folder)]
    writer = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert writer.stdout.readline() == "0\n"
    return writer


def test_who_reads_beside_a_writer_reads_one_index(tmp_path):
    writer = start_writer(tmp_path)
    try:
        steps = set()
        for _ in range(150):
            index = SplitIndex.load(tmp_path, "test")
            assert (index.image_embeddings == index.step).all()
            assert index.checkpoint == str(index.step)
            assert index.rows[7].group_id == 7
            steps.add(index.step)
    finally:
        writer.kill()
        writer.communicate()
    assert len(steps) > 3


def test_a_writer_may_be_killed_at_any_moment(split, tmp_path):
    for number in range(6):
        writer = start_writer(tmp_path)
        time.sleep(0.003 * number)
        writer.kill()
        writer.communicate()
        assert (SplitIndex.load(tmp_path, "test").text_embeddings[-1] >= 0).all()
    split.save(tmp_path)
    assert [place.name for place in tmp_path.iterdir()] == ["test"]  # what those that were killed left is gone


def test_a_damaged_row_is_refused_when_it_is_asked_for(split, tmp_path):
    split.save(tmp_path)
    forget_checksums(tmp_path)
    file = tmp_path / "test" / "rows.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    for number, length in ((1, len(lines[1])), (3, len(lines[3]))):
        lines[number] = (b"{}" if number == 1 else b"\xff").ljust(length - 1) + b"\n"
    file.write_bytes(b"".join(lines))
    index = SplitIndex.load(tmp_path, "test")
    assert index.rows[0] == split.rows[0]
    for number in (1, 3):
        with pytest.raises(InputError, match=r"rows\.jsonl: damaged") as error:
            index.rows[number]
        assert "\n" not in str(error.value)


def test_vectors_of_another_checkpoint_are_refused(split):
    split.check_checkpoint(70, "0123", "itself")
    split.check_checkpoint(70, "", "an older one")
    dataclasses.replace(split, checkpoint="").check_checkpoint(70, "0123", "a newer one")
    for step, checkpoint in ((71, "0123"), (70, "4567"), (71, "")):
        with pytest.raises(
            InputError, match=r"test: is of another checkpoint \(step 70, 0123\) than the model"
        ) as error:
            split.check_checkpoint(step, checkpoint, "the model")
        assert "\n" not in str(error.value)


MEASURE = """
    import sys, time
    from pathlib import Path
    from cxr_jax.retrieval.store import SplitIndex

    start = time.perf_counter()
    index = SplitIndex.load(Path(sys.argv[1]), "train")
    studies = index.one_row_per_study()
    row, thumbnail = index.rows[len(index) - 1], index.thumbnails[len(index) - 1]
    seconds = time.perf_counter() - start
    assert row.image_id == str(len(index) - 1) and len(thumbnail) == 100
    # Not getrusage's maximum, which begins with that of the process that this one was forked from.
    (peak,) = (line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
    print(len(index), len(studies), seconds, int(peak) / 1024)
"""


@pytest.mark.parametrize(("count", "width"), [(50_000, 256), pytest.param(1_000_000, 256, marks=pytest.mark.slow)])
def test_opening_reads_next_to_nothing(tmp_path, count, width):
    """A million rows, 2.5 GB of files, in less than a second and 200 MB, NumPy and all."""
    numbers = np.arange(count, dtype=np.int32)
    z = np.broadcast_to(np.float32(1), (count, width))
    columns = Columns(numbers // 2, np.char.mod(b"%d", np.arange(-(-count // 2))), numbers % 7)
    rows = Lazily(count, lambda i: Row(f"{i}", f"{i // 2}", f"{i // 4}", "The lungs are clear. " * 10, ("Normal",), 0))
    thumbnail = bytes(100)
    index = SplitIndex("train", 1, rows, z, z, Lazily(count, lambda i: thumbnail), stored_columns=columns)
    index.save(tmp_path)
    command = [sys.executable, "-c", textwrap.dedent(MEASURE), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows_there, studies, seconds, megabytes = map(float, done.stdout.split())
    assert (rows_there, studies) == (count, -(-count // 2))
    assert seconds < 1, seconds
    assert megabytes < 200, megabytes
    assert json.loads((tmp_path / "train" / "index.json").read_text())["split"] == "train"

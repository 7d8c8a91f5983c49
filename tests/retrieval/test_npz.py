"""Indices of before the folder of memory-mapped arrays: they still open, and the next save takes their place."""

import contextlib
import dataclasses
import json

import numpy as np
import pytest

from cxr_jax.errors import InputError
from cxr_jax.retrieval.store import SplitIndex
from tests.retrieval.test_store import made_split


def save_old(split, folder):
    with (folder / f"{split.name}.jsonl").open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(dataclasses.asdict(row), ensure_ascii=False) + "\n" for row in split.rows)
    np.savez(
        folder / f"{split.name}.npz",
        step=split.step,
        image_embeddings=split.image_embeddings,
        text_embeddings=split.text_embeddings,
        attention=np.zeros((len(split), 0, 0), np.uint8) if split.attention is None else split.attention,
        thumbnails=np.frombuffer(b"".join(split.thumbnails), np.uint8),
        thumbnail_ends=np.cumsum([len(thumbnail) for thumbnail in split.thumbnails]),
    )


split = made_split  # the fixture


@pytest.fixture
def old(split, tmp_path):
    save_old(split, tmp_path)
    return split


def test_an_old_index_opens_and_gives_way_to_a_new_one(old, tmp_path):
    read = SplitIndex.load(tmp_path, "test")
    read.save(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["test"]
    for back in (read, SplitIndex.load(tmp_path, "test")):
        assert (back.name, back.step, back.checkpoint, list(back.rows)) == ("test", 70, "", old.rows)
        assert list(back.thumbnails) == old.thumbnails
        for name in ("image_embeddings", "text_embeddings"):
            np.testing.assert_array_equal(getattr(back, name), getattr(old, name))
        assert back.attention is None
        assert back.one_row_per_study().tolist() == [0, 1, 3]


def damaged(folder):
    with pytest.raises(InputError, match=r"test\.npz: damaged .*; remove .* and train again") as error:
        SplitIndex.load(folder, "test")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_truncated_arrays_are_refused(old, tmp_path, share):
    data = (tmp_path / "test.npz").read_bytes()
    (tmp_path / "test.npz").write_bytes(data[: int(share * len(data))])
    damaged(tmp_path)


def test_other_arrays_are_refused(old, tmp_path):
    np.savez(tmp_path / "test.npz", step=3)
    damaged(tmp_path)
    np.savez(tmp_path / "test.npz", step=np.array([{}], object))
    damaged(tmp_path)


@pytest.mark.parametrize("change", [lambda t: t[: len(t) // 2], lambda t: t[: t.index("\n") + 1], lambda t: "{}\n" * 5])
def test_damaged_rows_are_refused(old, tmp_path, change):
    file = tmp_path / "test.jsonl"
    file.write_text(change(file.read_text(encoding="utf-8")), encoding="utf-8")
    damaged(tmp_path)
    file.unlink()
    damaged(tmp_path)


def test_no_flipped_bit_is_a_traceback(old, tmp_path):
    file = tmp_path / "test.npz"
    data = file.read_bytes()
    for place in range(5, 8 * len(data), 97):
        flipped = bytearray(data)
        flipped[place // 8] ^= 1 << place % 8
        file.write_bytes(flipped)
        with contextlib.suppress(InputError):  # some bits are of no account
            SplitIndex.load(tmp_path, "test")


def test_an_old_index_of_no_rows_opens(split, tmp_path):
    none = np.zeros((0, 8), np.float32)
    save_old(dataclasses.replace(split, rows=[], thumbnails=[], image_embeddings=none, text_embeddings=none), tmp_path)
    assert len(SplitIndex.load(tmp_path, "test")) == 0


@pytest.mark.parametrize("change", [{"labels": [1]}, {"report": None}, {"group_id": "1"}, {"study_id": 3}])
def test_rows_of_other_types_are_refused(old, tmp_path, change):
    file = tmp_path / "test.jsonl"
    first, others = file.read_text(encoding="utf-8").split("\n", 1)
    file.write_text(f"{json.dumps(json.loads(first) | change)}\n{others}", encoding="utf-8")
    damaged(tmp_path)

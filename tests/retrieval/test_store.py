import dataclasses

import numpy as np
import pytest

from cxr_jax.errors import InputError
from cxr_jax.retrieval.store import Row, SplitIndex

STUDIES = ["s2", "s1", "s2", "s3", "s1"]


@pytest.fixture
def split():
    rng = np.random.default_rng(0)
    rows = [
        Row(f"{i}", study, f"p{study}", f"Größe {i}\u2028“normal”\x85.", ("a", "b")[: i % 3], i % 2)
        for i, study in enumerate(STUDIES)
    ]
    images, texts = rng.normal(size=(2, 5, 8)).astype(np.float32)
    return SplitIndex("test", 70, rows, images, texts, [b"jpeg" * i for i in range(1, 6)])


def test_a_split_is_read_as_it_was_saved(split, tmp_path):
    split.save(tmp_path / "index")
    back = SplitIndex.load(tmp_path / "index", "test")
    assert (back.name, back.step, len(back)) == ("test", 70, 5)
    assert back.rows == split.rows
    assert back.thumbnails == split.thumbnails
    for name in ("image_embeddings", "text_embeddings"):
        np.testing.assert_array_equal(getattr(back, name), getattr(split, name))
        assert getattr(back, name).dtype == np.float32
    assert sorted(file.name for file in (tmp_path / "index").iterdir()) == ["test.jsonl", "test.npz"]


def test_attention_is_kept_where_there_is_some(split, tmp_path):
    maps = np.random.default_rng(0).integers(256, size=(5, 3, 3), dtype=np.uint8)
    for kept, expected in ((maps, maps), (np.zeros((5, 0, 0), np.uint8), None), (None, None)):
        dataclasses.replace(split, attention=kept).save(tmp_path)
        found = SplitIndex.load(tmp_path, "test").attention
        assert (found is None) == (expected is None)
        assert found is None or np.array_equal(found, expected)
    dataclasses.replace(split, attention=maps[:4]).save(tmp_path)
    damaged(tmp_path)


def test_each_study_counts_once(split):
    assert split.one_row_per_study().tolist() == [0, 1, 3]


def test_a_split_that_is_not_there_names_those_that_are(split, tmp_path):
    with pytest.raises(InputError, match=r"no split train .*\(there: none\)"):
        SplitIndex.load(tmp_path, "train")
    split.save(tmp_path)
    with pytest.raises(InputError, match=r"train\.npz: there is no split train .*\(there: test\)"):
        SplitIndex.load(tmp_path, "train")


def test_a_save_that_broke_off_is_no_split(split, tmp_path, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez", stop)
    with pytest.raises(KeyboardInterrupt):
        split.save(tmp_path)
    with pytest.raises(InputError, match="no split test"):
        SplitIndex.load(tmp_path, "test")


def damaged(folder):
    with pytest.raises(InputError, match=r"test\.npz: damaged") as error:
        SplitIndex.load(folder, "test")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_truncated_arrays_are_refused(split, tmp_path, share):
    split.save(tmp_path)
    data = (tmp_path / "test.npz").read_bytes()
    (tmp_path / "test.npz").write_bytes(data[: int(share * len(data))])
    damaged(tmp_path)


def test_other_arrays_are_refused(split, tmp_path):
    split.save(tmp_path)
    np.savez(tmp_path / "test.npz", step=3)
    damaged(tmp_path)
    np.savez(tmp_path / "test.npz", step=np.array([{}], object))
    damaged(tmp_path)


@pytest.mark.parametrize("change", [lambda t: t[: len(t) // 2], lambda t: t[: t.index("\n") + 1], lambda t: "{}\n" * 5])
def test_damaged_rows_are_refused(split, tmp_path, change):
    split.save(tmp_path)
    file = tmp_path / "test.jsonl"
    file.write_text(change(file.read_text(encoding="utf-8")), encoding="utf-8")
    damaged(tmp_path)
    file.unlink()
    damaged(tmp_path)

"""Files of embeddings: what is written comes back, in either form; what is none is refused in one line."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cxr_jax.errors import InputError
from cxr_jax.retrieval import embedding_file

COLUMNS = {"image": ["a b.png", "ü.png", "", "a b.png"], "Support Devices/x": ["1", "", "-1", "0.0"]}


@pytest.fixture
def vectors():
    vectors = np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32)
    vectors[2] = np.nan
    return vectors


def write(file, vectors, about=None):
    kinds = {kind: lambda start, stop: vectors[start:stop] for kind in embedding_file.KINDS}
    embedding_file.write(file, COLUMNS, kinds, about or {"step": 3, "run": "r"})
    return file


@pytest.mark.parametrize("chunk", [1, 3, 100])
@pytest.mark.parametrize("suffix", embedding_file.SUFFIXES)
def test_what_is_written_comes_back(tmp_path, vectors, suffix, chunk, monkeypatch):
    monkeypatch.setattr(embedding_file, "CHUNK", chunk)
    file = write(tmp_path / f"out{suffix}", vectors)
    got = embedding_file.read(file)
    assert got.columns == COLUMNS
    for kind in embedding_file.KINDS:
        np.testing.assert_array_equal(got.vectors[kind], vectors)
        assert got.vectors[kind].dtype == np.float32
    assert got.about == embedding_file.read_about(file) == {"layout": 1, "step": 3, "run": "r"}
    if suffix != ".npz":
        assert pq.read_table(file)["image_embedding"].null_count == 1
    assert write(tmp_path / f"again{suffix}", vectors).read_bytes() == file.read_bytes()


@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
def test_what_is_none_is_refused(tmp_path, vectors, suffix, monkeypatch):
    file = write(tmp_path / f"out{suffix}", vectors)
    whole = file.read_bytes()
    for content in (b"", whole[: len(whole) // 2], b"something else"):
        file.write_bytes(content)
        with pytest.raises(InputError, match="is no whole file of embeddings") as error:
            embedding_file.read(file)
        assert "\n" not in str(error.value)
    with monkeypatch.context() as patch:
        patch.setattr(embedding_file, "LAYOUT", 2)
        write(file, vectors)
    with pytest.raises(InputError, match="layout 2, not 1"):
        embedding_file.read(file)
    file.unlink()
    with pytest.raises(InputError, match="no such file"):
        embedding_file.read(file)
    np.savez(tmp_path / "mine.npz", x=np.array([{}], object))
    pq.write_table(pa.table({"x": [1]}), tmp_path / "mine.parquet")
    with pytest.raises(InputError, match="is no whole file of embeddings"):
        embedding_file.read(tmp_path / f"mine{suffix}")

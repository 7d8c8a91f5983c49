"""Streams against the Python API, which encodes the same inputs at once."""

import threading
import time

import numpy as np
import pytest
from PIL import Image

from cxr_jax.data import images
from cxr_jax.errors import InputError
from cxr_jax.retrieval import streaming
from cxr_jax.retrieval.streaming import StreamingEncoder, collect, distinct
from tests.retrieval.test_model import build

WORDS = ["the", "heart", "is", "large", "small", "normal", "shifted", "round", "and", "lungs", "are", "clear"]


@pytest.fixture(scope="module")
def model():
    return build(0)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """21 radiographs of several sizes and modes, of which the 4th is cut off, the 10th no image, the 17th missing."""
    folder, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    paths = [folder / f"a picture {number}.png" for number in range(21)]
    for number, path in enumerate(paths):
        pixels = rng.integers(0, 256, (30 + number, 50 - number), dtype=np.uint8)
        path.write_bytes(images.encode_png(pixels))
    paths[3].write_bytes(paths[3].read_bytes()[:200])
    paths[9].write_text("no image")
    paths[16].unlink()
    Image.fromarray(rng.integers(0, 256, (40, 60, 3), dtype=np.uint8)).save(paths[5])
    return paths


@pytest.mark.parametrize("batch_size", [4, 8, 0])
def test_images_are_those_of_the_model_and_faults_cost_only_themselves(model, files, batch_size):
    encoder = StreamingEncoder(model, batch_size)
    batches = list(encoder.images(files))
    assert [batch.count for batch in batches[:-1]] == [encoder.batch_size] * (len(batches) - 1)
    got = collect(batches)
    good = [row for row in range(21) if row not in (3, 9, 16)]
    assert got.rows.tolist() == good
    np.testing.assert_allclose(got.embeddings, model.encode_image([files[row] for row in good]), atol=1e-5, rtol=0)
    assert got.embeddings.dtype == np.float32
    assert sorted(got.faults) == [3, 9, 16]
    for row, said in got.faults.items():
        with pytest.raises(InputError) as error:
            images.read(files[row])
        assert said == str(error.value)
    assert got.count == 21


def test_warnings_are_those_of_the_file(model, tmp_path):
    files = [tmp_path / f"{name}.png" for name in ("flat", "good")]
    files[0].write_bytes(images.encode_png(np.full((40, 40), 7, np.uint8)))
    files[1].write_bytes(images.encode_png(np.arange(1600, dtype=np.uint8).reshape(40, 40)))
    (expected,) = images.read(files[0]).warnings
    assert collect(StreamingEncoder(model, 4).images(files)).warnings == {0: (expected,)}


def test_a_batch_of_nothing_readable_is_no_forward_pass(model, files, tmp_path, monkeypatch):
    encoder = StreamingEncoder(model, 4)
    missing = [tmp_path / f"{number}.png" for number in range(4)]
    got = collect(encoder.images([*missing, files[0]]))
    assert got.rows.tolist() == [4]
    assert sorted(got.faults) == [0, 1, 2, 3]
    got = collect(encoder.images(missing))
    assert got.embeddings.shape == (0, 16)


@pytest.mark.parametrize("kind", ["images", "texts"])
def test_a_later_start_gives_the_same_to_the_last_bit(model, files, kind, monkeypatch):
    monkeypatch.setattr(streaming, "WINDOW", 2)
    encoder = StreamingEncoder(model, 4)
    stream, inputs = getattr(encoder, kind), files if kind == "images" else drawn_texts(21)
    whole, rest = collect(stream(inputs)), collect(stream(inputs, 8))
    assert (whole.start, rest.start, whole.count, rest.count) == (0, 8, 21, 13)
    np.testing.assert_array_equal(whole.embeddings[whole.rows >= 8], rest.embeddings)
    assert rest.rows.tolist() == whole.rows[whole.rows >= 8].tolist()
    assert {row for row in whole.faults if row >= 8} == rest.faults.keys()


def test_no_more_is_read_ahead_than_two_batches(model, files, monkeypatch):
    encoder, begun, read, lock = StreamingEncoder(model, 4), [], images.read, threading.Lock()

    def counted(file):
        with lock:
            begun.append(file)
        return read(files[0])

    monkeypatch.setattr(images, "read", counted)
    stream = encoder.images([files[0]] * 400)
    next(stream)
    time.sleep(0.2)
    # Two batches were taken, one of them yielded, and two more may wait.
    assert len(begun) <= 4 * 4
    stream.close()
    time.sleep(0.1)
    assert len(begun) <= 4 * 4
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("read")]


def drawn_texts(count: int) -> list[str]:
    rng = np.random.default_rng(1)
    return [" ".join(rng.choice(WORDS, rng.integers(1, 12))) for _ in range(count)]


@pytest.mark.parametrize("batch_size", [4, 8])
def test_texts_are_those_of_the_model_whatever_they_are_padded_to(model, batch_size, monkeypatch):
    monkeypatch.setattr(streaming, "WINDOW", 3)
    monkeypatch.setattr(streaming, "SHORTEST", 4)
    encoder, padded = StreamingEncoder(model, batch_size), []
    encode = encoder._encoders.text_features

    def counted(variables, ids, mask):
        padded.append(ids.shape[-1])
        return encode(variables, ids, mask)

    encoder._encoders = encoder._encoders._replace(text_features=counted)
    texts = drawn_texts(50)
    texts[7] = " \n"
    batches = list(encoder.texts(texts))
    assert [batch.count for batch in batches][:-1] == [3 * batch_size] * (len(batches) - 1)
    got = collect(batches)
    good = [row for row in range(50) if row != 7]
    assert got.rows.tolist() == good
    assert got.faults == {7: "text 7 is empty; there is nothing to embed"}
    np.testing.assert_allclose(got.embeddings, model.encode_text([texts[row] for row in good]), atol=1e-5, rtol=0)
    assert set(padded) <= {4, 8, 16, 24}
    assert len(set(padded)) > 1


def test_distinct_inputs_are_numbered_as_they_come():
    unique, which = distinct(["b", "a", "b", "c", "a"])
    assert unique == ["b", "a", "c"]
    assert which.tolist() == [0, 1, 0, 2, 1]

"""The maps of a model with random weights: how they hang together with its cosines. That they point is measured."""

import dataclasses
import json

import numpy as np
import pytest

from cxr_jax.errors import InputError
from cxr_jax.retrieval.heat import enlarged
from cxr_jax.retrieval.model import Model
from cxr_jax.retrieval.regions import ATTENTION, MAPS, OCCLUSION, OFFERED, SIMILARITY, Shown, offered
from cxr_jax.retrieval.rows import Row
from cxr_jax.retrieval.store import SplitIndex
from cxr_jax.training.checkpoint import identity
from tests.retrieval.test_model import REPORTS, build

MAGIC = '{"checkpoint": "x", "shown": {"nodule": {"map": "magic", "pointing": 0.8, "studies": 30}}}'
NODULE = "There is a nodule in the left upper lobe."


@pytest.fixture(scope="module")
def pictures():
    return list(np.random.default_rng(0).integers(0, 256, (2, 32, 32), dtype=np.uint8))


@pytest.fixture(scope="module")
def encoder():
    return build(0)


@pytest.fixture(scope="module")
def pool(encoder):
    rows = [Row(f"i{i}", f"s{i // 2}", "p", report, (), i) for i, report in enumerate(REPORTS)]
    z_t = encoder.encode_text(REPORTS)
    return SplitIndex("train", 1, rows, z_t, z_t, [b"jpeg"] * 5, checkpoint=identity(encoder.variables))


@pytest.fixture
def folder(pool, tmp_path):
    pool.save(tmp_path)
    return tmp_path


def model_with(encoder, folder, maps, **changes):
    """A model whose nodules' map has passed."""
    loaded = SplitIndex.load(folder, "train")
    shown = {finding: {"map": of, "pointing": 0.8, "studies": 30} for finding, of in maps.items()}
    (folder / OFFERED).write_text(json.dumps({"checkpoint": loaded.checkpoint, "shown": shown} | changes))
    return Model(encoder.config, encoder.variables, encoder.tokenizer, loaded)


@pytest.fixture
def model(encoder, pool):
    return Model(encoder.config, encoder.variables, encoder.tokenizer, pool)


def test_the_similarity_map_sums_to_the_cosine(model, pictures):
    square = pictures[0]
    out = model.regions._places(model.variables, square[None, :, :, None])
    np.testing.assert_allclose(out.embedding, model.encode_image(square), atol=1e-5)
    z_t = model.encode_text(REPORTS)
    mean = model.pool.text_embeddings[[0, 2, 4]].mean(axis=0)  # a row a study
    cosines = model.encode_image(square) @ (z_t - mean).T
    shares = np.asarray(out.places)[0] @ (z_t - mean).T
    np.testing.assert_allclose(shares.sum(axis=(0, 1)), cosines[0], atol=1e-5)
    heats = model.regions.heat(square, REPORTS, SIMILARITY)
    np.testing.assert_allclose(heats[1], enlarged(shares[:, :, 1], 32), atol=1e-5)


def test_occlusion_is_the_cosine_s_fall(model, pictures):
    """A blank image has nothing to hide; of another, a map is highest where most is lost."""
    blank = np.full((32, 32), 90, np.uint8)
    assert np.abs(model.regions.heat(blank, REPORTS[:1], OCCLUSION)).max() < 1e-5
    heats = model.regions.heat(pictures[0], REPORTS, OCCLUSION)
    assert heats.shape == (5, 32, 32)
    assert np.ptp(heats, axis=(1, 2)).min() > 1e-4
    np.testing.assert_allclose(heats[3], model.regions.heat(pictures[0], REPORTS[3:4], OCCLUSION)[0], atol=1e-5)


def test_attention_is_the_same_for_every_text(model, pictures):
    heats = model.regions.heat(pictures[0], REPORTS[:2], ATTENTION)
    np.testing.assert_array_equal(heats[0], heats[1])
    assert 0 < heats.min() < heats.max() < 1


@pytest.mark.parametrize("kind", MAPS)
def test_a_map_that_passed_is_shown_in_the_image_s_frame(encoder, folder, kind):
    model = model_with(encoder, folder, {"nodule": kind})
    assert model.regions.shown == {"nodule": Shown(kind, 0.8, 30)}
    image = np.random.default_rng(0).integers(0, 256, (40, 64), dtype=np.uint8)
    heat = model.region(image, NODULE)
    assert heat.shape == (40, 64)
    assert np.isfinite(heat).all()
    assert np.ptp(heat) > 0


@pytest.mark.parametrize(
    "text",
    ["No nodule.", "Left pleural effusion.", "A nodule and cardiomegaly.", "Clear lungs.", "Nodule has resolved."],
)
def test_nothing_else_is_shown(encoder, folder, pictures, text):
    model = model_with(encoder, folder, {"nodule": OCCLUSION})
    with pytest.raises(InputError, match=r"passed for nodule; docs/regions\.md") as error:
        model.region(pictures[0], text)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", [None, 5, b"nodule", [NODULE]])
def test_what_is_no_text_is_refused(model, pictures, text):
    with pytest.raises(InputError, match=r"text is a \w+; give a string"):
        model.region(pictures[0], text)


def test_a_model_that_was_not_tested_shows_none(model, encoder, folder, pool, pictures):
    assert model.regions.shown == {}
    with pytest.raises(InputError, match="passed for none"):
        model.region(pictures[0], NODULE)
    assert model_with(encoder, folder, {"nodule": OCCLUSION}, checkpoint="another").regions.shown == {}
    kept = model_with(encoder, folder, {"nodule": OCCLUSION})
    assert kept.with_pool(dataclasses.replace(pool, name="train")).regions.shown == {}
    (folder / OFFERED).unlink()
    assert offered(folder, "any") == {}


@pytest.mark.parametrize(
    "content",
    [
        "", "[]", "{}", '{"checkpoint": "x", "maps": {"nodule": "magic"}}', '{"maps": []}', MAGIC,
        MAGIC.replace("magic", "occlusion").replace("0.8", "NaN"),
        MAGIC.replace("magic", "occlusion").replace("0.8", '"often"'),
        MAGIC.replace("magic", "occlusion").replace("30", "null"),
    ],
)  # fmt: skip
def test_a_damaged_file_is_named(folder, content):
    (folder / OFFERED).write_text(content)
    with pytest.raises(InputError, match=r"regions\.json: damaged .*; remove it") as error:
        offered(folder, "x")
    assert "\n" not in str(error.value)


def test_a_model_without_attention_has_no_such_map(pool, pictures):
    plain = build(0, None, "image.spatial_attention=false")
    model = Model(plain.config, plain.variables, plain.tokenizer, dataclasses.replace(pool, checkpoint=""))
    with pytest.raises(InputError, match="spatial_attention"):
        model.regions.heat(pictures[0], REPORTS[:1], ATTENTION)
    assert model.regions.heat(pictures[0], REPORTS[:1], SIMILARITY).shape == (1, 32, 32)

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxr_jax.data import pipeline
from cxr_jax.retrieval import embedding
from cxr_jax.retrieval.store import first_rows
from cxr_jax.runtime import parallel
from tests.tiny import tiny_config


@given(st.lists(st.sampled_from("cab"), min_size=1, max_size=12))
def test_a_studys_embedding_is_the_mean_of_its_images_scaled_to_unit_norm(study_ids):
    images = np.random.default_rng(len(study_ids)).normal(size=(len(study_ids), 5)).astype(np.float32)
    means = embedding.mean_by_study(images, study_ids)
    for mean, first in zip(means, first_rows(study_ids), strict=True):
        naive = np.mean([z for z, study in zip(images, study_ids, strict=True) if study == study_ids[first]], axis=0)
        np.testing.assert_allclose(mean, naive / np.linalg.norm(naive), atol=1e-6)


def test_opposite_images_do_not_make_a_study_nan():
    assert np.all(embedding.mean_by_study(np.array([[1.0, 0.0], [-1.0, 0.0]]), ["a", "a"]) == 0)


@pytest.mark.parametrize("view", ["all", "mean"])
def test_embed_split(tmp_path, view):
    """With an encoder that says what it was given: the images' brightness, the reports' tokens."""
    config = tiny_config("data.num_studies=12", f"data.view={view}", f"data.cache={tmp_path}")
    split = pipeline.load_splits(config)[0]["train"]
    tokens = np.arange(2 * len(split), dtype=np.int32).reshape(-1, 2), np.ones((len(split), 2), np.int32)

    def encode(_, batch):
        bright = batch["image"].astype(jnp.float32).mean((1, 2, 3)) / 255
        z_v = jnp.stack([bright, jnp.sqrt(1 - bright**2)], axis=1)
        A_s = jnp.broadcast_to(bright[:, None, None], (len(bright), 2, 3))
        return z_v, batch["token_ids"].astype(jnp.float32), A_s

    embedded, z_v, z_t, attention = embedding.embed_split(
        parallel.pmap(encode), parallel.replicate({}), split, tokens, config
    )
    assert len(embedded) == len(z_v) == len(z_t) == len(set(split.study_ids)) * (1 if view == "mean" else 2)
    assert view == "all" or embedded.study_ids == sorted(set(split.study_ids), key=split.study_ids.index)
    np.testing.assert_allclose(np.linalg.norm(z_v, axis=1), 1, atol=1e-6)
    assert attention.shape == (len(embedded), 2, 3)
    assert attention.dtype == np.uint8
    if view == "all":
        np.testing.assert_allclose(attention[:, 0, 0] / 255, z_v[:, 0], atol=0.5 / 255 + 1e-6)
    for row, image_id in enumerate(embedded.image_ids):
        np.testing.assert_array_equal(z_t[row], tokens[0][split.image_ids.index(image_id)])

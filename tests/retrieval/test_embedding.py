import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxr_jax.data import pipeline
from cxr_jax.data.tokens import Tokens
from cxr_jax.retrieval import embedding
from cxr_jax.retrieval.embedding import Texts
from cxr_jax.retrieval.rows import first_rows
from cxr_jax.runtime import parallel, processes
from cxr_jax.training.step import init_state, make_recipe
from tests.tiny import tiny_batch, tiny_config, tiny_resolved


@given(st.lists(st.sampled_from("cab"), min_size=1, max_size=12))
def test_a_studys_embedding_is_the_mean_of_its_images_scaled_to_unit_norm(study_ids):
    images = np.random.default_rng(len(study_ids)).normal(size=(len(study_ids), 5)).astype(np.float32)
    means = embedding.mean_by_study(images, study_ids)
    for mean, first in zip(means, first_rows(study_ids), strict=True):
        naive = np.mean([z for z, study in zip(images, study_ids, strict=True) if study == study_ids[first]], axis=0)
        np.testing.assert_allclose(mean, naive / np.linalg.norm(naive), atol=1e-6)


def test_opposite_images_do_not_make_a_study_nan():
    assert np.all(embedding.mean_by_study(np.array([[1.0, 0.0], [-1.0, 0.0]]), ["a", "a"]) == 0)


def encode_images(variables, image):
    """An encoder that says what it was given: the images' brightness."""
    bright = image.astype(jnp.float32).mean((1, 2, 3)) / 255
    A_s = jnp.broadcast_to(bright[:, None, None], (len(bright), 2, 3))
    return jnp.stack([bright, jnp.sqrt(1 - bright**2)], axis=1), A_s


def encode_text_features(variables, token_ids, token_mask):
    """As it: the reports' tokens, those of the mask."""
    return (token_ids * token_mask).astype(jnp.bfloat16)


def encode_texts(variables, h):
    """As it: twice the features."""
    return 2 * h.astype(jnp.float32)


def counting_encoders():
    """(Encoders, what they were given: {"image": […], "tokens": […], "h": […]} by batches, padding and all)."""
    given = {"image": [], "tokens": [], "h": []}

    def counting(name, function):
        encode = parallel.pmap_locally(function)

        def call(variables, *batch):
            given[name].append(np.asarray(batch[0]).reshape(-1, *batch[0].shape[2:]))
            return encode(variables, *batch)

        return call

    functions = {"image": encode_images, "tokens": encode_text_features, "h": encode_texts}
    return embedding.Encoders(*(counting(name, function) for name, function in functions.items())), given


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """{view: (config, its training split)}"""
    cache = tmp_path_factory.mktemp("cache")
    configs = {
        view: tiny_config("data.num_studies=12", f"data.view={view}", f"data.cache={cache}") for view in ("all", "mean")
    }
    return {view: (config, pipeline.load_splits(config)[0]["train"]) for view, config in configs.items()}


@pytest.mark.parametrize("view", ["all", "mean"])
def test_embed_split(drawn, view):
    config, split = drawn[view]
    tokens = Tokens(np.arange(2 * len(split), dtype=np.int32).reshape(-1, 2), np.ones((len(split), 2), np.int32))
    encoders, _ = counting_encoders()
    embedded, z_v, z_t, attention = embedding.embed_split(
        encoders, parallel.replicate({}), split, Texts.of(tokens), config
    )
    assert len(embedded) == len(z_v) == len(z_t) == len(set(split.study_ids)) * (1 if view == "mean" else 2)
    assert view == "all" or embedded.study_ids == sorted(set(split.study_ids), key=split.study_ids.index)
    np.testing.assert_allclose(np.linalg.norm(z_v, axis=1), 1, atol=1e-6)
    assert attention.shape == (len(embedded), 2, 3)
    assert attention.dtype == np.uint8
    if view == "all":
        np.testing.assert_allclose(attention[:, 0, 0] / 255, z_v[:, 0], atol=0.5 / 255 + 1e-6)
    for row, image_id in enumerate(embedded.image_ids):
        np.testing.assert_array_equal(z_t[row], 2 * tokens[0][split.image_ids.index(image_id)])


def test_each_distinct_text_is_encoded_once(drawn):
    config, split = drawn["all"]
    # A study's report stands at each of its images, and some studies have the same.
    words = {study: number % 5 + 1 for number, study in enumerate(dict.fromkeys(split.study_ids))}
    ids = np.array([[words[study], 7] for study in split.study_ids], np.int32)
    encoders, given = counting_encoders()
    seen = []
    *_, z_t, _ = embedding.embed_split(
        encoders,
        parallel.replicate({}),
        split,
        Texts.of(Tokens(ids, np.ones_like(ids))),
        config,
        lambda batches: map_seen(batches, seen),
    )
    np.testing.assert_array_equal(z_t, 2 * ids)
    texts = np.concatenate(given["tokens"])
    assert len(texts) == 8  # five, filled up to a batch
    assert sorted(set(map(tuple, texts.tolist()))) == [(word, 7) for word in range(1, 6)]
    assert len(np.concatenate(given["image"])) == -(-len(split) // 8) * 8
    assert len(seen) == len(given["image"]) + len(given["tokens"])  # all batches, of both, are counted


def map_seen(batches, seen):
    for batch in batches:
        seen.append(batch)
        yield batch


def test_what_is_raised_between_batches_ends_it(drawn):
    config, split = drawn["all"]
    ids = np.arange(2 * len(split), dtype=np.int32).reshape(-1, 2)
    texts = Texts.of(Tokens(ids, np.ones_like(ids)))
    encoders, given = counting_encoders()

    def one(batches):
        for number, batch in enumerate(batches):
            if number == 1:
                raise KeyError("stop")
            yield batch

    with pytest.raises(KeyError, match="stop"):
        embedding.embed_split(encoders, parallel.replicate({}), split, texts, config, one)
    assert (len(given["image"]), len(given["tokens"]), len(given["h"])) == (1, 0, 0)


def test_features_at_hand_are_not_computed(drawn):
    config, split = drawn["all"]
    ids = np.arange(2 * len(split), dtype=np.int32).reshape(-1, 2) % 14
    tokens = Tokens(ids, np.ones_like(ids))
    encoders, given = counting_encoders()
    features = embedding.text_features(encoders, parallel.replicate({}), Texts.of(tokens), config)
    assert features.dtype == jnp.bfloat16
    assert len(features) == 7
    count = len(given["tokens"])
    *_, z_t, _ = embedding.embed_split(
        encoders, parallel.replicate({}), split, Texts.of(tokens), config, features=features
    )
    np.testing.assert_array_equal(z_t, 2 * ids)
    assert len(given["tokens"]) == count > 0


def test_short_texts_are_read_without_the_padding_of_long_ones():
    """Compiled for three lengths, each batch is padded to the shortest that holds it, and h is as it is without."""
    config = tiny_resolved("image.block_sizes=(1,)", "text.max_tokens=16", "compute_dtype=float32")
    recipe = make_recipe(config)
    state = init_state(recipe, config)
    variables = parallel.replicate({"params": state.params, "batch_stats": state.batch_stats})
    rng = np.random.default_rng(0)
    lengths = rng.permutation(np.repeat([3, 7, 8, 9, 16], [8, 8, 8, 8, 3]))
    mask = (np.arange(16) < lengths[:, None]).astype(np.int32)
    texts = Texts.of(Tokens(rng.integers(1, 20, mask.shape).astype(np.int32) * mask, mask))
    plain = embedding.text_features(embedding.make_encoders(recipe.model), variables, texts, config)
    encoders = embedding.compiled_encoders(recipe.model, config, variables, (8, 4, 24))
    assert encoders.lengths == (4, 8, 16)
    read = []
    counting = encoders._replace(text_features=lambda *given: read.append(given[1]) or encoders.text_features(*given))
    np.testing.assert_allclose(embedding.text_features(counting, variables, texts, config), plain, atol=1e-5)
    assert [ids.shape[-1] for ids in read] == [4, 8, 8, 16, 16]
    # Every row has its own text's features, wherever the order by length has put it.
    everyone = embedding.features_of_all(counting, variables, texts.tokens, config).text_features
    np.testing.assert_allclose(everyone, plain[texts.numbers], atol=1e-5)


@pytest.mark.parametrize("count", [2, 3])
def test_processes_share_the_rows(drawn, monkeypatch, count):
    """One after the other in the place of each: together they embed what one alone does, and each image once."""
    config, split = drawn["all"]
    ids = np.arange(2 * len(split), dtype=np.int32).reshape(-1, 2) % 14
    tokens = Tokens(ids, np.ones_like(ids))
    alone = embedding.embed_split(counting_encoders()[0], parallel.replicate({}), split, Texts.of(tokens), config)
    config = config | {"batch_size": 8 * count}
    monkeypatch.setattr(processes, "count", lambda: count)
    gathered = []
    monkeypatch.setattr(parallel, "gather_rows", lambda rows, total: gathered.append((rows, total)) or rows)
    # Without the others' rows the whole cannot be put together here: what each would give to it is looked at.
    monkeypatch.setattr(embedding, "_embed_texts", lambda *_: np.zeros((len(split), 2), np.float32))
    for index in range(count):
        monkeypatch.setattr(processes, "index", lambda index=index: index)
        encoders, given = counting_encoders()
        embedding.embed_split(encoders, parallel.replicate({}), split, Texts.of(tokens), config)
        assert len(np.concatenate(given["image"])) < len(split) / count + 8
    for kind, whole in ((0, alone[1]), (1, alone[3])):  # images' embeddings, attention
        parts = [rows for rows, total in gathered[kind::2]]
        np.testing.assert_array_equal(np.concatenate(parts)[: len(split)], whole)
    assert {total for _, total in gathered} == {len(split)}


def test_a_batch_is_filled_up_to_all_devices(monkeypatch):
    assert [embedding.batch_size({"batch_size": size}) for size in (1, 4, 6, 8)] == [4, 4, 8, 8]
    monkeypatch.setattr(processes, "count", lambda: 2)
    assert [embedding.batch_size({"batch_size": size}) for size in (8, 16, 20)] == [4, 8, 12]


def test_compiled_encoders_are_the_models_own_towers():
    config = tiny_resolved("image.block_sizes=(1,)")
    recipe = make_recipe(config)
    state = init_state(recipe, config)
    variables, batch = {"params": state.params, "batch_stats": state.batch_stats}, tiny_batch()
    encoders = embedding.compiled_encoders(recipe.model, config, parallel.replicate(variables))
    shard = lambda name: parallel.shard(batch[name])  # noqa: E731
    z_v, A_s = parallel.unshard(encoders.image(parallel.replicate(variables), shard("image")))
    h = encoders.text_features(parallel.replicate(variables), shard("token_ids"), shard("token_mask"))
    z_t = parallel.unshard(encoders.text(parallel.replicate(variables), h))
    out = jax.jit(recipe.model.apply)(variables, batch["image"], batch["token_ids"], batch["token_mask"])
    np.testing.assert_allclose(z_v, out["image_embedding"], atol=1e-5)
    np.testing.assert_allclose(z_t, out["text_embedding"], atol=1e-5)
    np.testing.assert_allclose(A_s, out["spatial_attention"][:, :, :, 0], atol=1e-5)
    assert 0 < A_s.min() <= A_s.max() < 1

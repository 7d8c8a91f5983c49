"""A model with random weights and its pool. What a trained one answers is in test_train.py."""

import dataclasses
import shutil
from functools import partial

import jax
import numpy as np
import pytest

from cxr_jax.errors import InputError
from cxr_jax.models.dual_encoder import build_model, init_variables
from cxr_jax.retrieval import search
from cxr_jax.retrieval.abstention import Checks
from cxr_jax.retrieval.loading import of_validation
from cxr_jax.retrieval.model import DraftWarning, Model
from cxr_jax.retrieval.rows import Row
from cxr_jax.retrieval.store import SplitIndex
from cxr_jax.retrieval.voting import Thresholds
from cxr_jax.training.checkpoint import identity
from cxr_jax.weights.tokenizer import tokenizer_of
from tests.tiny import tiny_resolved

REPORTS = [f"the heart is {word} and the lungs are clear" for word in ("large", "small", "normal", "shifted", "round")]


def build(seed: int, pool: SplitIndex | None = None, *overrides: str) -> Model:
    config = tiny_resolved(*overrides)
    tokenizer = tokenizer_of(config, REPORTS)
    config["text"]["bert"]["vocab_size"] = len(tokenizer)
    variables = init_variables(build_model(config), jax.random.key(seed), config["image_size"])
    return Model(config, variables, tokenizer, pool)


@pytest.fixture(scope="module")
def pictures():
    return list(np.random.default_rng(0).integers(0, 256, (9, 32, 32), dtype=np.uint8))


@pytest.fixture(scope="module")
def encoder() -> Model:
    return build(0)


@pytest.fixture(scope="module")
def pool(encoder, pictures) -> SplitIndex:
    rows = [Row(f"i{i}", f"s{i // 2}", "p", report, (), i) for i, report in enumerate(REPORTS)]
    z_v, z_t = encoder.encode_image(pictures[:5]), encoder.encode_text(REPORTS)
    return SplitIndex("train", 1, rows, z_v, z_t, [b"jpeg"] * 5, checkpoint=identity(encoder.variables))


@pytest.fixture
def model(encoder, pool) -> Model:
    return Model(encoder.config, encoder.variables, encoder.tokenizer, pool)


@pytest.fixture
def sizes(model, monkeypatch) -> list[int]:
    """How many images or texts each forward pass of the model was of."""
    passes, encode = [], model._encode

    def counted(variables, image=None, **tokens):
        passes.append(len(tokens["token_ids"] if image is None else image))
        return encode(variables, image, **tokens)

    monkeypatch.setattr(model, "_encode", counted)
    return passes


@pytest.mark.parametrize(
    ("count", "batch_size", "passes"),
    [(1, 32, [1]), (2, 32, [2]), (3, 32, [4]), (9, 32, [16]), (9, 4, [4, 4, 1]), (3, 3, [3]), (7, 6, [6, 1])],
)
def test_a_forward_pass_is_of_no_more_than_it_takes(model, sizes, pictures, count, batch_size, passes):
    together = model.encode_image(pictures, batch_size=9)
    del sizes[:]
    z = model.encode_image(pictures[:count], batch_size=batch_size)
    assert sizes == passes
    np.testing.assert_allclose(z, together[:count], atol=1e-6, rtol=0)
    del sizes[:]
    texts = (REPORTS * 2)[:count]
    z = model.encode_text(texts, batch_size=batch_size)
    assert sizes == passes
    np.testing.assert_allclose(z, [model.encode_text(text)[0] for text in texts], atol=1e-6, rtol=0)


def test_several_images_are_one_forward_pass_and_one_search(model, sizes, pictures, monkeypatch):
    one_by_one = [model.retrieve(picture, 2) for picture in pictures[:4]]
    assert sizes == [1] * 4
    searched, top_k = [], model._reports.top_k
    monkeypatch.setattr(model._reports, "top_k", lambda z, *rest: searched.append(len(z)) or top_k(z, *rest))
    together = model.retrieve_each(pictures[:4], 2)
    assert (sizes[4:], searched) == ([4], [4])
    assert together == model.retrieve_embedded(model.encode_image(pictures[:4]), 2)
    for a, b in zip(one_by_one, together, strict=True):
        assert [n.row for n in a] == [n.row for n in b]
        np.testing.assert_allclose([n.similarity for n in a], [n.similarity for n in b], atol=1e-6)


def test_the_pool_is_put_on_the_device_once(model, pictures, monkeypatch):
    put, blocks = [], search._blocks
    monkeypatch.setattr(search, "_blocks", lambda targets, rows: put.append(targets) or blocks(targets, rows))
    for _ in range(3):
        model.retrieve(pictures[0])
    assert [targets is model.pool.text_embeddings for targets in put] == [True]
    for _ in range(3):
        model.retrieve_images("the heart is large")
    assert [targets is model.pool.image_embeddings for targets in put] == [False, True]


def test_each_study_is_found_once_exactly_or_approximately(model, pictures):
    similarity = model.encode_image(pictures[0]) @ model.pool.text_embeddings[[0, 2, 4]].T
    expected = [f"s{i}" for i in np.argsort(-similarity[0])]
    for recall in (1.0, 0.9):
        assert [neighbour.row.study_id for neighbour in model.retrieve(pictures[0], 5, recall)] == expected
        assert len(model.retrieve_images("the heart is large", 2, recall)) == 2
    both = model.retrieve_images_each(REPORTS[:2], 2)
    assert [[n.row for n in line] for line in both] == [
        [n.row for n in model.retrieve_images(text, 2)] for text in REPORTS[:2]
    ]
    with pytest.raises(InputError, match=r"recall = 2\.0"):
        model.retrieve(pictures[0], 5, 2.0)


def test_a_pool_of_another_checkpoint_is_refused(encoder, pool, tmp_path):
    pool.save(tmp_path)
    stored = SplitIndex.load(tmp_path, "train")
    assert build(0, stored).retrieve_images(REPORTS[0], 1)[0].row.study_id
    for given in (stored, pool):
        with pytest.raises(
            InputError, match=r"train: is of another checkpoint .* than the model .*; remove it"
        ) as error:
            build(1, given)
        assert "\n" not in str(error.value)
    # Of before, when an index did not know its checkpoint.
    build(1, dataclasses.replace(pool, checkpoint=""))
    shutil.rmtree(tmp_path / "train")


def test_a_draft_without_thresholds_says_so_once(encoder, pool, pictures, capsys):
    model = Model(encoder.config, encoder.variables, encoder.tokenizer, pool)
    model.draft(pictures[0], "top1")
    assert "thresholds" not in capsys.readouterr().err
    model.draft(pictures[0], "compose")
    model.draft(pictures[1], "compose")
    assert capsys.readouterr().err.count("no thresholds chosen on a validation split") == 1
    other = model.with_pool(pool)
    other.draft(pictures[0], "compose")
    assert "export the run again --with_index" in capsys.readouterr().err
    chosen = Model(encoder.config, encoder.variables, encoder.tokenizer, pool, thresholds=lambda _: Thresholds.half())
    chosen.draft(pictures[0], "compose")
    assert "thresholds" not in capsys.readouterr().err


def test_drafts_of_another_pool_keep_the_thresholds_of_the_runs_own(encoder, pool, pictures):
    rows = [dataclasses.replace(row, study_id=f"v{row.study_id}") for row in pool.rows]
    val = dataclasses.replace(pool, name="val", rows=rows)
    thresholds = partial(of_validation, val)
    model = Model(encoder.config, encoder.variables, encoder.tokenizer, pool, thresholds=thresholds)
    # It holds the validation split's studies too, which no thresholds may be chosen on then.
    other = model.with_pool(dataclasses.replace(val, name="train"))
    assert other.draft(pictures[0], "compose").method == "compose"
    for mine, own in zip(other.drafter.thresholds, model.drafter.thresholds, strict=True):
        np.testing.assert_array_equal(mine, own)
    assert other.draft(pictures[0], "top1").text == other.retrieve(pictures[0], 1)[0].row.report


class Doubting(Checks):
    """Doubts every other image, and sees how far the neighbours agree."""

    def __init__(self, another_pool=False):
        self.another_pool, self.seen = another_pool, []

    def doubts(self, squares, embeddings, agreement):
        assert len(squares) == len(embeddings) == len(agreement)
        self.seen.append([square.shape for square in squares])
        return [("doubted: it is", "far: very")[: 2 * (number % 2)] for number in range(len(squares))]

    def of_another_pool(self):
        return Doubting(another_pool=True)


def test_what_is_doubted_is_said_and_withheld_on_demand(encoder, pool, pictures):
    checks = Doubting()
    model = Model(encoder.config, encoder.variables, encoder.tokenizer, pool, checks=lambda _: checks)
    with pytest.warns(DraftWarning) as said:
        drafts = model.draft_each(pictures[:3], "top1")
    assert [str(warning.message) for warning in said] == ["image 1: doubted: it is", "image 1: far: very"]
    assert [draft.doubts for draft in drafts] == [(), ("doubted: it is", "far: very"), ()]
    assert all(draft.text and not draft.withheld for draft in drafts)
    with pytest.warns(DraftWarning):
        kept = model.draft_each(pictures[:3], "top1", abstain=True)
    assert [draft.withheld for draft in kept] == [False, True, False]
    assert (kept[0], kept[2]) == (drafts[0], drafts[2])
    assert (kept[1].text, kept[1].sentences, kept[1].row, kept[1].doubts) == ("", (), None, drafts[1].doubts)
    assert model.doubts_each(pictures[:3]) == [draft.doubts for draft in drafts]
    assert checks.seen == [[(32, 32)] * 3] * 3
    other = model.with_pool(dataclasses.replace(pool, name="other"))
    assert other.checks.another_pool


def test_a_model_without_checks_says_so_to_who_abstains(model, pictures):
    assert model.draft(pictures[0]).doubts == ()
    with pytest.warns(DraftWarning, match="not checked: "):
        assert model.draft(pictures[0], abstain=True).text

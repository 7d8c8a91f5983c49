"""Batches sorted by their reports' lengths: the same rows, no token lost, the same for all processes."""

import json

import numpy as np
import pytest

from cxr_jax.data import pipeline
from cxr_jax.data.length_buckets import LengthBuckets, cut, make_buckets, part_lengths
from cxr_jax.data.tokens import Tokens
from tests.data.settings import SIDE, make_config
from tests.data.test_pipeline import write_pairs

COUNTS = np.random.default_rng(0).integers(3, 25, 24)


def config_of(buckets=2, batch_size=8, max_tokens=30):
    return {"batch_size": batch_size, "text": {"length_buckets": buckets, "max_tokens": max_tokens}}


def test_lengths_are_what_nearly_all_batches_need():
    counts = np.minimum(np.random.default_rng(1).geometric(1 / 40, 3000), 128)
    buckets = make_buckets(counts, config_of(4, 64, 128), shares=2)
    assert buckets.shares == 2
    assert all(length % 8 == 0 for length in buckets.lengths)
    assert list(buckets.lengths) == sorted(buckets.lengths)
    assert buckets.lengths[-1] == 128
    assert np.mean(buckets.lengths) < 0.7 * 128
    rng = np.random.default_rng(2)
    batches = np.sort(np.stack([rng.choice(counts, 64, replace=False) for _ in range(1000)]))
    assert np.mean((batches[:, 15::16] <= buckets.lengths).all(axis=1)) > 0.97


@pytest.mark.parametrize(
    ("wanted", "batch", "shares", "parts"),
    [(1, 8, 1, 1), (4, 8, 1, 4), (4, 8, 4, 2), (4, 8, 8, 1), (3, 8, 1, 1), (4, 12, 2, 2)],
)
def test_parts_are_equal(wanted, batch, shares, parts):
    assert len(make_buckets(COUNTS, config_of(wanted, batch), shares).lengths) == parts


def test_no_bucket_is_longer_than_the_longest_report_may_be():
    assert make_buckets(np.full(24, 30), config_of(2), 1).lengths == (30, 30)
    assert make_buckets(np.full(24, 3), config_of(2), 1).lengths == (8, 8)
    assert make_buckets(np.array([3]), config_of(2), 1).lengths == (8, 8)  # fewer reports than a batch has rows


def test_a_batch_that_does_not_fit_stays_as_it_is():
    ids = np.arange(12, dtype=np.int32).reshape(4, 3)
    batch = {"token_ids": ids, "token_mask": ids, "row": np.arange(4), "fits": np.array([True] * 4)}
    parts = cut(batch, (1, 3), 2)
    assert [part.tolist() for part in parts["token_ids"]] == [[[0], [6]], [[3, 4, 5], [9, 10, 11]]]
    assert "fits" not in parts
    whole = cut(batch | {"fits": np.array([False] * 4)}, (1, 3), 2)
    assert whole["token_ids"] is ids
    assert "fits" not in whole


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    """As many rows as COUNTS has, each image ten times as bright as its row."""
    folder = tmp_path_factory.mktemp("pairs")
    rows = [(f"number {row}", "train", "PA") for row in range(len(COUNTS))] + [("a", "val", "PA"), ("b", "test", "PA")]
    table = write_pairs(folder / "source", rows)
    return pipeline.load_splits(make_config(table, folder / "cache"))[0]["train"]


def tokens_of(counts=COUNTS):
    mask = (np.arange(30) < counts[:, None]).astype(np.int32)
    return Tokens(mask * (1 + np.arange(len(counts), dtype=np.int32)[:, None]), mask)


CONFIG = config_of() | {
    "seed": 0,
    "image_size": SIDE,
    "loss": {"positives": "pair"},
    "data": {"augment": False, "sampler": "shuffle", "one_view": False, "num_threads": 2},
}


def test_batches_hold_the_same_rows_and_lose_no_token(split):
    buckets = make_buckets(COUNTS, CONFIG, shares=2)
    plain = pipeline.train_batches(split, tokens_of(), CONFIG)
    sorted_ = pipeline.train_batches(split, tokens_of(), CONFIG, buckets=buckets)
    fitting = 0
    for _ in range(12):  # more than two epochs
        one, other = next(plain), next(sorted_)
        assert sorted(one["row"].tolist()) == sorted(other["row"].tolist())
        np.testing.assert_array_equal(other["image"][:, 0, 0, 0], 10 * other["row"])
        rows = other["row"].reshape(2, 2, 2)  # share, part, row
        assert (np.diff(COUNTS[other["row"]].reshape(2, 4)) >= 0).all()
        if isinstance(other["token_ids"], tuple):
            fitting += 1
            for part, (ids, mask) in enumerate(zip(other["token_ids"], other["token_mask"], strict=True)):
                assert ids.shape == mask.shape == (4, buckets.lengths[part])
                np.testing.assert_array_equal(mask.sum(axis=1), COUNTS[rows[:, part].reshape(-1)])
                np.testing.assert_array_equal(ids[:, 0], 1 + rows[:, part].reshape(-1))
    assert fitting > 8


def test_one_long_report_more_than_usual_does_not_fit(split):
    """Of three long reports a batch seldom has more than its longer half holds."""
    counts = np.where(np.arange(24) < 3, 30, 5)
    buckets = LengthBuckets((8, 30), 4)  # shares of two rows: half of them would have to be long
    batches = pipeline.train_batches(split, tokens_of(counts), CONFIG, buckets=buckets)
    assert all(isinstance(next(batches)["token_ids"], tuple) for _ in range(10))
    counts = np.where(np.arange(24) < 22, 30, 5)
    batches = pipeline.train_batches(split, tokens_of(counts), CONFIG, buckets=buckets)
    batch = next(batches)
    assert batch["token_ids"].shape == (8, 30)
    np.testing.assert_array_equal(batch["token_mask"].sum(axis=1), counts[batch["row"]])


@pytest.mark.parametrize("count", [2, 4])
def test_processes_share_what_one_process_gets_and_resume(split, count):
    buckets = make_buckets(COUNTS, CONFIG, shares=4)
    make = lambda *shard: pipeline.train_batches(split, tokens_of(), CONFIG, shard, buckets=buckets)  # noqa: E731
    whole = make(0, 1)
    parts = [make(index, count) for index in range(count)]
    for step in range(9):
        if step == 4:
            state = json.loads(json.dumps(whole.get_state()))
            for part in parts:
                part.set_state(state)
        one, several = next(whole), [next(part) for part in parts]
        np.testing.assert_array_equal(np.concatenate([part["row"] for part in several]), one["row"])
        joined = [part["token_ids"] for part in several]
        if isinstance(one["token_ids"], tuple):
            joined = tuple(np.concatenate(x) for x in zip(*joined, strict=True))
            for a, b in zip(joined, one["token_ids"], strict=True):
                np.testing.assert_array_equal(a, b)
        else:
            np.testing.assert_array_equal(np.concatenate(joined), one["token_ids"])


@pytest.mark.parametrize(
    ("counts", "parts", "lengths"),
    [
        ([5, 12, 30, 61], 4, (8, 16, 32)),
        ([5, 6, 7, 61], 4, (8,)),
        ([61, 30, 12, 5], 2, (16,)),
        ([61, 30, 12, 5], 1, ()),
        ([9], 4, ()),
        ([], 4, ()),
    ],
)
def test_lengths_of_parts(counts, parts, lengths):
    assert part_lengths(np.array(counts, np.int64), parts) == lengths

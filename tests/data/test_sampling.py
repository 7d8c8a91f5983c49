"""An epoch's order: every row once, no report twice in a batch where that can be, one image a study."""

import grain
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxr_jax.data.sampling import Sampler, epoch_order


def order_of(groups, studies=None, batch=0, seed=0):
    return epoch_order(np.random.default_rng(seed), np.asarray(groups), studies, batch)


def most_equal(groups, order, batch):
    """The most rows of one group in each full batch."""
    full = [order[i : i + batch] for i in range(0, len(order) - batch + 1, batch)]
    return [int(np.bincount(np.asarray(groups)[rows]).max()) for rows in full]


@given(st.lists(st.integers(0, 12), min_size=1, max_size=60), st.integers(0, 9), st.integers(0, 99))
def test_an_epoch_has_every_row_once_and_no_report_twice_in_a_batch(groups, batch, seed):
    order = order_of(groups, batch=batch, seed=seed)
    assert sorted(order.tolist()) == list(range(len(groups)))
    batches = len(groups) // batch if batch else 0
    if batches:
        # With so many batches, no more rows of a group than that can be without meeting; of what can be left out, the
        # surplus is.
        counts = np.bincount(groups)
        spare = np.minimum(counts, batches).sum()
        allowed = 1 if spare >= batches * batch else -(-int(counts.max()) // batches)
        assert max(most_equal(groups, order, batch)) <= allowed


def test_a_shuffle_would_have_reports_twice():
    groups = np.arange(64) // 2
    assert max(most_equal(groups, order_of(groups), 16)) == 2
    assert max(most_equal(groups, order_of(groups, batch=16), 16)) == 1


def test_reports_that_are_too_many_are_spread_evenly():
    groups = [0] * 40 + list(range(1, 25))  # 64 rows: 4 batches of 16, 10 of the same in each
    assert most_equal(groups, order_of(groups, batch=16), 16) == [10] * 4


def test_any_two_reports_meet_and_any_row_comes_anywhere():
    """Dealing them out must not tie rows to each other or to a place."""
    groups, batch, count = np.arange(24) // 2, 4, 3000
    met, places = np.zeros((24, 24)), np.zeros((24, 24))
    for seed in range(count):
        order = order_of(groups, batch=batch, seed=seed)
        places[order, np.arange(24)] += 1
        for rows in order.reshape(-1, batch):
            met[np.ix_(rows, rows)] += 1
    assert places.min() > 0.6 * count / 24
    others = ~np.equal.outer(groups, groups)
    expected = count * 3 / 22  # of each row's 22 possible fellows 3 are there
    assert 0.6 * expected < met[others].min() <= met[others].max() < 1.4 * expected
    assert met[~others & ~np.eye(24, dtype=bool)].max() == 0


def test_an_epoch_holds_one_image_of_each_study_and_in_the_end_all():
    studies = np.array([0, 0, 0, 1, 2, 2])
    orders = [order_of(np.arange(6), studies, seed=seed) for seed in range(60)]
    assert all(sorted(studies[order].tolist()) == [0, 1, 2] for order in orders)
    seen = np.bincount(np.concatenate(orders), minlength=6)
    assert seen[3] == 60
    assert seen[:3].min() > 8
    assert seen[4:].min() > 15


@pytest.mark.parametrize(
    "data", [{"sampler": "unique_groups", "one_view": False}, {"sampler": "shuffle", "one_view": True}]
)
def test_positions_are_epoch_after_epoch_and_the_same_for_all(data):
    groups, studies = np.arange(20) // 2, [str(row // 2) for row in range(20)]
    config = {"seed": 3, "batch_size": 5, "data": data}
    make = lambda seed=3: Sampler(groups, studies, config | {"seed": seed})  # noqa: E731
    length = 10 if data["one_view"] else 20
    assert isinstance(make(), grain.MapDataset)
    assert len(make()) == length
    rows = [make()[position] for position in range(3 * length)]
    again = make()
    assert [again[position] for position in reversed(range(3 * length))] == rows[::-1]
    epochs = [rows[first : first + length] for first in range(0, 3 * length, length)]
    assert len({tuple(epoch) for epoch in epochs}) == 3
    assert [make(4)[position] for position in range(length)] != epochs[0]

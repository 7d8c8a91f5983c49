import numpy as np
import pytest

from cxr_jax.errors import InputError
from cxr_jax.evaluation import bootstrap
from cxr_jax.evaluation.bootstrap import interval, resample_weights


def share(hits):
    """The weighted share of hits, as a score of resamples."""
    return lambda weights: weights @ hits / weights.sum(axis=1)


def test_interval_has_the_normal_width():
    hits = np.arange(1000) % 10 < 3
    half = 1.96 * np.sqrt(0.3 * 0.7 / 1000)
    assert interval(share(hits), 1000, resamples=4000) == pytest.approx((0.3 - half, 0.3 + half), abs=0.004)


def test_clusters_widen_the_interval_as_if_each_were_one_row():
    hits = np.arange(100) % 10 < 3
    repeated, patients = np.repeat(hits, 9), np.repeat([f"patient {i}" for i in range(100)], 9)
    np.testing.assert_allclose(interval(share(repeated), 900, patients), interval(share(hits), 100))
    single, clustered = interval(share(repeated), 900), interval(share(repeated), 900, patients)
    assert (clustered[1] - clustered[0]) / (single[1] - single[0]) == pytest.approx(3, rel=0.15)


def test_clusters_of_unequal_size_resample_like_the_naive_loop():
    rng = np.random.default_rng(0)
    sizes = rng.integers(1, 8, size=40)
    patients = np.repeat(np.arange(40), sizes)
    hits = rng.random(len(patients)) < np.repeat(rng.random(40), sizes)
    of_patient = [hits[patients == patient] for patient in range(40)]
    naive = [np.concatenate([of_patient[i] for i in rng.integers(40, size=40)]).mean() for _ in range(4000)]
    fast = interval(share(hits), len(hits), patients, resamples=4000)
    assert fast == pytest.approx(tuple(np.percentile(naive, [2.5, 97.5])), abs=0.015)


def test_draws_do_not_depend_on_the_block(monkeypatch):
    whole = np.concatenate(list(resample_weights(7, resamples=50)))
    monkeypatch.setattr(bootstrap, "_BLOCK", 20)
    parts = list(resample_weights(7, resamples=50))
    assert len(parts) > 10
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    assert (whole.sum(axis=1) == 7).all()


def test_several_scores_at_once_and_resamples_without_one():
    hits, known = np.array([1.0, 0, 1, 0]), np.array([1.0, 0, 0, 0])

    def score(weights):
        of_known = np.where(weights @ known > 0, 1.0, np.nan)
        return np.stack([share(hits)(weights), of_known], axis=1)

    low, high = interval(score, 4)
    assert low.tolist() == [0, 1]
    assert high.tolist() == [1, 1]


def test_bad_input_is_one_line():
    with pytest.raises(InputError, match="1 for 2 rows"):
        interval(share(np.ones(2)), 2, ["one patient"])
    with pytest.raises(InputError, match="no rows"):
        interval(share(np.ones(0)), 0)

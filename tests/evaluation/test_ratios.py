import numpy as np
import pytest

from cxr_jax.evaluation.ratios import ratio


@pytest.mark.parametrize("over_nothing", [0.0, 1.0, np.nan])
def test_what_is_over_nothing_is_chosen(over_nothing):
    np.testing.assert_array_equal(ratio([1, 2, 0], [4, 0, 0], over_nothing), [0.25, over_nothing, over_nothing])


def test_it_broadcasts_and_takes_numbers():
    assert ratio(np.float64(3), np.float64(4)) == 0.75
    assert ratio(np.float64(3), np.float64(0)) == 0
    np.testing.assert_array_equal(ratio([[1], [2]], [1, 0, 2]), [[1, 0, 0.5], [2, 0, 1]])
    assert ratio(np.ones(2, int), np.ones(2, int)).dtype == np.float64

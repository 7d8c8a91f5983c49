"""Label sets as a matrix, against asking of each set and column."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cxr_jax.labels.indicators import indicators

SETS = st.lists(st.sets(st.sampled_from("abcde")), max_size=8)


@given(SETS, st.lists(st.one_of(st.sampled_from("abcdf"), st.sets(st.sampled_from("abcdf"))), max_size=6))
def test_a_column_holds_who_has_one_of_its_labels(label_sets, columns):
    matrix = indicators(label_sets, columns)
    assert matrix.dtype == bool
    assert matrix.shape == (len(label_sets), len(columns))
    assert matrix.tolist() == [[bool(labels & set(column)) for column in columns] for labels in label_sets]


def test_a_name_of_several_letters_is_one_label():
    rows = [frozenset({"left"}), ("right", "c"), []]
    assert indicators(rows, ["left", ("left", "right"), "c"]).tolist() == [
        [True, True, False], [False, True, True], [False] * 3
    ]  # fmt: skip
    assert np.array_equal(indicators([], ["left"]), np.zeros((0, 1), bool))

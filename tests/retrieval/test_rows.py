import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxr_jax.retrieval.rows import Columns, Lazily, Row, first_rows


@given(st.lists(st.sampled_from(["s1", "s2", "é", "", "s10", "z"])))
def test_columns_say_of_all_rows_what_each_row_says(studies):
    rows = [Row(f"{i}", study, "p", "r", (), i % 3) for i, study in enumerate(studies)]
    columns = Columns.of(rows)
    assert [columns.study_ids[number].decode() for number in columns.studies] == studies
    assert columns.group_ids.tolist() == [row.group_id for row in rows]
    assert len(columns.study_ids) == len(set(studies))
    if studies:
        np.testing.assert_array_equal(columns.first_rows(), first_rows(studies))


def test_items_are_made_when_asked_for():
    asked = []
    items = Lazily(5, lambda i: asked.append(i) or 10 * i)
    assert (len(items), asked) == (5, [])
    assert [items[np.int64(1)], items[-1], items[1:4:2], items[3:99]] == [10, 40, [10, 30], [30, 40]]
    assert asked == [1, 4, 1, 3, 3, 4]
    assert list(items) == [0, 10, 20, 30, 40]
    for beyond in (5, -6):
        with pytest.raises(IndexError):
            items[beyond]

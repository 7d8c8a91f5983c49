import numpy as np
import pytest

from cxr_jax.data.label_values import BLANK, DOUBT, NO, YES, of_image, truth_and_known, value_of


@pytest.mark.parametrize(
    ("cell", "value"),
    [("1", YES), ("1.0", YES), ("0", NO), ("0.0", NO), ("-1.0", DOUBT), ("U", DOUBT), ("", BLANK), ("NaN", BLANK),
     ("2", None), ("yes", None), ("0.5", None)],
)  # fmt: skip
def test_a_cell(cell, value):
    assert value_of(cell) == value


def rows(*values):
    return [({"A": value}, set()) for value in values]


@pytest.mark.parametrize(
    ("readers", "value"),
    [
        ([rows(NO, YES)], YES),  # a row a box
        ([rows(NO, DOUBT)], DOUBT),
        ([rows(BLANK, NO)], NO),
        ([rows(BLANK)], BLANK),
        ([rows(YES), rows(NO)], NO),  # half is not most
        ([rows(YES), rows(YES), rows(NO)], YES),
        ([rows(YES), rows(BLANK), rows(BLANK)], YES),
        ([rows(YES), rows(DOUBT), rows(NO)], DOUBT),
        ([rows(YES), rows(NO), rows(NO)], NO),
    ],
)
def test_several_rows_of_an_image(readers, value):
    assert of_image({str(i): reader for i, reader in enumerate(readers)}, [])["A"] == value


def test_a_blank_cell_of_names_says_nothing_where_another_reader_speaks():
    assert of_image({"a": [({}, None)], "b": [({}, {"A"})]}, ["A", "B"]) == {"A": YES, "B": NO}
    assert of_image({"a": [({}, None)]}, ["A"]) == {"A": BLANK}


def test_policies():
    values = np.array([[YES, NO, DOUBT, BLANK]], np.int8)
    as_lists = {
        policy: [x[0].tolist() for x in truth_and_known(values, *policy)]
        for policy in (("ignore", "ignore"), ("positive", "ignore"), ("negative", "negative"))
    }
    assert as_lists == {
        ("ignore", "ignore"): [[True, False, False, False], [True, True, False, False]],
        ("positive", "ignore"): [[True, False, True, False], [True, True, True, False]],
        ("negative", "negative"): [[True, False, False, False], [True, True, True, True]],
    }

"""Two models' labels compared: by hand, against themselves, and of labels that are not known everywhere."""

import numpy as np
import pytest

from cxr_jax.errors import InputError
from cxr_jax.evaluation.label_comparison import MACRO, compare_labels, label_comparison_table, margins_of
from tests.evaluation.test_zero_shot import naive_auroc

NAMES = ("Edema", "Mass")


@pytest.fixture
def set_of():
    """Truth, what is known of it, a model that sees something, and one that sees nothing."""
    rng = np.random.default_rng(0)
    truth, known = rng.random((80, 2)) < 0.4, rng.random((80, 2)) < 0.9
    seeing = truth + rng.normal(size=truth.shape)
    return truth, known, seeing, rng.normal(size=truth.shape), [f"p{i // 2}" for i in range(80)]


def test_the_difference_is_that_of_the_scores(set_of):
    truth, known, seeing, blind, patients = set_of
    found = compare_labels(NAMES, truth, known, seeing, blind, patients)
    assert set(found) == {*NAMES, MACRO}
    by_hand = []
    for column, name in enumerate(NAMES):
        rows = known[:, column]
        first, second = (naive_auroc(truth[rows, column], side[rows, column]) for side in (seeing, blind))
        by_hand.append(first - second)
        assert found[name]["auroc"]["difference"] == pytest.approx(first - second)
    macro = found[MACRO]["auroc"]
    assert macro["difference"] == pytest.approx(np.mean(by_hand))
    low, high = macro["interval"]
    assert 0 < low < macro["difference"] < high
    assert macro["p"] < 0.05
    swapped = compare_labels(NAMES, truth, known, blind, seeing, patients)[MACRO]["auroc"]
    assert swapped["difference"] == pytest.approx(-macro["difference"])
    assert swapped["interval"] == pytest.approx([-high, -low])
    table = label_comparison_table(found)
    assert table.rows[-1][0] == MACRO
    assert table.rows[-1][1] == f"{macro['difference']:+.3f}"


def test_a_model_does_not_differ_from_itself_in_another_scale(set_of):
    truth, known, seeing, _, patients = set_of
    found = compare_labels(NAMES, truth, known, seeing, 3 * seeing - 1, patients)
    assert {(of["difference"], of["p"]) for of_label in found.values() for of in of_label.values()} == {(0, 1)}


def test_a_label_that_few_resamples_have_is_measured_in_those():
    truth = np.zeros((12, 1), bool)
    truth[0] = True
    known, margin = np.ones_like(truth), np.arange(12.0)[:, None]
    found = compare_labels(("Rare",), truth, known, -margin, margin, [f"p{i}" for i in range(12)])
    assert found["Rare"]["auroc"]["difference"] == pytest.approx(1.0)
    assert found["Rare"]["auroc"]["interval"] == [1.0, 1.0]
    assert 0 < found["Rare"]["auroc"]["p"] < 0.01


def test_margins_are_of_all_lines_or_of_none():
    assert margins_of([{"margins": {"a": 1}}, {"margins": {"a": 0.5}}], "a").tolist() == [1, 0.5]
    assert margins_of([{"margins": {"a": 1}}, {}], "a") is None
    assert margins_of([{"margins": {"a": 1}}, {"margins": {"b": 1}}], "a") is None
    with pytest.raises(InputError, match="margins of a are not all finite numbers"):
        margins_of([{"margins": {"a": None}}], "a")

"""Which cases an evaluation's page shows, and what it says of each."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxr_jax.pages.cases import cases_of, chosen_cases
from cxr_jax.retrieval.rows import Row
from cxr_jax.retrieval.search import neighbours_of
from cxr_jax.retrieval.store import SplitIndex


@given(rouge=st.lists(st.integers(0, 5), max_size=60), limit=st.integers(2, 50))
def test_the_best_and_the_worst_are_among_the_cases(rouge, limit):
    chosen = chosen_cases(np.array(rouge, float), limit)
    assert len(chosen) == min(limit, len(rouge))
    assert chosen.tolist() == sorted(set(chosen.tolist()) & set(range(len(rouge))))
    ranked, shown = sorted(rouge), sorted(rouge[i] for i in chosen)
    extremes = limit // 8
    assert shown[:extremes] == ranked[:extremes]
    assert shown[len(shown) - extremes :] == ranked[len(ranked) - extremes :]


def test_the_other_cases_are_spread_evenly():
    rouge = np.zeros(1000)
    rouge[:10], rouge[990:] = 1, -1
    others = [i for i in chosen_cases(rouge, 80) if 10 <= i < 990]
    assert len(others) == 60
    assert np.ptp(np.diff(others)) <= 1


REPORTS = ["Left pleural effusion.", "No pleural effusion. Cardiomegaly.", "Old granuloma."]


def split(name, reports, attention=None):
    rows = [Row(f"{name}{i}", f"{name}{i}", f"{name}{i}", report, ("a",), 0) for i, report in enumerate(reports)]
    z = np.eye(len(rows), 4, dtype=np.float32)
    return SplitIndex(name, 1, rows, z, z, [b"\xff\xd8"] * len(rows), attention)


@pytest.mark.parametrize("attention", [None, np.arange(12, dtype=np.uint8).reshape(3, 2, 2)])
def test_each_case_has_its_scores_and_its_map(attention):
    query, train = split("q", REPORTS, attention), split("t", [REPORTS[0], "Cardiomegaly and edema.", REPORTS[2]])
    similarity, rows = neighbours_of(query, train, 1)
    cases = cases_of(query, train, similarity, rows, 10, 0.25)
    assert [case.neighbours[0].report for case in cases] == [row.report for row in train.rows]
    assert [case.rouge_l for case in cases][::2] == [1, 1]
    # The last report names a finding, so it is not normal, and none of CheXpert's.
    assert [case.rule_f1 for case in cases] == [1, pytest.approx(2 / 3), None]
    for i, case in enumerate(cases):
        assert (case.attention is None) == (attention is None)
        assert attention is None or np.array_equal(case.attention, attention[i])

"""Composed reports: they say what is wanted, and nothing else, whatever the neighbours' reports are like."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxr_jax.labels.priors import speaks_of_prior
from cxr_jax.labels.statements import Statement, contradictions, joined, names_date, statements
from cxr_jax.retrieval.composing import ORDER, Library, compose, covered
from cxr_jax.retrieval.voting import VOTED

EFFUSION, NO_EFFUSION = Statement("Pleural Effusion", True, "left"), Statement("Pleural Effusion", False, "")
NO_PNEUMOTHORAX, EDEMA = Statement("Pneumothorax", False, ""), Statement("Edema", True, "")
SENTENCES = [
    "There is a small left pleural effusion.",
    "Small bilateral pleural effusions.",
    "There is a pleural effusion.",
    "No pleural effusion or pneumothorax.",
    "No pneumothorax.",
    "There is no pneumothorax on the left.",
    "Left effusion has increased since 3/4/2012.",
    "Stable pulmonary edema.",
    "There is pulmonary edema.",
    "The heart is normal in size.",
    "Right central venous catheter.",
    "Normal chest.",
    "Calcified granuloma on the right.",
    "Hilar contours are normal.",
    "Old right rib fracture.",
]


def test_every_voted_observation_has_its_place():
    assert sorted(ORDER) == sorted(VOTED)


@pytest.mark.parametrize(
    ("text", "wanted", "found"),
    [
        ("There is a small left pleural effusion.", {EFFUSION}, {EFFUSION}),
        ("There is a pleural effusion.", {EFFUSION}, {EFFUSION}),  # names no side
        ("Small bilateral pleural effusions.", {EFFUSION}, set()),  # another side
        ("There is a small left pleural effusion.", {EFFUSION._replace(side="")}, set()),  # a side that none wants
        ("No pleural effusion or pneumothorax.", {NO_EFFUSION}, set()),  # says more
        ("No pleural effusion or pneumothorax.", {NO_EFFUSION, NO_PNEUMOTHORAX}, {NO_EFFUSION, NO_PNEUMOTHORAX}),
        ("There is no pneumothorax on the left.", {NO_PNEUMOTHORAX}, {NO_PNEUMOTHORAX}),
        ("Normal chest.", {EDEMA}, set()),
    ],
)
def test_what_a_sentence_covers(text, wanted, found):
    assert covered(statements(text), wanted) == found


def test_the_base_goes_first_then_the_others_then_the_library():
    reports = ["No pneumothorax. Hilar contours are normal.", "There is a small left pleural effusion."]
    library = Library(["Mild pulmonary edema.", "There is pulmonary edema.", "There is pulmonary edema."])
    wanted = {EFFUSION, NO_PNEUMOTHORAX, EDEMA}
    assert compose(wanted, reports, [0.6, 0.4], 0, library) == [
        "There is pulmonary edema.",  # the commonest there; lungs before pleura
        "No pneumothorax.",
        "There is a small left pleural effusion.",
        "Hilar contours are normal.",
    ]
    assert compose({EFFUSION}, ["No pneumothorax."], [1.0], 0, Library([])) == []  # nobody has a sentence for it


def test_another_finding_needs_most_of_the_vote_and_normal_chests_no_finding():
    reports = ["Calcified granuloma on the right. Normal chest.", "Normal chest."]
    for weights, granuloma in (([0.6, 0.4], True), ([0.4, 0.6], False)):
        found = compose({NO_PNEUMOTHORAX}, reports, weights, 0, Library([]))
        assert ("Calcified granuloma on the right." in found) == granuloma
        assert "Normal chest." in found
        assert "Normal chest." not in compose({EDEMA}, reports, weights, 0, Library([]))


@given(
    st.lists(st.lists(st.sampled_from(SENTENCES), min_size=1, max_size=6).map(" ".join), min_size=1, max_size=6),
    st.lists(st.sampled_from(VOTED), unique=True, max_size=6),
    st.integers(0, 2**32 - 1),
)
def test_a_draft_says_only_what_is_wanted_and_nothing_twice(reports, observations, seed):
    rng = np.random.default_rng(seed)
    sides = ["", "left", "right", "bilateral"]
    wanted = {Statement(o, bool(rng.integers(2)), "") for o in observations}
    wanted = {s._replace(side=str(rng.choice(sides))) if s.affirmed else s for s in wanted}
    weights = rng.dirichlet(np.ones(len(reports))).tolist()
    found = compose(wanted, reports, weights, int(rng.integers(len(reports))), Library(reports))
    allowed = {s.observation: s for s in wanted}
    seen = set()
    for text in found:
        for said in statements(text):
            match = allowed[said.observation]
            assert said.affirmed == match.affirmed
            assert not said.affirmed or said.side in ("", match.side)
        own = {s.observation for s in statements(text)}
        assert not own & seen
        seen |= own
        assert not speaks_of_prior(text)
        assert not names_date(text)
    assert contradictions(" ".join(found)) == []
    places = [min(ORDER.index(s.observation) for s in statements(t)) for t in found if len(statements(t)) == 1]
    assert places == sorted(places)


def test_a_voted_finding_is_not_said_by_way_of_another():
    reports = ["Rounded retrocardiac opacity, as in a moderate hiatal hernia.", "Left airspace opacity."]
    wanted = {Statement("Lung Opacity", True, "")}
    assert compose(wanted, reports, [0.4, 0.6], 0, Library(reports)) == []  # the one has a hernia, the other a side
    assert compose(wanted, reports, [0.6, 0.4], 0, Library(reports)) == reports[:1]


def test_what_is_normal_is_said_once():
    reports = ["The hila are normal. Hilar contours are normal. Normal hila. Trachea is midline."]
    found = compose(set(), reports, [1.0], 0, Library([]))
    assert found == ["The hila are normal.", "Hilar contours are normal.", "Trachea is midline."]  # by their words


def test_lines_without_full_stops_deny_nothing_of_each_other():
    reports = ["No pneumothorax\nCardiomegaly\nLeft pleural effusion"]
    wanted = {NO_PNEUMOTHORAX, EFFUSION, Statement("Cardiomegaly", True, "")}
    found = compose(wanted, reports, [1.0], 0, Library([]))
    assert {s.observation for s in statements(joined(found)) if s.affirmed} == {"Pleural Effusion", "Cardiomegaly"}


def test_what_was_asked_for_is_no_finding():
    reports = ["INDICATION: Pneumothorax. FINDINGS: There is pulmonary edema."]
    wanted = {Statement("Pneumothorax", True, ""), EDEMA}
    assert compose(wanted, reports, [1.0], 0, Library([])) == ["There is pulmonary edema."]

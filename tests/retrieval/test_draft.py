"""Drafts by every method, and their evidence."""

import numpy as np
import pytest

from cxr_jax.errors import InputError
from cxr_jax.labels.statements import contradictions
from cxr_jax.retrieval.composing import repeats
from cxr_jax.retrieval.draft import (
    METHODS,
    Drafter,
    Neighbours,
    SentencePool,
    consensus,
    wanted_statements,
)
from cxr_jax.retrieval.voting import VOTED, Thresholds

REPORTS = [
    "Large right pneumothorax, increased since the prior study. No pleural effusion.",
    "There is a small left pleural effusion. No pneumothorax.",
    "Small left pleural effusion. No pneumothorax. The heart is normal in size.",
    "Left pleural effusion. The heart is enlarged. No pneumothorax.",
    "The lungs are clear. No pleural effusion or pneumothorax.",
]
# Of one image: the nearest is the odd one out.
NEIGHBOURS = Neighbours(np.array([[0, 1, 2, 3]]), np.array([[0.9, 0.89, 0.88, 0.87]], np.float32))


def draft(method, **more):
    return Drafter(REPORTS, scale=2.0).drafts(method, NEIGHBOURS, **more)[0]


def test_top1_is_the_nearest_report():
    made = draft("top1")
    assert (made.text, made.row, made.method) == (REPORTS[0], 0, "top1")
    first, second = made.sentences
    assert [s.row for s in first.sources] == [0]
    assert [s.row for s in first.against] == [1, 2, 3]
    assert [s.row for s in second.against] == [1, 2, 3]
    assert first.sources[0].similarity == pytest.approx(0.9)
    assert 0.25 < first.share < 0.3


def test_consensus_is_the_report_that_agrees_best_with_the_others():
    made = draft("consensus")
    assert made.row == 1
    assert made.text == REPORTS[1]


def test_a_composed_draft_says_what_was_voted():
    made = draft("compose")
    assert made.row is None
    assert made.text == "No pneumothorax. There is a small left pleural effusion."
    shares = {s.text: (s.share, [e.row for e in s.sources], [e.row for e in s.against]) for s in made.sentences}
    share, sources, against = shares["There is a small left pleural effusion."]
    assert (sources, against) == ([1, 2, 3], [0])
    assert share == pytest.approx(0.73, abs=0.02)
    assert contradictions(made.text) == []


def test_sentences_are_the_nearest_without_repetition():
    pool = SentencePool(REPORTS, range(len(REPORTS)))
    assert pool.texts[:2] == ["Large right pneumothorax, increased since the prior study.", "No pleural effusion."]
    numbers = [
        pool.texts.index(text)
        for text in (
            "Left pleural effusion.",
            "Small left pleural effusion.",
            "No pneumothorax.",
            "No pleural effusion.",
        )
    ]
    nearest = Neighbours(np.array([numbers]), np.array([[0.8, 0.7, 0.6, 0.5]], np.float32))
    made = draft("sentences", pool=pool, nearest=nearest)
    assert made.text == "Left pleural effusion. No pneumothorax."
    assert [(s.sources[0].row, round(s.sources[0].similarity, 2)) for s in made.sentences] == [(3, 0.8), (1, 0.6)]
    # Beside the report that a sentence was taken from stand the others that say the same, each once.
    assert [source.row for source in made.sentences[0].sources] == [3, 1, 2]


@pytest.mark.parametrize(
    ("text", "said", "expected"),
    [
        ("There is no pneumothorax.", ["No pneumothorax."], True),
        ("Pneumothorax on the right.", ["No pneumothorax."], True),
        ("No pneumothorax or effusion.", ["No pneumothorax."], False),
        ("The hila are normal.", ["Hila are normal."], True),
        ("The hila are normal.", ["Surgical clips are seen."], False),
        ("Anything.", [], False),
    ],
)
def test_repetitions(text, said, expected):
    assert repeats(text, said) == expected


def test_consensus_is_minimum_bayes_risk_in_the_plain():
    same = ["No pneumothorax.", "no PNEUMOTHORAX", "Large left effusion."]
    assert consensus(same, np.array([0.3, 0.3, 0.4])) == 0  # of equals the nearer
    assert consensus(same, np.array([0.1, 0.1, 0.8])) == 2
    assert consensus(["", ""], np.array([0.5, 0.5])) == 0


def test_a_side_is_wanted_where_most_who_affirm_name_it():
    column = VOTED.index("Pleural Effusion")
    votes = Drafter(REPORTS, 2.0).votes(NEIGHBOURS)
    for left, right, side in ((0.5, 0.1, "left"), (0.5, 0.4, "bilateral"), (0.2, 0.2, ""), (0.0, 0.4, "right")):
        votes.affirmed[0, column], votes.left[0, column], votes.right[0, column] = 0.7, left, right
        found = {s.observation: s for s in wanted_statements(votes, 0, Thresholds.half())}
        assert found["Pleural Effusion"].side == side


def test_an_observation_is_not_denied_where_one_of_its_kinds_is_there():
    reports = ["There is pulmonary edema. No focal opacity. No consolidation. Cardiomegaly."] * 2
    made = Drafter(reports, 2.0).drafts("compose", Neighbours(np.array([[0, 1]]), np.ones((1, 2), np.float32)))[0]
    assert made.text == "No consolidation. There is pulmonary edema. Cardiomegaly."


def test_a_whole_report_stays_as_it_is():
    reports = ["Indication: pain.\n\nNo pneumothorax\nNo pneumothorax\nEdema"]
    made = Drafter(reports, 2.0).drafts("top1", Neighbours(np.array([[0]]), np.ones((1, 1), np.float32)))[0]
    assert made.text == reports[0]
    assert [sentence.text for sentence in made.sentences] == ["No pneumothorax", "Edema"]
    assert [sentence.share for sentence in made.sentences] == [1.0, 1.0]


def test_there_is_no_other_method():
    with pytest.raises(InputError, match=r"draft.method = 'best'; it is one of top1, consensus"):
        draft("best")


@pytest.mark.parametrize("method", [m for m in METHODS if m != "sentences"])
def test_odd_reports_make_drafts_too(method):
    reports = ["", "...", "XXXX", "ok", "Edema. " * 300]
    rows = np.array([[0, 1, 2, 3, 4], [4, 3, 2, 1, 0]])
    for made in Drafter(reports, 30.0).drafts(method, Neighbours(rows, np.ones(rows.shape, np.float32))):
        assert isinstance(made.text, str)
        assert all(0 <= sentence.share <= 1 + 1e-9 for sentence in made.sentences)

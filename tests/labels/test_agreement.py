from itertools import product

import pytest

from cxr_jax.labels.agreement import AGREES, ALONE, CONTRADICTS, judge, passed_over
from cxr_jax.labels.rules import Mention, find_mentions


@pytest.mark.parametrize(
    ("retrieved", "true", "verdict"),
    [
        ("Small left pleural effusion.", "There is a pleural effusion.", AGREES),
        ("Small left pleural effusion.", "Bilateral pleural effusions.", AGREES),
        ("Small left pleural effusion.", "Possible left pleural effusion.", AGREES),
        ("No pleural effusion.", "There is no left pleural effusion.", AGREES),
        ("Small left pleural effusion.", "No pleural effusion.", CONTRADICTS),
        ("No pleural effusion.", "Large right pleural effusion.", CONTRADICTS),
        ("Small left pleural effusion.", "Small right pleural effusion.", CONTRADICTS),
        ("Small left pleural effusion.", "No left pleural effusion. Small right pleural effusion.", CONTRADICTS),
        ("Small left pleural effusion.", "Small right pleural effusion. Small left pleural effusion.", AGREES),
        ("Small left pleural effusion.", "No right pleural effusion.", ALONE),
        ("Small left pleural effusion.", "The heart is enlarged.", ALONE),
        ("Small left pleural effusion.", "", ALONE),
    ],
)
def test_a_mention_is_held_against_the_true_report(retrieved, true, verdict):
    assert [judged.verdict for judged in judge(find_mentions(retrieved), find_mentions(true))] == [verdict]


STATUSES, SIDES = ("positive", "negative", "uncertain"), ("left", "right", "bilateral", "")
ALL = [Mention("Edema", status, side, 0, 5) for status, side in product(STATUSES, SIDES)]


def test_two_mentions_stand_to_each_other_the_same_both_ways():
    for one, other in product(ALL, ALL):
        (there,), (back,) = judge([one], [other]), judge([other], [one])
        assert there.verdict == back.verdict
        assert (there.mention, back.mention) == (one, other)


def test_a_mention_agrees_with_itself_and_with_nothing_of_another_observation():
    for mention in ALL:
        assert judge([mention], [mention])[0].verdict == AGREES
        assert judge([mention], [other._replace(observation="Fracture") for other in ALL])[0].verdict == ALONE


def test_what_is_passed_over():
    true = find_mentions("Possible pneumonia. No pneumothorax. Small left pleural effusion. Heart is enlarged.")
    assert passed_over(find_mentions("No cardiomegaly."), true) == ["Pneumonia", "Pleural Effusion"]
    assert passed_over(true, true) == passed_over([], []) == []

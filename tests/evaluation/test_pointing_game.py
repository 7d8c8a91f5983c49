import numpy as np
import pytest

from cxr_jax.evaluation.pointing_game import (
    ALL,
    CENTRE,
    FEWEST,
    OTHER,
    RANDOM,
    USUAL,
    Trial,
    blind_maps,
    measured,
    offers,
    summary,
    table,
    usual_places,
)

REGION = np.zeros((100, 100), bool)
REGION[20:30, 40:60] = True


def spot(row, column):
    heat = np.zeros((100, 100))
    heat[row, column] = 1
    return heat


def test_pointing_allows_three_pixels_of_a_hundred():
    assert [measured(spot(row, 50), REGION)[0] for row in (25, 20, 17, 16, 32, 33)] == [1, 1, 1, 0, 1, 0]


def test_of_a_plateau_its_middle_counts():
    heat = np.zeros((100, 100))
    heat[0:51, 0:99] = 1  # about (25, 49)
    assert measured(heat, REGION)[0] == 1
    assert measured(np.ones((100, 100)), REGION)[0] == 0


def test_iou_is_of_as_many_places_as_the_region_has():
    assert measured(REGION.astype(float), REGION) == (1.0, 1.0)
    assert measured(1.0 - REGION, REGION) == (0.0, 0.0)
    half = REGION.astype(float)
    half[25:30, 40:60] = 0
    half[70:75, 40:60] = 0.5
    assert measured(half, REGION)[1] == pytest.approx(100 / 300)
    assert measured(-spot(0, 0) + 0.0, REGION) == measured(-spot(0, 0), REGION)


def test_noise_points_as_often_as_the_region_is_large():
    rng, region = np.random.default_rng(0), np.zeros((40, 40), bool)
    region[:, :10] = True  # and one more column, by the tolerance
    hits = [measured(blind_maps(region.shape, rng)[RANDOM], region)[0] for _ in range(400)]
    assert np.mean(hits) == pytest.approx(11 / 40, abs=0.07)
    assert measured(blind_maps((100, 100), rng)[CENTRE], REGION)[0] == 0
    middle = np.zeros((100, 100), bool)
    middle[45:55, 45:55] = True
    assert measured(blind_maps((100, 100), rng)[CENTRE], middle)[1] > 0.8


def test_the_usual_place_is_that_of_others():
    left, right = np.zeros((2, 20, 20), bool)
    left[5:9, 2:6], right[5:9, 14:18] = True, True
    heats = usual_places([left, left, right, right], ["left", "left", "right", "odd"])
    assert [measured(heat, region)[1] for heat, region in zip(heats[:2], (left, left), strict=True)] == [1, 1]
    assert measured(heats[3], right)[0] == 0  # the only one of its name: the centre
    assert measured(heats[2], right)[0] == 0
    assert usual_places([], []) == []


def trials(good, other, studies=40, finding="nodule"):
    """Maps that hit a share `good` of the time, and in another image `other`; noise a tenth, the centre a fifth."""

    def score(share, number):
        hit = float((number * 11) % studies < share * studies)
        return hit, hit / 2

    shares = {RANDOM: 0.1, CENTRE: 0.2, USUAL: 0.9, OTHER.format("map"): other, "map": good}
    return [
        Trial(f"s{number}", finding, {name: score(share, number) for name, share in shares.items()})
        for number in range(studies)
    ]


@pytest.mark.parametrize(
    ("good", "other", "studies", "passes"),
    [
        (0.8, 0.1, 40, True),
        (0.5, 0.0, 14, True),
        (0.45, 0.1, 40, False),
        (0.8, 0.75, 40, False),
        (0.8, 0.1, FEWEST - 1, False),
    ],
)
def test_a_map_passes_where_it_beats_the_blind_and_itself_elsewhere(good, other, studies, passes):
    found = summary(trials(good, other, studies))
    assert found["nodule"]["studies"] == studies
    assert found["nodule"]["passed"] == (["map"] if passes else [])
    assert offers(found, ["map"]) == (
        {"nodule": {"map": "map", "pointing": good, "studies": studies}} if passes else {}
    )
    mean, low, high = found["nodule"]["scores"]["map"]["pointing"]
    assert low <= mean <= high
    assert mean == pytest.approx(good, abs=1 / studies)


def test_a_difference_that_could_be_chance_is_none():
    both = trials(0.95, 0.1), trials(0.9, 0.1)
    centred = [
        Trial(one.study, one.finding, {**one.scores, CENTRE: other.scores["map"]})
        for one, other in zip(*both, strict=True)
    ]
    assert summary(centred)["nodule"]["passed"] == []


def test_a_study_with_two_findings_is_drawn_as_one():
    """Twice the same trials of the same studies tell no more than once."""
    once = summary(trials(0.5, 0.1))[ALL]
    twice = summary(trials(0.5, 0.1) + trials(0.5, 0.1, finding="effusion"))[ALL]
    assert once["studies"] == twice["studies"] == 40
    assert once["scores"] == twice["scores"]


def test_the_better_of_two_that_pass_is_offered_and_the_table_says_so():
    both = [
        Trial(one.study, one.finding, {**one.scores, OTHER.format("more"): (0.0, 0.0), "more": better.scores["map"]})
        for one, better in zip(trials(0.7, 0.1), trials(0.9, 0.1), strict=True)
    ]
    found = summary(both)
    assert [of["map"] for of in offers(found, ["map", "more"]).values()] == ["more"]
    assert [of["map"] for of in offers(found, ["map"]).values()] == ["map"]
    assert offers(found, []) == {}
    lines = table(found, "pointing").splitlines()
    assert lines[0].startswith("| pointing | studies | random | centre | usual place |")
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| nodule", "| all"]
    assert "**.90** (" in lines[2]
    assert len({line.count("|") for line in lines}) == 1

"""What is doubted before a draft, on drawn chests whose embeddings are their pixels."""

import dataclasses
import json

import numpy as np
import pytest

from cxr_jax.data import images
from cxr_jax.errors import InputError
from cxr_jax.phantom.drawing import draw_study
from cxr_jax.retrieval import abstention
from cxr_jax.retrieval.abstention import KEPT, Checks, Gauge, Limits, Measures, limits_of, measures_of
from cxr_jax.retrieval.rows import Row
from cxr_jax.retrieval.store import SplitIndex

SCALE = 10.0
REPORTS = ("There is edema.", "There is cardiomegaly.", "No acute disease.")


def embedded(pictures):
    z = np.array([images.fit_square(picture, 16).ravel() for picture in pictures], np.float32)
    z -= z.mean(axis=1, keepdims=True)
    return z / np.maximum(np.linalg.norm(z, axis=1, keepdims=True), 1e-9)


def index(name, seed, count, reports=REPORTS[:1]):
    pictures = [draw_study((), [seed, number], 48)[0] for number in range(count)]
    rows = [Row(f"{name}{i}", f"{name}{i}", "p", reports[i % len(reports)], (), i) for i in range(count)]
    z = embedded(pictures)
    return SplitIndex(name, 3, rows, z, z, [images.thumbnail(picture) for picture in pictures], checkpoint="abc")


@pytest.fixture(scope="module")
def train():
    return index("train", 1, 80)


@pytest.fixture(scope="module")
def gauge(train):
    return Gauge(train)


@pytest.fixture(scope="module")
def val():
    return index("val", 2, 60)


@pytest.fixture(scope="module")
def limits(train, val, gauge):
    return limits_of(val, train, gauge, SCALE)


@pytest.fixture
def checks(gauge, limits):
    return Checks(gauge, limits)


def doubts(checks, pictures):
    """The kinds of what is doubted of each."""
    lines = checks.doubts(pictures, embedded(pictures), np.ones(len(pictures)))
    return [tuple(line.partition(":")[0] for line in of) for of in lines]


def test_limits_keep_their_share_of_val(val, train, gauge, limits):
    passed = limits.passed(measures_of(val, train, gauge, SCALE))
    assert set(passed) == set(KEPT)
    for name, of in passed.items():
        most = 1 if name == "agreement" else KEPT[name] + 2 / len(val)  # here all agree alike
        assert KEPT[name] <= of.mean() <= most, name


def test_the_reason_is_the_pose_where_the_picture_would_pass_in_it(checks):
    chests = [draw_study((), [4, number], 48)[0] for number in range(10)]
    assert sum(doubt == () for doubt in doubts(checks, chests)) >= 8
    turned = {
        "upside down": [chest[::-1] for chest in chests],
        "mirrored": [chest[:, ::-1] for chest in chests],
        "inverted": [255 - chest for chest in chests],
    }
    for reason, pictures in turned.items():
        found = doubts(checks, [np.ascontiguousarray(picture) for picture in pictures])
        assert sum(reason in doubt for doubt in found) >= 9, reason
        assert sum("unlike the training images" in doubt for doubt in found) <= 1, reason


def of_one(**values):
    return Measures(*(np.array([values.get(name, 1.0)]) for name in Measures._fields))


def test_only_the_pose_in_which_it_would_pass_is_the_reason():
    """An inverted picture is hardly less alike upside down, and is not said to be that too."""
    limits = Limits(dict.fromkeys(KEPT, 0.5), SCALE)
    (lines,) = abstention.reasons(of_one(likeness=-0.8, upright=0.1, polarity=-1.6), limits)
    assert [line.partition(":")[0] for line in lines] == ["inverted"]


def test_whatever_does_not_pass_has_a_reason():
    """Mirrored it would just pass, and is not so much more alike as to be called mirrored."""
    limits = Limits({**dict.fromkeys(KEPT, 0.5), "sides": -0.1}, SCALE)
    measures = of_one(likeness=0.49, sides=-0.05)
    assert not limits.passed(measures)["likeness"].all()
    (lines,) = abstention.reasons(measures, limits)
    assert lines == ("unlike the training images: highest correlation with one of them 0.49, less than 0.50",)


def test_what_is_no_chest_is_unlike_and_far(checks):
    rng = np.random.default_rng(0)
    for other in (
        np.zeros((48, 48), np.uint8),
        np.full((48, 30), 255, np.uint8),
        rng.integers(0, 256, (48, 48), dtype=np.uint8),
        np.tile(np.linspace(0, 255, 48).astype(np.uint8), (48, 1)),
    ):
        assert doubts(checks, [other]) == [("unlike the training images", "far from the training images")]


def test_neighbours_that_disagree_are_a_reason(checks, limits):
    chest = draw_study((), [4, 3], 48)[0]
    (lines,) = checks.doubts([chest], embedded([chest]), np.array([0.3]))
    assert lines[-1] == "no agreement: the neighbours' reports agree by 0.30, less than 1.00"


def test_a_measure_at_its_limit_passes():
    values = Measures(*(np.array([0.25, 0.5, 0.75]) for _ in Measures._fields))
    limits = Limits(dict.fromkeys(KEPT, 0.5), SCALE)
    assert all(of.tolist() == [False, True, True] for of in limits.passed(values).values())
    assert all(limits.lowest[name] == 0.25 for limits in [Limits.chosen(values, SCALE)] for name in KEPT)


def test_limits_are_those_of_an_index_s_checkpoint(tmp_path, train, limits):
    assert abstention.load(tmp_path, train) is None
    abstention.save(tmp_path, limits, 3, "abc")
    assert abstention.load(tmp_path, train) == limits
    assert abstention.load(tmp_path, dataclasses.replace(train, checkpoint="abd")) is None
    assert abstention.load(tmp_path, dataclasses.replace(train, step=4)) is None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"lowest": {"likeness": "x"}}', '{"lowest": {}, "scale": 1}'])
def test_damaged_limits_are_one_line(tmp_path, train, text):
    (tmp_path / abstention.FILE).write_text(text)
    with pytest.raises(InputError, match=r"abstention\.json: damaged .*; remove it") as error:
        abstention.load(tmp_path, train)
    assert "\n" not in str(error.value)


def test_limits_that_are_no_numbers_are_damaged(tmp_path, train, limits):
    abstention.save(tmp_path, limits, 3, "abc")
    content = json.loads((tmp_path / abstention.FILE).read_text())
    for value in (None, np.nan, -np.inf):
        content["lowest"]["upright"] = value
        (tmp_path / abstention.FILE).write_text(json.dumps(content))
        with pytest.raises(InputError, match="damaged"):
            abstention.load(tmp_path, train)


def test_an_empty_validation_split_gives_no_limits(train, val, gauge):
    assert limits_of(val.take([]), train, gauge, SCALE) is None


def test_rows_are_taken_evenly():
    assert abstention.evenly(0, 5) == []
    assert abstention.evenly(3, 5) == [0, 1, 2]
    assert abstention.evenly(101, 5) == [0, 25, 50, 75, 100]

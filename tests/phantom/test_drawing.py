import functools

import numpy as np
import pytest
from PIL import Image

from cxr_jax.phantom.drawing import draw_study
from cxr_jax.phantom.findings import FRONTAL, LATERAL, SHAPES
from cxr_jax.phantom.reports import KINDS, Finding
from tests.phantom.samples import every_finding

SIZE = 64


def test_every_kind_is_drawn_in_both_registries():
    assert set(KINDS) == set(FRONTAL) | set(SHAPES)
    assert set(LATERAL) <= set(KINDS)


@functools.cache
def without_findings(number, size):
    return draw_study((), [5, number], size)[0].astype(float)


def difference(finding, number=1, size=SIZE):
    """Where a finding changes the frontal picture of one and the same patient."""
    return np.abs(draw_study((finding,), [5, number], size)[0] - without_findings(number, size))


SIDED = [finding for finding in every_finding() if finding.side in ("right", "left") and finding.kind != "scoliosis"]


@pytest.mark.parametrize("finding", SIDED, ids=lambda finding: finding.tag)
def test_a_finding_shows_on_its_side(finding):
    changed = difference(finding)
    if finding.kind == "central_line":
        # From either side the line ends in the superior vena cava: only its way there tells the side.
        changed = changed[: SIZE // 4]
    # The patient's right is the image's left.
    halves = {"right": changed[:, : SIZE // 2].sum(), "left": changed[:, SIZE // 2 :].sum()}
    other = {"right": "left", "left": "right"}[finding.side]
    assert halves[finding.side] > 1.5 * halves[other], halves


@pytest.mark.parametrize("side", ["right", "left"])
def test_scoliosis_bows_to_the_stated_side(side):
    plain, bent = (
        draw_study(findings, [5, 1], SIZE)[0].astype(float)
        for findings in ((), (Finding("scoliosis", side, severity="mild"),))
    )
    rows = slice(int(0.38 * SIZE), int(0.52 * SIZE))
    middle = slice(SIZE // 3, 2 * SIZE // 3)
    weight = (bent - plain)[rows, middle].sum(axis=0)
    shift = (weight * (np.arange(weight.size) - weight.size / 2)).sum()
    assert np.sign(shift) == {"right": -1, "left": 1}[side]


@pytest.mark.parametrize(("kind", "side"), [("consolidation", "right"), ("nodule", "left"), ("granuloma", "right")])
def test_upper_lobe_lies_above_lower_lobe(kind, side):
    heights = []
    for place in ("upper lobe", "lower lobe"):
        changed = difference(Finding(kind, side, place))
        heights.append((changed.sum(axis=1) * np.arange(SIZE)).sum() / changed.sum())
    assert heights[0] + 0.15 * SIZE < heights[1]


@pytest.mark.parametrize("size", [64, 128])
def test_every_finding_is_visible_in_the_frontal_view(size):
    for finding in every_finding():
        changed = difference(finding, size=size)
        # Eight grey levels on an area of at least one pixel in 2,000: far above the grain of one to three levels.
        assert np.sort(changed.ravel())[-size * size // 2000] > 8, finding


def test_the_film_shows_air_dark_and_the_apex_of_the_heart_on_the_left():
    frontal = np.mean([draw_study((), [6, n], SIZE)[0] for n in range(4)], axis=0) / 255

    def region(x, y):
        rows, columns = (slice(int((at - 0.03) * SIZE), int((at + 0.03) * SIZE)) for at in (y, x))
        return frontal[rows, columns].mean()

    assert region(0.3, 0.45) < region(0.5, 0.6) - 0.25
    assert region(0.7, 0.45) < region(0.7, 0.9) - 0.25
    assert region(0.62, 0.64) > region(0.38, 0.64) + 0.15
    assert frontal[2:6, 2:6].mean() < 0.5


@pytest.mark.parametrize("size", [32, 100, 312])
def test_other_sizes_show_the_same_picture(size):
    small, large = (
        np.asarray(
            Image.fromarray(draw_study((Finding("nodule", "left", "upper lobe"),), [8, 2], side)[0]).resize((32, 32)),
            float,
        )
        for side in (size, 128)
    )
    assert np.corrcoef(small.ravel(), large.ravel())[0, 1] > 0.98

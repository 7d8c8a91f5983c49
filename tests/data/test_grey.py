"""The one rule from values to grey: against a naive version, and that nothing small tips it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from cxr_jax.data import grey


def a_radiograph(height=200, width=160, top=4095, seed=0):
    """Something like one, uint16 of 0 to `top`: smooth, with noise, no value twice as bright as the next."""
    y, x = np.mgrid[:height, :width]
    smooth = 0.5 + 0.35 * np.sin(x / 25) * np.cos(y / 31)
    noisy = smooth + np.random.default_rng(seed).normal(0, 0.02, smooth.shape)
    return np.round(np.clip(noisy, 0, 1) * top).astype(np.uint16)


def by_hand(pixels):
    """One pixel in a thousand at either end has no say."""
    ordered = np.sort(pixels.astype(float).ravel())
    trimmed = len(ordered) // 1000
    low, high = ordered[trimmed], ordered[-1 - trimmed]
    return np.round(np.clip((pixels - low) / (high - low), 0, 1) * 255)


RADIOGRAPH = a_radiograph()
RIGHT = by_hand(RADIOGRAPH)


def kinds(picture):
    return [grey.kind_of(warning) for warning in picture.warnings]


@pytest.mark.parametrize("change", [
    lambda v: v,
    lambda v: v * 16,
    lambda v: v.astype(np.int16) - 2048,
    lambda v: v.astype(np.int32) * 500_000 - 10**9,
    lambda v: v / np.float32(4095),
    lambda v: v.astype(np.float64) * 1e30,
    lambda v: (30_000 + v.astype(float) * 1600 / 4095).astype(np.float32),
], ids=["12 bits", "16 bits", "signed", "32 bits", "0 to 1", "large", "30,000 to 31,600"])  # fmt: skip
def test_any_scale_of_the_same_picture_is_the_same_grey(change):
    picture = grey.stretched(change(RADIOGRAPH))
    np.testing.assert_allclose(picture.grey, RIGHT, atol=1)
    assert picture.grey.dtype == np.uint8
    assert not picture.warnings


def test_of_data_from_30000_to_31600_nothing_is_flat():
    pixels = np.linspace(30_000, 31_600, 200 * 160).round().astype(np.uint16).reshape(200, 160)
    picture = grey.stretched(pixels)
    np.testing.assert_array_equal(picture.grey, by_hand(pixels))
    assert picture.grey.mean() == pytest.approx(127.5, abs=0.5)


@pytest.mark.parametrize("value", [0, 2100, 4300, 10_000, 65_535])
@pytest.mark.parametrize("count", [1, 3, 10])
def test_a_hot_pixel_changes_nothing_else(value, count):
    pixels = a_radiograph(top=2047)
    right = by_hand(pixels)
    pixels.reshape(-1)[np.random.default_rng(1).choice(pixels.size, count, replace=False)] = value
    picture = grey.stretched(pixels)
    others = pixels != value
    np.testing.assert_allclose(picture.grey[others], right[others], atol=1 if count < 10 else 3)
    assert not picture.warnings


def test_nor_does_one_of_a_small_picture():
    pixels = a_radiograph(20, 20)
    right = by_hand(pixels)
    pixels[3, 4] = 65_535
    picture = grey.stretched(pixels)
    others = pixels != 65_535
    np.testing.assert_allclose(picture.grey[others], right[others], atol=1)


@pytest.mark.parametrize(("share", "blur"), [
    (0.002, 0), (0.002, 1.5), (0.01, 0), (0.01, 0.7), (0.02, 0), (0.02, 0.7), (0.045, 0),
])  # fmt: skip
@pytest.mark.parametrize("value", [16_383, 65_535])
def test_a_burnt_in_letter_changes_nothing_else(share, blur, value):
    """Also one that covers more than the percentile, and whose edges are soft; it is white, and that is said."""
    side = round((share * RADIOGRAPH.size) ** 0.5)
    letter = np.zeros(RADIOGRAPH.shape, np.uint8)
    letter[5 : 5 + side, 5 : 5 + side] = 255
    letter = np.asarray(Image.fromarray(letter).filter(ImageFilter.GaussianBlur(blur))) / 255
    picture = grey.stretched(np.round(RADIOGRAPH * (1 - letter) + value * letter).astype(np.uint16))
    np.testing.assert_allclose(picture.grey[letter == 0], RIGHT[letter == 0], atol=3)
    assert (picture.grey[letter == 1] == 255).all()
    assert set(kinds(picture)) == {"range cut"}
    assert "far above the rest" in picture.warnings[0]
    assert "shown white" in picture.warnings[0]


def test_a_border_of_one_brightness_changes_nothing_else():
    pixels = (30_000 + RADIOGRAPH.astype(float) * 1600 / 4095).round().astype(np.uint16)
    pixels[:120] = 0  # more than half of it
    pixels[150:155, 20:30] = 65_535  # and a letter
    inside = np.s_[160:, :]
    picture = grey.stretched(pixels)
    np.testing.assert_allclose(picture.grey[inside], by_hand(pixels[120:][pixels[120:] < 65_535])[
        np.flatnonzero((pixels[120:] < 65_535).ravel()).searchsorted(np.arange(40 * 160, 80 * 160))
    ].reshape(40, 160), atol=1)  # fmt: skip
    assert (picture.grey[:120] == 0).all()
    assert kinds(picture) == ["range cut", "range cut"]


def test_two_halves_of_a_picture_both_stay():
    """Neither is few nor of one brightness: nothing says which is the picture."""
    pixels = RADIOGRAPH.copy()
    pixels[:, 80:] = 40_000 + pixels[:, 80:]
    picture = grey.stretched(pixels)
    assert np.unique(picture.grey[:, :80]).size > 10
    assert np.unique(picture.grey[:, 80:]).size > 10
    assert not picture.warnings


def test_a_small_picture_before_a_plain_ground_is_no_letter():
    pixels = np.random.default_rng(0).integers(0, 20, (200, 160)).astype(np.uint16)
    pixels[90:120, 60:100] = 2000 + a_radiograph(30, 40) // 2
    picture = grey.stretched(pixels)
    assert picture.grey[90:120, 60:100].std() > 20


def test_a_tail_that_thins_out_is_no_letter():
    """As of bones in a scan by nuclear medicine, or of metal: nothing lies apart, so nothing more is cut."""
    tail = np.random.default_rng(0).exponential(1, (300, 300)) ** 3
    pixels = np.round(tail * 20).astype(np.uint16)
    picture = grey.stretched(pixels)
    np.testing.assert_allclose(picture.grey, by_hand(pixels), atol=1)
    assert not picture.warnings


def test_what_is_not_finite_is_said_and_has_no_say():
    pixels = RADIOGRAPH.astype(np.float32)
    pixels[0, :3] = np.nan, np.inf, -np.inf
    picture = grey.stretched(pixels)
    np.testing.assert_array_equal(picture.grey[0, :3], [0, 255, 0])
    np.testing.assert_allclose(picture.grey[1:], RIGHT[1:], atol=1)
    assert kinds(picture) == ["not finite"]
    assert "3 pixels" in picture.warnings[0]


@pytest.mark.parametrize("pixels", [
    np.zeros((9, 9), np.uint16),
    np.full((9, 9), 65_535, np.uint16),
    np.full((9, 9), np.nan, np.float32),
    np.full((9, 9), np.inf, np.float32),
    np.full((1, 1), -5, np.int32),
    np.zeros((0, 4), np.uint16),
], ids=str)  # fmt: skip
def test_a_flat_picture_is_said_to_be_one(pixels):
    picture = grey.stretched(pixels)
    assert picture.grey.shape == pixels.shape
    if pixels.size:
        assert "flat picture" in kinds(grey.looked_at(picture))


def test_a_picture_of_two_values_keeps_both():
    pixels = np.where(RADIOGRAPH > 2000, 40_000, 300).astype(np.uint16)
    np.testing.assert_array_equal(grey.stretched(pixels).grey, np.where(pixels > 300, 255, 0))


@given(seed=st.integers(0, 2**32), bits=st.integers(1, 16), place=st.integers(0, 10**6), value=st.integers(0, 65_535))
def test_no_single_pixel_tips_the_range(seed, bits, place, value):
    rng = np.random.default_rng(seed)
    pixels = (rng.beta(*rng.uniform(0.5, 5, 2), (40, 60)) * (2**bits - 1)).astype(np.uint16)
    before = grey.stretched(pixels).grey.astype(int)
    changed = pixels.copy()
    changed.reshape(-1)[place % pixels.size] = value
    after = grey.stretched(changed).grey.astype(int)
    same = pixels == changed
    # One pixel less or more in a thousand: the next one's value takes its place.
    ordered = np.sort(pixels, axis=None).astype(float)
    step = max(ordered[3] - ordered[1], ordered[-2] - ordered[-4]) / max(ordered[-3] - ordered[2], 1)
    assert np.abs(after - before)[same].max() <= 1 + 255 * 2 * step


def test_a_flat_picture_of_any_size_is_found():
    for shape in ((3, 5), (300, 400), (3000, 2500)):
        assert grey.looked_at(grey.Picture(np.full(shape, 9, np.uint8))).warnings
        lively = np.zeros(shape, np.uint8)
        lively[: shape[0] // 2] = 100
        assert not grey.looked_at(grey.Picture(lively)).warnings

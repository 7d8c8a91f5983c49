import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from cxr_jax.data import images
from cxr_jax.data.grey import ImageWarning
from cxr_jax.errors import InputError

# Reading: each format by itself is in test_raster.py and test_dicom.py


def test_what_is_said_of_a_picture_is_returned_with_it_or_warned_of(tmp_path):
    file = tmp_path / "flat.png"
    Image.new("L", (30, 20), 77).save(file)
    picture = images.read(file)
    assert picture.warnings == ("flat picture: nearly one grey (mean 77, standard deviation 0.0 of 255)",)
    with pytest.warns(ImageWarning) as warned:
        grey = images.grey_of(file)
    assert [str(warning.message) for warning in warned] == [f"{file}: {picture.warnings[0]}"]
    np.testing.assert_array_equal(grey, picture.grey)


def test_what_is_no_image_is_refused_under_any_name(tmp_path):
    for name in ("x.png", "x.dcm", "x"):
        (tmp_path / name).write_bytes(b"no pixels here")
        with pytest.raises(InputError, match=f"{name}: not an? "):
            images.read(tmp_path / name)


@pytest.mark.parametrize(("folder", "count"), [("covid_cxr/originals", 8), ("iu_xray/NLMCXR_png", 8)])
def test_real_images_can_be_read(shared, folder, count):
    files = sorted((shared / "data" / folder).iterdir())
    assert len(files) == count
    for file in files:
        grey = images.grey_of(file)
        assert min(grey.shape) > 100
        assert grey.std() > 20
        assert 20 < grey.mean() < 230


# Shrinking and fitting


@given(height=st.integers(1, 90), width=st.integers(1, 90), short_side=st.integers(1, 60))
def test_shrink_never_enlarges_and_keeps_proportions(height, width, short_side):
    image = np.full((height, width), 77, np.uint8)
    small = images.shrink(image, short_side)
    assert min(small.shape) == min(short_side, height, width)
    scale = min(small.shape) / min(image.shape)
    assert max(small.shape) == pytest.approx(scale * max(image.shape), abs=0.51)
    assert np.all(small == 77)


@given(height=st.integers(1, 80), width=st.integers(1, 80), side=st.integers(1, 70))
def test_fit_square_keeps_the_whole_image_centred_on_black(height, width, side):
    square = images.fit_square(np.full((height, width), 200, np.uint8), side)
    assert square.shape == (side, side)
    rows, columns = np.flatnonzero(square.any(axis=1)), np.flatnonzero(square.any(axis=0))
    assert max(len(rows), len(columns)) == side
    assert np.all(square[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] == 200)
    for lit, length in ((rows, height), (columns, width)):
        assert len(lit) == pytest.approx(max(1, length * side / max(height, width)), abs=0.51)
        assert abs(lit[0] - (side - 1 - lit[-1])) <= 1


def test_fit_square_shows_every_corner():
    image = np.zeros((40, 100), np.uint8)
    image[:8, :8], image[-8:, -8:] = 255, 128
    square = images.fit_square(image, 50)
    assert square[15:19, :4].mean() > 230
    assert 110 < square[-19:-15, -4:].mean() < 130


def test_fit_square_leaves_what_fits(gradient):
    np.testing.assert_array_equal(images.fit_square(gradient, 48), gradient)


@pytest.fixture
def gradient():
    return np.add.outer(np.arange(48), 3 * np.arange(48)).astype(np.uint8)


def test_the_identity_map_is_fit_square(gradient):
    for image, side in ((gradient, 48), (gradient[:30], 48), (gradient, 33)):
        mapped = images.fit_square(image, side, np.eye(2, 3))
        np.testing.assert_array_equal(mapped, images.fit_square(image, side))


def test_maps_are_about_the_centre_in_units_of_the_side(gradient):
    half_turn = np.array([[-1.0, 0, 0], [0, -1, 0]])
    np.testing.assert_array_equal(images.fit_square(gradient, 48, half_turn), gradient[::-1, ::-1])
    shift = np.array([[1.0, 0, 0.25], [0, 1, 0]])  # each pixel takes what lies a quarter of the side to its right
    np.testing.assert_array_equal(images.fit_square(gradient, 48, shift)[:, :36], gradient[:, 12:])


# Augmentation


def test_augment_follows_the_generator(gradient):
    first, again, other = (images.augment(gradient, 40, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.any(first != other)
    assert first.dtype == np.uint8
    assert first.shape == (40, 40)


@given(seed=st.integers(0, 2**32))
def test_augment_is_slight_and_never_flips(seed):
    image = np.zeros((60, 60), np.uint8)
    image[:, :30] = 120
    image[:20, :30] = 220  # bright on the upper left
    seen = images.augment(image, 60, np.random.default_rng(seed)).astype(float)
    assert seen[:, :30].mean() > seen[:, 30:].mean() + 80
    assert seen[:30, :30].mean() > seen[30:, :30].mean() + 30
    assert seen[30:, 45:].mean() <= 12  # black stays near black
    assert np.abs(seen[25:55, 8:22].mean() - 120) <= 25


def test_augment_varies_place_and_exposure():
    image = np.zeros((60, 60), np.uint8)
    image[20:40, 20:40] = 150
    seen = [images.augment(image, 60, np.random.default_rng(seed)).astype(float) for seed in range(40)]
    brightness = [picture[28:32, 28:32].mean() for picture in seen]
    left_edge = [np.argmax(picture[30] > 75) for picture in seen]
    assert np.ptp(brightness) > 15
    assert np.ptp(left_edge) >= 2


# Encoding


def test_png_keeps_every_pixel_and_jpeg_nearly(gradient):
    np.testing.assert_array_equal(images.decode(images.encode_png(gradient)), gradient)
    smooth = np.linspace(0, 255, 48 * 48).reshape(48, 48).astype(np.uint8)
    np.testing.assert_allclose(images.decode(images.encode_jpeg(smooth)).astype(float), smooth, atol=8)


@pytest.mark.parametrize("scale", [1 / 255, 16, 257], ids=["0 to 1", "12 bits", "16 bits"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint16, np.int32])
def test_arrays_of_other_numbers_are_read_as_files_of_them(scale, dtype):
    grey = np.tile(np.arange(256, dtype=np.uint8), (64, 1))
    values = np.round(grey.astype(np.float64) * scale, 6).astype(dtype)
    if len(np.unique(values)) < 256:
        pytest.skip("integers between 0 and 1")
    for array in (values, values[:, :, None], values[:, :, None].repeat(3, axis=2)):
        assert np.abs(images.grey_of(array).astype(int) - grey).max() <= 1


def test_colours_become_luminance_and_alpha_is_laid_on_black():
    rgb = np.zeros((40, 40, 3), np.uint8)
    rgb[:, :20], rgb[:, 20:] = (200, 100, 50), (0, 0, 80)
    np.testing.assert_array_equal(images.grey_of(rgb)[0, [0, 39]], [124, 9])
    alpha = np.full((40, 40, 1), 255, np.uint8)
    alpha[:20] = 0
    laid = images.grey_of(np.concatenate([rgb, alpha], axis=2))
    np.testing.assert_array_equal(laid[[0, 39], 0], [0, 124])
    np.testing.assert_array_equal(laid, images.grey_of(Image.fromarray(np.concatenate([rgb, alpha], axis=2))))


def test_an_array_of_no_numbers_shows_nothing_and_says_so():
    with pytest.warns(ImageWarning) as said:
        grey = images.grey_of(np.full((8, 8), np.nan))
    assert grey.max() == 0
    assert [str(warning.message).partition(":")[2].strip() for warning in said] == [
        "not finite: 64 pixels are not a number or infinite; shown black, +∞ white",
        "flat picture: nearly one grey (mean 0, standard deviation 0.0 of 255)",
    ]

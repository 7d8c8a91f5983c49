import contextlib
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from cxr_jax.data import images
from cxr_jax.errors import InputError

# Four flat quarters: any mode keeps them apart, and a flip or a turn would show.
QUARTERS = np.kron(np.array([[0, 85], [170, 255]], np.uint8), np.ones((16, 24), np.uint8))


def palette_image(grey, mode="P"):
    """A picture whose palette runs backwards, so that indices and brightness differ."""
    image = Image.fromarray(255 - grey).convert("P")
    image.putpalette([255 - i // 3 for i in range(768)])
    return image.convert(mode) if mode != "P" else image


def with_alpha(image, alpha):
    image = image.copy()
    image.putalpha(Image.fromarray(alpha))
    return image


def saved(folder, image, name="image.png", **options):
    image.save(folder / name, **options)
    return folder / name


@pytest.mark.parametrize(
    ("image", "name", "expected"),
    [
        (Image.fromarray(QUARTERS), "l.png", QUARTERS),
        (Image.fromarray(QUARTERS > 100), "bits.png", np.where(QUARTERS > 100, 255, 0)),
        (palette_image(QUARTERS), "p.png", QUARTERS),
        (Image.fromarray(QUARTERS).convert("RGB"), "rgb.png", QUARTERS),
        (with_alpha(Image.fromarray(QUARTERS), np.full_like(QUARTERS, 255)), "la.png", QUARTERS),
        (with_alpha(Image.fromarray(QUARTERS).convert("RGB"), np.full_like(QUARTERS, 255)), "rgba.png", QUARTERS),
        (with_alpha(Image.fromarray(QUARTERS), np.where(QUARTERS == 170, 0, 255).astype(np.uint8)), "hole.png",
         np.where(QUARTERS == 170, 0, QUARTERS)),
        (with_alpha(Image.fromarray(QUARTERS), np.full_like(QUARTERS, 51)), "veil.png", QUARTERS / 5),
        (Image.fromarray(QUARTERS).convert("RGB").convert("CMYK"), "cmyk.tif", QUARTERS),
        (Image.fromarray(QUARTERS.astype(np.uint16) * 257), "sixteen.png", QUARTERS),
        (Image.fromarray((QUARTERS.astype(int) * 4095 // 255).astype(np.uint16)), "twelve.png", QUARTERS),
        (Image.fromarray((QUARTERS.astype(int) * 4095 // 255).astype(np.uint16)), "twelve.tif", QUARTERS),
        (Image.fromarray((QUARTERS.astype(np.int32) * 1023) // 255), "int32.tif", QUARTERS),
        (Image.fromarray(QUARTERS.astype(np.int32) - 40), "below_zero.tif", np.clip(QUARTERS, 40, None) - 40),
        (Image.fromarray(QUARTERS.astype(np.float32)), "float.tif", QUARTERS),
        (Image.fromarray(QUARTERS.astype(np.float32) / 255), "unit_float.tif", QUARTERS),
        (Image.fromarray(np.where(QUARTERS == 0, np.nan, QUARTERS).astype(np.float32)), "nan.tif", QUARTERS),
        (Image.fromarray(np.zeros((6, 6), np.uint16)), "black.png", np.zeros((6, 6))),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_every_mode_becomes_grey_of_the_expected_brightness(tmp_path, image, name, expected):
    grey = images.read_grey(saved(tmp_path, image, name))
    assert grey.dtype == np.uint8
    np.testing.assert_allclose(grey.astype(float), expected, atol=1)


def test_palette_with_transparency_is_laid_on_black(tmp_path):
    image = Image.fromarray(QUARTERS).quantize(4)
    index = image.getpixel((0, 31))  # the 170 quarter
    grey = images.read_grey(saved(tmp_path, image, transparency=index))
    np.testing.assert_allclose(grey, np.where(QUARTERS == 170, 0, QUARTERS), atol=1)
    several = bytes(0 if i == index else 255 for i in range(4))
    np.testing.assert_array_equal(images.read_grey(saved(tmp_path, image, transparency=several)), grey)


def test_palette_with_alpha_channel():
    image = with_alpha(palette_image(QUARTERS), np.where(QUARTERS == 85, 0, 255).astype(np.uint8))
    grey = images.to_grey(image.convert("PA") if image.mode != "PA" else image)
    np.testing.assert_allclose(grey, np.where(QUARTERS == 85, 0, QUARTERS), atol=1)


def test_colour_becomes_luminance(tmp_path):
    image = Image.new("RGB", (4, 4), (0, 255, 0))
    assert np.all(images.read_grey(saved(tmp_path, image)) == 150)


def test_a_photograph_is_turned_as_its_exif_says(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # stored a quarter turn to the left
    upright = Image.fromarray(QUARTERS)
    file = saved(tmp_path, upright.rotate(90, expand=True), "turned.jpg", exif=exif, quality=95)
    grey = images.read_grey(file)
    assert grey.shape == QUARTERS.shape
    np.testing.assert_allclose(grey.astype(float), QUARTERS, atol=30)
    assert np.abs(grey - QUARTERS.astype(float)).mean() < 3


# What cannot be read


def refused(path):
    with pytest.raises(InputError) as error:
        images.read_grey(path)
    message = str(error.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message


@pytest.mark.parametrize("suffix", ["png", "jpg"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.95])
def test_truncated_images_are_refused(tmp_path, suffix, share):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)
    file = saved(tmp_path, Image.fromarray(noise), f"cut.{suffix}")
    whole = file.read_bytes()
    file.write_bytes(whole[: int(share * len(whole))])
    assert any(word in refused(file) for word in ("damaged", "not an image"))


@given(at=st.integers(0, 2000), value=st.integers(0, 255))
def test_a_flipped_byte_never_escapes_as_another_error(tmp_path_factory, at, value):
    file = tmp_path_factory.getbasetemp() / "flipped.png"
    noise = np.random.default_rng(0).integers(0, 256, (40, 40), np.uint8)
    data = bytearray(images.encode_png(noise))
    data[at % len(data)] = value
    file.write_bytes(data)
    with contextlib.suppress(InputError):
        assert images.read_grey(file).shape == (40, 40)


def test_what_is_no_image_is_refused(tmp_path):
    (tmp_path / "text.png").write_text("no pixels here")
    (tmp_path / "empty.png").touch()
    assert "not an image" in refused(tmp_path / "text.png")
    assert "not an image" in refused(tmp_path / "empty.png")
    assert "no such image" in refused(tmp_path / "missing.png")
    refused(tmp_path)


def test_any_error_of_the_decoder_becomes_one_line(tmp_path, monkeypatch):
    def fail(*_):
        raise struct.error("required argument\nis not an integer")  # as Pillow does on some damaged EXIF data

    monkeypatch.setattr(images.ImageOps, "exif_transpose", fail)
    file = saved(tmp_path, Image.fromarray(QUARTERS))
    with pytest.raises(InputError, match="damaged"):
        images.read_grey(file)


def test_a_decompression_bomb_is_refused(tmp_path, monkeypatch):
    file = saved(tmp_path, Image.fromarray(QUARTERS))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", QUARTERS.size // 3)
    assert "too many pixels" in refused(file)


@pytest.mark.parametrize(("folder", "count"), [("covid_cxr/originals", 8), ("iu_xray/NLMCXR_png", 8)])
def test_real_images_can_be_read(shared, folder, count):
    files = sorted((shared / "data" / folder).iterdir())
    assert len(files) == count
    for file in files:
        grey = images.read_grey(file)
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

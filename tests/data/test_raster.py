"""Every mode and kind of PNG, JPEG, TIFF and the like, as a user would meet them."""

import contextlib
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from cxr_jax.data import images, raster
from cxr_jax.data.grey import kind_of
from cxr_jax.errors import InputError
from tests.data.test_grey import a_radiograph, by_hand

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


def grey_of(file):
    """What the file looks like, whatever is said of it."""
    return raster.read_raster(file).grey


def kinds_of(file):
    """The kinds of what is said of it."""
    return [kind_of(warning) for warning in raster.read_raster(file).warnings]


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
        (with_alpha(Image.fromarray(QUARTERS), np.full_like(QUARTERS, 51)), "veil.png", QUARTERS),
        (Image.fromarray(QUARTERS).convert("RGB").convert("CMYK"), "cmyk.tif", QUARTERS),
        (Image.fromarray(QUARTERS.astype(np.uint16) * 257), "sixteen.png", QUARTERS),
        (Image.fromarray((QUARTERS.astype(int) * 4095 // 255).astype(np.uint16)), "twelve.png", QUARTERS),
        (Image.fromarray((QUARTERS.astype(int) * 4095 // 255).astype(np.uint16)), "twelve.tif", QUARTERS),
        (Image.fromarray((QUARTERS.astype(np.int32) * 1023) // 255), "int32.tif", QUARTERS),
        (Image.fromarray(QUARTERS.astype(np.int32) - 40), "below_zero.tif", QUARTERS),
        (Image.fromarray(QUARTERS.astype(np.float32)), "float.tif", QUARTERS),
        (Image.fromarray(QUARTERS.astype(np.float32) / 255), "unit_float.tif", QUARTERS),
        (Image.fromarray(np.where(QUARTERS == 0, np.nan, QUARTERS).astype(np.float32)), "nan.tif",
         np.clip((QUARTERS.astype(float) - 85) * 1.5, 0, None)),
        (Image.fromarray(np.zeros((6, 6), np.uint16)), "black.png", np.zeros((6, 6))),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_every_mode_becomes_grey_of_the_expected_brightness(tmp_path, image, name, expected):
    grey = grey_of(saved(tmp_path, image, name))
    assert grey.dtype == np.uint8
    np.testing.assert_allclose(grey.astype(float), expected, atol=1)


def test_palette_with_transparency_is_laid_on_black(tmp_path):
    image = Image.fromarray(QUARTERS).quantize(4)
    index = image.getpixel((0, 31))  # the 170 quarter
    grey = grey_of(saved(tmp_path, image, transparency=index))
    np.testing.assert_allclose(grey, np.where(QUARTERS == 170, 0, QUARTERS), atol=1)
    several = bytes(0 if i == index else 255 for i in range(4))
    np.testing.assert_array_equal(grey_of(saved(tmp_path, image, transparency=several)), grey)


def test_palette_with_alpha_channel():
    image = with_alpha(palette_image(QUARTERS), np.where(QUARTERS == 85, 0, 255).astype(np.uint8))
    grey = raster.to_grey(image.convert("PA") if image.mode != "PA" else image).grey
    np.testing.assert_allclose(grey, np.where(QUARTERS == 85, 0, QUARTERS), atol=1)


def test_colour_becomes_luminance(tmp_path):
    image = Image.new("RGB", (4, 4), (0, 255, 0))
    assert np.all(grey_of(saved(tmp_path, image)) == 150)


def test_a_photograph_is_turned_as_its_exif_says(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # stored a quarter turn to the left
    upright = Image.fromarray(QUARTERS)
    file = saved(tmp_path, upright.rotate(90, expand=True), "turned.jpg", exif=exif, quality=95)
    grey = grey_of(file)
    assert grey.shape == QUARTERS.shape
    np.testing.assert_allclose(grey.astype(float), QUARTERS, atol=30)
    assert np.abs(grey - QUARTERS.astype(float)).mean() < 3


# What cannot be read


def refused(path):
    with pytest.raises(InputError) as error:
        grey_of(path)
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
        assert grey_of(file).shape == (40, 40)


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

    monkeypatch.setattr(raster.ImageOps, "exif_transpose", fail)
    file = saved(tmp_path, Image.fromarray(QUARTERS))
    with pytest.raises(InputError, match="damaged"):
        grey_of(file)


def test_a_decompression_bomb_is_refused(tmp_path, monkeypatch):
    file = saved(tmp_path, Image.fromarray(QUARTERS))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", QUARTERS.size // 3)
    assert "too many pixels" in refused(file)


# More than 8 bits


RADIOGRAPH = a_radiograph()
RIGHT = by_hand(RADIOGRAPH)


@pytest.mark.parametrize(
    ("values", "name", "options"),
    [
        (RADIOGRAPH, "x.png", {}),
        (RADIOGRAPH, "x.tif", {}),
        (RADIOGRAPH, "x.tif", {"compression": "tiff_lzw"}),
        ((RADIOGRAPH / 4095).astype(np.float32), "x.tif", {}),
        ((RADIOGRAPH / 2048 - 1).astype(np.float32), "x.tif", {}),
        (RADIOGRAPH.astype(np.int32) - 2000, "x.tif", {}),
        ((30_000 + RADIOGRAPH * (1600 / 4095)).round().astype(np.uint16), "x.png", {}),
    ],
)
def test_the_range_is_the_pictures_own(tmp_path, values, name, options):
    file = saved(tmp_path, Image.fromarray(values), name, **options)
    np.testing.assert_allclose(grey_of(file), RIGHT, atol=1)
    assert not kinds_of(file)


def test_one_bright_pixel_does_not_halve_the_brightness(tmp_path):
    values = a_radiograph(top=2047)
    values[7, 9] = 2100
    file = saved(tmp_path, Image.fromarray(values))
    np.testing.assert_allclose(grey_of(file), by_hand(values), atol=1)
    assert grey_of(file).mean() == pytest.approx(RIGHT.mean(), abs=1)


def test_a_burnt_in_letter_is_no_part_of_the_range(tmp_path):
    values = RADIOGRAPH.copy()
    values[10:30, 10:35] = 65_535
    file = saved(tmp_path, Image.fromarray(values))
    np.testing.assert_allclose(grey_of(file)[values < 65_535], RIGHT[values < 65_535], atol=2)
    assert kinds_of(file) == ["range cut"]


def with_tag(file, number, value):
    """A TIFF's tag of one short, overwritten."""
    data = bytearray(file.read_bytes())
    directory = struct.unpack_from("<I", data, 4)[0]
    for entry in range(struct.unpack_from("<H", data, directory)[0]):
        at = directory + 2 + 12 * entry
        if struct.unpack_from("<H", data, at)[0] == number:
            struct.pack_into("<HHII", data, at, number, 3, 1, value)
    file.write_bytes(data)
    return file


def test_white_may_be_zero_in_a_tiff_of_any_depth(tmp_path):
    deep = with_tag(saved(tmp_path, Image.fromarray(RADIOGRAPH), "deep.tif"), raster.PHOTOMETRIC, 0)
    np.testing.assert_allclose(grey_of(deep), 255 - RIGHT, atol=1)
    flat = with_tag(saved(tmp_path, Image.fromarray(QUARTERS), "flat.tif"), raster.PHOTOMETRIC, 0)
    np.testing.assert_array_equal(grey_of(flat), 255 - QUARTERS)


def test_unsigned_32_bits_reach_above_the_signed(tmp_path):
    values = RADIOGRAPH.astype(np.uint32) * 10**6
    file = with_tag(saved(tmp_path, Image.fromarray(values.view(np.int32)), "x.tif"), raster.SAMPLE_FORMAT, 1)
    np.testing.assert_allclose(grey_of(file), RIGHT, atol=1)


def png(values, kind):
    """A PNG of uint16 (H, W, channels), of a colour type: Pillow writes none of 16 bits and several channels."""

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    height, width = values.shape[:2]
    big = values.astype(values.dtype.newbyteorder(">"))
    size = values.itemsize * values.shape[2]
    rows = [row.tobytes() for row in big]
    # Filter 1: each byte less the one a pixel to its left.
    lines = [b"\1" + bytes((b - a) % 256 for a, b in zip(bytes(size) + row, row, strict=False)) for row in rows]
    head = struct.pack(">IIBBBBB", width, height, 8 * values.itemsize, kind, 0, 0, 0)
    return raster.PNG + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"".join(lines))) + chunk(b"IEND", b"")


def test_grey_of_16_bits_with_alpha(tmp_path):
    file = tmp_path / "x.png"
    opaque = np.full_like(RADIOGRAPH, 65_535)
    file.write_bytes(png(np.stack([RADIOGRAPH, opaque], axis=-1), 4))
    np.testing.assert_allclose(grey_of(file), RIGHT, atol=1)
    assert not kinds_of(file)
    file.write_bytes(png(np.stack([RADIOGRAPH, 0 * opaque], axis=-1), 4))
    np.testing.assert_allclose(grey_of(file), RIGHT, atol=1)
    assert kinds_of(file) == ["alpha left out"]
    file.write_bytes(png(np.stack([RADIOGRAPH, opaque], axis=-1), 4)[:3000])
    assert "damaged" in refused(file)


def test_colours_of_16_bits_are_read_as_far_as_they_can_be(tmp_path):
    file = tmp_path / "x.png"
    file.write_bytes(png(np.stack([RADIOGRAPH << 4] * 3, axis=-1), 2))
    np.testing.assert_allclose(grey_of(file), RIGHT, atol=2)
    assert not kinds_of(file)
    file.write_bytes(png(np.stack([RADIOGRAPH] * 3, axis=-1), 2))
    np.testing.assert_allclose(grey_of(file), RIGHT, atol=25)
    assert kinds_of(file) == ["16-bit colour"]


# Transparency


@pytest.mark.parametrize("alpha", [0, 1, 51, 254, 255])
@pytest.mark.parametrize("other", [0, 255, None])
def test_an_alpha_that_is_the_same_everywhere_is_no_part_of_the_picture(tmp_path, alpha, other):
    opaque = np.full(RADIOGRAPH.shape, alpha, np.uint8)
    grey = (RADIOGRAPH >> 4).astype(np.uint8)
    expected = grey.copy()
    if other is not None:
        opaque[5, 6] = other  # one pixel tips nothing
        expected[5, 6] = grey[5, 6] * (other / 255) if alpha == 255 else grey[5, 6]
    file = saved(tmp_path, with_alpha(Image.fromarray(grey).convert("RGB"), opaque))
    np.testing.assert_allclose(grey_of(file).astype(float), expected, atol=1)
    assert kinds_of(file) == ([] if alpha == 255 else ["alpha left out"])


@pytest.mark.parametrize("colour", [0, 255])
def test_alpha_may_be_the_only_picture(tmp_path, colour):
    grey = (RADIOGRAPH >> 4).astype(np.uint8)
    file = saved(tmp_path, with_alpha(Image.new("RGB", grey.shape[::-1], (colour,) * 3), grey))
    np.testing.assert_allclose(grey_of(file), grey, atol=1)
    assert kinds_of(file) == ["alpha shown"]


def test_an_alpha_that_blots_the_picture_out_is_left_out(tmp_path):
    grey = (RADIOGRAPH >> 4).astype(np.uint8)
    alpha = np.zeros_like(grey)
    alpha[:2] = 2
    file = saved(tmp_path, with_alpha(Image.fromarray(grey), alpha))
    np.testing.assert_array_equal(grey_of(file), grey)
    assert kinds_of(file) == ["alpha left out"]


# Other kinds of files


@pytest.mark.parametrize(("name", "what"), [("x.tif", "3 pages"), ("x.webp", "3 frames"), ("x.png", "3 frames")])
def test_several_pictures_are_none(tmp_path, name, what):
    more = [Image.fromarray(255 - QUARTERS), Image.fromarray(QUARTERS // 2)]
    file = saved(tmp_path, Image.fromarray(QUARTERS), name, save_all=True, append_images=more)
    assert f"holds {what}; export the one that is meant" in refused(file)


def test_a_small_copy_beside_a_page_is_no_page(tmp_path):
    small = Image.fromarray(QUARTERS[::2, ::2])
    small.encoderinfo = {"tiffinfo": {raster.NEW_SUBFILE_TYPE: 1}}
    file = saved(tmp_path, Image.fromarray(QUARTERS), "x.tif", save_all=True, append_images=[small])
    np.testing.assert_array_equal(grey_of(file), QUARTERS)


@pytest.mark.parametrize("values", [QUARTERS, RADIOGRAPH])
@pytest.mark.parametrize(("orientation", "stored"), [(3, 2), (6, 1), (8, 3)])
@pytest.mark.parametrize("name", ["x.png", "x.tif", "packed.tif"])
def test_every_format_is_turned_as_its_exif_says_and_once(tmp_path, values, orientation, stored, name):
    image = Image.fromarray(np.ascontiguousarray(np.rot90(values, stored)))
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"compression": "tiff_lzw"} if name == "packed.tif" else {}
    file = saved(tmp_path, image, name, exif=exif, **options)
    upright = saved(tmp_path, Image.fromarray(values), "upright.png")
    np.testing.assert_array_equal(grey_of(file), grey_of(upright))


@pytest.mark.parametrize("name", ["x.png", "x.tif", "x.jpg", "x.bmp", "x.webp"])
def test_a_flat_picture_is_said_to_be_one(tmp_path, name):
    assert kinds_of(saved(tmp_path, Image.new("L", (40, 30), 90), name)) == ["flat picture"]


def test_lab_is_its_lightness(tmp_path):
    neutral = Image.new("L", QUARTERS.shape[::-1], 128)
    file = saved(tmp_path, Image.merge("LAB", [Image.fromarray(QUARTERS), neutral, neutral]), "x.tif")
    np.testing.assert_array_equal(grey_of(file), QUARTERS)


def test_eight_bits_stay_as_they_are(tmp_path):
    """Also where a window or a range could be guessed: dark, bright, with a hot pixel."""
    values = 40 + RADIOGRAPH // 64
    values[3, 3] = 255
    values = values.astype(np.uint8)
    for name in ("x.png", "x.bmp", "x.tif"):
        np.testing.assert_array_equal(grey_of(saved(tmp_path, Image.fromarray(values), name)), values)


def test_what_pillow_warns_of_is_not_shown(tmp_path, capfd):
    file = saved(tmp_path, Image.fromarray(QUARTERS), "x.tif")
    file.write_bytes(with_tag(file, 258, 99).read_bytes())
    refused(file)
    assert capfd.readouterr() == ("", "")


def test_a_png_that_breaks_off_is_refused(tmp_path):
    """Interrupted downloads leave zeros, or fewer rows in a file that is whole: Pillow shows black for both."""
    grey = np.random.default_rng(0).integers(40, 200, (300, 200), np.uint8)
    whole = images.encode_png(grey)
    file = tmp_path / "a.png"
    for share in (0.2, 0.5, 0.9):
        kept = int(share * len(whole))
        file.write_bytes(whole[:kept] + bytes(len(whole) - kept))
        with pytest.raises(InputError, match=r"a\.png: damaged image"):
            raster.read_raster(file)
    file.write_bytes(images.encode_png(grey[:100]))
    data = bytearray(file.read_bytes())
    data[20:24] = (300).to_bytes(4, "big")
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    file.write_bytes(data)
    with pytest.raises(InputError, match=r"a\.png: damaged image"):
        raster.read_raster(file)
    grey[250:] = 0
    file.write_bytes(images.encode_png(grey))
    np.testing.assert_array_equal(raster.read_raster(file).grey, grey)


def test_signed_bytes_of_a_tiff_are_read_as_such(tmp_path):
    values = np.tile(np.arange(-128, 128, dtype=np.int8), (32, 1))
    file = tmp_path / "a.tif"
    Image.fromarray(values.view(np.uint8)).save(file, tiffinfo={339: 2})
    np.testing.assert_allclose(raster.read_raster(file).grey[0].astype(int), np.arange(256), atol=1)


def test_colour_of_16_bits_in_separate_planes_is_refused_in_words(tmp_path):
    file = tmp_path / "a.tif"
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(file, tiffinfo={284: 2})
    data = bytearray(file.read_bytes())
    at = data.index(struct.pack("<HHI", 258, 3, 3))  # Bits Per Sample, its three values elsewhere
    values = struct.unpack_from("<I", data, at + 8)[0]
    data[values : values + 6] = struct.pack("<3H", 16, 16, 16)
    file.write_bytes(data)
    with pytest.raises(InputError, match=r"a\.tif: "):
        raster.read_raster(file)

import contextlib
import struct
import sys
from pathlib import Path

import numpy as np
import openjpeg
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    RLELossless,
    SecondaryCaptureImageStorage,
    generate_uid,
)

from cxr_jax import retrieve
from cxr_jax.data import dicom, images
from cxr_jax.data.grey import kind_of
from cxr_jax.errors import InputError
from tests.data.test_grey import a_radiograph, by_hand

RADIOGRAPH = a_radiograph()  # 12 bits
RIGHT = by_hand(RADIOGRAPH)
RAMP = np.linspace(0, 4095, 32 * 40).round().astype(np.uint16).reshape(32, 40)  # 12 bit, every value its own
SHIPPED = Path(pydicom.__file__).parent / "data" / "test_files"  # pydicom installs these; nothing is downloaded


def a_dataset(values, bits=None, kind="MONOCHROME2", **attributes):
    """A dataset of `values`, (H, W) or (H, W, 3), of which `bits` are stored; more attributes by keyword."""
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = SecondaryCaptureImageStorage, generate_uid()
    dataset.Rows, dataset.Columns = values.shape[:2]
    dataset.SamplesPerPixel = 1 if values.ndim == 2 else 3
    if values.ndim == 3:
        dataset.PlanarConfiguration = 0
    dataset.PhotometricInterpretation = kind
    dataset.BitsAllocated = 8 * values.itemsize
    dataset.BitsStored = bits or dataset.BitsAllocated
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(values.dtype.kind == "i")
    for name, value in attributes.items():
        setattr(dataset, name, value)
    return dataset


def saved(folder, values, name="image.dcm", syntax=ExplicitVRLittleEndian, stream=None, dataset=None, **more):
    """Writes `values`, or the already encoded `stream` of them."""
    dataset = a_dataset(values, **more) if dataset is None else dataset
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    if stream is not None:
        dataset.PixelData = encapsulate([stream])
        dataset["PixelData"].is_undefined_length = True
    else:
        raw = values.astype(values.dtype.newbyteorder(">" if syntax == ExplicitVRBigEndian else "<")).tobytes()
        dataset.PixelData = raw + b"\0" * (len(raw) % 2)
    dataset["PixelData"].VR = "OB" if stream is not None or values.itemsize == 1 else "OW"
    dataset.save_as(folder / name, enforce_file_format=True)
    return folder / name


def table(entries, first, bits):
    """A sequence with one lookup table."""
    item = Dataset()
    item.LUTDescriptor = [len(entries) % 2**16, first, bits]
    item.LUTData = [int(entry) for entry in entries]
    item["LUTDescriptor"].VR = item["LUTData"].VR = "US"
    return [item]


def stretched(values):
    """The rule by hand: of the pixels one in a thousand at either end has no say in what is black and white."""
    ordered = np.sort(values.astype(float).ravel())
    low, high = ordered[len(ordered) // 1000], ordered[-1 - len(ordered) // 1000]
    return np.round(np.clip((values - low) / (high - low), 0, 1) * 255)


def lossless_jpeg(values, bits=16):
    """A JPEG of process 14, selection value 1 (ITU-T T.81 annex H): each value less its left neighbour's."""
    height, width = values.shape
    start = np.concatenate([[1 << (bits - 1)], values[:-1, 0]])
    left = np.concatenate([start[:, None], values[:, :-1]], axis=1).astype(int)
    text = ""
    for difference in ((values.astype(int) - left + 2**15) % 2**16 - 2**15).ravel():
        size = int(abs(difference)).bit_length()
        text += f"{size:05b}"  # every size has a code of 5 bits
        if 0 < size < 16:
            text += f"{difference if difference > 0 else difference + 2**size - 1:0{size}b}"
    text += "1" * (-len(text) % 8)
    scan = int(text, 2).to_bytes(len(text) // 8).replace(b"\xff", b"\xff\x00")
    frame = struct.pack(">BBHBHHBBBB", 0xFF, 0xC3, 11, bits, height, width, 1, 1, 0x11, 0)
    codes = struct.pack(">BBHB", 0xFF, 0xC4, 19 + 17, 0) + bytes([0, 0, 0, 0, 17, *[0] * 11, *range(17)])
    head = struct.pack(">BBHBBBBBB", 0xFF, 0xDA, 8, 1, 1, 0, 1, 0, 0)
    return b"\xff\xd8" + frame + codes + head + scan + b"\xff\xd9"


def grey_of(file):
    """What the file looks like, whatever is said of it."""
    return dicom.read_dicom(file).grey


def kinds_of(file):
    """The kinds of what is said of it."""
    return [kind_of(warning) for warning in dicom.read_dicom(file).warnings]


def refused(path, read=dicom.read_dicom):
    with pytest.raises(InputError) as error:
        read(path)
    message = str(error.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


# From stored values to grey


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, RLELossless])
def test_twelve_bits_in_sixteen_reach_from_black_to_white(tmp_path, syntax):
    file = saved(tmp_path, RAMP, bits=12, syntax=syntax if syntax != RLELossless else ExplicitVRLittleEndian)
    if syntax == RLELossless:
        dataset = pydicom.dcmread(file)
        dataset.compress(RLELossless, encoding_plugin="pydicom")
        dataset.save_as(file)
    grey = grey_of(file)
    assert grey.dtype == np.uint8
    np.testing.assert_array_equal(grey, stretched(RAMP))


@pytest.mark.parametrize("values", [RAMP, (RAMP // 16).astype(np.uint8), RAMP.astype(np.int16) - 2048])
def test_inverse_photometry_of_the_complement_is_the_same_image(tmp_path, values):
    bits = 8 if values.itemsize == 1 else 12
    complement = -1 - values if values.dtype.kind == "i" else 2**bits - 1 - values
    plain = grey_of(saved(tmp_path, values, bits=bits))
    inverse = grey_of(saved(tmp_path, complement.astype(values.dtype), bits=bits, kind="MONOCHROME1"))
    np.testing.assert_array_equal(plain, inverse)
    assert plain[0, 0] == 0
    assert plain[-1, -1] == 255


def test_eight_bits_keep_their_brightness(tmp_path):
    values = np.array([[40, 80], [120, 200]], np.uint8)
    np.testing.assert_array_equal(grey_of(saved(tmp_path, values)), values)
    np.testing.assert_array_equal(grey_of(saved(tmp_path, values // 16, bits=4)), values // 16 * 17)
    np.testing.assert_array_equal(grey_of(saved(tmp_path, values, RescaleSlope=1, RescaleIntercept=0)), values)


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.uint16, np.uint32])
def test_signed_and_unsigned(tmp_path, dtype):
    values = np.array([[-100, -50], [0, 100]]) + (0 if np.dtype(dtype).kind == "i" else 100)
    np.testing.assert_array_equal(grey_of(saved(tmp_path, values.astype(dtype))), [[0, 64], [128, 255]])


def test_bits_that_are_not_stored_do_not_count(tmp_path):
    overlay = RAMP | (np.arange(RAMP.size, dtype=np.uint16).reshape(RAMP.shape) % 16 << 12)
    np.testing.assert_array_equal(grey_of(saved(tmp_path, overlay, bits=12)), stretched(RAMP))


def test_windows_by_hand(tmp_path):
    """PS3.3 C.11.2.1.2: centre 2048, width 4096 is the identity of 12 bits; of 2048 with width 101, 1998 to 2098."""
    values = np.array([[0, 1997, 1998, 2023], [2047, 2048, 2097, 4095]], np.uint16)
    wide = grey_of(saved(tmp_path, values, bits=12, WindowCenter=2048, WindowWidth=4096))
    np.testing.assert_array_equal(wide, np.round(values / 4095 * 255))
    narrow = grey_of(saved(tmp_path, values, bits=12, WindowCenter=["2048", "9"], WindowWidth=["101", "9"]))
    np.testing.assert_array_equal(narrow, [[0, 0, 1, 65], [126, 129, 254, 255]])
    exact = dict(WindowCenter=2048, WindowWidth=100, VOILUTFunction="LINEAR_EXACT")
    np.testing.assert_array_equal(
        grey_of(saved(tmp_path, values, bits=12, **exact)), [[0, 0, 0, 64], [125, 128, 252, 255]]
    )
    sigmoid = exact | {"VOILUTFunction": "SIGMOID"}
    np.testing.assert_array_equal(
        grey_of(saved(tmp_path, values, bits=12, **sigmoid)), [[0, 29, 30, 69], [125, 128, 224, 255]]
    )
    step = grey_of(saved(tmp_path, values, bits=12, WindowCenter=2048, WindowWidth=1))
    np.testing.assert_array_equal(step, np.where(values >= 2048, 255, 0))


@pytest.mark.parametrize("window", [(2048, 0), (2048, -5), (2048, None), (None, 100), ("", 100), ([], 3)])
def test_a_window_that_is_none_is_left_out(tmp_path, window):
    file = saved(tmp_path, RAMP, bits=12, WindowCenter=window[0], WindowWidth=window[1])
    np.testing.assert_array_equal(grey_of(file), stretched(RAMP))


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize("rescale", [{}, {"RescaleSlope": 2.5, "RescaleIntercept": -1024}])
@pytest.mark.parametrize("signed", [False, True])
def test_windows_are_pydicoms(tmp_path, function, rescale, signed):
    values = RAMP.astype(np.int16) - 2048 if signed else RAMP
    window = dict(WindowCenter=700.5, WindowWidth=1234, VOILUTFunction=function)
    dataset = a_dataset(values, bits=12, **window, **rescale)
    theirs = pydicom.pixels.apply_voi_lut(pydicom.pixels.apply_modality_lut(values, dataset), dataset)
    low, high = (-2048, 2047) if signed else (0, 4095)
    low, high = (end * rescale.get("RescaleSlope", 1) + rescale.get("RescaleIntercept", 0) for end in (low, high))
    ours = grey_of(saved(tmp_path, values, dataset=dataset))
    np.testing.assert_allclose(ours, (theirs - low) / (high - low) * 255, atol=0.5 + 1e-9)


def test_a_window_is_in_rescaled_units(tmp_path):
    values = np.array([[0, 1024], [1074, 2000]], np.uint16)
    hounsfield = dict(RescaleSlope=1, RescaleIntercept=-1024, WindowCenter=0.5, WindowWidth=101)
    np.testing.assert_array_equal(grey_of(saved(tmp_path, values, **hounsfield)), [[0, 128], [255, 255]])


def test_a_negative_slope_inverts(tmp_path):
    file = saved(tmp_path, RAMP, bits=12, RescaleSlope=-1, RescaleIntercept=4095)
    np.testing.assert_array_equal(grey_of(file), stretched(4095 - RAMP.astype(int)))


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ExplicitVRBigEndian])
@pytest.mark.parametrize("packed", ["US", "OW"])
@pytest.mark.parametrize("prefer", [{}, {"WindowCenter": 7, "WindowWidth": 3}])
def test_a_lookup_table_comes_before_a_window(tmp_path, syntax, packed, prefer):
    values = np.array([[0, 99, 100], [101, 103, 4095]], np.uint16)
    entries = np.array([0, 1023, 4095, 2048])
    sequence = table(entries, 100, 12)
    if packed == "OW":
        sequence[0]["LUTData"].VR = "OW"
        sequence[0].LUTData = entries.astype(">u2" if syntax == ExplicitVRBigEndian else "<u2").tobytes()
    file = saved(tmp_path, values, bits=12, syntax=syntax, VOILUTSequence=sequence, **prefer)
    np.testing.assert_array_equal(grey_of(file), [[0, 0, 0], [64, 128, 128]])


def test_the_lookup_table_is_pydicoms(tmp_path):
    curve = np.round(4095 * np.sqrt(np.linspace(0, 1, 3000)))
    dataset = a_dataset(RAMP, bits=12, VOILUTSequence=table(curve, 200, 12))
    theirs = pydicom.pixels.apply_voi_lut(RAMP, dataset)
    ours = grey_of(saved(tmp_path, RAMP, dataset=dataset))
    np.testing.assert_array_equal(ours, np.round(theirs / 4095 * 255))


def test_an_empty_lookup_table_leaves_the_window(tmp_path):
    file = saved(tmp_path, RAMP, bits=12, VOILUTSequence=[Dataset()], WindowCenter=2048, WindowWidth=4096)
    np.testing.assert_array_equal(grey_of(file), np.round(RAMP / 4095 * 255))


def test_a_modality_table_comes_before_the_window(tmp_path):
    values = np.array([[0, 1], [2, 3]], np.uint16)
    sequence = table([0, 500, 1000, 1000], 0, 16)
    file = saved(tmp_path, values, ModalityLUTSequence=sequence, WindowCenter=500.5, WindowWidth=1001)
    np.testing.assert_array_equal(grey_of(file), [[0, 128], [255, 255]])


@pytest.mark.parametrize("kind", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize(("first", "limit"), [(-2000, None), (-2000, -1990), (-1990, -2000)])
def test_padding_is_black_and_has_no_say_in_the_range(tmp_path, kind, first, limit):
    values = np.array([[-2000, 0], [50, 100]], np.int16)
    dataset = a_dataset(values, kind=kind, PixelPaddingValue=first)
    if limit is not None:
        dataset.PixelPaddingRangeLimit = limit
    expected = {"MONOCHROME2": [[0, 0], [128, 255]], "MONOCHROME1": [[0, 255], [127, 0]]}[kind]
    np.testing.assert_array_equal(grey_of(saved(tmp_path, values, dataset=dataset)), expected)


def test_an_image_of_nothing_but_padding_is_black(tmp_path):
    file = saved(tmp_path, np.full((4, 4), 7, np.uint16), PixelPaddingValue=7)
    np.testing.assert_array_equal(grey_of(file), np.zeros((4, 4)))
    np.testing.assert_array_equal(grey_of(saved(tmp_path, np.full((4, 4), 7, np.uint16))), np.zeros((4, 4)))


def test_colour_becomes_luminance(tmp_path):
    colours = np.array([[[0, 255, 0], [255, 0, 0]], [[0, 0, 255], [200, 200, 200]]], np.uint8)
    np.testing.assert_array_equal(grey_of(saved(tmp_path, colours, kind="RGB")), [[150, 76], [29, 200]])
    # Of more than 8 bits the range is the picture's own: 29 to 200 becomes 0 to 255.
    np.testing.assert_array_equal(
        grey_of(saved(tmp_path, colours.astype(np.uint16) * 16, kind="RGB")), [[180, 70], [0, 255]]
    )
    ybr = np.asarray(Image.fromarray(colours).convert("YCbCr"))
    grey = grey_of(saved(tmp_path, ybr, kind="YBR_FULL"))
    np.testing.assert_allclose(grey.astype(int), [[150, 76], [29, 200]], atol=2)


# Where values lie in their words


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("high", [11, 13, 15])
def test_values_are_taken_from_below_the_high_bit(tmp_path, signed, high):
    values = RADIOGRAPH.astype(np.int16) - 2048 if signed else RADIOGRAPH
    shifted = values << (high - 11) if high == 15 or not signed else (values & 4095) << (high - 11)
    file = saved(tmp_path, shifted, bits=12, HighBit=high)
    np.testing.assert_array_equal(grey_of(file), RIGHT)
    assert not kinds_of(file)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("high", [10, 15, 99])
def test_a_high_bit_that_cannot_be_true_is_left_out(tmp_path, signed, high):
    values = RADIOGRAPH.astype(np.int16) - 2048 if signed else RADIOGRAPH
    file = saved(tmp_path, values, bits=12, HighBit=high)
    np.testing.assert_array_equal(grey_of(file), RIGHT)
    assert kinds_of(file) == ["High Bit left out"]
    values = values.copy()
    values[0, 0] = 30_000  # no single pixel tips it
    np.testing.assert_array_equal(grey_of(saved(tmp_path, values, bits=12, HighBit=high))[1:], RIGHT[1:])


def test_more_bits_than_are_stated_are_added_where_they_are_the_pictures(tmp_path):
    file = saved(tmp_path, RADIOGRAPH, bits=10)
    np.testing.assert_array_equal(grey_of(file), RIGHT)
    assert kinds_of(file) == ["bits added"]


@pytest.mark.parametrize("stated", [False, True])
def test_an_overlay_in_unused_bits_is_left_out(tmp_path, stated):
    overlay = RADIOGRAPH.copy()
    overlay[20:60:3, 30:90] |= 1 << 14
    dataset = a_dataset(overlay, bits=12)
    if stated:
        dataset.add_new((0x6000, 0x0102), "US", 14)
    file = saved(tmp_path, overlay, dataset=dataset)
    np.testing.assert_array_equal(grey_of(file), RIGHT)
    assert kinds_of(file) == ([] if stated else ["bits left out"])


def test_an_overlay_beside_the_pixels_is_left_out(tmp_path):
    dataset = a_dataset(RADIOGRAPH, bits=12)
    for element, kind, value in ((0x10, "US", 200), (0x11, "US", 160), (0x102, "US", 0), (0x3000, "OW", bytes(4000))):
        dataset.add_new((0x6000, element), kind, value)
    np.testing.assert_array_equal(grey_of(saved(tmp_path, RADIOGRAPH, dataset=dataset)), RIGHT)


# What else the header says


@pytest.mark.parametrize(
    ("kind", "shape", "inverse", "kinds"),
    [
        ("MONOCHROME1", None, True, []),
        ("MONOCHROME1", "INVERSE", True, []),
        ("MONOCHROME1", "IDENTITY", True, ["presentation LUT left out"]),
        ("MONOCHROME2", None, False, []),
        ("MONOCHROME2", "IDENTITY", False, []),
        ("MONOCHROME2", "INVERSE", False, ["presentation LUT left out"]),
        ("monochrome1 ", None, True, []),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")  # of pydicom, for what is written in small letters
def test_small_values_are_white_or_black_once(tmp_path, kind, shape, inverse, kinds):
    more = {} if shape is None else {"PresentationLUTShape": shape}
    for window in ({}, {"WindowCenter": 2048, "WindowWidth": 4096}):
        file = saved(tmp_path, RADIOGRAPH, bits=12, kind=kind, **more, **window)
        right = np.round(RADIOGRAPH / 4095 * 255) if window else RIGHT
        np.testing.assert_array_equal(grey_of(file), 255 - right if inverse else right)
        assert kinds_of(file) == kinds


@pytest.mark.parametrize("kind", ["RGB", "YBR_FULL", "GREY", None])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_photometric_interpretation_that_cannot_be_is_guessed_and_said(tmp_path, kind):
    file = saved(tmp_path, RADIOGRAPH, bits=12, kind=kind)
    np.testing.assert_array_equal(grey_of(file), RIGHT)
    assert dicom.read_dicom(file).warnings == (
        f"photometric interpretation taken for MONOCHROME2: it is {kind or 'missing'}, of 1 samples a pixel",
    )
    colours = np.stack([(RADIOGRAPH >> 4).astype(np.uint8)] * 3, axis=-1)
    file = saved(tmp_path, colours, kind="MONOCHROME2")
    np.testing.assert_array_equal(grey_of(file), RADIOGRAPH >> 4)
    assert kinds_of(file) == ["photometric interpretation taken for RGB"]


@pytest.mark.parametrize("bits", [8, 16])
def test_a_palette_becomes_its_colours_luminance(tmp_path, bits):
    indices = (RADIOGRAPH >> 4).astype(np.uint8)
    backwards = (255 - np.arange(256)) * (257 if bits == 16 else 1)
    dataset = a_dataset(indices, kind="PALETTE COLOR")
    for colour in ("Red", "Green", "Blue"):
        setattr(dataset, f"{colour}PaletteColorLookupTableDescriptor", [256, 0, bits])
        dataset[f"{colour}PaletteColorLookupTableDescriptor"].VR = "US"
        data = backwards.astype("<u2" if bits == 16 else "u1").tobytes()
        setattr(dataset, f"{colour}PaletteColorLookupTableData", data)
    np.testing.assert_array_equal(grey_of(saved(tmp_path, indices, dataset=dataset)), 255 - indices)


@pytest.mark.parametrize(
    ("attributes", "shape"),
    [
        ({"PixelAspectRatio": [2, 1]}, (400, 160)),
        ({"PixelAspectRatio": [1, 2]}, (200, 320)),
        ({"PixelAspectRatio": [1, 1], "PixelSpacing": ["0.1", "0.3"]}, (200, 160)),
        ({"PixelSpacing": ["0.15", "0.1"]}, (300, 160)),
        ({"ImagerPixelSpacing": ["0.1", "0.1001"]}, (200, 160)),
    ],
)
def test_pixels_become_square(tmp_path, attributes, shape):
    file = saved(tmp_path, RADIOGRAPH, bits=12, **attributes)
    assert grey_of(file).shape == shape
    again = np.asarray(Image.fromarray(grey_of(file)).resize((160, 200), Image.Resampling.BOX))
    assert np.abs(again.astype(float) - RIGHT).mean() < 4
    assert not kinds_of(file)


@pytest.mark.parametrize("ratio", [[0, 1], [1, 0], [1, 99], [-1, 1]])
def test_an_aspect_ratio_that_cannot_be_is_left_out(tmp_path, ratio):
    file = saved(tmp_path, RADIOGRAPH, bits=12, PixelAspectRatio=ratio)
    np.testing.assert_array_equal(grey_of(file), RIGHT)
    assert kinds_of(file) == ["pixel aspect ratio left out"]


# Without a preamble or a meta group


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian])
@pytest.mark.parametrize("name", ["image.dcm", "image"])
def test_a_bare_data_set_is_read(tmp_path, syntax, name):
    whole = saved(tmp_path, RADIOGRAPH, bits=12, syntax=syntax, WindowCenter=2048, WindowWidth=4096).read_bytes()
    start = b"\0\x08" if syntax == ExplicitVRBigEndian else b"\x08\0"
    bare = whole[whole.index(start + (b"\0\x16" if syntax == ExplicitVRBigEndian else b"\x16\0")) :]
    (tmp_path / name).write_bytes(bare)
    np.testing.assert_array_equal(images.read(tmp_path / name).grey, np.round(RADIOGRAPH / 4095 * 255))
    (tmp_path / name).write_bytes(whole[132:])  # the meta group, without what goes before it
    np.testing.assert_array_equal(images.read(tmp_path / name).grey, np.round(RADIOGRAPH / 4095 * 255))
    (tmp_path / name).write_bytes(whole[:132] + bare)
    np.testing.assert_array_equal(images.read(tmp_path / name).grey, np.round(RADIOGRAPH / 4095 * 255))


def test_compressed_pixels_without_a_transfer_syntax_are_refused(tmp_path):
    stream = bytes(openjpeg.encode(RAMP, bits_stored=12, photometric_interpretation=2, use_mct=False))
    whole = saved(tmp_path, RAMP, bits=12, syntax=JPEG2000Lossless, stream=stream).read_bytes()
    (tmp_path / "bare.dcm").write_bytes(whole[whole.index(b"\x08\0\x16\0") :])
    assert "no Transfer Syntax UID says how" in refused(tmp_path / "bare.dcm")


# Compressed


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_lossless_jpeg(tmp_path, bits):
    values = (RAMP >> (12 - bits) if bits < 12 else RAMP << (bits - 12)).astype(np.uint8 if bits == 8 else np.uint16)
    stream = lossless_jpeg(values, bits)
    file = saved(tmp_path, values, bits=bits, syntax=JPEGLosslessSV1, stream=stream)
    plain = saved(tmp_path, values, name="plain.dcm", bits=bits)
    np.testing.assert_array_equal(grey_of(file), grey_of(plain))


@pytest.mark.parametrize(("values", "bits"), [(RAMP, 12), (RAMP.astype(np.int16) - 2048, 12), (RAMP << 4, 16)])
def test_jpeg_2000(tmp_path, values, bits):
    stream = openjpeg.encode(values, bits_stored=bits, photometric_interpretation=2, use_mct=False)
    file = saved(tmp_path, values, bits=bits, syntax=JPEG2000Lossless, stream=bytes(stream))
    np.testing.assert_array_equal(grey_of(file), stretched(RAMP))


def test_baseline_jpeg(tmp_path):
    values = (RAMP // 16).astype(np.uint8)
    file = saved(tmp_path, values, syntax=JPEGBaseline8Bit, stream=images.encode_jpeg(values, 95))
    np.testing.assert_allclose(grey_of(file).astype(int), values, atol=6)


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("MR_small_RLE.dcm", "MR_small.dcm"),
        ("MR_small_jp2klossless.dcm", "MR_small.dcm"),
        ("MR_small_jpeg_ls_lossless.dcm", "MR_small.dcm"),
        ("MR_small_implicit.dcm", "MR_small.dcm"),
        ("SC_rgb_jpeg_gdcm.dcm", "SC_rgb_rle.dcm"),
    ],
)
def test_shipped_files_equal_their_uncompressed_twins(name, plain):
    if not (SHIPPED / name).is_file():
        pytest.skip("this pydicom comes without its test files")
    grey = grey_of(SHIPPED / name)
    np.testing.assert_array_equal(grey, grey_of(SHIPPED / plain))
    assert grey.std() > 20


# What cannot be read


def test_what_is_no_dicom_is_refused(tmp_path):
    (tmp_path / "text.dcm").write_text("no preamble here " * 20)
    (tmp_path / "empty.dcm").touch()
    (tmp_path / "folder.dcm").mkdir()
    assert "not a DICOM file" in refused(tmp_path / "text.dcm")
    assert "not a DICOM file" in refused(tmp_path / "empty.dcm")
    assert "no such image" in refused(tmp_path / "missing.dcm")
    refused(tmp_path / "folder.dcm")


def edited(tmp_path, **attributes):
    file = saved(tmp_path, RAMP, bits=12)
    dataset = pydicom.dcmread(file)
    for name, value in attributes.items():
        if value is None:
            del dataset[name]
        else:
            setattr(dataset, name, value)
    dataset.save_as(file)
    return file


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"NumberOfFrames": 2}, "2 frames"),
        ({"PixelData": None, "Rows": None}, "holds no image"),
        ({"PixelData": None}, "damaged DICOM file (no Pixel Data"),
        ({"PixelData": b""}, "damaged"),
        ({"Rows": None}, "no Rows"),
        ({"BitsStored": None}, "no BitsStored"),
        ({"BitsStored": 0}, "Bits Stored 0"),
        ({"BitsStored": 17}, "Bits Stored 17"),
        ({"Rows": 0}, "damaged"),
        ({"Rows": 300}, "damaged"),
        ({"Rows": 65535, "Columns": 65535}, "65535 x 65535 pixels"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "PALETTE COLOR"),
        ({"SamplesPerPixel": 3}, "damaged"),
        ({"SamplesPerPixel": 4}, "4 samples"),
    ],
)
def test_headers_that_are_not_read_are_refused_in_words(tmp_path, attributes, message):
    assert message in refused(edited(tmp_path, **attributes))


@pytest.mark.parametrize(
    ("uid", "name"),
    [
        ("1.2.840.10008.5.1.4.1.1.88.11", "Basic Text SR Storage"),
        ("1.2.840.10008.5.1.4.1.1.11.1", "Grayscale Softcopy Presentation State Storage"),
        ("1.2.840.10008.5.1.4.1.1.104.1", "Encapsulated PDF Storage"),
        ("1.2.840.10008.5.1.4.1.1.88.59", "Key Object Selection Document Storage"),
    ],
)
def test_objects_without_an_image_are_named(tmp_path, uid, name):
    file = saved(tmp_path, RAMP, bits=12)
    dataset = pydicom.dcmread(file)
    for gone in ("PixelData", "Rows", "Columns"):
        delattr(dataset, gone)
    dataset.SOPClassUID = uid
    dataset.save_as(file)
    assert f"holds no image ({name}); leave it out" in refused(file)


def test_several_frames_are_named(tmp_path):
    file = edited(tmp_path, NumberOfFrames=30, SOPClassUID="1.2.840.10008.5.1.4.1.1.12.1")
    assert "holds 30 frames (X-Ray Angiographic Image Storage); export the one that is meant" in refused(file)


def test_one_frame_is_not_several(tmp_path):
    np.testing.assert_array_equal(grey_of(edited(tmp_path, NumberOfFrames=1)), stretched(RAMP))


def test_transfer_syntaxes_that_are_not_read_are_refused_in_words(tmp_path):
    mpeg = saved(tmp_path, RAMP, "mpeg.dcm", pydicom.uid.MPEG2MPML, stream=b"\0" * 64, bits=12)
    assert "MPEG2" in refused(mpeg)
    assert "deflated" in refused(saved(tmp_path, RAMP, "zip.dcm", pydicom.uid.DeflatedExplicitVRLittleEndian, bits=12))
    own = saved(tmp_path, RAMP, "own.dcm", JPEG2000Lossless, stream=b"\0" * 64, bits=12)
    own.write_bytes(own.read_bytes().replace(JPEG2000Lossless.encode(), b"1.2.3.4".ljust(len(JPEG2000Lossless), b"\0")))
    assert "1.2.3.4 is not read" in refused(own)


def test_a_stream_larger_than_its_header_is_not_decoded(tmp_path, monkeypatch):
    """A bomb: the decoder would believe the stream."""
    monkeypatch.setattr(pydicom.pixels, "pixel_array", lambda *_, **__: pytest.fail("decoded"))
    jpeg = bytearray(lossless_jpeg(RAMP))
    at = jpeg.index(b"\xff\xc3") + 5
    jpeg[at : at + 4] = struct.pack(">HH", 65500, 65500)
    j2k = bytearray(openjpeg.encode(RAMP, bits_stored=12, photometric_interpretation=2, use_mct=False))
    at = j2k.index(b"\xff\x51") + 6
    j2k[at : at + 8] = struct.pack(">II", 2**31, 2**31)
    for syntax, stream in ((JPEGLosslessSV1, jpeg), (JPEG2000Lossless, j2k)):
        assert "the stream" in refused(saved(tmp_path, RAMP, bits=12, syntax=syntax, stream=bytes(stream)))


def test_without_pydicom_the_message_says_what_to_install(tmp_path, monkeypatch):
    file = saved(tmp_path, RAMP, bits=12)
    monkeypatch.setitem(sys.modules, "pydicom", None)
    assert refused(file, images.grey_of).endswith('pip install "cxr_jax[dicom]"')


@pytest.mark.parametrize("missing", ["pylibjpeg", "openjpeg"])
def test_without_a_decoder_the_message_says_what_to_install(tmp_path, monkeypatch, missing):
    stream = openjpeg.encode(RAMP, bits_stored=12, photometric_interpretation=2, use_mct=False)
    file = saved(tmp_path, RAMP, bits=12, syntax=JPEG2000Lossless, stream=bytes(stream))
    plain = saved(tmp_path, RAMP, name="plain.dcm", bits=12)
    monkeypatch.setitem(sys.modules, missing, None)
    assert refused(file).endswith('pip install "cxr_jax[dicom]"')
    assert grey_of(plain).shape == RAMP.shape


# Damage: an array or an InputError, whatever is broken


@pytest.fixture(scope="module")
def wholes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    rle = pydicom.dcmread(saved(folder, RAMP, bits=12))
    rle.compress(RLELossless, encoding_plugin="pydicom")
    rle.save_as(folder / "rle.dcm")
    j2k = bytes(openjpeg.encode(RAMP, bits_stored=12, photometric_interpretation=2, use_mct=False))
    more = dict(WindowCenter=2000, WindowWidth=900, RescaleSlope=2, RescaleIntercept=-3, PixelPaddingValue=0)
    files = {
        "plain": saved(folder, RAMP, "plain.dcm", bits=12, **more),
        "implicit": saved(folder, RAMP, "i.dcm", ImplicitVRLittleEndian, bits=12, VOILUTSequence=table([1, 2], 0, 8)),
        "rle": folder / "rle.dcm",
        "jpeg": saved(folder, RAMP, "ll.dcm", JPEGLosslessSV1, stream=lossless_jpeg(RAMP, 12), bits=12),
        "jpeg_2000": saved(folder, RAMP, "j2k.dcm", JPEG2000Lossless, stream=j2k, bits=12),
    }
    return {name: file.read_bytes() for name, file in files.items()}


FORMS = ["plain", "implicit", "rle", "jpeg", "jpeg_2000"]


def read_damaged(data, tmp_path_factory):
    file = tmp_path_factory.getbasetemp() / "damaged.dcm"
    file.write_bytes(data)
    with contextlib.suppress(InputError):
        grey = grey_of(file)
        assert grey.dtype == np.uint8
        assert grey.ndim == 2


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=60)
@given(share=st.floats(0, 1))
def test_truncation_never_escapes_as_another_error(wholes, tmp_path_factory, form, share):
    data = wholes[form]
    read_damaged(data[: int(share * len(data))], tmp_path_factory)


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=150)
@given(place=st.floats(0, 1, exclude_max=True), value=st.integers(0, 255), head=st.booleans())
def test_a_flipped_byte_never_escapes_as_another_error(wholes, tmp_path_factory, form, place, value, head):
    data = bytearray(wholes[form])
    first = 128
    data[first + int(place * ((900 if head else len(data)) - first))] = value
    read_damaged(bytes(data), tmp_path_factory)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("share", [0.05, 0.2, 0.6, 0.98])
def test_a_truncated_image_is_refused(wholes, tmp_path, form, share):
    (tmp_path / "cut.dcm").write_bytes(wholes[form][: int(share * len(wholes[form]))])
    refused(tmp_path / "cut.dcm")


def test_nothing_is_printed_of_damage(wholes, tmp_path, caplog, capfd):
    """pydicom logs the traceback of what a decoder raises."""
    for form in FORMS:
        whole = wholes[form]
        broken = whole[:-400] + bytes(300) + whole[-100:]
        for data in (broken, whole[: len(whole) - 200], whole.replace(b"1.2.840.10008.1.2", b"1.2.840.1000\x06.1.2")):
            (tmp_path / "damaged.dcm").write_bytes(data)
            with contextlib.suppress(InputError):
                grey_of(tmp_path / "damaged.dcm")
    assert not caplog.records
    assert capfd.readouterr() == ("", "")


# Wherever an image is accepted


@pytest.mark.parametrize("name", ["image.dcm", "IMAGE.DICOM", "IM000001", "image.png"])
def test_grey_of_knows_dicom_by_its_name_or_its_beginning(tmp_path, name):
    np.testing.assert_array_equal(images.grey_of(saved(tmp_path, RAMP, name=name, bits=12)), stretched(RAMP))


def test_other_formats_do_not_need_pydicom(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pydicom", None)
    values = (RAMP // 16).astype(np.uint8)
    (tmp_path / "image.png").write_bytes(images.encode_png(values))
    np.testing.assert_array_equal(images.grey_of(tmp_path / "image.png"), values)


def test_folders_list_dicom_files(tmp_path):
    saved(tmp_path, RAMP, name="a.dcm", bits=12)
    saved(tmp_path, RAMP, name="B.DCM", bits=12)
    assert [file.name for file in retrieve.image_files([str(tmp_path)])] == ["B.DCM", "a.dcm"]


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.99])
def test_a_jpeg_stream_that_is_cut_off_is_refused(tmp_path, share):
    """The file is whole; the decoder makes up the rest."""
    grey = (RADIOGRAPH >> 4).astype(np.uint8)
    stream = images.encode_jpeg(grey)
    whole = saved(tmp_path, grey, stream=stream, syntax=JPEGBaseline8Bit, name="whole.dcm")
    assert np.corrcoef(dicom.read_dicom(whole).grey.ravel(), grey.ravel())[0, 1] > 0.99
    cut = saved(tmp_path, grey, stream=stream[: int(share * len(stream))], syntax=JPEGBaseline8Bit)
    assert refused(cut).endswith("damaged DICOM file (its JPEG stream is cut off); replace it")


@pytest.mark.parametrize(("bits", "top"), [(12, 20000), (12, 65535), (10, 5000), (8, 4095), (8, 65535)])
def test_bits_that_the_pixels_have_are_not_cut_off_whatever_is_stated(tmp_path, bits, top):
    values = np.round(RADIOGRAPH / RADIOGRAPH.max() * top).astype(np.uint16)
    picture = dicom.read_dicom(saved(tmp_path, values, bits=bits))
    assert [kind_of(warning) for warning in picture.warnings] == ["bits added"]
    assert np.corrcoef(picture.grey.ravel(), RIGHT.ravel())[0, 1] > 0.99


@pytest.mark.parametrize(("dtype", "bits"), [(np.uint16, 16), (np.uint8, 8), (np.uint16, 12)])
def test_unsigned_pixels_that_are_stated_as_signed_do_not_wrap(tmp_path, dtype, bits):
    values = np.round(RADIOGRAPH / RADIOGRAPH.max() * (2**bits - 1)).astype(dtype)
    picture = dicom.read_dicom(saved(tmp_path, values, bits=bits, PixelRepresentation=1))
    assert [kind_of(warning) for warning in picture.warnings] == ["sign left out"]
    assert np.corrcoef(picture.grey.ravel(), RIGHT.ravel())[0, 1] > 0.99


@pytest.mark.parametrize("values", [(30000, 30001), (0, 1), (7, 9)])
def test_a_blank_frame_is_not_stretched_into_noise(tmp_path, values):
    noise = np.random.default_rng(0).choice(np.array(values, np.uint16), (64, 64))
    picture = dicom.read_dicom(saved(tmp_path, noise))
    assert picture.grey.std() < 4
    assert [kind_of(warning) for warning in picture.warnings] == ["flat picture"]


@pytest.mark.parametrize("stated", [1024, 4095, 4097, 8000])
def test_a_lookup_table_of_another_length_than_is_stated(tmp_path, stated):
    values = RADIOGRAPH.astype(np.uint16)
    sequence = table(np.arange(4096), 0, 12)
    sequence[0].LUTDescriptor = [stated, 0, 12]
    right = dicom.read_dicom(saved(tmp_path, values, bits=12, VOILUTSequence=table(np.arange(4096), 0, 12))).grey
    picture = dicom.read_dicom(saved(tmp_path, values, bits=12, VOILUTSequence=sequence, name="wrong.dcm"))
    np.testing.assert_allclose(picture.grey.astype(int), right, atol=1)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"Rows": [32, 32]}, "(Rows is [32, 32]); export it anew"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.66.4"}, "holds no radiograph (Segmentation Storage); leave it out"),
    ],
)
def test_more_headers_that_are_refused_in_words(tmp_path, changes, words):
    file = saved(tmp_path, RAMP, bits=12)
    dataset = pydicom.dcmread(file)
    for name, value in changes.items():
        setattr(dataset, name, value)
    dataset.save_as(file)
    assert refused(file).endswith(words)


@pytest.mark.parametrize("intercept", ["1e30", "-1e25"])
def test_a_rescale_that_leaves_nothing_is_left_out(tmp_path, intercept):
    picture = dicom.read_dicom(saved(tmp_path, RADIOGRAPH, bits=12, RescaleSlope="1", RescaleIntercept=intercept))
    assert [kind_of(warning) for warning in picture.warnings] == ["rescale left out"]
    np.testing.assert_array_equal(picture.grey, RIGHT)

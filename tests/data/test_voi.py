"""Windows and lookup tables as they are found in files: each costs itself at most, and says so."""

import numpy as np
import pydicom
import pytest

from cxr_jax.data import dicom
from tests.data.test_dicom import grey_of, kinds_of, saved, table
from tests.data.test_grey import a_radiograph, by_hand

RADIOGRAPH = a_radiograph()  # 12 bits
RIGHT = by_hand(RADIOGRAPH)
WHOLE = np.round(RADIOGRAPH / 4095 * 255)  # as a window of all 12 bits shows it
LINE = np.arange(4096)


def a_file(folder, values=RADIOGRAPH, bits=12, **attributes):
    return saved(folder, values, bits=bits, **attributes)


def said_of(file):
    return " | ".join(dicom.read_dicom(file).warnings)


# Windows


@pytest.mark.parametrize(
    ("centre", "width"),
    [(0, 1), (0, 0), (1, 1), (2048, 0), (2048, -4096), (20_000, 100), (-500, 300), (32_768, 65_536), (2048, 1)],
)
@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_a_useless_window_gives_way_to_the_datas_own_range(tmp_path, centre, width, function):
    file = a_file(tmp_path, WindowCenter=centre, WindowWidth=width, VOILUTFunction=function)
    np.testing.assert_array_equal(grey_of(file), RIGHT)
    assert kinds_of(file) == ["window left out"]
    assert f"centre {centre}, width {width} " in said_of(file)


def test_a_useless_window_stays_useless_beside_a_burnt_in_letter_or_padding(tmp_path):
    values = RADIOGRAPH.copy()
    values[:20, :30] = 20_000  # alone within the window
    values[180:] = 50_000
    file = a_file(tmp_path, values, bits=16, WindowCenter=20_000, WindowWidth=100, PixelPaddingValue=50_000)
    picture = values < 20_000
    np.testing.assert_allclose(grey_of(file)[picture], by_hand(values[picture]), atol=1)
    assert kinds_of(file) == ["window left out", "range cut"]
    assert not grey_of(file)[180:].any()


def test_a_window_that_shows_some_of_it_is_followed(tmp_path):
    """A narrow one, a dark one, and one around a picture with a wide border."""
    file = a_file(tmp_path, WindowCenter=2000, WindowWidth=800)
    shown = np.round(np.clip((RADIOGRAPH - 1999.5) / 799 + 0.5, 0, 1) * 255)
    np.testing.assert_allclose(grey_of(file), shown, atol=1)
    dark = a_file(tmp_path, WindowCenter=8192, WindowWidth=16_384, bits=14)
    np.testing.assert_allclose(grey_of(dark), np.round(RADIOGRAPH / 16_383 * 255), atol=1)
    bordered = RADIOGRAPH.copy()
    bordered[:150] = 0
    file = a_file(tmp_path, bordered, WindowCenter=2048, WindowWidth=2000)
    assert not kinds_of(file)


@pytest.mark.parametrize("text", ["2048,5", "abc", "1e999", "nan", "x\\2048", "--"])
@pytest.mark.parametrize("name", ["WindowCenter", "WindowWidth"])
def test_a_window_that_cannot_be_read_costs_the_window_alone(tmp_path, name, text):
    marked = a_file(tmp_path, **({"WindowCenter": 2048, "WindowWidth": 4096} | {name: "987654321".ljust(len(text))}))
    data = marked.read_bytes()
    at = data.index(b"987654321")
    size = 10
    marked.write_bytes(data[:at] + text.encode().ljust(size) + data[at + size :])
    np.testing.assert_array_equal(grey_of(marked), RIGHT)
    assert kinds_of(marked) == ["window left out"]
    assert "\n" not in said_of(marked)


def test_of_several_windows_the_first_is_taken_and_named(tmp_path):
    file = a_file(tmp_path, WindowCenter=["2048", "9", "7"], WindowWidth=["4096", "1", "3"])
    np.testing.assert_array_equal(grey_of(file), WHOLE)
    assert dicom.read_dicom(file).warnings == (
        "several VOI LUTs or windows: the first window of 3 is used, centre 2048, width 4096",
    )


def test_an_unknown_function_is_taken_for_linear(tmp_path):
    file = a_file(tmp_path, WindowCenter=2048, WindowWidth=4096, VOILUTFunction="CUBIC")
    np.testing.assert_array_equal(grey_of(file), WHOLE)
    assert kinds_of(file) == ["VOI LUT function left out"]


def test_a_window_of_stored_units_where_they_are_rescaled(tmp_path):
    """PS3.3 C.11.2.1.2 has it in rescaled ones; where it shows nothing then, it is left out."""
    hounsfield = dict(RescaleSlope=1, RescaleIntercept=-1024)
    file = a_file(tmp_path, WindowCenter=1024, WindowWidth=4096, **hounsfield)
    np.testing.assert_array_equal(grey_of(file), WHOLE)
    percent = dict(RescaleSlope="0.0625", RescaleIntercept=0, WindowCenter=2048, WindowWidth=4096)
    file = a_file(tmp_path, **percent)
    np.testing.assert_array_equal(grey_of(file), RIGHT)
    assert kinds_of(file) == ["window left out"]


@pytest.mark.parametrize("bits", [8, 6])
def test_eight_bits_keep_their_brightness_beside_a_useless_window(tmp_path, bits):
    values = (RADIOGRAPH >> (12 - bits)).astype(np.uint8)
    file = a_file(tmp_path, values, bits=bits, WindowCenter=9999, WindowWidth=1)
    np.testing.assert_array_equal(grey_of(file), np.round(values / (2**bits - 1) * 255))
    assert kinds_of(file) == ["window left out"]


@pytest.mark.parametrize(("slope", "intercept"), [(1, -1024), (0.25, 0), (3, 7)])
def test_eight_bits_keep_their_brightness_on_any_scale(tmp_path, slope, intercept):
    values = (RADIOGRAPH >> 5).astype(np.uint8)
    file = a_file(tmp_path, values, bits=8, RescaleSlope=slope, RescaleIntercept=intercept)
    np.testing.assert_array_equal(grey_of(file), values)
    file = a_file(tmp_path, values, bits=8, RescaleSlope=-slope, RescaleIntercept=intercept)
    np.testing.assert_array_equal(grey_of(file), 255 - values)


# Without a window


@pytest.mark.parametrize("kind", ["MONOCHROME1", "MONOCHROME2"])
def test_a_hot_pixel_or_a_burnt_in_letter_changes_nothing_else(tmp_path, kind):
    values = (4095 - RADIOGRAPH if kind == "MONOCHROME1" else RADIOGRAPH).copy()
    right = grey_of(a_file(tmp_path, values, kind=kind))
    np.testing.assert_allclose(right, RIGHT, atol=1)
    hot = values.copy()
    hot[9, 9] = 65_535
    grey = grey_of(a_file(tmp_path, hot, bits=16, kind=kind))
    np.testing.assert_allclose(np.delete(grey, 9, 0), np.delete(right, 9, 0), atol=1)
    assert abs(grey.mean() - right.mean()) < 1
    values[20:40, 20:45] = 65_535  # 1.6 %
    file = a_file(tmp_path, values, bits=16, kind=kind)
    np.testing.assert_allclose(grey_of(file)[values < 65_535], right[values < 65_535], atol=2)
    assert kinds_of(file) == ["range cut"]


def test_padding_has_no_say_whatever_it_is(tmp_path):
    for padding in (65_535, 30_000, 0):
        values = RADIOGRAPH.copy()
        values[:100] = padding
        grey = grey_of(a_file(tmp_path, values, bits=16, PixelPaddingValue=padding))
        np.testing.assert_allclose(grey[100:], by_hand(RADIOGRAPH[100:]), atol=1)
        assert not grey[:100].any()


# Rescale


@pytest.mark.parametrize("slope", ["0", "1,5", "none"])
def test_a_rescale_that_cannot_be_is_left_out_and_the_window_with_it(tmp_path, slope):
    file = a_file(tmp_path, RescaleSlope="987654321 ", RescaleIntercept=0, WindowCenter=9, WindowWidth=2)
    file.write_bytes(file.read_bytes().replace(b"987654321 ", slope.encode().ljust(10)))
    np.testing.assert_array_equal(grey_of(file), RIGHT)
    assert kinds_of(file) == ["rescale left out"]
    assert slope in said_of(file)


# Lookup tables


@pytest.mark.parametrize("bits", [0, 13, 14, 16, 8])
def test_a_table_whose_bits_are_not_its_own_ends_at_its_maximum(tmp_path, bits):
    file = a_file(tmp_path, VOILUTSequence=table(LINE, 0, bits))
    np.testing.assert_array_equal(grey_of(file), WHOLE)
    assert kinds_of(file) == ["VOI LUT scaled"]
    assert f"stated as of {bits} bits, its entries end at 4095" in said_of(file)
    right = a_file(tmp_path, VOILUTSequence=table(LINE, 0, 12))
    np.testing.assert_array_equal(grey_of(right), WHOLE)
    assert not kinds_of(right)


def described(entries, descriptor, kind):
    """A sequence whose descriptor has three entries of one kind, signed or not, as some write them."""
    (item,) = table(entries, 0, 12)
    item["LUTDescriptor"] = pydicom.DataElement(
        "LUTDescriptor", kind, descriptor, validation_mode=pydicom.config.IGNORE
    )
    return [item]


def test_length_and_bits_are_unsigned_and_a_length_of_0_is_65536(tmp_path):
    """PS3.3 C.11.1.1.1."""
    values = (RADIOGRAPH * 9.7).astype(np.uint16)
    line = np.arange(40_000)
    shown = np.round(np.clip(values, 0, 39_999) / 65_535 * 255)
    for kind in ("US", "SS"):
        packed = described([1], [40_000, 0, 16], kind)
        packed[0]["LUTData"].VR, packed[0].LUTData = "OW", line.astype("<u2").tobytes()
        np.testing.assert_array_equal(grey_of(a_file(tmp_path, values, 16, VOILUTSequence=packed)), shown)
    whole = described([1], [0, 0, 16], "US")
    whole[0]["LUTData"].VR, whole[0].LUTData = "OW", np.arange(2**16).astype("<u2").tobytes()
    values = RADIOGRAPH * 16
    file = a_file(tmp_path, values, 16, VOILUTSequence=whole)
    np.testing.assert_array_equal(grey_of(file), np.round(values / 65_535 * 255))
    assert not kinds_of(file)


@pytest.mark.parametrize(("first", "kind"), [(-2048, "SS"), (2**16 - 2048, "US")])
def test_the_first_value_of_signed_data_is_found_whatever_its_sign(tmp_path, first, kind):
    signed = RADIOGRAPH.astype(np.int16) - 2048
    file = a_file(tmp_path, signed, VOILUTSequence=described(LINE, [4096, first, 12], kind))
    np.testing.assert_array_equal(grey_of(file), WHOLE)
    rescaled = dict(RescaleSlope=1, RescaleIntercept=-2048)
    file = a_file(tmp_path, VOILUTSequence=described(LINE, [4096, first, 12], kind), **rescaled)
    np.testing.assert_array_equal(grey_of(file), WHOLE)


def test_the_first_value_of_unsigned_data_is_found_where_it_is_written_as_signed(tmp_path):
    values = RADIOGRAPH + 60_000
    file = a_file(tmp_path, values, 16, VOILUTSequence=described(LINE, [4096, 60_000 - 2**16, 12], "SS"))
    np.testing.assert_array_equal(grey_of(file), WHOLE)


@pytest.mark.parametrize("packed", ["OW", "US"])
def test_entries_of_eight_bits_may_be_packed_two_to_a_word(tmp_path, packed):
    curve = (255 * np.sqrt(LINE / 4095)).round().astype(np.uint8)
    sequence = described([1], [4096, 0, 8], "US")
    sequence[0]["LUTData"].VR = packed
    sequence[0].LUTData = curve.tobytes() if packed == "OW" else curve.view("<u2").tolist()
    file = a_file(tmp_path, VOILUTSequence=sequence)
    np.testing.assert_array_equal(grey_of(file), curve[RADIOGRAPH])


@pytest.mark.parametrize(
    "sequence",
    [table([7] * 4096, 0, 12), table(LINE, 30_000, 12), table([0] * 4096, 0, 12), described(LINE, [4096, 0], "US")],
    ids=["one grey", "beside the data", "black", "two entries"],
)
@pytest.mark.parametrize("window", [True, False])
def test_a_useless_table_gives_way_to_the_window_or_the_datas_own_range(tmp_path, sequence, window):
    more = dict(WindowCenter=2048, WindowWidth=4096) if window else {}
    file = a_file(tmp_path, VOILUTSequence=sequence, **more)
    np.testing.assert_array_equal(grey_of(file), WHOLE if window else RIGHT)
    assert kinds_of(file) == ["VOI LUT left out"]
    assert "own range" not in said_of(file)  # there may be a window


def test_of_several_tables_the_first_is_taken_and_said(tmp_path):
    file = a_file(tmp_path, VOILUTSequence=table(LINE, 0, 12) + table([5] * 4096, 0, 12))
    np.testing.assert_array_equal(grey_of(file), WHOLE)
    assert kinds_of(file) == ["several VOI LUTs or windows"]


def test_a_modality_table_that_cannot_be_read_is_left_out(tmp_path):
    file = a_file(tmp_path, ModalityLUTSequence=described(LINE, [4096, 0], "US"))
    np.testing.assert_array_equal(grey_of(file), RIGHT)
    assert kinds_of(file) == ["modality LUT left out"]


def test_a_modality_table_that_turns_the_scale_round_is_followed(tmp_path):
    for bits, values in ((12, RADIOGRAPH), (8, (RADIOGRAPH >> 4).astype(np.uint8))):
        file = a_file(tmp_path, values, bits, ModalityLUTSequence=table(LINE[: 2**bits][::-1], 0, 16))
        np.testing.assert_allclose(grey_of(file), by_hand(2**bits - 1 - values.astype(int)), atol=1)


def test_the_window_comes_after_the_modality_table(tmp_path):
    sequence = table(LINE * 10, 0, 16)
    file = a_file(tmp_path, ModalityLUTSequence=sequence, WindowCenter=20_480, WindowWidth=40_951)
    np.testing.assert_allclose(grey_of(file), WHOLE, atol=1)


def test_pydicom_reads_what_the_tests_write(tmp_path):
    """The tables above are in the files as they are meant to be."""
    file = a_file(tmp_path, VOILUTSequence=described(LINE, [4096, -2048, 12], "SS"))
    item = pydicom.dcmread(file).VOILUTSequence[0]
    assert list(item.LUTDescriptor) == [4096, -2048, 12]
    assert item["LUTDescriptor"].VR == "SS"

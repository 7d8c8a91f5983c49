"""Mutated images: a picture or one line, a warning where it shows nothing, nothing printed, nothing written.

Each mutation is named by a number, so a failure can be repeated. 150 by default, 2,000 among the slow ones.
"""

import os
import struct

import numpy as np
import pytest
from PIL import Image
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian

from cxr_jax.data import images
from cxr_jax.errors import InputError
from tests.data.test_dicom import saved, table
from tests.data.test_grey import a_radiograph
from tests.data.test_raster import png, with_alpha

FLAT = 2.0  # grey levels: below that nobody sees anything
EXTREMES = (0, 1, 0x7F, 0x80, 0xFF)
# Attributes and tags that decide what is seen, as bytes: of DICOM in little endian, of TIFF entries' beginnings.
DICOM_TAGS = [
    struct.pack("<HH", group, element)
    for group, elements in {
        0x0002: (0x0010,),
        0x0028: (
            0x0002, 0x0004, 0x0008, 0x0010, 0x0011, 0x0034, 0x0100, 0x0101, 0x0102, 0x0103, 0x0120, 0x1050, 0x1051,
            0x1052, 0x1053, 0x3000, 0x3002, 0x3006, 0x3010,
        ),
        0x7FE0: (0x0010,),
    }.items()
    for element in elements
]  # fmt: skip
TIFF_TAGS = [struct.pack("<H", tag) for tag in (254, 256, 257, 258, 259, 262, 273, 274, 277, 278, 279, 317, 339)]


@pytest.fixture(scope="module")
def wholes(tmp_path_factory):
    """Name: bytes, of files that are read as they are."""
    folder = tmp_path_factory.mktemp("wholes")
    values = a_radiograph(40, 32)
    eight = (values >> 4).astype(np.uint8)
    more = dict(RescaleSlope=2, RescaleIntercept=-3, PixelPaddingValue=0, PixelAspectRatio=[1, 1])
    window = dict(WindowCenter=4000, WindowWidth=8000)
    saved(folder, values, "window.dcm", bits=12, **more, **window)
    saved(folder, values, "table.dcm", ImplicitVRLittleEndian, bits=12, VOILUTSequence=table(range(4096), 0, 12))
    saved(folder, values.astype(np.int16) - 2048, "signed.dcm", ExplicitVRBigEndian, bits=12, kind="MONOCHROME1")
    saved(folder, np.stack([eight] * 3, axis=-1), "colour.dcm", kind="RGB")
    saved(folder, eight, "eight.dcm", WindowCenter=120, WindowWidth=200)
    (folder / "alpha16.png").write_bytes(png(np.stack([values, 65_535 - values], axis=-1), 4))
    (folder / "colour16.png").write_bytes(png(np.stack([values] * 3, axis=-1), 2))
    pictures = {
        "grey.png": (eight, {}),
        "deep.png": (values, {}),
        "deep.tif": (values, {}),
        "packed.tif": (values, {"compression": "tiff_lzw"}),
        "float.tif": ((values / 4095).astype(np.float32), {}),
        "signed.tif": (values.astype(np.int32) - 2000, {"compression": "tiff_adobe_deflate"}),
        "bits.tif": (values > 2000, {"compression": "group4"}),
    }
    for name, (pixels, options) in pictures.items():
        Image.fromarray(pixels).save(folder / name, **options)
    with_alpha(Image.fromarray(eight).convert("RGB"), eight).save(folder / "alpha.png")
    Image.fromarray(eight).convert("P").save(folder / "palette.png")
    Image.fromarray(eight).convert("RGB").convert("CMYK").save(folder / "ink.tif")
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


def mutated(content, name, number):
    """A few bytes flipped or set, anywhere or behind a tag that matters, some taken out or doubled, or the end cut."""
    rng = np.random.default_rng([29, number])
    data = bytearray(content)
    tags = DICOM_TAGS if name.endswith(".dcm") else TIFF_TAGS if name.endswith(".tif") else [b"IHDR", b"IDAT", b"PLTE"]
    for _ in range(int(rng.choice([1, 1, 1, 2, 3]))):
        places = [at for tag in tags if (at := data.find(tag)) >= 0]
        if places and rng.random() < 0.6:
            at = int(rng.choice(places)) + 2 + int(rng.integers(16))
        else:
            at = int(rng.integers(len(data)))
        at = min(at, len(data) - 1)
        match int(rng.integers(10)):
            case 0 | 1 | 2 | 3:
                data[at] = int(rng.choice(EXTREMES)) if rng.random() < 0.5 else int(rng.integers(256))
            case 4 | 5 | 6:
                data[at] ^= 1 << int(rng.integers(8))
            case 7:
                size = int(rng.integers(1, 600))
                data[at : at + size] = bytes([int(rng.choice(EXTREMES))]) * len(data[at : at + size])
            case 8:
                del data[at : at + int(rng.integers(1, 40))]
            case 9:
                data = data[: max(1, int(len(data) * rng.uniform(0.3, 1)))] if rng.random() < 0.3 else data * 1
                data[at:at] = data[at : at + int(rng.integers(1, 40))]
    return bytes(data)


def check(wholes, folder, numbers, capfd):
    """Reads the mutation of each number; how many were pictures."""
    names = list(wholes)
    (folder / "inside").mkdir()
    os.chdir(folder / "inside")
    read = 0
    for number in numbers:
        name = names[number % len(names)]
        file = folder / "inside" / name
        file.write_bytes(mutated(wholes[name], name, number))
        try:
            picture = images.read(file)
        except InputError as error:
            line = str(error)
            assert "\n" not in line, number
            assert line.startswith(f"{file}: "), number
            assert len(line) < 1000, number
        else:
            read += 1
            assert picture.grey.dtype == np.uint8, number
            assert picture.grey.ndim == 2, number
            assert picture.grey.std() >= FLAT or picture.warnings, number
            assert all("\n" not in warning and ": " in warning and len(warning) < 400 for warning in picture.warnings)
        assert [path.name for path in file.parent.iterdir()] == [name], number
        file.unlink()
    assert [path.name for path in folder.iterdir()] == ["inside"]
    assert capfd.readouterr() == ("", "")
    return read


def test_whole_they_are_read_without_a_warning(wholes, tmp_path):
    for name, content in wholes.items():
        (tmp_path / name).write_bytes(content)
        picture = images.read(tmp_path / name)
        assert picture.grey.std() > 10, name
        assert not picture.warnings or name == "colour16.png", name


def test_150_mutations(wholes, tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert 20 < check(wholes, tmp_path / ".", range(150), capfd) < 145


@pytest.mark.slow
def test_2000_mutations(wholes, tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert 300 < check(wholes, tmp_path / ".", range(150, 2150), capfd) < 1900

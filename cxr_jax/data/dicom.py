"""Radiographs from DICOM files, as a reading room shows them: rescaled, windowed, black where there is no X-ray.

pydicom parses and decodes, and is needed only here, in `dicom_file` and in `voi` (the extra `dicom`).
"""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cxr_jax.data import voi
from cxr_jax.data.dicom_file import INSTALL, MAX_PIXELS, Stored, begins_as_dicom, decode, read_dataset, stored_values
from cxr_jax.data.grey import Levels, Picture, levels_of, looked_at, stretched, to_bytes
from cxr_jax.data.quiet import one_line, quiet
from cxr_jax.errors import InputError

SUFFIXES = (".dcm", ".dicom")
MAX_ASPECT = 4  # of a pixel's sides; beyond it the header is taken to be wrong
LUMINANCE = np.array([0.299, 0.587, 0.114])


def is_dicom(path: Path) -> bool:
    """Whether the file's name says that it is DICOM, or what it begins with; False where it cannot be read."""
    if path.suffix.lower() in SUFFIXES:
        return True
    try:
        with path.open("rb") as file:
            head = file.read(132)
    except OSError:
        return False
    return head[128:] == b"DICM" or begins_as_dicom(head)


def read_dicom(path: str | Path) -> Picture:
    """A DICOM file's one frame.

    Stored values pass the modality LUT or rescale, then the first VOI LUT or window; what is useless or cannot be read
    of them costs itself only, with a warning, see `voi.greys`. Without a window `grey.own_range` decides what is black
    and white, but unsigned values of up to 8 bits keep their brightness. MONOCHROME1 is inverted after that. Padding
    is black, and has no say in the range. Colour and palette become luminance. Pixels that are not square are made so.
    Overlays are left out. Without a preamble or meta group (PS3.10 7.1) a file is read where it begins as a data set.

    Raises:
      InputError: the file is missing, damaged, no DICOM, of a kind that is not read (several frames, no image; the
        message names it) or too large, or pydicom or the decoder that it needs is not installed.
    """
    try:
        import pydicom  # noqa: F401
    except ImportError as error:
        raise InputError(f"{path}: DICOM files need pydicom; {INSTALL}") from error
    try:
        with quiet("pydicom", "pylibjpeg", "libjpeg", "openjpeg"):
            warnings: list[str] = []
            dataset = read_dataset(Path(path), warnings)
            grey = _grey(dataset, warnings) if dataset.SamplesPerPixel == 1 else _luminance(dataset, warnings)
            return looked_at(Picture(_square_pixels(dataset, grey, warnings), tuple(warnings)))
    except InputError as error:
        raise InputError(f"{path}: {one_line(error)}") from error
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such image; mend the path or leave the row out") from error
    except Exception as error:  # pydicom and the decoders raise two dozen kinds on damaged files
        reason = one_line(error) or type(error).__name__
        raise InputError(f"{path}: damaged DICOM file ({reason}); replace it or leave it out") from error


def _luminance(dataset: Any, warnings: list[str]) -> np.ndarray:
    """Colour: of up to 8 bits as it is, of more by its own range, as everything else."""
    luminance = decode(dataset).astype(np.float64) @ LUMINANCE
    if dataset.BitsStored <= 8:
        return to_bytes(luminance, 0.0, 2.0**dataset.BitsStored - 1)
    picture = stretched(np.round(luminance).astype(np.int64))
    warnings += picture.warnings
    return picture.grey


def _grey(dataset: Any, warnings: list[str]) -> np.ndarray:
    stored = stored_values(dataset, warnings)
    levels = levels_of(stored.values)
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        return _palette(dataset, levels)[levels.places]
    padding = _padding(dataset, levels.values, stored)
    levels = Levels(levels.values, np.where(padding, 0, levels.counts), levels.places)
    table = voi.greys(dataset, levels, stored.bits, stored.signed, warnings)
    if _is_inverse(dataset, warnings):
        table = 255 - table
    table[padding] = 0
    return table[levels.places]


def _palette(dataset: Any, levels: Levels) -> np.ndarray:
    """The luminance of each value's colour (PS3.3 C.7.9), uint8 (n,)."""
    import pydicom

    colours = pydicom.pixels.apply_color_lut(levels.values.astype(np.int64)[None], dataset)[0]
    return to_bytes(colours[:, :3] @ LUMINANCE, 0.0, 255.0 if colours.max(initial=0) < 256 else 65535.0)


def _is_inverse(dataset: Any, warnings: list[str]) -> bool:
    """Whether small values are white: MONOCHROME1; a Presentation LUT Shape (C.8.11.3) says the same a second time."""
    inverse = dataset.PhotometricInterpretation == "MONOCHROME1"
    shape = str(voi.raw(dataset, "PresentationLUTShape") or "").strip().upper()
    if shape in ("IDENTITY", "INVERSE") and (shape == "INVERSE") != inverse:
        kind = dataset.PhotometricInterpretation
        warnings.append(f"presentation LUT left out: its shape {shape} contradicts {kind}, which is followed")
    return inverse


def _padding(dataset: Any, values: np.ndarray, stored: Stored) -> np.ndarray:
    """Which of the values are Pixel Padding Value, or between it and its limit (PS3.3 C.7.5.1.1.2); bool (n,)."""
    first, last = (voi.number(dataset, name) for name in ("PixelPaddingValue", "PixelPaddingRangeLimit"))
    if first is None:
        return np.zeros(len(values), bool)
    # Both are often written with the other sign, or with bits that are not stored.
    ends = [int(end) % 2**stored.bits for end in (first, first if last is None else last)]
    if stored.signed:
        ends = [end - 2**stored.bits if end >= 2 ** (stored.bits - 1) else end for end in ends]
    return (values >= min(ends)) & (values <= max(ends))


def _square_pixels(dataset: Any, grey: np.ndarray, warnings: list[str]) -> np.ndarray:
    """The picture with square pixels, none lost: by Pixel Aspect Ratio (PS3.3 C.7.6.3.1.7), or else by the spacing."""
    for name in ("PixelAspectRatio", "PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"):
        given = voi.raw(dataset, name)
        if isinstance(given, list) and len(given) == 2:
            break
    else:
        return grey
    try:
        vertical, horizontal = (float(value) for value in given)
        ratio = vertical / horizontal
    except (TypeError, ValueError, ZeroDivisionError):
        ratio = 0.0
    if not 1 / MAX_ASPECT <= ratio <= MAX_ASPECT:
        sides = " to ".join(one_line(value, 20) for value in given)
        warnings.append(f"pixel aspect ratio left out: {name} of {sides}; pixels are taken for square")
        return grey
    height, width = grey.shape
    size = (width, round(height * ratio)) if ratio > 1 else (round(width / ratio), height)
    if abs(ratio - 1) < 0.01 or size[0] * size[1] > MAX_PIXELS:
        return grey
    return np.asarray(Image.fromarray(grey).resize(size, Image.Resampling.BILINEAR))

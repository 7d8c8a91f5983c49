"""Radiographs from DICOM files, as a reading room shows them: rescaled, windowed, black where there is no X-ray.

pydicom parses and decodes, and is needed only here (the extra `dicom`). From its values to grey is DICOM PS3.3 C.11.
"""

import contextlib
import logging
import math
import struct
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from cxr_jax.errors import InputError

SUFFIXES = (".dcm", ".dicom")
MAX_PIXELS = 2**26  # twice the largest detector's; a header can claim 65,535 x 65,535 in a file of a kilobyte
INSTALL = 'pip install "cxr_jax[dicom]"'
NEEDED = ("Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "PixelRepresentation", "BitsStored")
COLOURS = frozenset({"RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT"})
LUMINANCE = np.array([0.299, 0.587, 0.114])


def is_dicom(path: Path) -> bool:
    """Whether the file's name or the DICM after its preamble says that it is DICOM; False where it cannot be read."""
    if path.suffix.lower() in SUFFIXES:
        return True
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def read_dicom(path: str | Path) -> np.ndarray:
    """A DICOM file's one frame as uint8 (H, W), air black and bone white.

    Stored values pass the modality LUT or rescale slope, then the first VOI LUT or else the first window. Without
    either, smallest to largest value become 0 to 255, but unsigned values of up to 8 bits keep their brightness.
    MONOCHROME1 is inverted after that. Padding is black, and no smallest or largest value. Colour becomes luminance.

    Raises:
      InputError: the file is missing, damaged, no DICOM or of a kind that is not read (several frames, palette, no
        pixels, too many), or pydicom or the decoder that it needs is not installed.
    """
    try:
        import pydicom  # noqa: F401
    except ImportError as error:
        raise InputError(f"{path}: DICOM files need pydicom; {INSTALL}") from error
    try:
        with _quiet():
            dataset = _read(Path(path))
            return _luminance(dataset) if dataset.SamplesPerPixel == 3 else _grey(dataset)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such image; mend the path or leave the row out") from error
    except Exception as error:  # pydicom and the decoders raise two dozen kinds on damaged files
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path}: damaged DICOM file ({reason}); replace it or leave it out") from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """pydicom warns of odd values that are of no concern here, and logs the traceback of what it then raises."""
    loggers = [logging.getLogger(name) for name in ("pydicom", "pylibjpeg", "libjpeg", "openjpeg")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL + 1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _read(path: Path) -> Any:
    """The pydicom dataset, its header checked before anything is decoded."""
    import pydicom
    from pydicom.pixels.decoders import pylibjpeg

    try:
        syntax = pydicom.filereader.read_file_meta_info(path).get("TransferSyntaxUID")
        if syntax is None:
            raise InputError("damaged DICOM file (no Transfer Syntax UID); export it anew")
        # Inflating has no bound that could be checked beforehand, and radiographs do not come this way.
        if syntax == pydicom.uid.DeflatedExplicitVRLittleEndian:
            raise InputError("deflated DICOM is not read; export it uncompressed or as JPEG 2000")
        dataset = pydicom.dcmread(path)
    except pydicom.errors.InvalidDicomError as error:
        raise InputError("not a DICOM file (no DICM at byte 128); replace it or export it anew") from error
    if "PixelData" not in dataset:
        if "Rows" in dataset:  # pydicom drops a compressed image that the file's end cuts off
            raise InputError("damaged DICOM file (no Pixel Data, or cut off within it); replace it or leave it out")
        raise InputError("holds no image (no Pixel Data); leave it out")
    try:
        pydicom.pixels.get_decoder(syntax)
    except NotImplementedError as error:
        raise InputError(f"{syntax.name} is not read; export it uncompressed or as JPEG 2000") from error
    jpeg = syntax.is_encapsulated and syntax != pydicom.uid.RLELossless
    if jpeg and not pylibjpeg.is_available(syntax):
        raise InputError(f"{syntax.name} needs a decoder; {INSTALL}")
    for name in NEEDED:
        if dataset.get(name) is None:
            raise InputError(f"damaged DICOM file (no {name}); export it anew")
    if int(dataset.get("NumberOfFrames") or 1) > 1:
        raise InputError(f"holds {dataset.NumberOfFrames} frames; export the one that is meant")
    shape = (dataset.Rows, dataset.Columns, dataset.SamplesPerPixel)
    if shape[0] * shape[1] > MAX_PIXELS:
        raise InputError(f"claims {shape[1]} x {shape[0]} pixels, more than {MAX_PIXELS}; replace it or shrink it")
    kind = dataset.PhotometricInterpretation
    if (kind not in COLOURS or shape[2] != 3) and (kind not in ("MONOCHROME1", "MONOCHROME2") or shape[2] != 1):
        raise InputError(f"{kind} with {shape[2]} samples a pixel is not read; export it as MONOCHROME2 or RGB")
    if dataset.get("HighBit", dataset.BitsStored - 1) != dataset.BitsStored - 1:
        raise InputError(
            f"High Bit {dataset.HighBit} with {dataset.BitsStored} Bits Stored is not read; export it anew"
        )
    if jpeg:
        stated = _stream_shape(pydicom.encaps.get_frame(dataset.PixelData, 0, number_of_frames=1))
        if stated != shape:  # the decoder would believe the stream, however large
            raise InputError(f"damaged DICOM file (the header says {shape}, the stream {stated}); replace it")
    return dataset


def _stream_shape(stream: bytes) -> tuple[int, int, int]:
    """Height, width and components that a JPEG, JPEG-LS or JPEG 2000 stream states."""
    at = stream.find(b"\xff\x4f\xff\x51")  # at the start, or inside the boxes of a JP2 file
    if at >= 0:
        right, bottom, left, top, *_, components = struct.unpack_from(">8IH", stream, at + 8)
        return bottom - top, right - left, components
    at = 2
    while stream[at] == 0xFF:
        marker, length = stream[at + 1], int.from_bytes(stream[at + 2 : at + 4])
        if marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):
            height, width, components = struct.unpack_from(">HHB", stream, at + 5)
            return height, width, components
        at += 1 if marker == 0xFF else 2 + length
    raise InputError("damaged DICOM file (a JPEG stream without a size); replace it")


def _decode(dataset: Any) -> np.ndarray:
    """The stored values, (H, W) or RGB (H, W, 3), the unused bits cleared; one decoder a format, whatever is there."""
    import pydicom

    syntax = dataset.file_meta.TransferSyntaxUID
    plugin = "" if not syntax.is_encapsulated else "pydicom" if syntax == pydicom.uid.RLELossless else "pylibjpeg"
    return pydicom.pixels.pixel_array(dataset, decoding_plugin=plugin).astype(np.float64)


def _luminance(dataset: Any) -> np.ndarray:
    return _to_bytes(_decode(dataset) @ LUMINANCE, 0.0, 2.0**dataset.BitsStored - 1)


def _grey(dataset: Any) -> np.ndarray:
    stored = _decode(dataset)
    padding = _padding(dataset, stored)
    values = _modality(dataset, stored)
    shown = _lookup(dataset, "VOILUTSequence", values, unit=True)
    if shown is None:
        shown = _window(dataset, values)
    if shown is not None:
        grey = _to_bytes(shown, 0.0, 1.0)
    elif values is stored and dataset.BitsStored <= 8 and not dataset.PixelRepresentation:
        grey = _to_bytes(values, 0.0, 2.0**dataset.BitsStored - 1)
    else:
        inside = values[~padding]
        grey = _to_bytes(values, inside.min(initial=np.inf), inside.max(initial=-np.inf))
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        grey = 255 - grey
    grey[padding] = 0
    return grey


def _to_bytes(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """`low` to `high` as 0 to 255, what lies outside cut; all 0 where there is nothing between them."""
    if not high > low:
        return np.zeros(values.shape, np.uint8)
    return np.round(np.clip((values - low) / (high - low), 0, 1) * 255).astype(np.uint8)


def _padding(dataset: Any, stored: np.ndarray) -> np.ndarray:
    """Where the stored values are Pixel Padding Value, or between it and its limit; bool (H, W)."""
    first = dataset.get("PixelPaddingValue")
    if not isinstance(first, int):
        return np.zeros(stored.shape, bool)
    last = dataset.get("PixelPaddingRangeLimit")
    bits = dataset.BitsStored
    # Both are often written with the other sign, or with bits that are not stored.
    ends = [end % 2**bits for end in (first, last if isinstance(last, int) else first)]
    if dataset.PixelRepresentation:
        ends = [end - 2**bits if end >= 2 ** (bits - 1) else end for end in ends]
    return (stored >= min(ends)) & (stored <= max(ends))


def _modality(dataset: Any, stored: np.ndarray) -> np.ndarray:
    """Stored values to what the detector means by them; the same array where nothing is to be done."""
    import pydicom

    values = _lookup(dataset, "ModalityLUTSequence", stored, unit=False)
    if values is not None:
        return values
    slope, intercept = _number(dataset, "RescaleSlope"), _number(dataset, "RescaleIntercept")
    slope, intercept = 1.0 if slope is None else slope, intercept or 0.0
    if (slope, intercept) == (1, 0):
        return stored
    # Of the file's own header pydicom heeds neither of the two where one is missing, and raises where one is empty.
    rescale = pydicom.Dataset()
    rescale.RescaleSlope, rescale.RescaleIntercept = slope, intercept
    return pydicom.pixels.apply_rescale(stored, rescale)


def _lookup(dataset: Any, sequence: str, values: np.ndarray, unit: bool) -> np.ndarray | None:
    """`values` through a sequence's first table, of which `unit` makes 0 to 1; None without such a table.

    Not by pydicom, whose tables are wrong or raise for files that exist: it counts into a VOI table of 8 bits with 8
    bits, so that value 300 takes entry 44. And it raises on packed tables of a byte an entry, on tables shorter than
    they say, and on modality tables of 12 bits.
    """
    items = dataset.get(sequence)
    if not items or items[0].get("LUTDescriptor") is None or items[0].get("LUTData") is None:
        return None
    length, first, bits = items[0].LUTDescriptor
    table = items[0].LUTData
    if isinstance(table, bytes):
        wide = "<u2" if dataset.original_encoding[1] else ">u2"
        table = np.frombuffer(table, np.uint8 if len(table) <= (length or 2**16) + 1 else wide)
    entries = np.atleast_1d(np.asarray(table, np.float64))[: length or 2**16]
    index = np.clip(np.floor(values - first), 0, len(entries) - 1).astype(np.intp)
    return entries[index] / (2**bits - 1 if unit else 1)


def _window(dataset: Any, values: np.ndarray) -> np.ndarray | None:
    """`values` through the first window as 0 to 1 (PS3.3 C.11.2.1.2-3); None without one, or one of no width."""
    import pydicom

    centre, width = _number(dataset, "WindowCenter"), _number(dataset, "WindowWidth")
    function = (dataset.get("VOILUTFunction") or "LINEAR").upper()
    if centre is None or width is None or width <= 0 or (function == "LINEAR" and width < 1):
        return None
    # pydicom raises on the windows left out above, and turns the grey scale round where the slope is negative. A header
    # of the window alone, of one bit, makes it give 0 to 1.
    window = pydicom.Dataset()
    window.PhotometricInterpretation, window.PixelRepresentation, window.BitsStored = "MONOCHROME2", 0, 1
    window.WindowCenter, window.WindowWidth = centre, width
    window.VOILUTFunction = function if function in ("LINEAR", "SIGMOID") else "LINEAR_EXACT"
    return pydicom.pixels.apply_windowing(values, window)


def _number(dataset: Any, name: str) -> float | None:
    """An attribute's first value; None where it is missing, empty or not finite."""
    value = dataset.get(name)
    if value is not None and not isinstance(value, str | int | float) and hasattr(value, "__len__"):
        value = value[0] if len(value) else None
    return None if value is None or value == "" or not math.isfinite(float(value)) else float(value)

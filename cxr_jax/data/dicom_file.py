"""A DICOM file's header, checked before anything is decoded, and its stored values."""

import struct
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cxr_jax.data import voi
from cxr_jax.data.quiet import one_line
from cxr_jax.errors import InputError

MAX_PIXELS = 2**26  # twice the largest detector's; a header can claim 65,535 x 65,535 in a file of a kilobyte
INSTALL = 'pip install "cxr_jax[dicom]"'
NEEDED = ("Rows", "Columns", "SamplesPerPixel", "PixelRepresentation", "BitsAllocated", "BitsStored")
NO_RADIOGRAPHS = ("Segmentation", "RT Dose", "Parametric Map")  # objects whose pixels are no picture
COLOURS = frozenset({"RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT"})
GREYS = frozenset({"MONOCHROME1", "MONOCHROME2", "PALETTE COLOR"})
STRAY = 0.05  # of the pixels: that so few do not fit into the lower bits does not speak for the upper ones
END_OF_IMAGE, MAX_PADDING = b"\xff\xd9", 64
NOISY = 0.15
MANY = 1e-3  # of the pixels: so many neighbours that lie a whole span apart are no accident
DEFLATED = b"1.2.840.10008.1.2.1.99"


class Stored(NamedTuple):
    """Stored values as they are meant: integers (H, W), how many bits they have, whether one is a sign."""

    values: np.ndarray
    bits: int
    signed: bool


def begins_as_dicom(head: bytes) -> bool:
    """Whether a file without a preamble begins as a data set does: with group 2 or 8, in any encoding (PS3.5 7.1)."""
    group, element, form = head[:2], head[2:4], head[4:6]
    if len(head) < 8 or group not in (b"\x02\0", b"\x08\0", b"\0\x08"):
        return False
    little = group != b"\0\x08"
    explicit = form.isalpha() and form.isupper()
    implicit = little and int.from_bytes(head[4:8], "little") < 256
    return int.from_bytes(element, "little" if little else "big") < 256 and (explicit or implicit)


def read_dataset(path: Path, warnings: list[str]) -> Any:
    """The pydicom dataset of one picture that can be decoded; `warnings` gets what was guessed.

    Raises:
      InputError: without the file's name; what kind of object it is, what is wrong with it, or what is not installed.
    """
    import pydicom
    from pydicom.pixels.decoders import pylibjpeg

    with path.open("rb") as file:
        head = file.read(1024)
    bare = head[128:132] != b"DICM"
    if bare and not begins_as_dicom(head):
        raise InputError(
            "not a DICOM file (no DICM at byte 128, and it does not begin as one); replace it or export it anew"
        )
    # Inflating has no bound that could be checked beforehand, and radiographs do not come this way.
    if DEFLATED in head:
        raise InputError("deflated DICOM is not read; export it uncompressed or as JPEG 2000")
    dataset = pydicom.dcmread(path, force=bare)
    kind = pydicom.uid.UID(str(dataset.get("SOPClassUID") or dataset.file_meta.get("MediaStorageSOPClassUID") or ""))
    if "PixelData" not in dataset:
        if "FloatPixelData" in dataset or "DoubleFloatPixelData" in dataset:
            raise InputError("floating-point pixels (Float Pixel Data) are not read; export it as 16 bits")
        if "Rows" in dataset:  # pydicom drops a compressed image that the file's end cuts off
            raise InputError("damaged DICOM file (no Pixel Data, or cut off within it); replace it or leave it out")
        cut = ", or is cut off before it" if "Image Storage" in kind.name else ""
        raise InputError(
            f"holds no image{cut} ({kind.name or dataset.get('Modality') or 'no Pixel Data'}); leave it out"
        )
    if any(word in kind.name for word in NO_RADIOGRAPHS):
        raise InputError(f"holds no radiograph ({kind.name}); leave it out")
    syntax = _transfer_syntax(dataset)
    try:
        pydicom.pixels.get_decoder(syntax)
    except NotImplementedError as error:
        raise InputError(f"{syntax.name} is not read; export it uncompressed or as JPEG 2000") from error
    jpeg = _is_jpeg(syntax)
    if jpeg and not pylibjpeg.is_available(syntax):
        raise InputError(f"{syntax.name} needs a decoder; {INSTALL}")
    for name in NEEDED:
        if not isinstance(dataset.get(name), int):
            fault = f"{name} is {one_line(dataset.get(name), 40)}" if dataset.get(name) is not None else f"no {name}"
            raise InputError(f"damaged DICOM file ({fault}); export it anew")
    frames = voi.number(dataset, "NumberOfFrames", 1.0) or 1
    if frames > 1:
        raise InputError(f"holds {frames:.0f} frames ({kind.name or 'no SOP class'}); export the one that is meant")
    shape = (dataset.Rows, dataset.Columns, dataset.SamplesPerPixel)
    if shape[0] * shape[1] > MAX_PIXELS:
        raise InputError(f"claims {shape[1]} x {shape[0]} pixels, more than {MAX_PIXELS}; replace it or shrink it")
    if shape[2] not in (1, 3):
        raise InputError(f"{shape[2]} samples a pixel are not read; export it as MONOCHROME2 or RGB")
    if not 1 <= dataset.BitsStored <= dataset.BitsAllocated:
        raise InputError(
            f"damaged DICOM file (Bits Stored {dataset.BitsStored}, allocated {dataset.BitsAllocated}); export it anew"
        )
    _mend_photometry(dataset, warnings)
    if jpeg:
        stream = pydicom.encaps.get_frame(dataset.PixelData, 0, number_of_frames=1)
        stated = _stream_shape(stream)
        if END_OF_IMAGE not in stream[-MAX_PADDING:]:  # the decoders make up what is missing
            raise InputError("damaged DICOM file (its JPEG stream is cut off); replace it")
        if stated != shape:  # the decoder would believe the stream, however large
            raise InputError(f"damaged DICOM file (the header says {shape}, the stream {stated}); replace it")
    return dataset


def _is_jpeg(syntax: Any) -> bool:
    """Whether pixels are compressed as JPEG, JPEG-LS or JPEG 2000."""
    import pydicom

    return syntax.is_encapsulated and syntax != pydicom.uid.RLELossless


def _transfer_syntax(dataset: Any) -> Any:
    """The stated one, or else, of pixels that are not compressed, the one that the data set was read by."""
    import pydicom

    syntax = dataset.file_meta.get("TransferSyntaxUID")
    if syntax is None:
        if dataset["PixelData"].is_undefined_length:
            raise InputError("compressed, and no Transfer Syntax UID says how; export it anew")
        implicit, little = dataset.original_encoding
        uid = pydicom.uid
        syntax = uid.ExplicitVRLittleEndian if little else uid.ExplicitVRBigEndian
        syntax = dataset.file_meta.TransferSyntaxUID = uid.ImplicitVRLittleEndian if implicit else syntax
    return syntax


def _mend_photometry(dataset: Any, warnings: list[str]) -> None:
    """Has Photometric Interpretation (PS3.3 C.7.6.3.1.2) fit the samples, and Planar Configuration be there."""
    colour = dataset.SamplesPerPixel == 3
    stated = str(voi.raw(dataset, "PhotometricInterpretation") or "").strip().upper()
    kind = stated
    if stated not in (COLOURS if colour else GREYS):
        kind = "RGB" if colour else "MONOCHROME2"
        given = f"{one_line(stated, 20) or 'missing'}, of {dataset.SamplesPerPixel} samples a pixel"
        warnings.append(f"photometric interpretation taken for {kind}: it is {given}")
    dataset.PhotometricInterpretation = kind
    if kind == "PALETTE COLOR" and "RedPaletteColorLookupTableDescriptor" not in dataset:
        raise InputError("PALETTE COLOR without its palette is not read; export it as MONOCHROME2 or RGB")
    if colour and dataset.get("PlanarConfiguration") is None:
        dataset.PlanarConfiguration = 0


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


def decode(dataset: Any) -> np.ndarray:
    """The stored values, (H, W) or RGB (H, W, 3), the unused bits cleared; one decoder a format, whatever is there."""
    import pydicom

    syntax = dataset.file_meta.TransferSyntaxUID
    plugin = "" if not syntax.is_encapsulated else "pylibjpeg" if _is_jpeg(syntax) else "pydicom"
    values = pydicom.pixels.pixel_array(dataset, decoding_plugin=plugin)
    return values.astype(values.dtype.newbyteorder("="), copy=False)


def stored_values(dataset: Any, warnings: list[str]) -> Stored:
    """The stored values, from where they lie in their words (PS3.5 8.1.1), or lie in truth; signed where they are."""
    stored = _from_words(dataset, warnings)
    span = 2**stored.bits
    if not stored.signed or stored.bits < 8 or not stored.values.size:
        return stored
    # Unsigned pixels that are stated as signed lie a whole span apart where neighbours pass the middle. The other way
    # round cannot be told from burnt-in letters of all bits.
    unsigned = np.where(stored.values < 0, stored.values.astype(np.int64) + span, stored.values)
    if _wraps(stored.values, unsigned, span) <= max(_wraps(unsigned, stored.values, span), MANY * unsigned.size):
        return stored
    warnings.append("sign left out: pixels are stated as signed; they are shown as unsigned, as neighbours fit")
    return Stored(unsigned, stored.bits, False)


def _wraps(values: np.ndarray, other: np.ndarray, span: int) -> int:
    """How many neighbours lie half a span apart or more by `values`, and less than an eighth by `other`."""
    return sum(
        int(np.count_nonzero((_steps(values, axis) >= span // 2) & (_steps(other, axis) < span // 8)))
        for axis in (0, 1)
    )


def _is_noise(values: np.ndarray, span: int) -> bool:
    """Whether neighbours have little to do with each other; independent ones lie a third of the span apart."""
    return values.shape[1] > 1 and bool(_steps(values, 1).mean() > NOISY * span)


def _steps(values: np.ndarray, axis: int) -> np.ndarray:
    return np.abs(np.diff(values.astype(np.int64), axis=axis))


def _from_words(dataset: Any, warnings: list[str]) -> Stored:
    bits, allocated, signed = dataset.BitsStored, dataset.BitsAllocated, bool(dataset.PixelRepresentation)
    high = int(voi.number(dataset, "HighBit", bits - 1.0) or 0)
    if _is_jpeg(dataset.file_meta.TransferSyntaxUID) or bits == allocated or allocated == 1:
        return Stored(decode(dataset), bits, signed)
    dataset.BitsStored, dataset.HighBit = allocated, allocated - 1
    words = decode(dataset)
    unsigned = words.view(f"u{words.itemsize}")
    lower = _lowest(words, bits, signed)
    beyond = (lower != words) & (unsigned >= 2**bits) if unsigned.max() >= 2**bits else np.zeros(0, bool)
    if high != bits - 1:
        if bits <= high < allocated and beyond.any() and beyond.mean() > STRAY:
            return Stored(_lowest(unsigned >> (high + 1 - bits), bits, signed), bits, signed)
        warnings.append(f"High Bit left out: it is {high}; the pixels were taken from the lower {bits} bits")
    if not beyond.any() or _has_embedded_overlay(dataset):
        return Stored(lower, bits, signed)
    # What lies above Bits Stored is an overlay that nothing mentions, or the picture's own: a cut one wraps.
    wraps = _wraps(lower, words, 2**bits) > _wraps(words, lower, 2**bits)
    if not wraps and not (_is_noise(lower, 2**bits) and not _is_noise(words, int(unsigned.max()) + 1)):
        warnings.append(f"bits left out: pixels have more than the {bits} bits that are stated; the lower are shown")
        return Stored(lower, bits, signed)
    warnings.append(f"bits added: pixels have more than the {bits} bits that are stated; all {allocated} are shown")
    return Stored(words, allocated, signed)


def _lowest(words: np.ndarray, bits: int, signed: bool) -> np.ndarray:
    """The lowest bits of each word, the highest of them a sign or not."""
    unused = 8 * words.itemsize - bits
    words = words.view(f"{'i' if signed else 'u'}{words.itemsize}")
    return (words << unused) >> unused


def _has_embedded_overlay(dataset: Any) -> bool:
    """Whether an overlay is stored in the pixels' unused bits (PS3.3 C.9.2, retired)."""
    return any(dataset.get((group, 0x0102)) is not None and (group, 0x3000) not in dataset
               for group in range(0x6000, 0x6020, 2))  # fmt: skip

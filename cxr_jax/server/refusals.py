"""What may be said of an upload: why it is not read and what was guessed of it, with nothing that its header holds.

`data.images.read` tells whoever owns a file what stands in it ("window left out: centre 40, width 0"). Here the file
may be a patient's, and the reader is any client: of a DICOM file the kind of a fault is said, never its words.
"""

from collections.abc import Sequence

from cxr_jax.data.grey import kind_of
from cxr_jax.data.quiet import one_line
from cxr_jax.data.raster import PNG, TIFF

UNSUPPORTED, UNREADABLE, TOO_LARGE, TOO_SLOW = 415, 422, 413, 408
READ = "PNG, JPEG, BMP, TIFF, WebP and DICOM are read"
# How `data.dicom` begins what it says, and what is said of that here.
_DICOM = (
    ("not a DICOM file", UNSUPPORTED, f"not an image that can be read; {READ}"),
    ("DICOM files need pydicom", UNSUPPORTED, "DICOM is not read here; the server needs the extra dicom"),
    ("deflated DICOM", UNSUPPORTED, "deflated DICOM is not read; send it uncompressed or as JPEG 2000"),
    ("floating-point pixels", UNSUPPORTED, "DICOM of floating-point pixels is not read; send it as 16 bits"),
    ("PALETTE COLOR without", UNSUPPORTED, "DICOM without its palette is not read; send it as MONOCHROME2"),
    ("compressed, and no", UNREADABLE, "DICOM that is compressed and does not say how; export it anew"),
    ("damaged DICOM file", UNREADABLE, "damaged DICOM file; export it anew"),
    ("holds no image", UNREADABLE, "DICOM that holds no image; send a radiograph"),
    ("holds no radiograph", UNREADABLE, "DICOM that holds no radiograph; send one"),
    ("holds ", UNREADABLE, "DICOM of several frames; send the one that is meant"),
    ("claims", TOO_LARGE, "DICOM of too many pixels; shrink it"),
)
_OTHER_DICOM = UNSUPPORTED, "DICOM of a kind that is not read; send one uncompressed frame, or a PNG"
_OF_PIXELS = ("flat picture", "range cut", "not finite")  # kinds of warnings that speak of pixels only


def is_raster(head: bytes) -> bool:
    """Whether a file begins as one of the formats of READ but DICOM; Pillow would try all that it knows."""
    webp = head[:4] == b"RIFF" and head[8:12] == b"WEBP"
    return head.startswith((PNG, b"\xff\xd8\xff", b"BM", *TIFF)) or webp


def refusal(message: str, place: str, is_dicom: bool) -> tuple[int, str]:
    """The HTTP status and the line for what `images.read` refuses, its error being `message`.

    Args:
      place: the path that it was given, which says nothing to the client.
    """
    message = message.removeprefix(f"{place}: ")
    if is_dicom:
        found = [(status, line) for begin, status, line in _DICOM if message.startswith(begin)]
        return found[0] if found else _OTHER_DICOM
    if message.startswith("too many pixels"):
        return TOO_LARGE, "too many pixels; shrink the image"
    status = UNSUPPORTED if message.startswith(("not an image", "a kind of TIFF")) else UNREADABLE
    return status, one_line(message.replace(place, "the file"))


def said_of(warnings: Sequence[str], is_dicom: bool) -> list[str]:
    """A picture's warnings, as a client may read them."""
    if not is_dicom:
        return [one_line(warning) for warning in warnings]
    return [one_line(w) if kind_of(w) in _OF_PIXELS else f"{one_line(kind_of(w), 80)}, by its header" for w in warnings]

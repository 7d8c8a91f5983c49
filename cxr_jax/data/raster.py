"""Radiographs from PNG, JPEG, BMP, TIFF and WebP files: any mode to 8-bit grey."""

import contextlib
import ctypes
import functools
import io
import struct
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from cxr_jax.data.grey import FLAT, TRIMMED, Picture, looked_at, stretched
from cxr_jax.data.quiet import one_line, quiet
from cxr_jax.errors import InputError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
DEEP = ("I;16", "I;16B", "I;16L", "I;16N", "I", "F")  # more than 8 bits
WITH_ALPHA = ("LA", "PA", "RGBA", "La", "RGBa")
PNG_CHANNELS = {2: 3, 4: 2, 6: 4}
TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
PNG = b"\x89PNG\r\n\x1a\n"
# TIFF's tags and values (TIFF 6.0, section 8; SampleFormat is of section 19).
NEW_SUBFILE_TYPE, BITS_PER_SAMPLE, PHOTOMETRIC, SAMPLE_FORMAT = 254, 258, 262, 339
WHITE_IS_ZERO = 0
PLANAR, SEPARATE, SIGNED = 284, 2, 2
REDUCED_OR_MASK = 1 | 4
ENOUGH = 64  # greys, in the upper half of 16 bits, to see by


def read_raster(path: Path) -> Picture:
    """An image file that Pillow reads.

    What has up to 8 bits stays as it is: colour and palette become luminance, EXIF's orientation is followed. Of 16-
    and 32-bit and floating-point pictures `grey.own_range` decides what is black and white. Transparency is laid on
    black where it is part of the picture, see `flattened`.

    Raises:
      InputError: the file is missing, truncated, no image or too large, or holds several pages or frames.
    """
    try:
        # Not by its name: of a TIFF that lies on its side Pillow then maps the pixels into memory by the upright shape.
        with quiet("PIL"), path.open("rb") as file:
            image, in_halves = _opened(file)
            if image.format == "TIFF":
                _silence_libtiff()
            _one_page(image)
            picture = _grey_and_alpha(image) if in_halves else to_grey(image)
            if image.format == "PNG":
                _refuse_cut_png(file, picture.grey)
            return looked_at(picture)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such image; mend the path or leave the row out") from error
    except UnidentifiedImageError as error:
        if _head(path)[:4] in TIFF:
            raise InputError(
                f"{path}: a kind of TIFF that is not read (floating point of 64 or 16 bits, say); export it as PNG, or "
                "as 8- or 16-bit grey"
            ) from error
        raise InputError(
            f"{path}: not an image that can be read ({', '.join(SUFFIXES)}, .dcm, .dicom); replace it"
        ) from error
    except Image.DecompressionBombError as error:
        raise InputError(f"{path}: too many pixels ({error}); replace it or shrink it") from error
    except Exception as error:  # Pillow raises a dozen kinds on damaged files
        reason = one_line(error) or type(error).__name__
        raise InputError(f"{path}: damaged image ({reason}); replace it or leave it out") from error


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(8)


def _refuse_cut_png(file: IO[bytes], grey: np.ndarray) -> None:
    """Whether a PNG is whole, which Pillow does not ask: it makes up what is missing.

    Where the last row is black the rows are counted, too.

    Raises:
      InputError: its chunks (PNG 5.3) break off, or hold fewer rows than it has.
    """
    black = not grey[-1].any()
    file.seek(len(PNG))
    inflate, size, rest = zlib.decompressobj(), 0, file.read()
    width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", rest[8:21])
    wanted = height * (1 + -(-width * depth * PNG_CHANNELS.get(colour, 1) // 8)) if not interlaced else 0
    kind = b""
    while kind != b"IEND":
        length, kind = int.from_bytes(rest[:4], "big"), rest[4:8]
        chunk, checksum = rest[8 : 8 + length], rest[8 + length : 12 + length]
        if len(checksum) < 4 or zlib.crc32(kind + chunk) != int.from_bytes(checksum, "big"):
            raise InputError("damaged image (its data break off); replace it or leave it out")
        if kind == b"IDAT" and black:
            size += len(inflate.decompress(chunk))
        rest = rest[12 + length :]
    if black and (not inflate.eof or size < wanted):
        raise InputError("damaged image (rows are missing); replace it or leave it out")


def _opened(file: IO[bytes]) -> tuple[Image.Image, bool]:
    """Pillow's image, and whether its channels are upper and lower halves of 16 bits, see `_as_four_bytes`."""
    head = file.read(26)
    file.seek(0)
    if head[:8] == PNG and head[24:26] == b"\x10\x04":
        return Image.open(io.BytesIO(_as_four_bytes(file.read()))), True
    return Image.open(file), False


def _as_four_bytes(png: bytes) -> bytes:
    """A PNG of 16-bit grey and alpha, of which Pillow reads the upper halves only, with a header that says 8-bit RGBA.

    It has as many bytes a pixel, filtered alike (PNG 9.2).
    """
    header = png[12:24] + b"\x08\x06" + png[26:29]
    return png[:12] + header + struct.pack(">I", zlib.crc32(header)) + png[33:]


def _grey_and_alpha(image: Image.Image) -> Picture:
    words = np.asarray(_upright(image)).astype(np.uint16)
    grey = stretched(words[:, :, 0] << 8 | words[:, :, 1])
    laid = flattened(grey.grey, words[:, :, 2].astype(np.uint8))
    return Picture(laid.grey, (*grey.warnings, *laid.warnings))


@functools.cache
def _silence_libtiff() -> None:
    """Has libtiff, inside Pillow, print nothing from C; what matters of its errors Pillow raises."""
    with contextlib.suppress(OSError, AttributeError):  # a Pillow that is built otherwise
        library = ctypes.CDLL(Image.core.__file__)
        for setter in (library.TIFFSetErrorHandler, library.TIFFSetWarningHandler):
            setter.argtypes, setter.restype = [ctypes.c_void_p], ctypes.c_void_p
            setter(None)


def _one_page(image: Image.Image) -> None:
    """Raises an InputError where there are several pictures; small copies, masks, and a camera's previews are none."""
    count = getattr(image, "n_frames", 1)
    if count == 1 or image.format == "MPO":
        return
    if image.format == "TIFF":
        tiff: Any = image
        kinds = []
        for page in range(count):
            tiff.seek(page)
            kinds.append(tiff.tag_v2.get(NEW_SUBFILE_TYPE, 0))
        tiff.seek(0)
        count = sum(not kind & REDUCED_OR_MASK for kind in kinds)
        if count <= 1:
            return
    what = "pages" if image.format == "TIFF" else "frames"
    raise InputError(f"holds {count} {what}; export the one that is meant")


def to_grey(image: Image.Image) -> Picture:
    """A PIL image of any mode as a `Picture`; see `read_raster`."""
    tags = dict(getattr(image, "tag_v2", {}))
    if tags.get(SAMPLE_FORMAT, (1,))[0] == SIGNED and image.mode == "L":  # Pillow has no signed bytes
        return stretched(np.asarray(_upright(image)).view(np.int8))
    if tags.get(PLANAR) == SEPARATE and max(tags.get(BITS_PER_SAMPLE, (8,))) > 8:
        raise InputError("16-bit colour in separate planes is not read; export it as 16-bit grey, or PNG")
    deep = _deep_values(image)
    if deep is not None:
        return deep
    deep_colours = _has_deep_colours(image)  # before it is decoded: then nothing says it any more
    image = _upright(image)
    alpha = None
    if image.mode in WITH_ALPHA or "transparency" in image.info:
        image = image.convert("RGBA")
        alpha = np.asarray(image.getchannel("A"))
        image = image.convert("RGB")
    grey = np.asarray(image.getchannel("L") if image.mode == "LAB" else image.convert("L"))
    warnings: tuple[str, ...] = ()
    if deep_colours:
        most = np.quantile(grey, 1 - TRIMMED, method="nearest")
        greys = len(np.unique(grey[grey <= most]))
        if greys < ENOUGH:
            warnings = (f"16-bit colour: of each channel the upper 8 bits are read, which hold {greys} greys",)
        grey = stretched(grey).grey
    if alpha is None:
        return Picture(grey, warnings)
    picture = flattened(grey, alpha)
    return Picture(picture.grey, (*warnings, *picture.warnings))


def flattened(colour: np.ndarray, alpha: np.ndarray) -> Picture:
    """A picture laid on black by its alpha, both uint8 (H, W), where alpha is part of the picture.

    It is not where it is the same nearly everywhere, or where it blots the picture out; and where it alone shows
    something, it is the picture.
    """
    if alpha.min(initial=255) == 255:
        return Picture(colour)
    laid = np.round(colour * (alpha / 255.0)).astype(np.uint8)
    low, high = np.quantile(alpha, [TRIMMED, 1 - TRIMMED], method="nearest")
    if low == high == 255:
        return Picture(laid)
    if low == high or (laid.std() < FLAT <= colour.std()):
        opaque = f"{low / 255:.0%} to {high / 255:.0%} opaque"
        return Picture(colour, (f"alpha left out: {opaque}, it is no part of the picture",))
    if colour.std() < FLAT <= alpha.std():
        return Picture(alpha, ("alpha shown: the colours are one, and alpha alone holds a picture",))
    return Picture(laid)


def _deep_values(image: Image.Image) -> Picture | None:
    """A grey picture of more than 8 bits; None of another."""
    if image.mode not in DEEP:
        return None
    tags = dict(getattr(image, "tag_v2", {}))
    values = np.asarray(_upright(image))
    if image.mode == "I" and tags.get(BITS_PER_SAMPLE) == (32,) and tags.get(SAMPLE_FORMAT, (1,)) == (1,):
        values = values.view(np.uint32)  # Pillow has signed ones only
    picture = stretched(values)
    if tags.get(PHOTOMETRIC) == WHITE_IS_ZERO:  # which Pillow follows up to 8 bits
        picture = Picture(255 - picture.grey, picture.warnings)
    return picture


def _upright(image: Image.Image) -> Image.Image:
    """The image turned as its EXIF says, once: of a TIFF Pillow does that itself as it decodes it."""
    image.load()
    return ImageOps.exif_transpose(image)


def _has_deep_colours(image: Image.Image) -> bool:
    """Whether Pillow cuts the picture's colours to 8 bits as it decodes them."""
    arguments = [tile[3] for tile in getattr(image, "tile", [])]
    modes = [part[0] if isinstance(part, tuple) and part else part for part in arguments]
    return any(isinstance(mode, str) and ";16" in mode and not mode.startswith("BGR") for mode in modes)

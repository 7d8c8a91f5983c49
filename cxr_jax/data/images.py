"""Radiographs from files: any mode to 8-bit grey, shrunk for storing, fitted to the model's square."""

import functools
import io
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cxr_jax.data import dicom, raster
from cxr_jax.data.grey import ImageWarning, Picture, looked_at, stretched
from cxr_jax.errors import InputError

THUMBNAIL = 256  # pixels, long side
LUMINANCE = np.array([0.299, 0.587, 0.114])  # of red, green and blue: ITU-R 601, as Pillow's
SUFFIXES = (*raster.SUFFIXES, *dicom.SUFFIXES)


def read(path: str | Path) -> Picture:
    """An image file as uint8 (H, W), with what had to be guessed or left out of it.

    By `dicom.read_dicom` what is DICOM by its name or by what it begins with, by `raster.read_raster` all else.

    Raises:
      InputError: the file is missing, truncated, no image, several or too large.
    """
    path = Path(path)
    return dicom.read_dicom(path) if dicom.is_dicom(path) else raster.read_raster(path)


def grey_of(image: Any) -> np.ndarray:
    """A radiograph in any form as uint8 (H, W); what is to be said of it becomes an `ImageWarning` each.

    Args:
      image: a file's path; PIL's image; or an array (H, W), (H, W, 1), (H, W, 3) of RGB or (H, W, 4) of RGBA. uint8
        stays as it is; of all other numbers `grey.own_range` decides what is black and white, as it does of files.

    Raises:
      InputError: as `read`; or it is none of these.
    """
    if isinstance(image, str | os.PathLike):
        picture, name = read(Path(image)), f"{image}"
    elif isinstance(image, Image.Image):
        picture, name = looked_at(raster.to_grey(image)), "PIL image"
    else:
        picture, name = _of_array(image), "image array"
    for warning in picture.warnings:
        warnings.warn(f"{name}: {warning}", ImageWarning, stacklevel=2)
    return picture.grey


def _of_array(image: Any) -> Picture:
    pixels = np.asarray(image)
    deep = pixels.dtype != np.uint8
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    known = pixels.ndim in (2, 3) and channels in ((1, 3) if deep else (1, 3, 4))
    if not known or pixels.dtype.kind not in "uif" or not pixels.size:
        what = f"image array is {pixels.dtype} {pixels.shape}" if pixels.ndim else f"image is a {type(image).__name__}"
        raise InputError(
            f"{what}; give a file's path, a PIL image, or numbers (H, W), (H, W, 1), (H, W, 3) or, as uint8, (H, W, 4)"
        )
    if channels == 1:
        grey = pixels.reshape(pixels.shape[:2])
        return looked_at(stretched(grey)) if deep else Picture(grey)
    if deep:
        return looked_at(stretched(pixels.astype(np.float64) @ LUMINANCE))
    return looked_at(raster.to_grey(Image.fromarray(pixels)))


def shrink(image: np.ndarray, short_side: int) -> np.ndarray:
    """uint8 (H, W) to a short side of `short_side` pixels; smaller images stay as they are."""
    height, width = image.shape
    scale = short_side / min(height, width)
    if scale >= 1:
        return image
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))


def fit_square(image: np.ndarray, side: int, affine: np.ndarray | None = None) -> np.ndarray:
    """uint8 (H, W) to (side, side): the whole image, its proportions kept, on black.

    Args:
      affine: (2, 3), from output to input in units of the side about the centre; None for the identity.
    """
    height, width = image.shape
    if affine is None:
        if (height, width) == (side, side):
            return image
        scale = side / max(height, width)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        square = np.zeros((side, side), np.uint8)
        top, left = (side - size[1]) // 2, (side - size[0]) // 2
        fitted = Image.fromarray(image).resize(size, Image.Resampling.BILINEAR)
        square[top : top + size[1], left : left + size[0]] = np.asarray(fitted)
        return square
    square = fit_square(image, side)
    # PIL counts from the corner of the first pixel, not from its middle.
    linear, shift, centre = affine[:, :2], affine[:, 2] * side, np.full(2, side / 2)
    offset = centre + shift - linear @ centre
    matrix = (*linear[0], offset[0], *linear[1], offset[1])
    turned = Image.fromarray(square).transform((side, side), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
    return np.asarray(turned)


def augment(image: np.ndarray, side: int, rng: np.random.Generator) -> np.ndarray:
    """`fit_square` with a random turn (± 4°), scale (± 6 %), shift (± 3 %) and exposure; never a flip: sides matter."""
    angle, scale = np.deg2rad(rng.uniform(-4, 4)), rng.uniform(0.94, 1.06)
    cos, sin = np.cos(angle) / scale, np.sin(angle) / scale
    shift = rng.uniform(-0.03, 0.03, size=2)
    image = fit_square(image, side, np.array([[cos, sin, shift[0]], [-sin, cos, shift[1]]]))
    gain, bias = rng.uniform(0.9, 1.1), rng.uniform(-12, 12)
    table = np.clip(np.arange(256) * gain + bias, 0, 255).astype(np.uint8)
    return table[image]


def encode_jpeg(image: np.ndarray, quality: int = 85) -> bytes:
    """uint8 (H, W) as a JPEG."""
    return _encode(image, "JPEG", quality=quality)


def encode_png(image: np.ndarray) -> bytes:
    """uint8 (H, W) as a PNG, without loss."""
    return _encode(image, "PNG", compress_level=3)


# How images may be stored: without loss, or in half the room and decoded in half the time (scripts/benchmark_data.py).
ENCODERS: dict[str, Callable[[np.ndarray], bytes]] = {
    "png": encode_png,
    "jpeg": functools.partial(encode_jpeg, quality=95),
}


def thumbnail(image: np.ndarray) -> bytes:
    """uint8 (H, W) as a JPEG of at most THUMBNAIL pixels on its long side."""
    long_side = max(image.shape)
    return encode_jpeg(shrink(image, max(1, round(THUMBNAIL * min(image.shape) / long_side))))


def decode(encoded: bytes) -> np.ndarray:
    """A stored image back to uint8 (H, W)."""
    return np.asarray(Image.open(io.BytesIO(encoded)).convert("L"))


def _encode(image: np.ndarray, form: str, **options: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, form, **options)
    return buffer.getvalue()

"""Maps of heat: enlarged, put together of what patches hide, brought to an image's frame. NumPy alone."""

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image
from scipy.ndimage import uniform_filter

PATCH, STEP = 1 / 4, 1 / 12  # of the image's side: what is hidden at a time, and from one time to the next

Heat = Float[np.ndarray, "H W"]
Patch = tuple[slice, slice]


def enlarged(heat: Float[np.ndarray, "h w"], side: int) -> Heat:
    """A map's bilinear enlargement to side × side, float32."""
    image = Image.fromarray(np.asarray(heat, np.float32))
    return np.asarray(image.resize((side, side), Image.Resampling.BILINEAR))


def hidden(square: UInt8[np.ndarray, "S S"]) -> tuple[UInt8[np.ndarray, "N S S"], list[Patch]]:
    """The image with a patch of its mean grey in each of N places, row by row, and where these are."""
    side = len(square)
    patch, step = (max(1, round(share * side)) for share in (PATCH, STEP))
    # So that the border is hidden as often as the middle, patches begin outside.
    starts = range(step - patch, side, step)
    spans = [slice(max(start, 0), min(start + patch, side)) for start in starts]
    patches = [(rows, columns) for rows in spans for columns in spans]
    images = np.repeat(square[None], len(patches), axis=0)
    for image, place in zip(images, patches, strict=True):
        image[place] = round(float(square.mean()))
    return images, patches


def spread(drops: Float[np.ndarray, " N"], patches: list[Patch], side: int) -> Heat:
    """The mean drop of all patches that hide a pixel, float32 (side, side); without the steps that these leave."""
    total, count = np.zeros((2, side, side), np.float32)
    for drop, place in zip(drops, patches, strict=True):
        total[place] += drop
        count[place] += 1
    return uniform_filter(total / count, max(1, round(STEP * side)))


def in_frame(heat: Float[np.ndarray, "S S"], height: int, width: int) -> Heat:
    """A map of `images.fit_square`'s square in the frame of the image that was fitted: float32 (height, width)."""
    side, long = len(heat), max(height, width)
    rows, columns = (max(1, round(side * length / long)) for length in (height, width))
    top, left = (side - rows) // 2, (side - columns) // 2
    inside = Image.fromarray(np.ascontiguousarray(heat[top : top + rows, left : left + columns], np.float32))
    return np.asarray(inside.resize((width, height), Image.Resampling.BILINEAR))

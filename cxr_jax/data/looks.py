"""What a picture looks like: a chest from the front or the side, inverted or clipped, or no chest at all.

No model and no patient is behind it: a picture is held against chests that `cxr_jax.phantom` draws. It doubts, it does
not decide. docs/data.md has how many real radiographs and other pictures it tells apart.
"""

import functools
from typing import NamedTuple

import numpy as np
from PIL import Image

from cxr_jax.phantom.drawing import draw_study

SIDE = 24  # pixels, at which pictures are compared
DRAWN = 24  # chests that are averaged
BLACK, WHITE = 1, 254  # no darker, no brighter: cut off
DARK, LETTERS = 16, 0.1  # grey; share of a row or column that may be brighter in a black border
# Chosen on covid_cxr's frontal and lateral films and on other pictures, see docs/data.md.
CLIPPED = 0.3
CHEST, INVERTED, FRONTAL = 0.25, -0.2, 0.1


class Looks(NamedTuple):
    """What is measured of a picture.

    Attributes:
      frontal, lateral: correlation, -1 to 1, with the mean of chests drawn from the front, and from either side.
      symmetry: correlation with its own mirror image.
      clipped: the share of pure black and white pixels in the middle four fifths.
    """

    frontal: float
    lateral: float
    symmetry: float
    clipped: float


def looks_of(grey: np.ndarray) -> Looks:
    """Measures uint8 (H, W)."""
    front, side = _drawn_chests()
    grey = without_border(grey)
    height, width = grey.shape
    middle = grey[height // 10 : height - height // 10, width // 10 : width - width // 10]
    small = _small(grey)
    return Looks(
        frontal=float(np.mean(small * front)),
        lateral=float(max(np.mean(small * side), np.mean(small * side[:, ::-1]))),
        symmetry=float(np.mean(small * small[:, ::-1])),
        clipped=float(np.mean((middle <= BLACK) | (middle >= WHITE))) if middle.size else 0.0,
    )


def doubts_of(looks: Looks, lateral: bool = False) -> tuple[str, ...]:
    """What a picture that is said to be a chest's, and `lateral` or not, seems to be instead; most often nothing.

    Of "saturated", "inverted", "no chest" and "lateral"; a picture that shows nothing is none of them.
    """
    doubts = []
    if looks.clipped >= CLIPPED:
        doubts.append("saturated")
    if looks.frontal < INVERTED:
        doubts.append("inverted")
    elif max(looks.frontal, looks.lateral) < CHEST:
        doubts.append("no chest")
    elif not lateral and looks.frontal - looks.lateral + looks.symmetry / 2 < FRONTAL:
        doubts.append("lateral")
    return tuple(doubts)


def without_border(grey: np.ndarray) -> np.ndarray:
    """The picture without the rows and columns at its edges that are black but for a letter; itself where all are."""
    lit = grey > DARK
    rows, columns = (np.flatnonzero(lit.mean(axis=axis) > LETTERS) for axis in (1, 0))
    if not len(rows) or not len(columns):
        return grey
    return np.ascontiguousarray(grey[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])


def small_picture(grey: np.ndarray) -> np.ndarray:
    """uint8 (H, W) at (SIDE, SIDE), its black border cut off, of mean 0 and variance 1; zeros of one that is flat."""
    return _small(without_border(grey))


@functools.cache
def _drawn_chests() -> tuple[np.ndarray, np.ndarray]:
    """The mean drawn chest from the front and from the side, (SIDE, SIDE) each, of mean 0 and variance 1."""
    studies = [draw_study((), [0, number], 64) for number in range(DRAWN)]
    front, side = (np.mean([_small(study[view]) for study in studies], axis=0) for view in (0, 1))
    return _standardised(front), _standardised(side)


def _small(grey: np.ndarray) -> np.ndarray:
    resized = Image.fromarray(grey).resize((SIDE, SIDE), Image.Resampling.BOX)
    return _standardised(np.asarray(resized, np.float64))


def _standardised(values: np.ndarray) -> np.ndarray:
    return (values - values.mean()) / max(float(values.std()), 1e-9)

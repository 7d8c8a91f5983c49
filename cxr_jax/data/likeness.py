"""How like the pictures that a model was trained on another one is: no model, and nothing but their pixels.

A picture is held against training pictures at 24 × 24 pixels, as it is and as it would be turned upside down, mirrored
or inverted. docs/abstention.md has how much that tells apart. (`looks` does the same against drawn chests, of files of
which nobody knows yet what they are.)
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from cxr_jax.data.looks import SIDE, small_picture

_BLOCK = 1024  # pictures at a time


class Likeness(NamedTuple):
    """The highest correlation, -1 to 1, of each of N pictures with any training picture; 0 of a flat one.

    `itself` as it is, the others as it would be turned upside down, with left and right exchanged, and inverted.
    """

    itself: Float[np.ndarray, " N"]
    upside_down: Float[np.ndarray, " N"]
    mirrored: Float[np.ndarray, " N"]
    inverted: Float[np.ndarray, " N"]


class Exemplars:
    """Training pictures, uint8 (H, W) each, that others are held against; a black border counts for nothing."""

    def __init__(self, pictures: Iterable[np.ndarray]):
        self._pictures = _standardised(pictures)

    def __len__(self) -> int:
        return len(self._pictures)

    def likeness(self, pictures: Iterable[np.ndarray]) -> Likeness:
        """Of pictures, uint8 (H, W) each, of any sizes."""
        given = _standardised(pictures)
        poses = (given, given[:, ::-1], given[:, :, ::-1], -given)
        return Likeness(*(self._highest(pose.reshape(-1, SIDE * SIDE)) for pose in poses))

    def _highest(self, given: Float[np.ndarray, "N P"]) -> Float[np.ndarray, " N"]:
        own = self._pictures.reshape(-1, SIDE * SIDE)
        blocks = [given[i : i + _BLOCK] @ own.T for i in range(0, len(given), _BLOCK)]
        highest = [block.max(axis=1) / own.shape[1] for block in blocks]
        return np.concatenate([np.zeros(0), *highest])


def _standardised(pictures: Iterable[np.ndarray]) -> Float[np.ndarray, "N S S"]:
    return np.array([small_picture(picture) for picture in pictures]).reshape(-1, SIDE, SIDE)

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
from cxr_jax.retrieval.search import Candidates


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
        standardised = _standardised(pictures)
        self._pictures = Candidates(standardised.reshape(len(standardised), SIDE * SIDE))

    def __len__(self) -> int:
        return self._pictures.size

    def likeness(self, pictures: Iterable[np.ndarray]) -> Likeness:
        """Of pictures, uint8 (H, W) each, of any sizes."""
        given = _standardised(pictures)
        poses = np.concatenate([given, given[:, ::-1], given[:, :, ::-1], -given])
        # The search's own product: NumPy's threads and XLA's would hinder each other where a server needs both.
        highest, _ = self._pictures.top_k(poses.reshape(len(poses), SIDE * SIDE), 1)
        return Likeness(*highest.reshape(4, len(given)).astype(np.float64))


def _standardised(pictures: Iterable[np.ndarray]) -> Float[np.ndarray, "N S S"]:
    """Of mean 0 and norm 1, so that a product is a correlation."""
    small = [small_picture(picture) / SIDE for picture in pictures]
    return np.array(small, np.float32).reshape(len(small), SIDE, SIDE)

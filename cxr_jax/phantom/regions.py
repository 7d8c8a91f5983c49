"""Where a drawn study's findings are seen: what its frontal view would lack without each of them."""

from collections.abc import Sequence

import numpy as np

from cxr_jax.phantom.drawing import draw_frontal
from cxr_jax.phantom.reports import Finding

VISIBLE = 8  # grey levels, far above the grain of one to three
STRAY = 0.01  # of the changed pixels, that a box leaves out at each of its sides

Array = np.ndarray
Box = tuple[int, int, int, int]


def finding_mask(findings: tuple[Finding, ...], finding: Finding, seed: Sequence[int], size: int) -> Array:
    """Where the frontal view of a study would be another without one of its findings: bool (size, size).

    Args:
      findings, seed, size: as `drawing.draw_study` takes them; size is the image's side in pixels.
      finding: one of `findings`.
    """
    others = tuple(other for other in findings if other is not finding)
    with_it, without = (draw_frontal(shown, list(seed), size).astype(int) for shown in (findings, others))
    return np.abs(with_it - without) > VISIBLE


def finding_boxes(mask: Array, bilateral: bool = False) -> list[Box]:
    """The boxes (left, top, right, bottom), in pixels, right and bottom outside, that hold what a mask marks.

    One as a reader would draw it: the whole enlarged heart, not its two new borders; of a bilateral finding one in each
    half of the image. None of an empty mask.
    """
    middle = mask.shape[1] // 2
    halves = [(0, mask[:, :middle]), (middle, mask[:, middle:])] if bilateral else [(0, mask)]
    found = []
    for start, half in halves:
        rows, columns = np.nonzero(half)
        if rows.size:
            (top, bottom), (left, right) = (
                np.quantile(places, (STRAY, 1 - STRAY), method="nearest") for places in (rows, columns)
            )
            found.append((start + int(left), int(top), start + int(right) + 1, int(bottom) + 1))
    return found


def finding_region(findings: tuple[Finding, ...], finding: Finding, seed: Sequence[int], size: int) -> Array:
    """The places within a finding's boxes in the frontal view: bool (size, size), none where it is hidden."""
    region = np.zeros((size, size), bool)
    mask = finding_mask(findings, finding, seed, size)
    for left, top, right, bottom in finding_boxes(mask, finding.side == "bilateral"):
        region[top:bottom, left:right] = True
    return region

"""The film: a study's anatomy and findings as a frontal and a lateral chest radiograph.

A view is composed the way an X-ray is: layers of thickness add up, and the film is 1 - exp(-thickness).
"""

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from cxr_jax.phantom.anatomy import Anatomy, Array, Rng, View, frontal_view, lateral_view, sample_anatomy, strokes
from cxr_jax.phantom.findings import FRONTAL, LATERAL, SHAPES
from cxr_jax.phantom.reports import Finding

VIEWS = ((frontal_view, FRONTAL), (lateral_view, LATERAL))


def _expose(view: View, rng: Rng) -> Array:
    """The view's thickness as an 8-bit film, with the patient's pose, blur and grain."""
    anatomy, size = view.anatomy, view.size
    cos, sin = np.cos(anatomy.tilt) / anatomy.zoom, np.sin(anatomy.tilt) / anatomy.zoom
    middle = size / 2
    dx, dy = (middle * (1 + 2 * shift) for shift in anatomy.shift)
    # The body goes on beyond the film's edge: the margin keeps a turned patient from ending in a black wedge.
    margin = size // 8
    pose = (cos, sin, margin + middle - cos * dx - sin * dy, -sin, cos, margin + middle + sin * dx - cos * dy)
    film = Image.fromarray(np.pad(view.film().astype(np.float32), margin, mode="edge"))
    film = film.transform((size, size), Image.Transform.AFFINE, pose, Image.Resampling.BILINEAR)
    thickness = gaussian_filter(np.asarray(film), anatomy.blur * size + 0.2)
    light = (1 - np.exp(-0.95 * anatomy.exposure * np.clip(thickness, 0, None))) ** (1.25 * anatomy.contrast)
    grey = 255 * light + rng.normal(0, anatomy.noise, light.shape)
    if anatomy.marker:
        grey += _marker(anatomy.marker, size)
    return np.clip(grey, 0, 255).astype(np.uint8)


def _marker(letter: str, size: int) -> Array:
    """A lead letter in the upper corner of its side."""
    x = 0.93 if letter == "L" else 0.05
    shape = {
        "L": [(0.0, 0.0), (0.0, 1.0), (0.6, 1.0)],
        "R": [(0.0, 1.0), (0.0, 0.0), (0.5, 0.1), (0.5, 0.4), (0.0, 0.5), (0.6, 1.0)],
    }[letter]
    return 180 * strokes(size, [([(x + 0.045 * u, 0.05 + 0.055 * v) for u, v in shape], 0.01, 1.0)])


def draw_study(findings: tuple[Finding, ...], seed: list[int], size: int) -> tuple[Array, Array]:
    """The frontal and lateral view of one study, uint8 (size, size) each.

    The patient depends on `seed` alone: with other findings the same person is drawn.
    """
    anatomy = _anatomy(findings, seed)
    frontal, lateral = (_draw_view(anatomy, findings, seed, size, number) for number in range(len(VIEWS)))
    return frontal, lateral


def draw_frontal(findings: tuple[Finding, ...], seed: list[int], size: int) -> Array:
    """The first of `draw_study`'s views alone."""
    return _draw_view(_anatomy(findings, seed), findings, seed, size, 0)


def _anatomy(findings: tuple[Finding, ...], seed: list[int]) -> Anatomy:
    anatomy = sample_anatomy(np.random.default_rng([*seed, 1]))
    for finding in findings:
        if finding.kind in SHAPES:
            anatomy = SHAPES[finding.kind](anatomy, finding, np.random.default_rng([*seed, 2]))
    return anatomy


def _draw_view(anatomy: Anatomy, findings: tuple[Finding, ...], seed: list[int], size: int, number: int) -> Array:
    draw, overlays = VIEWS[number]
    view = draw(anatomy, size, np.random.default_rng([*seed, 3, number]))
    for finding in findings:
        if finding.kind in overlays:
            overlays[finding.kind](view, finding, np.random.default_rng([*seed, 4, number]))
    return _expose(view, np.random.default_rng([*seed, 5, number]))

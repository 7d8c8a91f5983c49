"""What each finding changes in the picture, in up to three functions that are named after its kind.

`shapes` changes the anatomy before anything is drawn, `frontal` and `lateral` add to a view.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from scipy.ndimage import gaussian_filter

from cxr_jax.phantom.anatomy import (
    SIGN,
    Anatomy,
    Points,
    Rng,
    View,
    bell,
    chest_wall,
    curve,
    diaphragm,
    lateral_front,
    lobe_point,
    lung,
    soft,
    strokes,
    texture,
)
from cxr_jax.phantom.reports import Finding

DEGREE = {"mild": 0.0, "small": 0.0, "moderate": 0.5, "severe": 1.0, "large": 1.0, "": 0.5}

Shape = Callable[[Anatomy, Finding, Rng], Anatomy]
Overlay = Callable[[View, Finding, Rng], None]
SHAPES: dict[str, Shape] = {}
FRONTAL: dict[str, Overlay] = {}
LATERAL: dict[str, Overlay] = {}


def shapes(function: Shape) -> Shape:
    """Register a finding that changes the anatomy; the function's name begins with the kind's."""
    SHAPES[function.__name__.removesuffix("_shape")] = function
    return function


def frontal(function: Overlay) -> Overlay:
    """Register what a finding adds to the frontal view."""
    FRONTAL[function.__name__.removesuffix("_frontal")] = function
    return function


def lateral(function: Overlay) -> Overlay:
    """Register what a finding adds to the lateral view."""
    LATERAL[function.__name__.removesuffix("_lateral")] = function
    return function


def _sides(finding: Finding) -> tuple[str, ...]:
    return ("right", "left") if finding.side == "bilateral" else (finding.side,)


@shapes
def cardiomegaly_shape(anatomy: Anatomy, finding: Finding, rng: Rng) -> Anatomy:
    """A heart wider than half the thorax."""
    return replace(anatomy, heart=0.73 + 0.13 * DEGREE[finding.severity] + rng.uniform(0, 0.03))


@shapes
def hyperinflation_shape(anatomy: Anatomy, finding: Finding, rng: Rng) -> Anatomy:
    """Low flat domes, dark long lungs, a narrow heart."""
    return replace(
        anatomy,
        dome_right=anatomy.dome_right + 0.09,
        dome_left=anatomy.dome_left + 0.085,
        dome_drop=0.025,
        lucency=min(0.92, anatomy.lucency + 0.1),
        heart=anatomy.heart * 0.8,
        apex=anatomy.apex - 0.015,
    )


@shapes
def elevated_shape(anatomy: Anatomy, finding: Finding, rng: Rng) -> Anatomy:
    """One dome stands high."""
    if finding.side == "right":
        return replace(anatomy, dome_right=anatomy.dome_right - rng.uniform(0.09, 0.13))
    return replace(anatomy, dome_left=anatomy.dome_left - rng.uniform(0.12, 0.16))


@shapes
def scoliosis_shape(anatomy: Anatomy, finding: Finding, rng: Rng) -> Anatomy:
    """The spine bows towards the convex side."""
    bend = 0.034 + 0.034 * DEGREE[finding.severity] + rng.uniform(0, 0.006)
    return replace(anatomy, bend=SIGN[finding.side] * bend)


@frontal
def effusion_frontal(view: View, finding: Finding, rng: Rng) -> None:
    """Fluid to a level that climbs to the chest wall: the meniscus."""
    for side in _sides(finding):
        across = SIGN[side] * (view.x - 0.5)
        wall = np.maximum(chest_wall(view.anatomy, view.y), 0.05)
        lateral_part = np.clip(across / wall, 0, 1.1)
        level = diaphragm(view.anatomy, 0.5 + SIGN[side] * 0.17, side) + 0.055
        level = level - (0.12 + 0.20 * DEGREE[finding.severity] + rng.uniform(0, 0.02))
        surface = level + 0.10 - 0.17 * lateral_part**3
        fluid = soft(view.y - surface, 0.014) * (across > 0.0)
        view.air *= 1 - 0.93 * fluid
        view.added += 0.12 * fluid * lung(view.anatomy, view.x, view.y, side)


@lateral
def effusion_lateral(view: View, finding: Finding, rng: Rng) -> None:
    """Fluid in the posterior recess."""
    surface = 0.80 - 0.22 * DEGREE[finding.severity] - 0.25 * np.clip(view.x - 0.55, 0, 1)
    view.air *= 1 - 0.8 * soft(view.y - surface, 0.015)


@frontal
def pneumothorax_frontal(view: View, finding: Finding, rng: Rng) -> None:
    """Air without vessels beyond a thin pleural line."""
    anatomy, side = view.anatomy, finding.side
    inset = 0.05 + 0.055 * DEGREE[finding.severity] + rng.uniform(0, 0.008)
    across = SIGN[side] * (view.x - 0.5)
    border = chest_wall(anatomy, view.y, apex=anatomy.apex + 1.5 * inset, inset=inset * 1.0) - across
    whole = lung(anatomy, view.x, view.y, side)
    free = soft(-border, 0.004) * whole * soft(0.72 - view.y, 0.04)
    view.markings *= 1 - free
    view.air += 0.22 * free
    view.air -= 0.14 * soft(border, 0.004) * whole
    view.added += 0.30 * bell(border, 0.006) * whole * soft(0.70 - view.y, 0.05)


@frontal
def consolidation_frontal(view: View, finding: Finding, rng: Rng) -> None:
    """A fuzzy patch with darker branching bronchi inside."""
    x, y = lobe_point(view.anatomy, finding, rng)
    width, height = rng.uniform(0.12, 0.15), rng.uniform(0.10, 0.13)
    wobble = 0.18 * texture(rng, view.size, 14)
    reach = np.hypot((view.x - x) / width, (view.y - y) / height) + wobble
    patch = soft(1 - reach, 0.3) * (1 + 0.15 * texture(rng, view.size, 40))
    patch = patch * lung(view.anatomy, view.x, view.y, finding.side)
    hilum = (0.5 + SIGN[finding.side] * 0.09, 0.44)
    ends = [(x + rng.normal(0, 0.05), y + rng.normal(0, 0.045)) for _ in range(5)]
    bronchi = strokes(view.size, [(curve(hilum, end, 0.01), 0.007, 1.0) for end in ends])
    view.air *= 1 - 0.9 * np.clip(patch, 0, 1) * (1 - 0.45 * bronchi)


@lateral
def consolidation_lateral(view: View, finding: Finding, rng: Rng) -> None:
    """The lobe's place from the side: middle in front, lower behind."""
    x, y = {"upper lobe": (0.50, 0.28), "middle lobe": (0.36, 0.58), "lower lobe": (0.64, 0.66)}[finding.place]
    reach = np.hypot(view.x - x, view.y - y) / 0.10 + 0.18 * texture(rng, view.size, 14)
    view.air *= 1 - 0.6 * soft(1 - reach, 0.3)


@frontal
def nodule_frontal(view: View, finding: Finding, rng: Rng) -> None:
    """A round soft density."""
    x, y = lobe_point(view.anatomy, finding, rng)
    radius = rng.uniform(0.040, 0.052)
    view.added += 0.95 * soft(radius - np.hypot(view.x - x, view.y - y), 0.006)


@lateral
def nodule_lateral(view: View, finding: Finding, rng: Rng) -> None:
    """The same nodule from the side."""
    x, y = _lateral_lobe(finding, rng)
    view.added += 0.3 * soft(0.036 - np.hypot(view.x - x, view.y - y), 0.006)


def _lateral_lobe(finding: Finding, rng: Rng) -> tuple[float, float]:
    x, y = {"upper lobe": (0.50, 0.28), "middle lobe": (0.36, 0.58), "lower lobe": (0.64, 0.62)}[finding.place]
    return x + rng.normal(0, 0.02), y + rng.normal(0, 0.02)


@frontal
def granuloma_frontal(view: View, finding: Finding, rng: Rng) -> None:
    """A small dense dot."""
    x, y = lobe_point(view.anatomy, finding, rng)
    radius = rng.uniform(0.021, 0.026)
    view.added += 2.0 * soft(radius - np.hypot(view.x - x, view.y - y), 0.003)


@lateral
def granuloma_lateral(view: View, finding: Finding, rng: Rng) -> None:
    """The same dot from the side."""
    x, y = _lateral_lobe(finding, rng)
    view.added += 1.2 * soft(0.016 - np.hypot(view.x - x, view.y - y), 0.003)


@frontal
def atelectasis_frontal(view: View, finding: Finding, rng: Rng) -> None:
    """Two or three bands above the diaphragm."""
    sign = SIGN[finding.side]
    lines: list[tuple[Points, float, float]] = []
    inner = 0.11 if finding.side == "right" else 0.16
    for step in range(int(rng.integers(2, 4))):
        start = 0.5 + sign * (inner + rng.uniform(0, 0.03))
        end = 0.5 + sign * rng.uniform(0.27, 0.32)
        y = float(diaphragm(view.anatomy, 0.5 + sign * 0.17, finding.side)) - 0.025 - 0.033 * step
        slope = rng.uniform(-0.03, 0.03)
        lines.append((curve((start, y), (end, y + slope), rng.normal(0, 0.006)), rng.uniform(0.015, 0.021), 1.0))
    bands = gaussian_filter(strokes(view.size, lines), view.size * 0.003)
    view.added += 1.1 * bands * lung(view.anatomy, view.x, view.y, finding.side)


@lateral
def atelectasis_lateral(view: View, finding: Finding, rng: Rng) -> None:
    """Bands behind the heart."""
    lines: list[tuple[Points, float, float]] = [
        ([(0.55, y), (0.72, y + 0.03)], 0.010, 1.0) for y in (0.66 + rng.uniform(-0.02, 0.02), 0.71)
    ]
    view.added += 0.3 * strokes(view.size, lines)


@frontal
def edema_frontal(view: View, finding: Finding, rng: Rng) -> None:
    """Perihilar haze, full upper vessels, short lines at the periphery of the bases."""
    degree = 0.6 + 0.4 * DEGREE[finding.severity]
    wing = sum(bell(np.hypot((view.x - 0.5 - sign * 0.15) / 0.9, view.y - 0.46), 0.15) for sign in (-1.0, 1.0))
    view.air *= 1 - 0.55 * degree * np.clip(wing * (1 + 0.22 * texture(rng, view.size, 26)), 0, 1)
    view.markings *= 1 + 0.6 * degree
    lines: list[tuple[Points, float, float]] = []
    for sign in (-1.0, 1.0):
        for y in np.arange(0.50, 0.70, 0.022) + rng.uniform(-0.006, 0.006):
            outer = 0.5 + sign * (float(chest_wall(view.anatomy, y)) - 0.006)
            lines.append(([(outer, y), (outer - sign * rng.uniform(0.035, 0.06), y + 0.004)], 0.004, 1.0))
    view.markings += 0.45 * degree * strokes(view.size, lines)


@lateral
def edema_lateral(view: View, finding: Finding, rng: Rng) -> None:
    """Haze around the hila."""
    wing = bell(np.hypot(view.x - 0.55, view.y - 0.46), 0.16)
    view.air *= 1 - (0.3 + 0.2 * DEGREE[finding.severity]) * wing
    view.markings *= 1.5


@frontal
def hernia_frontal(view: View, finding: Finding, rng: Rng) -> None:
    """A round shadow behind the heart, above the diaphragm, with gas over a level."""
    radius = 0.055 + 0.03 * DEGREE[finding.severity] + rng.uniform(0, 0.006)
    x, y = 0.535, view.anatomy.dome_left - radius * 0.75
    reach = np.hypot(view.x - x, view.y - y)
    view.added += 0.45 * soft(radius - reach, 0.006)
    gas = soft(radius * 0.78 - reach, 0.005) * soft(y + 0.1 * radius - view.y, 0.004)
    view.added -= 0.95 * gas


@lateral
def hernia_lateral(view: View, finding: Finding, rng: Rng) -> None:
    """The same shadow between heart and spine."""
    radius = 0.05 + 0.03 * DEGREE[finding.severity]
    reach = np.hypot(view.x - 0.60, view.y - view.anatomy.dome_left + radius * 0.4)
    view.added += 0.35 * soft(radius - reach, 0.006)
    view.added -= 0.5 * soft(radius * 0.7 - reach, 0.005) * soft(view.anatomy.dome_left - radius * 0.5 - view.y, 0.005)


@frontal
def pacemaker_frontal(view: View, finding: Finding, rng: Rng) -> None:
    """A generator below the clavicle and two leads to the right heart."""
    sign = SIGN[finding.side]
    x, y = 0.5 + sign * rng.uniform(0.255, 0.285), rng.uniform(0.235, 0.275)
    u, v = np.abs(view.x - x) / 0.052, np.abs(view.y - y) / 0.042
    view.added += 1.6 * soft(1 - (u**4 + v**4) ** 0.25, 0.06)
    entry = (0.5 + sign * 0.13, 0.20)
    vein = (0.5 - 0.035, 0.30)
    atrium = (0.5 - 0.05, 0.53)
    apex = (0.5 + 0.09, 0.63)
    route = [*curve((x, y - 0.035), entry, 0.0, 4), *curve(entry, vein, -0.012 * sign, 6)]
    leads: list[tuple[Points, float, float]] = [
        ([*route, *curve(vein, atrium, 0.012)], 0.007, 1.0),
        ([*route, *curve(vein, (0.47, 0.56), 0.0), *curve((0.47, 0.56), apex, -0.015)], 0.007, 1.0),
    ]
    view.added += 1.1 * strokes(view.size, leads)


@lateral
def pacemaker_lateral(view: View, finding: Finding, rng: Rng) -> None:
    """Leads, and the generator edge-on in front."""
    lines: list[tuple[Points, float, float]] = [
        ([(0.28, 0.24), (0.31, 0.33)], 0.025, 1.0),
        (curve((0.30, 0.28), (0.48, 0.24), -0.03), 0.006, 0.8),
        (curve((0.48, 0.24), (0.38, 0.64), -0.03), 0.006, 0.8),
    ]
    view.added += 1.2 * strokes(view.size, lines)


@frontal
def sternotomy_frontal(view: View, finding: Finding, rng: Rng) -> None:
    """Wire loops down the midline."""
    lines: list[tuple[Points, float, float]] = []
    for y in np.arange(0.24, 0.60, 0.062) + rng.uniform(-0.01, 0.01):
        x, tilt = 0.5 + rng.normal(0, 0.003), rng.normal(0, 0.004)
        ring = [(x + 0.021 * np.cos(a), y + tilt * np.cos(a) + 0.011 * np.sin(a)) for a in np.linspace(0, 6.3, 13)]
        lines.append((ring, 0.008, 1.0))
    view.added += 1.8 * strokes(view.size, lines)


@lateral
def sternotomy_lateral(view: View, finding: Finding, rng: Rng) -> None:
    """Wires edge-on along the sternum."""
    heights = np.arange(0.26, 0.62, 0.062)
    lines: list[tuple[Points, float, float]] = [
        ([(float(lateral_front(y)) - 0.02, y), (float(lateral_front(y)), y + 0.006)], 0.006, 1.0) for y in heights
    ]
    view.added += 1.4 * strokes(view.size, lines)


@frontal
def central_line_frontal(view: View, finding: Finding, rng: Rng) -> None:
    """A line from the neck to the superior vena cava, on the right of the midline."""
    sign = SIGN[finding.side]
    tip = (0.5 - 0.042, rng.uniform(0.40, 0.45))
    if finding.side == "right":
        path = [*curve((0.5 - rng.uniform(0.085, 0.105), 0.0), (0.5 - 0.05, 0.22), 0.01), tip]
    else:
        path = [*curve((0.5 + rng.uniform(0.085, 0.105), 0.0), (0.5 + 0.06, 0.19), -0.01), (0.5 - 0.038, 0.28), tip]
    hub = [(0.5 + sign * 0.10, 0.0), (0.5 + sign * 0.105, 0.05)]
    lines: list[tuple[Points, float, float]] = [(path, 0.010, 1.0), (hub, 0.018, 0.8)]
    view.added += 1.5 * strokes(view.size, lines)


@lateral
def central_line_lateral(view: View, finding: Finding, rng: Rng) -> None:
    """The same line in front of the trachea."""
    view.added += strokes(view.size, [(curve((0.47, 0.0), (0.48, 0.42), -0.02), 0.007, 0.9)])

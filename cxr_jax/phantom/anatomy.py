"""A patient without findings: one build, and the thickness that it has in a frontal and in a lateral view.

All lengths are in image sides, x to the right and y down; the patient's right is the image's left in the frontal view.
"""

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw
from scipy.interpolate import PchipInterpolator
from scipy.ndimage import gaussian_filter

from cxr_jax.phantom.reports import Finding

Array = np.ndarray
Rng = np.random.Generator
Points = list[tuple[float, float]]

SIGN = {"right": -1.0, "left": 1.0}


@dataclass(frozen=True)
class Anatomy:
    """One patient's build and one exposure; whatever a report does not mention varies here."""

    apex: float  # y of the lung tops
    half_width: float  # of the thorax's inside at its widest
    dome_right: float  # y of the diaphragm's top
    dome_left: float
    dome_drop: float  # from the dome to the costophrenic angle
    heart: float  # how far the heart reaches to the left, as a share of half_width
    knob: float  # radius of the aortic knob
    fat: float  # soft tissue over the ribs
    rib_gap: float
    rib_phase: float
    bend: float  # lateral deviation of the spine, positive to the patient's left
    breast: float  # 0 for none
    bubble: float  # gastric bubble's radius
    lucency: float  # how much of the thickness air takes away
    exposure: float
    contrast: float
    tilt: float  # radians
    shift: tuple[float, float]
    zoom: float
    blur: float
    noise: float
    marker: str


def sample_anatomy(rng: Rng) -> Anatomy:
    """A patient without findings: everything within normal limits."""
    dome = rng.normal(0.70, 0.018)
    return Anatomy(
        apex=rng.normal(0.135, 0.012),
        half_width=float(np.clip(rng.normal(0.345, 0.015), 0.31, 0.375)),
        dome_right=dome,
        dome_left=dome + rng.uniform(0.02, 0.04),
        dome_drop=rng.uniform(0.085, 0.115),
        heart=rng.uniform(0.48, 0.60),
        knob=rng.uniform(0.030, 0.042),
        fat=rng.uniform(0.03, 0.08),
        rib_gap=rng.uniform(0.060, 0.068),
        rib_phase=rng.uniform(0.0, 1.0),
        bend=rng.normal(0.0, 0.003),
        breast=rng.uniform(0.15, 0.35) if rng.random() < 0.4 else 0.0,
        bubble=rng.uniform(0.02, 0.05) if rng.random() < 0.7 else 0.0,
        lucency=rng.uniform(0.67, 0.75),
        exposure=rng.uniform(0.9, 1.12),
        contrast=rng.uniform(0.9, 1.15),
        tilt=rng.normal(0.0, 0.015),
        shift=(rng.normal(0.0, 0.01), rng.normal(0.0, 0.01)),
        zoom=rng.uniform(0.96, 1.04),
        blur=rng.uniform(0.0, 0.003),
        noise=rng.uniform(1.0, 3.0),
        marker=str(rng.choice(["", "", "L", "R"])),
    )


# Strokes and soft shapes


def soft(distance: Array, width: float) -> Array:
    """0 far outside (negative distance), 1 far inside, a smooth edge of about `width` between."""
    return 0.5 + 0.5 * np.tanh(distance / width)


def bell(distance: Array, width: float) -> Array:
    """A ridge of half-width about `width` where `distance` is zero."""
    return np.exp(-((distance / width) ** 2))


def strokes(size: int, lines: list[tuple[Points, float, float]]) -> Array:
    """An antialiased layer of polylines, each (points, width, strength in 0..1); the last one drawn lies on top."""
    factor = max(2, -(-512 // size))
    side = size * factor
    canvas = Image.new("L", (side, side))
    pen = ImageDraw.Draw(canvas)
    for points, width, strength in lines:
        pixels = [(x * side, y * side) for x, y in points]
        breadth = max(1, round(width * side))
        pen.line(pixels, fill=round(255 * strength), width=breadth, joint="curve")
        for x, y in (pixels[0], pixels[-1]) if breadth > 8 else ():
            box = (x - breadth / 2, y - breadth / 2, x + breadth / 2, y + breadth / 2)
            pen.ellipse(box, fill=round(255 * strength))
    return np.asarray(canvas.reduce(factor), np.float32) / 255


def texture(rng: Rng, size: int, cells: int) -> Array:
    """Smooth noise of unit variance with about `cells` bumps a side, the same picture at every image size."""
    coarse = Image.fromarray(rng.standard_normal((cells, cells), np.float32))
    return np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC))


def curve(start: tuple[float, float], end: tuple[float, float], sag: float, count: int = 12) -> Points:
    """Points of an arc from start to end that bulges by `sag`: downwards where it runs to the right."""
    # Plain floats: for the vessels' many short arcs NumPy's overhead would be half of all drawing time.
    (x, y), dx, dy = start, end[0] - start[0], end[1] - start[1]
    bulge = 4 * sag / (math.hypot(dx, dy) or 1.0)
    steps = [step / (count - 1) for step in range(count)]
    return [(x + dx * t - dy * bulge * t * (1 - t), y + dy * t + dx * bulge * t * (1 - t)) for t in steps]


@dataclass
class View:
    """A picture in the making: grids of coordinates, and the layers that findings add to."""

    anatomy: Anatomy
    size: int
    x: Array
    y: Array
    body: Array  # thickness of soft tissue if there were no air
    air: Array  # fraction of it that lung air takes away
    markings: Array  # vessels, visible only where there is air
    added: Array  # everything else

    def film(self) -> Array:
        """Total thickness."""
        air = np.clip(self.air, 0, 1.2)
        return self.body * (1 - self.anatomy.lucency * air) + self.markings * np.clip(air, 0, 1) + self.added


def _grid(size: int) -> tuple[Array, Array]:
    ticks = (np.arange(size, dtype=np.float32) + 0.5) / size
    return np.meshgrid(ticks, ticks)


# The frontal view's geometry


def spine_x(anatomy: Anatomy, y: Array | float) -> Array:
    """The spine's midline."""
    return np.asarray(0.5 + anatomy.bend * np.exp(-(((np.asarray(y) - 0.45) / 0.2) ** 2)))


def chest_wall(anatomy: Anatomy, y: Array | float, apex: float | None = None, inset: float = 0.0) -> Array:
    """Distance of the lung's lateral border from the midline at height y; zero above the apex."""
    top = anatomy.apex if apex is None else apex
    rise = np.clip((0.66 - np.asarray(y)) / (0.66 - top), 0, 1)
    return np.asarray((anatomy.half_width - inset) * np.sqrt(np.clip(1 - rise**2.8, 0, 1)))


def diaphragm(anatomy: Anatomy, x: Array | float, side: str) -> Array:
    """The y of one hemidiaphragm below the point x."""
    dome = anatomy.dome_right if side == "right" else anatomy.dome_left
    offset = (SIGN[side] * (np.asarray(x) - 0.5) - 0.17) / (anatomy.half_width - 0.17)
    return np.asarray(dome + anatomy.dome_drop * np.where(offset > 0, np.abs(offset) ** 2.4, 0.35 * offset**2))


def lung(anatomy: Anatomy, x: Array, y: Array, side: str) -> Array:
    """Mask of one lung, the mediastinum not yet taken out."""
    across = SIGN[side] * (x - 0.5)
    edge = np.minimum(chest_wall(anatomy, y) - across, across - 0.045)
    return soft(np.minimum(edge, diaphragm(anatomy, x, side) - y), 0.006)


def lobe_point(anatomy: Anatomy, finding: Finding, rng: Rng) -> tuple[float, float]:
    """Where in the frontal view a lesion of the stated side and lobe lies."""
    low = anatomy.dome_right if finding.side == "right" else anatomy.dome_left
    high = anatomy.apex
    down, across = {
        "upper lobe": ((0.22, 0.42), (0.40, 0.80)),
        "middle lobe": ((0.66, 0.80), (0.38, 0.60)),
        "lower lobe": ((0.80, 0.92), (0.62, 0.86)),
    }[finding.place]
    if finding.side == "left" and finding.place == "lower lobe":
        down = (0.62, 0.82)
        across = (0.68, 0.88)
    y = high + (low - high) * rng.uniform(*down)
    return 0.5 + SIGN[finding.side] * float(chest_wall(anatomy, y)) * rng.uniform(*across), y


def _torso(anatomy: Anatomy, x: Array, y: Array) -> Array:
    """Soft tissue of the neck, shoulders, arms and trunk."""
    across = np.abs(x - 0.5)
    trunk = anatomy.half_width + anatomy.fat + 0.02 * (y - 0.5)
    neck = 1.0 * soft(0.115 - 0.03 * soft(y - 0.03, 0.02) - across, 0.012)
    slope = 0.045 + 0.30 * np.clip(across - 0.09, 0, 1) ** 1.2 + 7 * np.clip(across - 0.42, 0, 1) ** 2
    shoulder = np.clip((y - slope) / 0.16, 0, 1) ** 0.6
    column = np.sqrt(np.clip(1 - (across / trunk) ** 2, 0, 1)) * (1.2 + 0.35 * y)
    flank = 0.45 * soft(trunk - across, 0.01) + 0.75 * column
    arm = 0.75 * soft(0.07 - np.abs(across - 0.50 - 0.10 * (y - 0.3)), 0.015)
    girdle = 0.85 * soft(0.46 - y, 0.05) * soft(0.52 - across, 0.03)
    return np.maximum(neck, shoulder * np.maximum(flank, np.maximum(arm, girdle)))


def _mediastinum(anatomy: Anatomy, x: Array, y: Array) -> tuple[Array, Array]:
    """Mask of the mediastinal silhouette, and the heart's thickness inside it."""
    rows = y[:, 0]
    base = max(anatomy.dome_left + 0.02, 0.62)
    left, right = anatomy.heart * anatomy.half_width, (0.12 + 0.25 * anatomy.heart) * anatomy.half_width
    # From the neck down: great vessels, aortic knob, the notch below it, pulmonary trunk, left ventricle.
    left_heights = [-0.1, 0.10, 0.22, 0.30, 0.36, 0.42, base - 0.13, base - 0.04, base + 0.1]
    left_border = [0.05, 0.05, 0.045, 0.045 + anatomy.knob, 0.055, 0.07, 0.02 + 0.58 * left, left, 0.85 * left]
    # Great veins, right atrium.
    right_heights = [-0.1, 0.10, 0.22, 0.40, base - 0.10, base + 0.1]
    right_border = [0.06, 0.055, 0.048, 0.055, right, 0.85 * right]
    lean = x - 0.5 - 0.6 * (spine_x(anatomy, y) - 0.5)
    inside = np.minimum(
        PchipInterpolator(left_heights, left_border)(rows)[:, None] - lean,
        PchipInterpolator(right_heights, right_border)(rows)[:, None] + lean,
    )
    silhouette = soft(inside, 0.007)
    heart = soft(y - 0.42, 0.07) * np.sqrt(np.clip(inside / 0.12, 0, 1)) * soft(0.85 - y, 0.05)
    return silhouette, heart


def _vessel_tree(rng: Rng, anatomy: Anatomy) -> list[tuple[Points, float, float]]:
    """Branching vessels that leave the hila, thinner and fainter as they go."""
    lines: list[tuple[Points, float, float]] = []

    def grow(x: float, y: float, angle: float, length: float, width: float, level: int) -> None:
        end = (x + length * math.cos(angle), y + length * math.sin(angle))
        lines.append((curve((x, y), end, rng.normal(0, 0.05) * length, 4), width, min(1.0, width / 0.013)))
        if level:
            for spread in (-1, 1):
                turn = spread * rng.uniform(0.1, 0.5) + rng.normal(0, 0.1)
                grow(*end, angle + turn, length * rng.uniform(0.6, 0.95), width * 0.68, level - 1)

    for side in ("right", "left"):
        sign = SIGN[side]
        hilum = (0.5 + sign * rng.uniform(0.07, 0.085), 0.44 if side == "right" else 0.425)
        # Most of the flow goes to the bases: five of the eight trunks turn downwards.
        for angle in np.array([-1.2, -0.7, -0.15, 0.3, 0.65, 0.95, 1.2, 1.4]) + rng.normal(0, 0.12, 8):
            heading = angle if sign > 0 else np.pi - angle
            start = (hilum[0] + rng.normal(0, 0.008), hilum[1] + 0.05 * angle)
            grow(*start, heading, rng.uniform(0.06, 0.085), rng.uniform(0.006, 0.012), 4)
    return sorted(lines, key=lambda line: line[1])


def _bones(anatomy: Anatomy, x: Array, y: Array) -> Array:
    """Ribs, spine, shoulder blades: thickness."""
    across = np.abs(x - 0.5)
    wall = np.maximum(chest_wall(anatomy, y, apex=anatomy.apex - 0.03), 0.02)
    near_wall = np.clip(across / (wall + 0.012), 0, 1.0)
    cage = soft(wall + 0.012 - across, 0.006) * soft(0.86 - y, 0.06)
    posterior = (y - 0.16 * across - 0.10 * near_wall**6 + 0.02) / anatomy.rib_gap + anatomy.rib_phase
    anterior = (y + 0.42 * across - 0.25 * across**2) / (1.2 * anatomy.rib_gap) + anatomy.rib_phase * 3
    bones = 0.20 * cage * _rib(posterior, 0.21) * soft(across - 0.045, 0.01)
    bones += 0.08 * cage * _rib(anterior, 0.24) * soft(across - 0.14, 0.03) * soft(y - 0.2, 0.03)
    bones += 0.25 * bell(wall + 0.006 - across, 0.007) * soft(y - 0.14, 0.03) * soft(0.9 - y, 0.05)
    middle = spine_x(anatomy, y)
    lean = x - middle
    vertebra = np.sqrt(0.5 + 0.5 * np.cos(2 * np.pi * (y / 0.055 + anatomy.rib_phase)))
    column = soft(0.034 - np.abs(lean), 0.005)
    bones += column * (0.20 + 0.22 * vertebra) + 0.16 * vertebra * bell(np.abs(lean) - 0.032, 0.005)
    bones += 0.10 * vertebra**4 * bell(lean, 0.006)
    return bones


def _rib(u: Array, half: float) -> Array:
    """Cross-section of a row of ribs in units of their spacing: a faint band with brighter rims."""
    offset = np.abs(u - np.floor(u) - 0.5)
    return 0.6 * soft(half - offset, 0.05) + 0.6 * bell(offset - half, 0.06)


def _girdle(anatomy: Anatomy, size: int, rng: Rng) -> Array:
    """Clavicles, scapular edges, humeral heads."""
    lines: list[tuple[Points, float, float]] = []
    for sign in (-1.0, 1.0):
        lift = rng.normal(0.0, 0.008)
        inner, outer = (0.5 + sign * 0.045, anatomy.apex + 0.085), (0.5 + sign * 0.36, anatomy.apex + 0.02 + lift)
        for width, strength in ((0.026, 0.55), (0.018, 0.35)):
            lines.append((curve(inner, outer, sign * -0.012), width, strength))
        edge = curve((0.5 + sign * 0.41, 0.2), (0.5 + sign * 0.335, 0.47), sign * 0.03)
        lines.append((edge, 0.008, 0.3))
        lines.append(([(0.5 + sign * 0.42, 0.165), (0.5 + sign * 0.445, 0.2)], 0.075, 0.4))
        lines.append(([(0.5 + sign * 0.445, 0.2), (0.5 + sign * 0.475, 0.5)], 0.035, 0.35))
    return strokes(size, lines)


def frontal_view(anatomy: Anatomy, size: int, rng: Rng) -> View:
    """A frontal view without overlays."""
    x, y = _grid(size)
    lungs = np.maximum(lung(anatomy, x, y, "right"), lung(anatomy, x, y, "left"))
    silhouette, heart = _mediastinum(anatomy, x, y)
    body = _torso(anatomy, x, y)
    tree = gaussian_filter(strokes(size, _vessel_tree(rng, anatomy)), size * 0.002)
    hila = sum(bell(np.hypot((x - 0.5 - sign * 0.085) / 0.5, y - 0.44), 0.07) for sign in (-1.0, 1.0))
    added = _bones(anatomy, x, y) + 0.36 * _girdle(anatomy, size, rng)
    depth = y - np.where(x < 0.5, diaphragm(anatomy, x, "right"), diaphragm(anatomy, x, "left"))
    below = soft(depth, 0.01)
    added += 0.55 * heart * soft(0.035 - depth, 0.03) + 0.15 * silhouette + 0.19 * hila * lungs
    added += 0.30 * below * (body > 0.4)
    trachea = soft(0.019 - np.abs(x - spine_x(anatomy, y)), 0.005) * soft(0.36 - y, 0.02)
    bronchi = strokes(size, [([(0.5, 0.35), (0.5 + s * 0.06, 0.40 + 0.01 * s)], 0.016, 1.0) for s in (-1.0, 1.0)])
    added -= 0.5 * np.maximum(trachea, 0.6 * bronchi * silhouette)
    if anatomy.bubble:
        gas = np.hypot((x - 0.66) / 1.5, y - anatomy.dome_left - 0.03 - anatomy.bubble)
        added -= 0.7 * soft(anatomy.bubble - gas, 0.006)
    for sign in (-1.0, 1.0) if anatomy.breast else ():
        reach = np.hypot((x - 0.5 - sign * 0.21) / 0.17, (y - 0.5) / 0.19)
        added += anatomy.breast * soft(1 - reach, 0.08) * soft(y - 0.45, 0.12)
    grain = 0.03 * texture(rng, size, 10) + 0.025 * texture(rng, size, 44)
    air = lungs * (1 - 0.96 * silhouette) * (0.95 + grain)
    return View(anatomy, size, x, y, body, air, 0.36 * tree, added)


# The lateral view: the patient faces the image's left


def _lateral_dome(anatomy: Anatomy, x: Array, dome: float) -> Array:
    """The y of a hemidiaphragm seen from the side: high in front, deep behind."""
    behind = np.clip((x - 0.40) / 0.38, 0, 1.2)
    return dome - 0.02 + 1.5 * anatomy.dome_drop * behind**2.2 + 0.08 * np.clip(0.40 - x, 0, 1)


def _lateral_spine_x(y: Array | float) -> Array:
    return np.asarray(0.695 + 0.09 * np.sin(np.pi * np.clip((np.asarray(y) - 0.05) / 0.95, 0, 1)))


def lateral_front(y: Array | float) -> Array:
    """The inner surface of the sternum."""
    return np.asarray(0.40 - 0.16 * np.sin(0.75 * np.pi * np.clip(np.asarray(y) - 0.08, 0, 1)))


def lateral_view(anatomy: Anatomy, size: int, rng: Rng) -> View:
    """A lateral view without overlays."""
    x, y = _grid(size)
    front, back = lateral_front(y), _lateral_spine_x(y)
    trunk = soft(np.minimum(x - front + 0.05 + anatomy.fat, back + 0.13 + anatomy.fat - x), 0.012)
    body = trunk * (1.35 + 0.4 * y) * soft(y - 0.02, 0.03)
    domes = np.minimum(_lateral_dome(anatomy, x, anatomy.dome_right), _lateral_dome(anatomy, x, anatomy.dome_left))
    top = 0.10 + 0.9 * np.clip(np.abs(x - 0.57) - 0.03, 0, 1) ** 1.5 + 40 * np.clip(x - 0.74, 0, 1) ** 2.5
    field = np.minimum(np.minimum(x - front, back + 0.075 - x), np.minimum(domes - y, y - top))
    lungs = soft(field, 0.008)
    reach = 0.6 + 0.75 * anatomy.heart
    u = (x - 0.42) / (0.15 * reach)
    v = (y - anatomy.dome_left + 0.09 * reach) / (0.16 * reach)
    heart = soft(1 - np.sqrt(u**2 + v**2 + 0.7 * u * v), 0.28)
    arch = bell(np.hypot(x - 0.54, y - 0.36) - 0.075, 0.02) * soft(0.40 - y, 0.03)
    tree = gaussian_filter(strokes(size, _lateral_tree(rng)), size * 0.002)
    hilum = bell(np.hypot(x - 0.55, y - 0.43), 0.05)
    added = (
        0.30 * heart * soft(domes + 0.03 - y, 0.02) + 0.15 * arch + 0.2 * hilum + 0.28 * soft(y - domes, 0.01) * trunk
    )
    added += 0.10 * soft(y - _lateral_dome(anatomy, x, anatomy.dome_left), 0.008) * trunk
    lean = x - back
    vertebra = 0.5 + 0.5 * np.cos(2 * np.pi * ((y - 0.25 * lean) / 0.058 + anatomy.rib_phase))
    added += soft(0.034 - np.abs(lean), 0.005) * (0.14 + 0.24 * np.sqrt(vertebra)) * soft(y - 0.04, 0.03)
    added += 0.22 * bell(x - front + 0.012, 0.012) * soft(0.7 - y, 0.05)
    ribs = _rib((y - 0.55 * (x - 0.5)) / anatomy.rib_gap + anatomy.rib_phase, 0.2)
    ribs += 0.7 * _rib((y - 0.40 * (x - 0.5)) / anatomy.rib_gap + 2 * anatomy.rib_phase, 0.2)
    added += 0.06 * ribs * soft(field + 0.03, 0.02)
    added += 0.9 * soft(0.24 - y - 0.5 * np.abs(x - 0.42), 0.05) * soft(0.6 - x, 0.06)
    added -= 0.25 * soft(0.016 - np.abs(x - 0.55 - 0.15 * (y - 0.25)), 0.005) * soft(0.40 - y, 0.02)
    if anatomy.bubble:
        gas = np.hypot((x - 0.50) / 1.4, y - _lateral_dome(anatomy, x, anatomy.dome_left) - 0.025 - anatomy.bubble)
        added -= 0.5 * soft(anatomy.bubble - gas, 0.006)
    air = lungs * (1 - 0.5 * heart) * (0.78 + 0.03 * texture(rng, size, 10) + 0.025 * texture(rng, size, 44))
    return View(anatomy, size, x, y, body, air, 0.24 * tree, added)


def _lateral_tree(rng: Rng) -> list[tuple[Points, float, float]]:
    lines: list[tuple[Points, float, float]] = []
    for angle in rng.uniform(0, 2 * np.pi, 16):
        root = (rng.normal(0.55, 0.02), rng.normal(0.44, 0.03))
        fork = (root[0] + 0.08 * np.cos(angle), root[1] + 0.08 * np.sin(angle))
        lines.append(([root, fork], rng.uniform(0.005, 0.011), 0.7))
        for spread in rng.normal(0, 0.4, 3):
            reach = rng.uniform(0.06, 0.2)
            end = (fork[0] + reach * np.cos(angle + spread), fork[1] + reach * np.sin(angle + spread))
            lines.append((curve(fork, end, rng.normal(0, 0.008), 5), 0.004, 0.45))
    return lines

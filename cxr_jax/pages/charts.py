"""The page's pictures: scores on their tracks and training curves, as SVG with the page's colours; attention as a PNG.

No mark needs its colour to be told apart: floors, ceiling and system differ in shape, curves in their strokes.
"""

import io
import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
from PIL import Image

from cxr_jax.evaluation.tables import FLOOR_NAMES, shown_scores
from cxr_jax.runtime.curves import LOSS, RECALL, curves_of

# Paths about (0, 0), in CSS pixels.
_FLOOR_MARKS = {
    "constant_report": "M-5-4H5L0 5Z",
    "random_report": "M-4 0A4 4 0 1 0 4 0A4 4 0 1 0-4 0Z",
    "random_same_class_report": "M0-5L5 0L0 5L-5 0Z",
    "most_frequent_report": "M-4-4L4 4M-4 4L4-4",
    "own_constant_report": "M-5 4H5L0-5Z",
    "own_random_report": "M-4-4H4V4H-4Z",
}
_CEILING_MARK = "M0-8V8"
_SYSTEM_MARK = "M-5 0A5 5 0 1 0 5 0A5 5 0 1 0-5 0Z"
_HEAT, _HEAT_ALPHA = (255, 106, 0), 130  # page.css has the colour too
_ROW = 46  # pixels a score: its name and value above its track

_WIDTH, _HEIGHT = 340, 190  # of a panel of curves, in its own units
_LEFT, _RIGHT, _TOP, _BOTTOM = 40, 262, 12, 160  # of the plot in it; the curves' names stand to the right


def score_chart(metrics: Mapping[str, Any]) -> str:
    """A figure: each score on a track from 0 to 1, the system and its 95 % interval among floors and ceiling.

    A score that passes 0 or 1, CIDEr say, has a track of its own from the least to the greatest of these, which it
    names. metrics: what `scoring.score_system` returns. Positions are per cent of the width, so that the words keep
    their size on a phone.
    """
    names = shown_scores(metrics)
    rows = "".join(_track(name, label, metrics, _ROW * row) for row, (name, label) in enumerate(names.items()))
    bottom = _ROW * len(names)
    ticks = "".join(
        f'<line class="grid" x1="{_place(x)}" x2="{_place(x)}" y1="26" y2="{bottom + 4}"/>'
        f'<text class="quiet" x="{_place(x)}" y="{bottom + 18}" text-anchor="{anchor}">{x}</text>'
        for x, anchor in ((0, "start"), (0.25, "middle"), (0.5, "middle"), (0.75, "middle"), (1, "end"))
    )
    shapes = [("system", _SYSTEM_MARK, "retrieved report, with its 95 % interval")] if "scores" in metrics else []
    shapes += [("floor", mark, FLOOR_NAMES[name]) for name, mark in _FLOOR_MARKS.items() if name in metrics["floors"]]
    shapes.append(("ceiling", _CEILING_MARK, "ceiling: nearest by the true text"))
    legend = "".join(
        f'<li><svg viewBox="-10 -10 20 20" aria-hidden="true"><path class="{kind}" d="{mark}"/></svg>{text}</li>'
        for kind, mark, text in shapes
    )
    return (
        f'<figure class="scores"><svg role="img" width="100%" height="{bottom + 22}">'
        f"<title>Scores between floors and ceiling, 0 to 1; the table has the numbers</title>{ticks}{rows}</svg>"
        f'<ul class="legend">{legend}</ul></figure>'
    )


def curve_figures(lines: Sequence[Mapping[str, int | float]], used_step: int | None = None) -> str:
    """Figures of loss and validation recall over the steps; "" where fewer than two points are known of each.

    Args:
      lines: of the run's metrics.jsonl; values that are not finite are left out.
      used_step: the checkpoint that is evaluated, marked by a line.
    """
    figures = []
    for panel in (LOSS, RECALL):
        curves = {label: points for label, points in curves_of(lines, panel).items() if len(points) > 1}
        if curves:
            caption = f"<figcaption>{escape(panel.title)}</figcaption>"
            figures.append(f"<figure>{caption}{_panel(panel.title, curves, used_step)}</figure>")
    if not figures:
        return ""
    if used_step is not None:
        figures.append(f"<p>dotted: the checkpoint evaluated, step {used_step:,}</p>")
    return f'<div class="curves">{"".join(figures)}</div>'


def heat_png(attention: np.ndarray) -> bytes:
    """uint8 (h, w) as a PNG of that size, from clear where it is least to _HEAT where it is greatest."""
    low, high = int(attention.min()), int(attention.max())
    pixels = np.empty((*attention.shape, 4), np.uint8)
    pixels[..., :3] = _HEAT
    pixels[..., 3] = np.round((attention.astype(np.float32) - low) * (_HEAT_ALPHA / max(high - low, 1)))
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", optimize=True)
    return file.getvalue()


def _track(name: str, label: str, metrics: Mapping[str, Any], top: int) -> str:
    y = top + 32
    marks = [scores[name] for scores in (*metrics["floors"].values(), metrics["ceiling"]) if name in scores]
    if name in metrics.get("scores", {}):
        marks += [metrics["scores"][name], *metrics["intervals"][name]]
    low, high = (0.0, 1.0) if min(marks) >= 0 and max(marks) <= 1 else (min(0.0, *marks), max(marks))

    def share(score: int | float) -> float:
        return (score - low) / ((high - low) or 1.0)

    scale = "" if (low, high) == (0, 1) else f' <tspan class="quiet">{low:.3g} to {high:.3g}</tspan>'
    parts = [
        f'<text x="{_place(0)}" y="{top + 16}">{escape(label)}{scale}</text>',
        f'<line class="track" x1="{_place(0)}" x2="{_place(1)}" y1="{y}" y2="{y}"/>',
    ]

    def mark(kind: str, path: str, score: int | float, text: str) -> None:
        parts.append(
            f'<svg x="{_place(share(score))}" y="{y}" overflow="visible"><path class="{kind}" d="{path}">'
            f"<title>{escape(text)}: {score:.3f}</title></path></svg>"
        )

    for floor, path in _FLOOR_MARKS.items():
        if name in metrics["floors"].get(floor, {}):
            mark("floor", path, metrics["floors"][floor][name], FLOOR_NAMES[floor])
    if name in metrics["ceiling"]:
        mark("ceiling", _CEILING_MARK, metrics["ceiling"][name], "ceiling")
    if name in metrics.get("scores", {}):
        score, ends = metrics["scores"][name], metrics["intervals"][name]
        interval = "{:.3f}-{:.3f}".format(*ends)
        parts.append(
            f'<text x="{_place(1)}" y="{top + 16}" text-anchor="end"><tspan class="value">{score:.3f}</tspan> '
            f'<tspan class="quiet">{interval}</tspan></text>'
        )
        x1, x2 = (_place(share(end)) for end in ends)
        parts.append(f'<line class="interval" x1="{x1}" x2="{x2}" y1="{y}" y2="{y}"/>')
        mark("system", _SYSTEM_MARK, score, f"retrieved report, 95 % {interval}")
    return "".join(parts)


def _place(share: int | float) -> str:
    """From 1.5 % to 98.5 % of the width, so that marks at 0 and 1 are whole."""
    return f"{1.5 + 97 * min(max(share, 0), 1):.2f}%"


def _ticks(low: float, high: float) -> list[float]:
    """Three to six round numbers from at or below `low` to at or above `high`."""
    span = (high - low) or abs(high) or 1.0
    unit = 10.0 ** math.floor(math.log10(span / 2))
    step = next(unit * factor for factor in (1, 2, 5, 10) if span / (unit * factor) <= 4)
    return [step * i for i in range(math.floor(low / step), math.ceil(high / step) + 1)]


def _panel(title: str, curves: Mapping[str, np.ndarray], used_step: int | None) -> str:
    points = np.concatenate(list(curves.values()))
    steps = [0.0, float(points[:, 0].max())]
    levels = _ticks(float(points[:, 1].min()), float(points[:, 1].max()))

    def x_of(step: int | float) -> float:
        return _LEFT + step / steps[1] * (_RIGHT - _LEFT)

    def y_of(value: float) -> float:
        return _BOTTOM - (value - levels[0]) / ((levels[-1] - levels[0]) or 1) * (_BOTTOM - _TOP)

    parts = [
        f'<line class="grid" x1="{_LEFT}" x2="{_RIGHT}" y1="{y_of(level):.1f}" y2="{y_of(level):.1f}"/>'
        f'<text class="quiet" x="{_LEFT - 6}" y="{y_of(level) + 4:.1f}" text-anchor="end">{level:.3g}</text>'
        for level in levels
    ]
    for step, anchor in zip(steps, ("start", "end"), strict=True):
        parts.append(
            f'<text class="quiet" x="{x_of(step):.1f}" y="{_BOTTOM + 17}" text-anchor="{anchor}">'
            f"{'step ' if step else ''}{step:,.0f}</text>"
        )
    if used_step is not None and 0 < used_step <= steps[1]:
        x = f"{x_of(used_step):.1f}"
        parts.append(
            f'<line class="used" x1="{x}" x2="{x}" y1="{_TOP}" y2="{_BOTTOM}">'
            f"<title>evaluated: step {used_step:,}</title></line>"
        )
    ends = _apart([y_of(curve[-1, 1]) for curve in curves.values()], 14)
    for number, ((label, curve), end) in enumerate(zip(curves.items(), ends, strict=True)):
        path = "L".join(f"{x_of(step):.1f} {y_of(value):.1f}" for step, value in curve)
        last = f"{label} {curve[-1, 1]:.3f}"
        parts.append(f'<path class="curve c{number}" d="M{path}"><title>{escape(last)}</title></path>')
        parts.append(f'<text class="t{number}" x="{_RIGHT + 8}" y="{end + 4:.1f}">{escape(label)}</text>')
    return (
        f'<svg role="img" viewBox="0 0 {_WIDTH} {_HEIGHT}"><title>{escape(title)} over the steps</title>'
        f"{''.join(parts)}</svg>"
    )


def _apart(heights: Sequence[float], least: int) -> list[float]:
    """The heights, pushed down where they stand less than `least` below another, and up where that leaves the plot."""
    order = np.argsort(heights, kind="stable")
    placed = np.array(heights, float)[order]
    for i in range(1, len(placed)):
        placed[i] = max(placed[i], placed[i - 1] + least)
    placed -= max(0.0, placed[-1] - _BOTTOM)
    result = np.empty_like(placed)
    result[order] = placed
    return result.tolist()

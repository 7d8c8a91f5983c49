"""Figures of selective prediction: risk over coverage, and reliability; SVG with the page's colours.

As in `charts` no mark needs its colour: curves differ in their strokes.
"""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from cxr_jax.evaluation.selective_tables import CONFIDENCES

_WIDTH, _HEIGHT = 340, 230  # of a figure, in its own units
_LEFT, _RIGHT, _TOP, _BOTTOM = 40, 330, 12, 196
FEWEST = 0.05  # coverage that a curve begins at: the mean risk of fewer images says little
Point = Sequence[int | float]


def selective_figures(metrics: Mapping[str, Any]) -> str:
    """The figures that metrics.json has numbers for: risk over coverage, and a reliability diagram; "" for neither."""
    figures = []
    if "selective" in metrics:
        selective = metrics["selective"]
        # A random order's curve is the mean risk wherever it stops.
        curves: dict[str, Sequence[Point]] = {
            CONFIDENCES[name]: [[0, selective["mean_risk"]], [1, selective["mean_risk"]]]
            if name == "random"
            else [point for point in curve if point[0] >= FEWEST]
            for name, curve in selective["curves"].items()
        }
        figures.append(_figure("Risk of the images answered, over their share", curves, "coverage", "risk"))
    if "calibration" in metrics:
        curves = {
            f"{name}, ECE {of['ece']:.3f}": [[b["probability"], b["frequency"]] for b in of["bins"]]
            for name, of in metrics["calibration"].items()
        }
        curves["calibrated"] = [[0, 0], [1, 1]]
        figures.append(_figure("Share that is true, over the weight of the vote", curves, "weight", "share"))
    return f'<div class="curves">{"".join(figures)}</div>' if figures else ""


def _figure(title: str, curves: Mapping[str, Sequence[Point]], x_name: str, y_name: str) -> str:
    top = max(0.1, *(point[1] for curve in curves.values() for point in curve))

    def place(point: Point) -> str:
        x = _LEFT + point[0] * (_RIGHT - _LEFT)
        return f"{x:.1f} {_BOTTOM - point[1] / top * (_BOTTOM - _TOP):.1f}"

    parts = []
    for share in (0, 0.25, 0.5, 0.75, 1):
        y = _BOTTOM - share * (_BOTTOM - _TOP)
        x = _LEFT + share * (_RIGHT - _LEFT)
        parts.append(
            f'<line class="grid" x1="{_LEFT}" x2="{_RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text class="quiet" x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{share * top:.2f}</text>'
            f'<text class="quiet" x="{x:.1f}" y="{_BOTTOM + 17}" text-anchor="middle">{share:g}</text>'
        )
    legend = []
    for number, (name, points) in enumerate(curves.items()):
        path = "L".join(map(place, points))
        parts.append(f'<path class="curve c{number}" d="M{path}"><title>{escape(name)}</title></path>')
        line = f'<svg viewBox="0 0 20 20" aria-hidden="true"><path class="curve c{number}" d="M0 10H20"/></svg>'
        legend.append(f"<li>{line}{escape(name)}</li>")
    return (
        f"<figure><figcaption>{escape(title)}</figcaption>"
        f'<svg role="img" viewBox="0 0 {_WIDTH} {_HEIGHT}"><title>{escape(f"{y_name} over {x_name}")}</title>'
        f'{"".join(parts)}<text class="quiet" x="{_RIGHT}" y="{_BOTTOM + 32}" text-anchor="end">{escape(x_name)}</text>'
        f'</svg><ul class="legend">{"".join(legend)}</ul></figure>'
    )

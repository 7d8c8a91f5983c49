"""Pictures for the page, as SVG that takes its colours from the page's style, and attention as a small PNG."""

import io
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
from PIL import Image

from cxr_jax.evaluation.tables import FLOOR_NAMES, SCORE_NAMES

# Every mark has a shape of its own, so that none needs its colour to be told apart.
_FLOOR_MARKS = {
    "constant_report": "M0-5L5 4H-5Z",
    "random_report": "M-4 0A4 4 0 1 0 4 0A4 4 0 1 0-4 0Z",
    "random_same_class_report": "M0-5L5 0L0 5L-5 0Z",
    "most_frequent_report": "M-4-4L4 4M-4 4L4-4",
}
_CEILING_MARK = "M0-9V9"
_SYSTEM_MARK = "M-5 0A5 5 0 1 0 5 0A5 5 0 1 0-5 0Z"
_LEFT, _RIGHT, _ROW, _TOP = 118, 540, 30, 14  # of the tracks, in the picture's units
_WIDTH, _HEIGHT = 270, 150  # of one panel of the curves


def score_chart(metrics: Mapping[str, Any]) -> str:
    """Each score on a track from 0 to 1: the system with its 95 % interval between floors and ceiling.

    metrics: what `evaluate.score_system` returns. The marks' legend stands below.
    """
    names = [name for name in SCORE_NAMES if name in metrics["floors"]["random_report"]]
    bottom = _TOP + _ROW * len(names)
    parts = [
        f'<path class="grid" d="M{_place(x):.1f} {_TOP}V{bottom}"/><text class="tick" x="{_place(x):.1f}" '
        f'y="{bottom + 14}">{x:.2f}</text>'
        for x in (0.0, 0.25, 0.5, 0.75, 1.0)
    ]
    for row, name in enumerate(names):
        y = _TOP + _ROW * (row + 0.5)
        parts.append(f'<text class="name" x="{_LEFT - 14}" y="{y + 4}">{escape(SCORE_NAMES[name])}</text>')
        parts.append(f'<path class="track" d="M{_LEFT} {y}H{_RIGHT}"/>')
        for floor, mark in _FLOOR_MARKS.items():
            if name in metrics["floors"].get(floor, {}):
                parts.append(_mark("floor", mark, metrics["floors"][floor][name], y, FLOOR_NAMES[floor]))
        if name in metrics["ceiling"]:
            parts.append(_mark("ceiling", _CEILING_MARK, metrics["ceiling"][name], y, "nearest by the true text"))
        if name in metrics.get("scores", {}):
            low, high = (_place(x) for x in metrics["intervals"][name])
            parts.append(f'<path class="interval" d="M{low:.1f} {y}H{high:.1f}"/>')
            parts.append(_mark("system", _SYSTEM_MARK, metrics["scores"][name], y, "retrieved report"))
    legend = [("system", _SYSTEM_MARK, "retrieved report, 95 % interval")] if "scores" in metrics else []
    legend += [("floor", _FLOOR_MARKS[floor], FLOOR_NAMES[floor]) for floor in metrics["floors"]]
    legend += [("ceiling", _CEILING_MARK, "nearest by the true text (ceiling)")]
    items = "".join(
        f'<li><svg viewBox="-10 -10 20 20"><path class="{kind}" d="{mark}"/></svg>{escape(text)}</li>'
        for kind, mark, text in legend
    )
    picture = _svg(_RIGHT + 20, bottom + 22, "Scores between floors and ceiling", "".join(parts))
    return f'<figure class="scores">{picture}<ul class="legend">{items}</ul></figure>'


def curves(lines: Sequence[Mapping[str, float]]) -> str:
    """Loss and validation recall over a run's steps, from the lines of its metrics.jsonl; "" where there are none."""
    panels = (
        ("loss", {"loss": "training", "val_loss": "validation"}),
        ("recall on validation, image → report", {f"val_recall@{k}": f"@{k}" for k in (1, 5, 10)}),
    )
    drawn = []
    for title, names in panels:
        series = {
            label: [(line["step"], line[name]) for line in lines if np.isfinite(line.get(name, np.nan))]
            for name, label in names.items()
        }
        series = {label: points for label, points in series.items() if len(points) > 1}
        if series:
            drawn.append(f"<figure>{_panel(title, series)}<figcaption>{escape(title)}</figcaption></figure>")
    return f'<div class="curves">{"".join(drawn)}</div>' if drawn else ""


def heat_png(attention: np.ndarray) -> bytes:
    """uint8 (h, w) as a PNG of that size, from clear where it is least to orange where it is greatest."""
    low, high = int(attention.min()), int(attention.max())
    stretched = (attention.astype(np.float32) - low) / max(high - low, 1)
    pixels = np.empty((*attention.shape, 4), np.uint8)
    pixels[..., :3] = (255, 110, 0)
    pixels[..., 3] = np.round(190 * stretched)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _place(score: float) -> float:
    return _LEFT + (_RIGHT - _LEFT) * min(max(score, 0.0), 1.0)


def _mark(kind: str, path: str, score: float, y: float, text: str) -> str:
    return (
        f'<path class="{kind}" transform="translate({_place(score):.1f} {y})" d="{path}">'
        f"<title>{escape(text)}: {score:.3f}</title></path>"
    )


def _panel(title: str, series: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    left, right, top, bottom = 34, _WIDTH - 62, 8, _HEIGHT - 20
    steps, values = (np.array([p[i] for points in series.values() for p in points], float) for i in (0, 1))
    (x0, x1), (y0, y1) = (steps.min(), max(steps.max(), steps.min() + 1)), (values.min(), values.max())
    y1 = y1 if y1 > y0 else y0 + 1
    parts = [f'<path class="grid" d="M{left} {top}V{bottom}H{right}"/>']
    for value, y in ((y0, bottom), (y1, top)):
        parts.append(f'<text class="name" x="{left - 5}" y="{y + 4}">{value:.2f}</text>')
    parts.append(f'<text class="tick" x="{right}" y="{bottom + 15}">step {x1:.0f}</text>')
    taken: list[float] = []
    for number, (label, points) in enumerate(series.items()):
        placed = [
            (left + (x - x0) / (x1 - x0) * (right - left), bottom - (y - y0) / (y1 - y0) * (bottom - top))
            for x, y in points
        ]
        line = "L".join(f"{x:.1f} {y:.1f}" for x, y in placed)
        # A name stands at the end of its line, and never on another's.
        end = placed[-1][1]
        while any(abs(end - other) < 12 for other in taken):
            end += 4
        taken.append(end)
        parts.append(f'<path class="line line{number}" d="M{line}"/>')
        parts.append(f'<text class="label" x="{right + 6}" y="{end + 4:.1f}">{escape(label)}</text>')
    return _svg(_WIDTH, _HEIGHT, title, "".join(parts))


def _svg(width: int, height: int, title: str, body: str) -> str:
    return f'<svg viewBox="0 0 {width} {height}" role="img"><title>{escape(title)}</title>{body}</svg>'

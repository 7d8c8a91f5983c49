"""A run's training curves: what metrics.jsonl holds of each panel, and the panels as one PNG.

The page of an evaluation draws the same panels as SVG (`pages.charts`). matplotlib is loaded where it draws, by its
objects alone, so that importing this package neither takes the time nor chooses anyone's backend.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

_POINTS = 300  # a curve keeps at most about twice as many
_FEW = 40  # points; fewer are marked one by one


class Panel(NamedTuple):
    """One picture of curves: its title, and what each curve is called, by its key in metrics.jsonl."""

    title: str
    labels: Mapping[str, str]


LOSS = Panel("Loss", {"loss": "training", "val_loss": "validation", "val_loss_floor": "its floor"})
RECALL = Panel("Validation recall, image → report", {f"val_recall@{k}": f"recall@{k}" for k in (1, 5, 10)})
TEMPERATURE = Panel("Temperature", {"temperature": "τ"})


def curves_of(lines: Sequence[Mapping[str, int | float]], panel: Panel) -> dict[str, np.ndarray]:
    """{label: float64 (points, 2), steps and values} of the panel's curves that have a point.

    Args:
      lines: of the run's metrics.jsonl. Values that are not finite are left out, long curves thinned.
    """
    curves = {}
    for key, label in panel.labels.items():
        points = [(line["step"], line[key]) for line in lines if math.isfinite(line.get(key, math.nan))]
        if points:
            curves[label] = _thinned(np.array(points, np.float64))
    return curves


def draw_curves(lines: Sequence[Mapping[str, int | float]], file: Path) -> None:
    """Writes loss, recall and temperature over the steps as a PNG, whatever its name; panels may be empty."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    panels = (LOSS, RECALL, TEMPERATURE)
    for axis, panel in zip(figure.subplots(1, len(panels)), panels, strict=True):
        for label, points in curves_of(lines, panel).items():
            axis.plot(*points.T, label=label, marker="." if len(points) < _FEW else None)
        axis.set(title=panel.title, xlabel="step")
        axis.grid(alpha=0.3)
        if axis.has_data():
            axis.legend(frameon=False)
    figure.savefig(file, format="png", dpi=110)


def _thinned(points: np.ndarray) -> np.ndarray:
    """(n, 2) to at most 2 · _POINTS rows: means over neighbours, the last point kept."""
    stride = len(points) // _POINTS
    if stride < 2:
        return points
    whole = len(points) // stride * stride
    return np.concatenate([points[:whole].reshape(-1, stride, 2).mean(axis=1), points[-1:]])

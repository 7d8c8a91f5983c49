"""Training curves: what is drawn of metrics.jsonl, and the PNG of it."""

import math
import subprocess
import sys

import numpy as np
from PIL import Image

from cxr_jax.runtime.curves import LOSS, RECALL, TEMPERATURE, curves_of, draw_curves

LINES = [
    *({"step": step, "loss": 5 / step, "temperature": 0.07, "learning_rate": 1e-3} for step in range(1, 60)),
    {"step": 30, "val_loss": 1.0, "val_recall@1": 0.1, "val_recall@5": 0.3, "val_recall@10": 0.5},
]


def test_a_curve_has_its_steps_and_values():
    assert [list(curves_of(LINES, panel)) for panel in (LOSS, RECALL, TEMPERATURE)] == [
        ["training", "validation"], ["recall@1", "recall@5", "recall@10"], ["τ"]
    ]  # fmt: skip
    curves = curves_of(LINES, LOSS)
    np.testing.assert_array_equal(curves["training"], [(step, 5 / step) for step in range(1, 60)])
    assert curves["validation"].tolist() == [[30, 1]]


def test_what_is_not_finite_is_left_out():
    lines = [{"step": step, "loss": value} for step, value in enumerate([1.0, math.nan, math.inf, 2.0])]
    assert curves_of(lines, LOSS)["training"].tolist() == [[0, 1], [3, 2]]
    assert curves_of(lines[1:3], LOSS) == curves_of([], LOSS) == {}


def test_long_curves_are_thinned_to_their_means_and_end_where_they_end():
    long = [{"step": step, "loss": 1.0 + step % 2} for step in range(20_000)]
    points = curves_of(long, LOSS)["training"]
    assert 200 < len(points) <= 602
    assert points[-1].tolist() == [19_999, 2]
    np.testing.assert_allclose(points[:-1, 1], 1.5)


def dark_share(file):
    grey = Image.open(file).convert("L")
    return sum(grey.histogram()[:200]) / (grey.width * grey.height)


def test_the_png_shows_the_curves(tmp_path):
    draw_curves([], tmp_path / "empty.png")
    draw_curves(LINES, tmp_path / "curves.png")
    with Image.open(tmp_path / "curves.png") as image:
        assert image.width > 2 * image.height > 400
    assert dark_share(tmp_path / "curves.png") > 1.2 * dark_share(tmp_path / "empty.png")


def test_drawing_leaves_the_callers_backend_and_figures_alone(tmp_path):
    code = (
        "import sys\nfrom pathlib import Path\nfrom cxr_jax.runtime.curves import draw_curves\n"
        "assert 'matplotlib' not in sys.modules\ndraw_curves([{'step': 1, 'loss': 1.0}], Path(sys.argv[1]))\n"
        "import matplotlib\nassert 'matplotlib.pyplot' not in sys.modules\n"
        "assert matplotlib.rcParams._get_backend_or_none() is None\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "curves.png")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={"PATH": "", "HOME": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "curves.png").stat().st_size > 1000

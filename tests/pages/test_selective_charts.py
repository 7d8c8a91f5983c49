"""The figures read back: curves through their points, told apart by their strokes."""

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from cxr_jax.evaluation.selective_tables import CONFIDENCES, selective_tables
from cxr_jax.pages import selective_charts
from cxr_jax.pages.selective_charts import selective_figures

CURVES = {"likeness": [[0.01, 0.1], [0.5, 0.3], [1.0, 0.4]], "random": [[1.0, 0.4]], "oracle": [[0.01, 0], [1.0, 0.4]]}
METRICS = {
    "selective": {
        "mean_risk": 0.4,
        "curves": CURVES,
        "aurc": {"likeness": 0.25, "random": 0.4, "oracle": 0.1},
        "intervals": {"likeness": [0.2, 0.3], "random": [0.35, 0.45], "oracle": [0.05, 0.15]},
        "differences": {"likeness": {"difference": -0.15, "interval": [-0.2, -0.1]}},
    },
    "calibration": {
        "test": {
            "n": 3,
            "ece": 0.02,
            "ece_always_denied": 0.1,
            "bins": [{"low": 0, "high": 0.1, "n": 4, "probability": 0.05, "frequency": 0.1}],
        }
    },
}


def curves(html):
    """{name: points} of each figure, its top being 1."""
    figures = []
    for figure in ET.fromstring(html).iter("figure"):
        paths = {path.findtext("title"): path.get("d") for path in figure.find("svg").findall("path")}
        figures.append({name: [tuple(map(float, p.split())) for p in d[1:].split("L")] for name, d in paths.items()})
    return figures


def test_curves_go_through_their_points():
    risk, reliability = curves(selective_figures(METRICS))
    left, right, bottom = selective_charts._LEFT, selective_charts._RIGHT, selective_charts._BOTTOM
    height = bottom - selective_charts._TOP
    for name, points in CURVES.items():
        given = [[0, 0.4], [1, 0.4]] if name == "random" else points[1:]
        found = [((x - left) / (right - left), (bottom - y) / height * 0.4) for x, y in risk[CONFIDENCES[name]]]
        assert found == [pytest.approx(point, abs=1e-3) for point in given]
    (point,) = reliability["test, ECE 0.020"]
    assert point == pytest.approx((left + 0.05 * (right - left), bottom - 0.1 * height), abs=0.06)
    assert reliability["calibrated"][0] == (left, bottom)


def test_every_curve_has_a_stroke_of_its_own():
    style = (Path(selective_charts.__file__).with_name("page.css")).read_text()
    strokes = re.findall(r"^\.(c\d) \{([^}]*)\}", style, re.MULTILINE)
    assert len(strokes) >= len(CONFIDENCES)
    assert len({stroke for _, stroke in strokes}) == len(strokes)


def test_nothing_measured_is_nothing_shown():
    assert selective_figures({}) == ""
    assert selective_tables({}) == {}


def test_tables_have_the_best_order_first():
    areas, calibration = selective_tables(METRICS).values()
    assert [row[0] for row in areas.rows] == [CONFIDENCES[name] for name in ("oracle", "likeness", "random")]
    assert areas.rows[1][1:] == ["0.250", "0.200-0.300", "-0.150 (-0.200 to -0.100)"]
    assert calibration.rows == [["test", "3", "0.020", "0.100"]]

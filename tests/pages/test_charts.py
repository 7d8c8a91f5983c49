"""The pictures read back: every score at its place, curves through their points, attention as pixels."""

import io
import math
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from PIL import Image

from cxr_jax.pages import charts
from cxr_jax.runtime.curves import LOSS, RECALL

FLOORS = {
    "constant_report": {"bleu_1": 0.5, "rouge_l": 0.25},
    "random_report": {"bleu_1": 0.25, "rouge_l": 0.125},
    "most_frequent_report": {"bleu_1": 0.0, "rouge_l": 0.375},
}
METRICS = {
    "floors": FLOORS,
    "ceiling": {"bleu_1": 0.75, "rouge_l": 1.0},
    "scores": {"bleu_1": 0.6, "rouge_l": 0.0625},
    "intervals": {"bleu_1": [0.55, 0.65], "rouge_l": [0.0, 0.125]},
}


def parse(html):
    return ET.fromstring(f"<div>{html}</div>")


def placed(html):
    """{title of a mark: the score that its place on the track stands for}, and the track's first and last place."""
    root, places = parse(html), {}
    tracks = {(line.get("x1"), line.get("x2")) for line in root.iter("line") if line.get("class") == "track"}
    (ends,) = tracks
    first, last = (float(x.rstrip("%")) for x in ends)
    for mark in root.iter("svg"):
        titles = [path.findtext("title") for path in mark.findall("path")]
        if mark.get("x") and titles[0]:
            places[titles[0]] = (float(mark.get("x").rstrip("%")) - first) / (last - first)
    return places


def test_each_mark_stands_at_its_score():
    places = placed(charts.score_chart(METRICS))
    assert len(places) == 2 * 5
    for title, place in places.items():
        assert place == pytest.approx(float(title.rsplit(" ", 1)[1]), abs=6e-4), title
    assert sorted(places.values()) == pytest.approx(
        sorted([0.5, 0.25, 0.25, 0.125, 0, 0.375, 0.75, 1, 0.6, 0.0625]), abs=1e-4
    )


def test_marks_differ_without_their_colours():
    root = parse(charts.score_chart(METRICS))
    legend = {item.find("svg/path").get("d"): "".join(item.itertext()) for item in root.iter("li")}
    assert len(legend) == len(set(legend.values())) == 5
    assert {path.get("d") for path in root.iter("path")} == set(legend)
    assert any("95 % interval" in text for text in legend.values())
    assert not re.search(r"#[0-9a-f]{3,6}|rgb", charts.score_chart(METRICS))


def test_a_score_beyond_one_has_a_track_of_its_own():
    metrics = METRICS | {"external": {"m": {"higher_is_better": False}}}
    metrics["floors"] = {name: scores | {"m": -1.0} for name, scores in FLOORS.items()}
    for part, value in (("ceiling", 3.0), ("scores", 1.0), ("intervals", [0.0, 2.0])):
        metrics[part] = METRICS[part] | {"m": value}
    html = charts.score_chart(metrics)
    assert "m ↓" in html
    assert "-1 to 3" in html
    places = [place for title, place in placed(html).items() if title.endswith(("-1.000", " 3.000", ": 1.000"))]
    assert {round(place, 3) for place in places} >= {0, 0.5, 1}


def test_floors_and_ceiling_alone():
    html = charts.score_chart({"floors": FLOORS, "ceiling": METRICS["ceiling"]})
    assert 'class="system"' not in html
    assert 'class="interval"' not in html
    assert html.count('class="track"') == 2


def test_a_score_without_a_ceiling_is_drawn_all_the_same():
    html = charts.score_chart(METRICS | {"ceiling": {"bleu_1": 0.75}})
    assert sum("ceiling" in title for title in placed(html)) == 1


LINES = [
    *({"step": step, "loss": 3.0 - step / 100, "learning_rate": 1e-3} for step in range(0, 101, 10)),
    *({"step": step, "val_loss": 2.8, "val_recall@1": step / 1000, "val_recall@5": 0.3} for step in (50, 100)),
]


def test_curves_run_through_their_points():
    root = parse(charts.curve_figures(LINES, 50))
    assert [caption.text for caption in root.iter("figcaption")] == [LOSS.title, RECALL.title]
    loss, recall = root.iter("svg")
    curves = {
        path.findtext("title").rsplit(" ", 1)[0]: [
            tuple(map(float, point.split())) for point in path.get("d")[1:].split("L")
        ]
        for panel in (loss, recall)
        for path in panel.iter("path")
    }
    assert {name: len(points) for name, points in curves.items()} == {
        "training": 11, "validation": 2, "recall@1": 2, "recall@5": 2,
    }  # fmt: skip
    # Falling by as much at each step: a straight line down the picture.
    assert np.ptp(np.diff(curves["training"], axis=0), axis=0) == pytest.approx([0, 0], abs=0.11)
    assert curves["training"][-1][1] > curves["training"][0][1]
    assert curves["validation"][0] == pytest.approx((curves["training"][5][0], curves["training"][2][1]))
    used = [line for line in root.iter("line") if line.get("class") == "used"]
    assert {float(line.get("x1")) for line in used} == {curves["training"][5][0]}


def test_a_run_without_records_has_no_curves():
    assert charts.curve_figures([]) == charts.curve_figures(LINES[:1]) == ""
    assert "validation" not in charts.curve_figures(LINES[:11])


def test_what_is_not_finite_leaves_a_gap():
    lines = [{"step": 0, "loss": 1.0}, {"step": 1, "loss": math.nan}, {"step": 2, "loss": 2.0}]
    assert "nan" not in charts.curve_figures(lines).lower()
    assert charts.curve_figures([{"step": s, "loss": 1.0} for s in (0, 1)])  # a flat curve has a scale too
    assert charts.curve_figures([{"step": 0, "loss": math.inf}, {"step": 1, "loss": math.nan}]) == ""


def test_long_curves_are_thinned_and_end_where_they_end():
    long = [{"step": step, "loss": 1.0 + step % 2} for step in range(20_000)]
    (path,) = parse(charts.curve_figures(long)).iter("path")
    points = path.get("d").split("L")
    assert 200 < len(points) <= 602
    assert path.findtext("title") == "training 2.000"


@pytest.mark.parametrize(
    ("low", "high"), [(0, 1), (0.02, 0.38), (1.73, 3.56), (0.5, 0.5), (0, 0), (-3, 1e-9), (0, 7e5)]
)
def test_ticks_are_few_and_round_and_hold_the_range(low, high):
    ticks = charts._ticks(float(low), float(high))
    assert ticks[0] <= low
    assert ticks[-1] >= high
    assert len(ticks) <= 6
    for tick in ticks:
        assert float(f"{tick:.3g}") == pytest.approx(tick)


def test_labels_are_kept_apart():
    heights = charts._apart([100.0, 101.0, 30.0, 159.0], 14)
    assert np.diff(sorted(heights)).min() >= 14
    assert np.argsort(heights).tolist() == [2, 0, 1, 3]
    assert charts._apart([159.0, 160.0], 14)[1] <= charts._BOTTOM


def test_attention_is_clear_at_its_least_and_strongest_at_its_most():
    maps = np.array([[120, 130], [125, 121]], np.uint8)
    pixels = np.asarray(Image.open(io.BytesIO(charts.heat_png(maps))))
    assert pixels.shape == (2, 2, 4)
    alpha = pixels[:, :, 3].astype(float)
    assert alpha.min() == alpha[0, 0] == 0
    np.testing.assert_allclose(alpha / alpha.max(), (maps - 120.0) / 10, atol=0.01)
    assert np.asarray(Image.open(io.BytesIO(charts.heat_png(np.full((3, 3), 9, np.uint8)))))[:, :, 3].max() == 0

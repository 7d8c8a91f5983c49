"""What pictures look like, on chests that are drawn and, where they are at hand, on real ones."""

import csv

import numpy as np
import pytest
from PIL import Image

from cxr_jax.data.looks import doubts_of, looks_of
from cxr_jax.phantom.drawing import draw_study


@pytest.fixture(scope="module")
def drawn():
    """Other studies than those that the measure averages: (frontal, lateral) each."""
    return [draw_study((), [5, number], 96) for number in range(20)]


def doubts(grey, lateral=False):
    return doubts_of(looks_of(grey), lateral)


def test_chests_raise_no_doubt(drawn):
    for frontal, lateral in drawn:
        assert doubts(frontal) == doubts(lateral, lateral=True) == ()


def test_what_is_wrong_is_named(drawn):
    for frontal, lateral in drawn:
        assert doubts(lateral) == ("lateral",)
        assert doubts(lateral[:, ::-1].copy()) == ("lateral",)
        assert doubts(255 - frontal) == ("inverted",)
        assert "saturated" in doubts(np.where(frontal > np.quantile(frontal, 0.6), 255, frontal).astype(np.uint8))


def test_a_black_border_does_not_matter(drawn):
    for frontal, _ in drawn:
        framed = np.zeros((192, 128), np.uint8)
        framed[40:136, 16:112] = frontal
        framed[2:12, 2:12] = 255  # a letter in it
        measured, framed = looks_of(frontal), looks_of(framed)
        assert framed.frontal == pytest.approx(measured.frontal, abs=0.02)
        assert framed.clipped == pytest.approx(measured.clipped, abs=0.02)


def test_other_pictures_are_no_chest():
    rng = np.random.default_rng(0)
    y, x = np.mgrid[-1:1:200j, -1:1:200j]
    text = Image.new("L", (200, 200), 255)
    text.paste(0, (20, 20, 180, 24))
    text.paste(0, (20, 60, 150, 64))
    for other in (
        rng.integers(0, 256, (200, 200), dtype=np.uint8),
        np.tile(np.linspace(0, 255, 200).astype(np.uint8), (200, 1)),
        (127 + 120 * np.sin(9 * x) * np.sin(9 * y)).astype(np.uint8),
        np.asarray(text),
    ):
        assert doubts(other)


def test_sizes_and_shapes_of_any_kind_are_measured():
    for shape in ((1, 1), (1, 300), (7, 5), (2000, 3)):
        for value in (0, 128, 255):
            assert all(np.isfinite(looks_of(np.full(shape, value, np.uint8))))


def test_on_real_radiographs_it_is_seldom_wrong(shared):
    """The figures of docs/data.md."""
    folder = shared / "data" / "covid_cxr"
    with (folder / "pairs.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    said = {"frontal": [], "lateral": [], "inverted": []}
    for row in rows:
        grey = np.asarray(Image.open(folder / row["image"]).convert("L"))
        if row["view"] in ("PA", "AP", "AP Supine"):
            said["frontal"].append(doubts(grey))
            said["inverted"].append(doubts(255 - grey))
        elif row["view"] == "L":
            said["lateral"].append(doubts(grey))
    assert (len(said["frontal"]), sum(map(bool, said["frontal"]))) == (305, 5)
    assert (len(said["lateral"]), sum("lateral" in found for found in said["lateral"])) == (36, 29)
    assert sum("inverted" in found for found in said["inverted"]) == 304

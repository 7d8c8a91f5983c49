"""Copies of pictures are found as people make them, other radiographs are not, and nothing is a copy of nothing."""

import csv
import io

import numpy as np
import pytest
from PIL import Image

from cxr_jax.data import images
from cxr_jax.data.copies import copies, sketch, sketches
from cxr_jax.phantom.drawing import draw_study


def stored_anew(grey, quality=20):
    buffer = io.BytesIO()
    Image.fromarray(grey).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer).convert("L"))


def resized(grey, width, height):
    return np.asarray(Image.fromarray(grey).resize((width, height), Image.Resampling.BICUBIC))


def copied(grey):
    height, width = grey.shape
    return {
        "jpeg": stored_anew(grey),
        "smaller": resized(grey, round(width * 0.6), round(height * 0.6)),
        "squashed": resized(grey, 300, 300),
        "paler": (grey * 0.8 + 20).astype(np.uint8),
    }


@pytest.fixture(scope="module")
def drawn():
    return [draw_study((), [5, number], 160)[0] for number in range(40)]


@pytest.mark.parametrize("how", ["jpeg", "smaller", "squashed", "paler"])
def test_a_copy_is_found_among_other_radiographs(drawn, how):
    train = sketches([images.thumbnail(grey) for grey in drawn[:30]])
    given = [copied(grey)[how] for grey in drawn[20:]]  # ten of them were trained on
    found = copies(sketches([images.thumbnail(grey) for grey in given]), train)
    assert found == [(number, 20 + number) for number in range(10)]


def test_the_same_picture_twice_is_found_twice(drawn):
    train = np.stack([sketch(drawn[0]), sketch(drawn[1]), sketch(drawn[0])])
    assert copies(train[:1], train) == [(0, 0), (0, 2)]
    assert copies(train[:1], train[:1]) == [(0, 0)]
    assert copies(train[1:2], train[:1]) == []


def test_a_turned_mirrored_or_inverted_picture_is_no_copy(drawn):
    train = np.stack([*map(sketch, drawn)])
    others = [np.rot90(drawn[0]), drawn[0][:, ::-1], 255 - drawn[0]]
    assert copies(np.stack([sketch(np.ascontiguousarray(grey)) for grey in others]), train) == []


def test_pictures_that_show_nothing_are_no_copies_of_one_another(drawn):
    black, white = (np.full((20, 30), grey, np.uint8) for grey in (0, 250))
    assert not sketch(black).any()
    train = np.stack([sketch(black), sketch(white), sketch(drawn[0])])
    assert copies(np.stack([sketch(white), sketch(black)]), train) == []


@pytest.mark.slow
def test_of_real_radiographs_none_is_taken_for_another_and_copies_are_found(shared):
    """The figures of docs/evaluation.md."""
    folder = shared / "data" / "real_cxr"
    with (folder / "table.csv").open(newline="") as table:
        rows = list(csv.DictReader(table))
    greys = [images.read(folder / row["image"]).grey for row in rows]
    train = sketches([images.thumbnail(grey) for grey in greys])
    pairs = [(a, b) for a, b in copies(train, train) if a < b]
    # Ten pairs are one picture under two names; of 17.8 million no other pair is taken for one.
    fields = [np.asarray(Image.fromarray(grey).resize((64, 64), Image.Resampling.BOX), float).ravel() for grey in greys]
    assert len(pairs) == 10
    assert all(np.corrcoef(fields[a], fields[b])[0, 1] > 0.998 for a, b in pairs)
    for how in ("jpeg", "smaller", "squashed", "paler"):
        given = sketches([images.thumbnail(copied(grey)[how]) for grey in greys[::8]])
        found = set(copies(given, train))
        assert all((number, 8 * number) in found for number in range(len(given))), how

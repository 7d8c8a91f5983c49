"""How like training pictures others are: against a naive version, and what it tells apart of drawn chests."""

import numpy as np
import pytest

from cxr_jax.data.images import fit_square
from cxr_jax.data.looks import small_picture
from cxr_jax.phantom.drawing import draw_study
from cxr_jax.retrieval.likeness import Exemplars


def chests(seed, count=20, size=64):
    return [draw_study((), [seed, number], size)[number % 2] for number in range(count)]


@pytest.fixture(scope="module")
def exemplars():
    return Exemplars(chests(1, 60))


def test_it_is_the_highest_correlation():
    train, others = chests(1, 4), chests(2, 3)
    found = Exemplars(train).likeness(others)
    turns = (lambda a: a, lambda a: a[::-1], lambda a: a[:, ::-1], lambda a: 255 - a)
    for values, turned in zip(found, turns, strict=True):
        small = [small_picture(np.ascontiguousarray(turned(other))).ravel() for other in others]
        naive = [max(np.corrcoef(one, small_picture(t).ravel())[0, 1] for t in train) for one in small]
        np.testing.assert_allclose(values, naive, atol=0.01)


def test_a_training_picture_is_its_own_likeness_in_any_size_and_frame(exemplars):
    picture = chests(1, 1)[0]
    framed = np.zeros((128, 96), np.uint8)
    framed[30:94, 16:80] = picture
    for given in (picture, fit_square(framed, 80), np.kron(picture, np.ones((3, 3), np.uint8))):
        assert exemplars.likeness([given]).itself[0] > 0.97


def test_chests_are_told_from_what_is_turned_and_from_other_pictures(exemplars):
    own = exemplars.likeness(chests(2))
    for other in (own.upside_down, own.mirrored, own.inverted):
        assert (own.itself > other).all()
    noise = list(np.random.default_rng(0).integers(0, 256, (20, 64, 64), dtype=np.uint8))
    assert exemplars.likeness(noise).itself.max() < 0.5 < own.itself.min()


def test_what_shows_nothing_is_like_nothing(exemplars):
    for shape in ((1, 1), (64, 64), (3, 200)):
        found = exemplars.likeness([np.full(shape, grey, np.uint8) for grey in (0, 128, 255)])
        assert all((abs(values) < 1e-6).all() for values in found)
    assert all(len(values) == 0 for values in exemplars.likeness([]))

import numpy as np
import pytest

from cxr_jax.data.class_sample import COMPETITION, class_sample, classes_of, sizes_of
from cxr_jax.errors import InputError

NAMES = ("Other", "A", "B")


@pytest.fixture
def values():
    rng = np.random.default_rng(0)
    return rng.choice([1, 0, -1, -2], size=(400, 3), p=[0.3, 0.4, 0.1, 0.2]).astype(np.int8)


def test_each_image_shows_its_class_alone(values):
    rows, numbers = class_sample(values, NAMES, ("A", "B"), 20, seed=3)
    assert np.bincount(numbers).tolist() == [20, 20]
    assert len(set(rows.tolist())) == 40
    for row, number in zip(rows, numbers, strict=True):
        own, other = values[row, 1 + number], values[row, 2 - number]
        assert own == 1
        assert other in (0, -2)  # neither there nor in doubt; what is no class does not matter


def test_the_seed_alone_decides(values):
    first, again, other = (class_sample(values, NAMES, ("A", "B"), 20, seed)[0].tolist() for seed in (3, 3, 4))
    assert first == again != other


def test_too_few(values):
    with pytest.raises(InputError, match=r"\d+ images show A and no other of A, B, fewer than 300; ask for 2x\d+ at"):
        class_sample(values, NAMES, ("A", "B"), 300, 0)


def test_which_labels_are_the_classes():
    assert classes_of(2, NAMES, ["b", "a"], "t.csv") == ("B", "A")
    assert classes_of(5, [*COMPETITION, "Fracture"], [], "t.csv") == COMPETITION
    assert classes_of(3, NAMES, ["A", "B"], "t.csv") == NAMES
    with pytest.raises(InputError, match=r"t\.csv does not say which 2 of its labels are the classes \(Other, A, B\)"):
        classes_of(2, NAMES, [], "t.csv")


def test_sizes():
    assert sizes_of("5x200") == (5, 200)
    for given in ("5", "x200", "5x0", "1x10", "5x2x3", "five"):
        with pytest.raises(InputError, match="--sample"):
            sizes_of(given)

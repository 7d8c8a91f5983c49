"""What is stored on the way: whole parts, found again; all else is done again."""

import numpy as np
import pytest

from cxr_jax.retrieval.parts import Parts
from cxr_jax.retrieval.streaming import Batch

ABOUT = {"checkpoint": "a", "batch_size": 2}


def stream(start=0, stop=9, size=2):
    """Batches of inputs whose embedding is their number; every fifth cannot be read, every fourth is doubtful."""
    for first in range(start, stop, size):
        numbers = np.arange(first, min(first + size, stop))
        rows = numbers[numbers % 5 != 3]
        faults = {int(row): f"{row} is bad" for row in numbers if row % 5 == 3}
        warned = {int(row): (f"{row} is odd", "é") for row in rows if row % 4 == 0}
        yield Batch(first, rows, np.repeat(rows[:, None], 3, axis=1).astype(np.float32), faults, warned)


@pytest.fixture
def stored(tmp_path):
    parts = Parts(tmp_path, 4, ABOUT)
    assert list(parts.store("image", stream())) == [2, 2, 2, 2, 1]
    return tmp_path


def test_what_was_stored_is_there_again(stored):
    parts = Parts(stored, 4, ABOUT)
    assert not parts.begun_anew
    assert (parts.done("image", 9), parts.done("text", 9)) == (9, 0)
    faults, warnings = parts.said("image", 9)
    assert faults == {3: "3 is bad", 8: "8 is bad"}
    assert {row: list(lines) for row, lines in warnings.items()} == {0: ["0 is odd", "é"], 4: ["4 is odd", "é"]}
    taken = parts.take("image", np.array([7, -1, 3, 0, 7]))
    np.testing.assert_array_equal(taken[:, 0], [7, np.nan, np.nan, 0, 7])
    assert (taken.dtype, taken.shape) == (np.float32, (5, 3))


@pytest.mark.parametrize("damage", ["cut", "gone", "unsaid", "other length"])
def test_from_the_first_part_that_is_not_whole_it_is_done_again(stored, damage):
    parts, place = Parts(stored, 4, ABOUT), stored / "image" / "000001"
    if damage == "cut":
        (place / "embeddings.npy").write_bytes((place / "embeddings.npy").read_bytes()[:-1])
    elif damage == "gone":
        place.rename(stored / "aside")
    elif damage == "unsaid":
        (place / "said.json").write_text("{")
    else:
        np.save(place / "embeddings.npy", np.zeros((3, 3), np.float32))
    assert parts.done("image", 9) == 4
    assert list(parts.store("image", stream(4))) == [2, 2, 1]
    assert parts.done("image", 9) == 9
    np.testing.assert_array_equal(parts.take("image", np.arange(9))[:, 0], [0, 1, 2, np.nan, 4, 5, 6, 7, np.nan])


def test_an_end_in_the_middle_leaves_whole_windows_only(tmp_path):
    def broken_off():
        yield from stream(stop=6)
        raise KeyboardInterrupt

    parts = Parts(tmp_path, 4, ABOUT)
    with pytest.raises(KeyboardInterrupt):
        list(parts.store("image", broken_off()))
    assert [place.name for place in (tmp_path / "image").iterdir()] == ["000000"]
    assert Parts(tmp_path, 4, ABOUT).done("image", 9) == 4


def test_parts_of_another_begin_are_taken_away(stored):
    assert Parts(stored, 4, ABOUT | {"batch_size": 4}).begun_anew
    parts = Parts(stored, 4, ABOUT)
    assert parts.done("image", 9) == 0
    assert not parts.begun_anew  # nothing was there to take away

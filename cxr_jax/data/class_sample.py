"""A balanced sample of images that show one class alone, as CheXpert 5x200 (Zhang et al. 2020, Huang et al. 2021)."""

import re
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int, Int8

from cxr_jax.csv_table import listed
from cxr_jax.data.label_values import DOUBT, YES
from cxr_jax.errors import InputError

COMPETITION = ("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Pleural Effusion")


def sizes_of(given: str) -> tuple[int, int]:
    """(Classes, images of each) of "5x200".

    Raises:
      InputError: it is not written so.
    """
    match = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", given.strip().lower())
    if not match or int(match[1]) < 2:
        raise InputError(f"--sample {given}: write how many classes, two or more, and images of each, as 5x200")
    return int(match[1]), int(match[2])


def classes_of(count: int, names: Sequence[str], stated: Sequence[str], source: str) -> tuple[str, ...]:
    """The labels that are the classes: those that the map states, or CheXpert's five, or all of the table's.

    Raises:
      InputError: none of these are so many labels of the table.
    """
    known = {name.casefold(): name for name in names}
    for candidates in (stated, COMPETITION, names):
        if len(candidates) == count and all(name.casefold() in known for name in candidates):
            return tuple(known[name.casefold()] for name in candidates)
    raise InputError(
        f"--sample: {source} does not say which {count} of its labels are the classes ({listed(names)}); name them by "
        "--columns, under classes:"
    )


def class_sample(
    values: Int8[np.ndarray, "N L"], names: Sequence[str], classes: Sequence[str], count: int, seed: int
) -> tuple[Int[np.ndarray, " S"], Int[np.ndarray, " S"]]:
    """Rows, `count` of each class, and the number of each one's class; drawn without replacement by `seed`.

    A row is of a class where it is there, and of the other classes none is there or uncertain; a blank is none.

    Raises:
      InputError: a class has too few such rows.
    """
    columns = values[:, [list(names).index(name) for name in classes]]
    rows, numbers = [], []
    for number, name in enumerate(classes):
        others = np.delete(columns, number, axis=1)
        alone = np.flatnonzero((columns[:, number] == YES) & ~np.isin(others, (YES, DOUBT)).any(axis=1))
        if len(alone) < count:
            raise InputError(
                f"--sample: {len(alone)} images show {name} and no other of {listed(classes)}, fewer than {count}; ask "
                f"for {len(classes)}x{len(alone)} at most"
            )
        # Of each class its own stream: another class, or its rows, leave the draw as it is.
        rng = np.random.default_rng([seed, number])
        rows.append(np.sort(rng.choice(alone, count, replace=False)))
        numbers.append(np.full(count, number))
    return np.concatenate(rows), np.concatenate(numbers)

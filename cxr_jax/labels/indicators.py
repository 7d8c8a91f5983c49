"""Label sets as a matrix, the form in which they are counted."""

from collections.abc import Collection, Sequence

import numpy as np


def indicators(label_sets: Sequence[Collection[str]], columns: Sequence[str | Collection[str]]) -> np.ndarray:
    """bool (sets, columns): whether a set holds the column's label, or, of a column of several labels, any of them.

    Labels that no column names are left out.
    """
    columns_of: dict[str, list[int]] = {}
    for number, column in enumerate(columns):
        for label in {column} if isinstance(column, str) else set(column):
            columns_of.setdefault(label, []).append(number)
    matrix = np.zeros((len(label_sets), len(columns)), bool)
    for row, labels in enumerate(label_sets):
        matrix[row, [number for label in labels for number in columns_of.get(label, ())]] = True
    return matrix

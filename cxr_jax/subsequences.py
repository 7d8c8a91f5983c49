"""The longest common subsequence of two texts' words, which ROUGE-L counts; words are what white space separates."""

from collections.abc import Sequence

import numpy as np


def common_subsequences(references: Sequence[str], predictions: Sequence[str]) -> np.ndarray:
    """int64 (n,): of each pair the length of the longest common subsequence of words."""
    rows_of: dict[str, list[int]] = {}
    for row, reference in enumerate(references):
        rows_of.setdefault(reference, []).append(row)
    lengths = np.zeros(len(references), np.int64)
    for reference, rows in rows_of.items():
        positions, every = word_positions(reference.split())
        for row in rows:
            lengths[row] = common_subsequence(predictions[row].split(), positions, every)
    return lengths


def common_subsequence(words: Sequence[str], positions: dict[str, int], every: int) -> int:
    """Length of the longest common subsequence, a row of the dynamic programme at a time in the bits of one integer.

    After Hyyrö, "Bit-parallel LCS-length computation revisited" (2004): 50 times faster than a table in Python. The
    other text is given as `word_positions` reads it.
    """
    row = every
    for places in map(positions.get, words):
        if places is not None and (matched := row & places):
            # What is carried beyond the last bit never comes back.
            row = (row + matched) | (row - matched)
    return (every & ~row).bit_count()


def word_positions(words: Sequence[str]) -> tuple[dict[str, int], int]:
    """Each word's places in the list as the bits of an integer, and the integer with all of them set."""
    positions: dict[str, int] = {}
    bit = 1
    for word in words:
        positions[word] = positions.get(word, 0) | bit
        bit <<= 1
    return positions, bit - 1

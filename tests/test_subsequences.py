"""Longest common subsequences against a table filled cell by cell."""

from hypothesis import given
from hypothesis import strategies as st

from cxr_jax.subsequences import common_subsequence, common_subsequences, word_positions

TEXTS = st.lists(st.sampled_from(["no", "effusion", "the", "ödem"]), max_size=12).map(" ".join)


def naive_subsequence(reference, prediction):
    """By a table, a cell at a time."""
    above = [0] * (len(prediction) + 1)
    for word in reference:
        row = [0]
        for j, other in enumerate(prediction):
            row.append(above[j] + 1 if word == other else max(above[j + 1], row[j]))
        above = row
    return above[-1]


@given(st.lists(st.tuples(TEXTS, TEXTS), max_size=6))
def test_lengths_equal_a_naive_tables(pairs):
    references, predictions = ([pair[side] for pair in pairs] for side in (0, 1))
    expected = [naive_subsequence(*(text.split() for text in pair)) for pair in pairs]
    assert common_subsequences(references, predictions).tolist() == expected


def test_more_words_than_a_machine_word_has_bits():
    words = [str(number % 7) for number in range(500)]
    assert common_subsequence(words[3:], *word_positions(words)) == 497

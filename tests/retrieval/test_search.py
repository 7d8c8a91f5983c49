import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cxr_jax.retrieval import search
from cxr_jax.retrieval.search import top_k


def naive_top_k(queries, targets, k):
    """By sorting Python tuples: the higher similarity first, then the lower row."""
    values, rows = [], []
    for query in queries:
        ranked = sorted((-float(np.dot(query, target)), row) for row, target in enumerate(targets))[:k]
        values.append([-similarity for similarity, _ in ranked])
        rows.append([row for _, row in ranked])
    return np.array(values, np.float32).reshape(len(queries), -1), np.array(rows).reshape(len(queries), -1)


# Few and whole values: exact products, and many ties.
def vectors(rows):
    return st.lists(st.lists(st.integers(-2, 2), min_size=3, max_size=3), min_size=rows, max_size=rows)


@given(queries=vectors(3), targets=vectors(7), k=st.integers(1, 9))
def test_top_k_is_sorting(queries, targets, k):
    queries, targets = np.array(queries, np.float32), np.array(targets, np.float32)
    values, rows = top_k(queries, targets, k)
    expected_values, expected_rows = naive_top_k(queries, targets, k)
    np.testing.assert_array_equal(rows, expected_rows)
    np.testing.assert_array_equal(values, expected_values)


def test_top_k_of_embeddings():
    rng = np.random.default_rng(0)
    queries, targets = (rng.normal(size=(n, 32)).astype(np.float32) for n in (20, 300))
    queries, targets = (z / np.linalg.norm(z, axis=1, keepdims=True) for z in (queries, targets))
    values, rows = top_k(queries, targets, 10)
    expected_values, expected_rows = naive_top_k(queries, targets, 10)
    np.testing.assert_array_equal(rows, expected_rows)
    np.testing.assert_allclose(values, expected_values, atol=1e-6)


def test_chunks_change_nothing(monkeypatch):
    rng = np.random.default_rng(1)
    queries, targets = (rng.normal(size=(n, 8)).astype(np.float32) for n in (11, 30))
    whole = top_k(queries, targets, 5)
    monkeypatch.setattr(search, "CHUNK", 4)
    for one, other in zip(whole, top_k(queries, targets, 5), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    assert [part.shape for part in top_k(queries[:0], targets, 5)] == [(0, 5), (0, 5)]
    assert [part.shape for part in top_k(queries, targets[:3], 5)] == [(11, 3), (11, 3)]

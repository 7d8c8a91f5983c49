import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxr_jax.errors import InputError
from cxr_jax.retrieval import search
from cxr_jax.retrieval.rows import Row
from cxr_jax.retrieval.search import Candidates, neighbours_of, top_k
from cxr_jax.retrieval.store import SplitIndex


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


@pytest.mark.slow
@given(data=st.data(), k=st.integers(1, 20), candidates=st.sampled_from([16, 24]), group=st.sampled_from([2, 8]))
def test_blocks_change_nothing(data, k, candidates, group):
    """Blocks of queries and of candidates, in groups or not: ties go to the lower row across all of them."""
    queries, targets = (np.array(data.draw(vectors(rows)), np.float32) for rows in (9, data.draw(st.integers(1, 60))))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"QUERIES": 4, "CANDIDATES": candidates, "GROUP": group}.items():
            patch.setattr(search, name, value)
        search._merge.clear_cache()  # it was traced with other sizes of groups
        found = top_k(queries, targets, k)
        held = Candidates(targets).top_k(queries, k)
    search._merge.clear_cache()
    for values, rows in (found, held):
        expected_values, expected_rows = naive_top_k(queries, targets, k)
        np.testing.assert_array_equal(rows, expected_rows)
        np.testing.assert_array_equal(values, expected_values)


def unit_vectors(seed, *counts, width=16):
    rng = np.random.default_rng(seed)
    parts = (rng.normal(size=(count, width)).astype(np.float32) for count in counts)
    return [part / np.linalg.norm(part, axis=1, keepdims=True) for part in parts]


def test_two_stages_find_what_sorting_finds():
    """At the sizes that are used: more candidates than a block holds, and among them whole groups of equal ones."""
    queries, targets = unit_vectors(1, 5, search.CANDIDATES + 1000)
    targets[3000:3300] = targets[search.CANDIDATES + 7] = targets[3000]
    similarity = queries @ targets.T
    for k in (1, 10, 200):
        values, rows = top_k(queries, targets, k)
        expected = np.argsort(-similarity, axis=1, kind="stable")[:, :k]
        np.testing.assert_allclose(values, np.take_along_axis(similarity, expected, 1), atol=1e-6)
        np.testing.assert_allclose(np.take_along_axis(similarity, rows, 1), values, atol=1e-6)
    _, (nearest,) = top_k(targets[3000:3001], targets, 400)
    assert nearest[:301].tolist() == [*range(3000, 3300), search.CANDIDATES + 7]


def test_rows_choose_the_candidates():
    queries, targets = unit_vectors(2, 4, 50)
    chosen = np.array([40, 3, 17, 8])
    for values, rows in (top_k(queries, targets, 3, rows=chosen), Candidates(targets, chosen).top_k(queries, 3)):
        expected_values, expected_rows = top_k(queries, targets[chosen], 3)
        np.testing.assert_array_equal(rows, expected_rows)
        np.testing.assert_array_equal(values, expected_values)


def test_nothing_among_something_and_something_among_few():
    queries, targets = unit_vectors(3, 11, 30)
    assert [part.shape for part in top_k(queries[:0], targets, 5)] == [(0, 5), (0, 5)]
    assert [part.shape for part in top_k(queries, targets[:3], 5)] == [(11, 3), (11, 3)]
    assert [part.shape for part in top_k(queries, targets[:0], 5)] == [(11, 0), (11, 0)]


def test_candidates_are_read_once_and_a_block_at_a_time(monkeypatch):
    """A memory-mapped pool need not fit into memory twice, and the next search does not read it again."""
    monkeypatch.setattr(search, "CANDIDATES", 128)
    queries, targets = unit_vectors(4, 2, 400)
    read = []

    class Spy(np.ndarray):
        def __getitem__(self, which):
            read.append(len(np.arange(len(self))[which]))
            return super().__getitem__(which)

    held = Candidates(targets.view(Spy))
    assert read == [128, 128, 128, 16]
    expected = top_k(queries, targets, 3)
    for found in (held.top_k(queries, 3), held.top_k(queries, 3)):
        np.testing.assert_array_equal(found[1], expected[1])
    assert len(read) == 4


def test_few_sizes_are_compiled(monkeypatch):
    queries, targets = unit_vectors(5, 9, 300)
    held = Candidates(targets)
    search._merge.clear_cache()
    for count in range(1, 10):
        held.top_k(queries[:count], 2)
    assert search._merge._cache_size() == len([1, 2, 4, 8, 16])


def test_approximate_search_keeps_its_recall():
    queries, targets = unit_vectors(6, 64, 20_000)
    _, exact = top_k(queries, targets, 10)
    for recall in (0.5, 0.95):
        values, rows = Candidates(targets).top_k(queries, 10, recall)
        found = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(rows, exact, strict=True)])
        assert found >= recall
        np.testing.assert_allclose(values, np.take_along_axis(queries @ targets.T, rows, 1), atol=1e-6)
        assert (np.diff(values, axis=1) <= 0).all()
    # On a CPU it finds all of them: that it is asked for at all is seen in the program.
    parts = (np.zeros((1, 10), np.float32), np.zeros((1, 10), np.int32)), queries[:1], targets[:256], 0, 256
    for recall, asked in ((0.95, True), (1.0, False)):
        program = search._merge.lower(*parts, k=10, recall=recall).as_text()
        assert ("ApproxTopK" in program or "approx_top_k" in program) is asked


@pytest.mark.parametrize(
    ("k", "recall", "width", "message"),
    [
        (0, 1.0, 16, "top_k = 0: give at least 1"),
        (3, 0.0, 16, "recall = 0.0: give more than 0"),
        (3, 1.5, 16, "recall = 1.5: give more than 0"),
        (3, float("nan"), 16, "recall = nan: give more than 0"),
        (3, 1.0, 8, "queries are of width 8, the index of 16: another model's"),
    ],
)
def test_what_cannot_be_searched_is_refused(k, recall, width, message):
    queries, targets = np.ones((2, width), np.float32), np.ones((5, 16), np.float32)
    with pytest.raises(InputError, match=message):
        Candidates(targets).top_k(queries, k, recall)


def split_of(name, studies, checkpoint, step=1):
    (z,) = unit_vectors(len(name), len(studies))
    rows = [Row(f"{i}", study, "p", "r", (), 0) for i, study in enumerate(studies)]
    return SplitIndex(name, step, rows, z, z, [b""] * len(rows), checkpoint=checkpoint)


def test_neighbours_are_of_other_studies_and_of_the_same_checkpoint():
    pool = split_of("train", ["a", "a", "b", "c"], "0123")
    similarity, rows = neighbours_of(split_of("test", ["d", "e"], "0123"), pool, 5)
    assert sorted(rows[0]) == sorted(rows[1]) == [0, 2, 3]
    assert similarity.shape == (2, 3)
    with pytest.raises(InputError, match=r"1 studies of test are in the pool of train reports \(b first\)"):
        neighbours_of(split_of("test", ["d", "b"], "0123"), pool, 5)
    for other in (split_of("test", ["d"], "4567"), split_of("test", ["d"], "", step=2)):
        with pytest.raises(InputError, match=r"test: is of another checkpoint .* than the pool of train reports"):
            neighbours_of(other, pool, 5)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("side", [0, 1])
def test_embeddings_that_are_not_finite_are_refused(side, value):
    sides = [np.eye(4, dtype=np.float32) for _ in range(2)]
    sides[side][2, 1] = value
    with pytest.raises(InputError, match="embeddings hold NaN or infinity"):
        top_k(*sides, 2)

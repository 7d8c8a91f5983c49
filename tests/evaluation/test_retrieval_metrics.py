"""Group-aware retrieval scores against hand-made matrices, a naive version, and simulated chance."""

import itertools
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxr_jax.errors import InputError
from cxr_jax.evaluation import retrieval_metrics as module
from cxr_jax.evaluation.retrieval_metrics import (
    first_hit_ranks,
    instance_ceiling,
    instance_columns,
    label_columns,
    means,
    retrieval_metrics,
    tied_chance,
)


def naive_rank(similarities, right):
    """Sort, wrong targets first among equals; walk down to the first right one."""
    order = sorted(range(len(similarities)), key=lambda i: (-similarities[i], right[i]))
    return 1 + sum(not right[i] for i in order[: next(p for p, i in enumerate(order) if right[i])])


@st.composite
def problems(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    groups = draw(st.integers(1, 6))
    target_groups = np.concatenate([np.arange(groups), rng.integers(groups, size=draw(st.integers(0, 10)))])
    query_groups = rng.integers(groups, size=draw(st.integers(1, 12)))
    # Few distinct values, so that there are ties.
    similarity = rng.integers(-3, 4, size=(len(query_groups), len(target_groups))) / 4
    return similarity.astype(np.float32), query_groups, rng.permutation(target_groups)


def test_hand_made_ranks():
    similarity = np.array([[0.9, 0.5, 0.1], [0.9, 0.5, 0.1], [0.9, 0.5, 0.1], [0.2, 0.3, 0.1]])
    scores = retrieval_metrics(similarity, ["a", "b", "c", "c"], ["a", "b", "c"], ks=(1, 2))
    assert first_hit_ranks(similarity, ["a", "b", "c", "c"], ["a", "b", "c"]).tolist() == [1, 2, 3, 3]
    assert scores == pytest.approx(
        {
            "recall@1": 1 / 4,
            "recall@2": 2 / 4,
            "mrr": (1 + 1 / 2 + 1 / 3 + 1 / 3) / 4,
            "mean_rank": 2.25,
            "median_rank": 2.5,
            "chance_recall@1": 1 / 3,
            "chance_recall@2": 2 / 3,
        }
    )


def test_any_target_of_the_group_is_a_hit():
    similarity = np.array([[0.1, 0.9, 0.5]])
    assert first_hit_ranks(similarity, [7], [7, 7, 8]).tolist() == [1]
    assert first_hit_ranks(similarity, [7], [7, 8, 7]).tolist() == [2]


@given(problems())
def test_ranks_equal_the_naive_ones(problem):
    similarity, query_groups, target_groups = problem
    expected = [naive_rank(row, target_groups == group) for row, group in zip(similarity, query_groups, strict=True)]
    assert first_hit_ranks(similarity, query_groups, target_groups).tolist() == expected


@given(problems())
def test_scores_do_not_depend_on_the_order_of_the_pool_or_the_names_of_groups(problem):
    similarity, query_groups, target_groups = problem
    order = np.random.default_rng(0).permutation(len(target_groups))
    names = [f"report {group}" for group in target_groups[order]]
    expected = retrieval_metrics(similarity, query_groups, target_groups)
    renamed = retrieval_metrics(similarity[:, order], [f"report {group}" for group in query_groups], names)
    assert renamed == pytest.approx(expected)


@given(problems())
def test_constant_similarities_are_no_better_than_chance(problem):
    similarity, query_groups, target_groups = problem
    scores = retrieval_metrics(np.zeros_like(similarity), query_groups, target_groups)
    for k in (1, 5, 10):
        assert scores[f"recall@{k}"] <= scores[f"chance_recall@{k}"] + 1e-12


def test_chance_is_what_random_rankings_score():
    rng = np.random.default_rng(0)
    target_groups = np.array([0] * 5 + [1] * 2 + [2] * 1 + [3] * 12)
    query_groups = np.array([0, 1, 2, 2, 3])
    draws = [retrieval_metrics(rng.random((5, 20)), query_groups, target_groups, ks=(1, 5, 10)) for _ in range(2000)]
    for k in (1, 5, 10):
        chance = draws[0][f"chance_recall@{k}"]
        assert np.mean([scores[f"recall@{k}"] for scores in draws]) == pytest.approx(chance, abs=0.015)
    # By hand for k = 1: the share of right targets.
    assert draws[0]["chance_recall@1"] == pytest.approx(np.mean([5, 2, 1, 1, 12]) / 20)


@given(st.lists(st.integers(1, 4), min_size=1, max_size=5), st.integers(1, 12))
def test_tied_chance_is_the_mean_over_all_orders_of_the_groups(sizes, k):
    target_groups, query_groups = np.repeat(np.arange(len(sizes)), sizes), np.arange(len(sizes))
    orders = [np.array(order)[target_groups] / 8 for order in itertools.permutations(range(len(sizes)))]
    hits = [first_hit_ranks(np.tile(order, (len(sizes), 1)), query_groups, target_groups) <= k for order in orders]
    np.testing.assert_allclose(tied_chance(query_groups, target_groups, k), np.mean(hits, axis=0), atol=1e-12)


def test_tied_chance_is_chance_where_nothing_repeats_and_less_where_it_does():
    single = np.arange(30)
    for k in (1, 5, 40):
        assert tied_chance(single, single, k) == pytest.approx(min(k, 30) / 30)
    repeated = np.repeat(np.arange(10), [11, *[2] * 9])
    chance = retrieval_metrics(np.zeros((29, 29)), repeated, repeated, ks=(10,))["chance_recall@10"]
    assert tied_chance(repeated, repeated, 10).mean() < 0.8 * chance


def test_tied_chance_of_many_groups_is_fast():
    groups = np.concatenate([np.arange(30_000), np.repeat(np.arange(3000), 9)])
    start = time.process_time()
    chance = tied_chance(groups, groups, 10)
    assert time.process_time() - start < 1
    assert chance.mean() == pytest.approx(10 / 30_000, rel=0.6)


def test_a_k_beyond_the_pool_finds_everything():
    scores = retrieval_metrics(np.zeros((1, 2)), [0], [0, 1], ks=(2, 10))
    assert scores["recall@10"] == scores["chance_recall@10"] == scores["chance_recall@2"] == 1


# By instance


def test_instance_ceiling_is_what_the_best_ranking_reaches():
    groups = np.array([0, 0, 0, 1, 2, 2, 3])
    for k in (1, 2, 5):
        # Equal reports have equal embeddings, so a ranking puts a group's members in one order for all of its queries.
        hits = [list(np.flatnonzero(groups == group)).index(i) < k for i, group in enumerate(groups)]
        assert instance_ceiling(np.arange(7), groups, k).mean() == pytest.approx(np.mean(hits))


@given(problems(), st.integers(1, 4))
def test_instance_recall_is_the_mean_over_random_orders_of_the_tied(problem, k):
    similarity, query_ids, target_ids = problem
    rng, draws = np.random.default_rng(0), 400
    recall = np.zeros(len(query_ids))
    for _ in range(draws):
        order = np.lexsort((rng.random(similarity.shape), -similarity), axis=1)[:, :k]
        recall += (target_ids[order] == query_ids[:, None]).any(axis=1) / draws
    columns = instance_columns(similarity, query_ids, target_ids, query_ids, [k])
    np.testing.assert_allclose(columns[f"instance_recall@{k}"], recall, atol=0.12)


def test_equal_reports_that_are_found_reach_the_ceiling_and_no_more():
    groups = np.array([0, 0, 0, 1, 2, 2])
    perfect = (groups[:, None] == groups).astype(np.float64)
    scores = means(instance_columns(perfect, np.arange(6), np.arange(6), groups, [1, 2]))
    for k in (1, 2):
        assert scores[f"instance_recall@{k}"] == pytest.approx(scores[f"instance_ceiling@{k}"])
    assert scores["instance_ceiling@1"] == pytest.approx(3 / 6)
    assert retrieval_metrics(perfect, groups, groups)["recall@1"] == 1


def test_several_images_of_a_study_do_not_lift_the_ceiling():
    # Studies a and b have equal reports; a has two images.
    assert instance_ceiling(["a", "a", "b", "c"], [0, 0, 0, 1], 1).tolist() == [0.5, 0.5, 0.5, 1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((np.zeros((2, 2)), [0, 5], [0, 1]), r"1 queries have no target .* query 1 \(group 5\)"),
        ((np.zeros((2, 3)), [0, 1], [0, 1]), r"shape \(2, 3\) does not fit 2 query groups and 2 target"),
        ((np.zeros((0, 2)), [], [0, 1]), "no queries"),
        ((np.array([[np.nan, 0.0]]), [0], [0, 1]), "NaN"),
        ((np.zeros((1, 1)), [0], [0], (0,)), "0 is no rank"),
    ],
)
def test_bad_input_is_one_line(arguments, words):
    with pytest.raises(InputError, match=words) as error:
        retrieval_metrics(*arguments)
    assert "\n" not in str(error.value)


def test_four_thousand_by_four_thousand_is_fast():
    rng = np.random.default_rng(0)
    similarity = rng.standard_normal((4000, 4000), dtype=np.float32)
    groups = rng.integers(2500, size=4000)
    start = time.process_time()
    scores = retrieval_metrics(similarity, groups, groups)
    assert time.process_time() - start < 3
    assert scores["recall@10"] == pytest.approx(scores["chance_recall@10"], abs=0.006)


# By labels


LABEL_SETS = st.lists(st.sets(st.sampled_from("abc"), max_size=2), min_size=1, max_size=6)


def naive_label_scores(similarity, queries, targets, k):
    precision, average, ndcg, chance = [], [], [], []
    for row, query in zip(similarity, queries, strict=True):
        order = sorted(range(len(targets)), key=lambda t: (-row[t], t))
        gains = [len(query & targets[t]) / len(query | targets[t]) if query | targets[t] else 1.0 for t in order]
        hits = [gain > 0 for gain in gains]
        top = min(k, len(targets))
        precision.append(sum(hits[:top]) / top)
        if any(hits):
            average.append(np.mean([sum(hits[: i + 1]) / (i + 1) for i, hit in enumerate(hits) if hit]))
        ideal = sum(gain / np.log2(i + 2) for i, gain in enumerate(sorted(gains, reverse=True)[:top]))
        ndcg.append(sum(gain / np.log2(i + 2) for i, gain in enumerate(gains[:top])) / ideal if ideal else 0)
        chance.append(np.mean(hits))
    return {
        f"label_precision@{k}": np.mean(precision),
        f"label_ndcg@{k}": np.mean(ndcg),
        "label_map": np.mean(average) if average else 0,
        "chance_label_precision": np.mean(chance),
    }


@given(LABEL_SETS, LABEL_SETS, st.integers(1, 7), st.integers(0, 100))
def test_label_scores_equal_the_naive_ones(queries, targets, k, seed):
    similarity = np.random.default_rng(seed).integers(3, size=(len(queries), len(targets))).astype(np.float32)
    scores = means(label_columns(similarity, queries, targets, [k]))
    assert scores == pytest.approx(naive_label_scores(similarity, queries, targets, k))


def test_label_scores_do_not_depend_on_the_block(monkeypatch):
    rng = np.random.default_rng(0)
    similarity, labels = rng.normal(size=(9, 9)), [set(rng.choice(list("abcd"), 2)) for _ in range(9)]
    whole = means(label_columns(similarity, labels, labels))
    monkeypatch.setattr(module, "_BLOCK", 20)
    assert means(label_columns(similarity, labels, labels)) == pytest.approx(whole)
    assert means(label_columns(np.eye(9), labels, labels))["label_ndcg@1"] == 1


def test_label_scores_of_another_shape_are_refused():
    with pytest.raises(InputError, match="does not fit 1 query and 2 target label sets"):
        label_columns(np.zeros((2, 2)), [{"a"}], [{"a"}, set()])

import itertools
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from cxr_jax.data import splits
from cxr_jax.data.reports import normalize_report

WORDS = [f"w{n}" for n in range(14)]
NAMES = ("train", "val", "test")


def near(a, b):
    """Naively: the Jaccard index of two reports' words is at least 0.9."""
    a, b = (set(normalize_report(text).split()) for text in (a, b))
    return bool(a and b) and 10 * len(a & b) >= 9 * len(a | b)


# One by one


def test_split_is_seven_two_one_and_seeded():
    names = [f"study{i}" for i in range(1000)]
    split = splits.split_by_group(names, seed=5)
    assert Counter(split.values()) == {"train": 700, "val": 200, "test": 100}
    assert splits.split_by_group(reversed(names), seed=5) == split
    other = splits.split_by_group(names, seed=6)
    assert sum(split[n] != other[n] for n in names) > 300
    # By number, the splits are mixed: a release's order means something.
    assert Counter(split[n] for n in names[:100])["train"] < 90


@given(st.lists(st.text(max_size=3), max_size=60), st.integers(0, 2**31))
def test_each_group_is_in_one_split(groups, seed):
    split = splits.split_by_group(groups, seed)
    assert set(split) == set(groups)
    sizes = Counter(split.values())
    for name, share in (("train", 0.7), ("val", 0.2), ("test", 0.1)):
        assert abs(sizes[name] - share * len(split)) <= 1


# Strict


texts = st.lists(st.lists(st.sampled_from(WORDS), max_size=14).map(" ".join), max_size=40)


@given(texts, st.integers(0, 99))
def test_no_near_copy_crosses(reports, seed):
    split_of = splits.strict_split({f"s{i:03}": text for i, text in enumerate(reports)}, seed)
    assert len(split_of) == len(reports)
    for i, j in itertools.combinations(range(len(reports)), 2):
        if near(reports[i], reports[j]):
            assert split_of[f"s{i:03}"] == split_of[f"s{j:03}"]


@given(texts)
def test_clusters_are_the_components_of_the_naive_graph(reports):
    component = list(range(len(reports)))
    for _ in reports:
        for i, j in itertools.combinations(range(len(reports)), 2):
            if near(reports[i], reports[j]):
                component[i] = component[j] = min(component[i], component[j])
    clusters = splits.near_copies(reports)
    for i, j in itertools.combinations(range(len(reports)), 2):
        assert (clusters[i] == clusters[j]) == (component[i] == component[j])


def test_near_is_nine_tenths_exactly():
    ten = " ".join(WORDS[:10])
    nine, eleven = " ".join(WORDS[:9]), " ".join(WORDS[:12])
    assert splits.near_copies([ten, nine])[0] == splits.near_copies([ten, nine])[1]
    assert len(set(splits.near_copies([ten, eleven]))) == 2
    assert len(set(splits.near_copies(["Lungs: CLEAR!", "clear lungs", "", "", "..."]))) == 4


def test_single_studies_are_dealt_seven_two_one():
    reports = {f"s{n:04}": f"report number{n} of{n} these{n}" for n in range(1000)}
    first = splits.strict_split(reports, 0)
    assert Counter(first.values()) == {"train": 700, "val": 200, "test": 100}
    assert splits.strict_split(dict(reversed(reports.items())), 0) == first
    other = splits.strict_split(reports, 1)
    assert sum(other[name] != first[name] for name in reports) > 300


@given(st.lists(st.integers(1, 30), min_size=1, max_size=60), st.integers(0, 99))
def test_groups_stay_whole_and_sizes_are_as_near_as_the_largest_group_allows(sizes, seed):
    groups = [[f"{i}.{n}" for n in range(size)] for i, size in enumerate(sizes)]
    split_of = splits.deal(groups, seed)
    assert all(len({split_of[name] for name in group}) == 1 for group in groups)
    count, total = Counter(split_of.values()), sum(sizes)
    for name, share in zip(NAMES, (0.7, 0.2, 0.1), strict=True):
        assert abs(count[name] - share * total) <= 2 * max(sizes)


def test_a_large_cluster_may_be_tested_on_too():
    groups = [[f"{i}.{n}" for n in range(20)] for i in range(20)]
    assert all(Counter(splits.deal(groups, seed).values())["test"] == 40 for seed in range(5))

import itertools
import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxr_jax.data import splits
from cxr_jax.data.reports import normalize_report
from cxr_jax.errors import InputError

WORDS = [f"w{n}" for n in range(14)]
NAMES = ("train", "val", "test")


def near(a, b):
    """Naively: the Jaccard index of two reports' words is at least 0.9."""
    a, b = (set(normalize_report(text).split()) for text in (a, b))
    return bool(a and b) and 10 * len(a & b) >= 9 * len(a | b)


def entries(*studies):
    return [{"id": f"{study}_IM-0942", "report": "x", "image_path": []} for study in studies]


@pytest.fixture
def annotation(tmp_path):
    def write(value):
        (tmp_path / "annotation.json").write_text(value if isinstance(value, str) else json.dumps(value))
        return tmp_path / "annotation.json"

    return write


# R2Gen's


@pytest.mark.parametrize("key", ["test", "te\u00adst", "", "testing"])
def test_r2gen_takes_the_published_lists(annotation, key):
    file = annotation(
        {"train": entries("CXR1", "CXR2"), "val": entries("CXR3"), key: entries("CXR44"), "note": "no list"}
    )
    assert splits.r2gen_split(file) == {"CXR1": "train", "CXR2": "train", "CXR3": "val", "CXR44": "test"}


@pytest.mark.parametrize(
    "value",
    [
        "{",
        "[]",
        "\ud800".encode("utf-8", "surrogatepass").decode("latin-1"),
        {"train": [], "val": []},
        {"train": [], "val": [], "a": [], "b": []},
        {"train": [], "val": {}, "test": []},
        {"train": [{"name": "CXR1"}], "val": [], "test": []},
        {"train": ["CXR1_IM-1"], "val": [], "test": []},
        {"train": [{"id": 3}], "val": [], "test": []},
        "[" * 100_000,
    ],
)
def test_other_annotations_are_refused(annotation, value):
    with pytest.raises(InputError, match=r"annotation\.json: .*(wanted|not JSON)") as error:
        splits.r2gen_split(annotation(value))
    assert "\n" not in str(error.value)


def test_a_study_in_two_lists_is_refused(annotation):
    file = annotation({"train": entries("CXR1"), "val": entries("CXR2"), "test": entries("CXR1")})
    with pytest.raises(InputError, match="study CXR1 is in train and in test"):
        splits.r2gen_split(file)


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
    found = splits.near_copies(reports)
    for i, j in itertools.combinations(range(len(reports)), 2):
        assert (found[i] == found[j]) == (component[i] == component[j])


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


def test_the_published_split_of_the_real_reports(shared):
    split_of = splits.r2gen_split(shared / "data" / "iu_xray" / "r2gen_annotation.json")
    assert Counter(split_of.values()) == {"train": 2069, "val": 296, "test": 590}

"""F1 of findings by hand, against a naive count, and its bootstrap against recounting."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxr_jax.errors import InputError
from cxr_jax.evaluation.label_metrics import finding_f1, macro_f1, matrix_f1, resampled_macro
from cxr_jax.labels.indicators import indicators

STUDIES = st.lists(st.tuples(*[st.sets(st.sampled_from("abcde"))] * 2), min_size=1, max_size=20).filter(
    lambda pairs: any(reference for reference, _ in pairs)
)


def naive_f1(pairs, finding):
    hits = sum(finding in reference and finding in predicted for reference, predicted in pairs)
    wrong = sum((finding in reference) != (finding in predicted) for reference, predicted in pairs)
    return 2 * hits / (2 * hits + wrong) if hits + wrong else 0.0


def naive_macro(pairs):
    occurring = {finding for reference, _ in pairs for finding in reference}
    return np.mean([naive_f1(pairs, finding) for finding in occurring])


def test_by_hand():
    scores = finding_f1(
        [{"effusion", "cardiomegaly"}, {"effusion"}, set(), {"nodule"}],
        [{"effusion"}, {"cardiomegaly"}, {"edema"}, {"nodule"}],
    )
    assert scores["per_finding"] == {
        "cardiomegaly": {"precision": 0, "recall": 0, "f1": 0, "support": 1},
        "edema": {"precision": 0, "recall": 0, "f1": 0, "support": 0},
        "effusion": {"precision": 1, "recall": 1 / 2, "f1": pytest.approx(2 / 3), "support": 2},
        "nodule": {"precision": 1, "recall": 1, "f1": 1, "support": 1},
    }
    # "edema" is in no reference: it counts as a false alarm in micro and stays out of macro.
    assert scores["macro"] == pytest.approx((0 + 2 / 3 + 1) / 3)
    assert scores["micro"] == pytest.approx(2 * 2 / (4 + 4))
    assert list(scores["per_finding"]) == sorted(scores["per_finding"])


@given(STUDIES)
def test_scores_equal_the_naive_ones(pairs):
    reference, predicted = zip(*pairs, strict=True)
    scores = finding_f1(reference, predicted, resamples=10)
    assert scores["macro"] == pytest.approx(naive_macro(pairs))
    assert macro_f1(reference, predicted) == pytest.approx(scores["macro"])
    every = [
        ((study, finding) for study, labels in enumerate(side) for finding in labels) for side in (reference, predicted)
    ]
    gold, given = map(set, every)
    assert scores["micro"] == pytest.approx(2 * len(gold & given) / (len(gold) + len(given)))
    for finding, of_finding in scores["per_finding"].items():
        assert of_finding["f1"] == pytest.approx(naive_f1(pairs, finding))


@given(STUDIES, st.integers(0, 1000))
def test_resampled_macro_equals_scoring_the_resampled_studies(pairs, seed):
    findings = "abcde"
    reference, predicted = (np.array([[f in pair[side] for f in findings] for pair in pairs]) for side in (0, 1))
    draws = np.random.default_rng(seed).integers(len(pairs), size=(8, len(pairs)))
    weights = np.array([np.bincount(draw, minlength=len(pairs)) for draw in draws])
    for draw, macro in zip(draws, resampled_macro(reference, predicted, weights), strict=True):
        drawn = [pairs[i] for i in draw]
        if any(labels for labels, _ in drawn):
            assert macro == pytest.approx(naive_macro(drawn))
        else:
            assert np.isnan(macro)


def test_matrices_score_as_their_label_sets_do():
    rng = np.random.default_rng(0)
    sides = [[set(rng.choice(list("abcd"), size=rng.integers(4))) for _ in range(30)] for _ in range(2)]
    # Another order, and a finding that neither side has.
    matrices = (indicators(side, "zdbca") for side in sides)
    assert matrix_f1("zdbca", *matrices) == finding_f1(*sides)


def test_interval_matches_the_naive_bootstrap():
    rng = np.random.default_rng(0)
    pairs = [({"a"} if rng.random() < 0.4 else {"b", "c"}, set(rng.choice(list("abc"), 2))) for _ in range(120)]
    naive = [naive_macro([pairs[i] for i in rng.integers(120, size=120)]) for _ in range(800)]
    scores = finding_f1(*zip(*pairs, strict=True), resamples=4000)
    assert scores["intervals"]["macro"] == pytest.approx(tuple(np.percentile(naive, [2.5, 97.5])), abs=0.015)
    assert scores["intervals"]["macro"][0] < scores["macro"] < scores["intervals"]["macro"][1]


def test_example_based_and_micro_are_the_naive_ones():
    reference, predicted = [{"a", "b"}, set(), {"c"}, set()], [{"a"}, set(), {"a"}, {"b"}]
    scores = finding_f1(reference, predicted)
    assert scores["example"] == pytest.approx((2 / 3 + 1 + 0 + 0) / 4)
    assert scores["micro"] == pytest.approx(2 * 1 / (3 + 3))
    rng, naive = np.random.default_rng(0), []
    for _ in range(4000):
        drawn = rng.integers(4, size=4)
        hits = sum(len(reference[i] & predicted[i]) for i in drawn)
        sizes = sum(len(reference[i]) + len(predicted[i]) for i in drawn)
        naive.append(2 * hits / sizes if sizes else 0)
    low, high = finding_f1(reference, predicted, resamples=4000)["intervals"]["micro"]
    assert (low, high) == pytest.approx(tuple(np.percentile(naive, [2.5, 97.5])), abs=0.02)


def test_clusters_are_drawn_as_one():
    rng = np.random.default_rng(0)
    labels = [set(rng.choice(list("abc"), 1)) for _ in range(40)]
    answers = [study if rng.random() < 0.5 else {"d"} for study in labels]
    twice = [side for side in (labels * 2, answers * 2)]
    single, clustered = finding_f1(labels, answers), finding_f1(*twice, clusters=[*range(40)] * 2)
    for name in ("micro", "macro", "example"):
        assert clustered["intervals"][name] == pytest.approx(single["intervals"][name])


def test_resamples_without_findings_do_not_spoil_the_interval():
    low, high = finding_f1([{"a"}, set()], [{"a"}, set()])["intervals"]["macro"]
    assert (low, high) == (1, 1)


@pytest.mark.parametrize(
    ("reference", "predicted", "words"),
    [
        ([{"a"}], [{"a"}, set()], "2 for 1 references"),
        ([set(), set()], [{"a"}, set()], "no study has a finding"),
        ([], [], "no study has a finding"),
        ([{"a"}], ["a"], r"predicted_labels\[0\]: got one string"),
    ],
)
def test_bad_input_is_one_line(reference, predicted, words):
    with pytest.raises(InputError, match=words) as error:
        finding_f1(reference, predicted)
    assert "\n" not in str(error.value)

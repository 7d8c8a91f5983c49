"""AUROC, average precision and F1 against counting pairs and images one by one; the bootstrap against drawing them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import logit

from cxr_jax.errors import InputError
from cxr_jax.evaluation import zero_shot
from cxr_jax.evaluation.zero_shot import Ranking, best_threshold, score_labels, zero_shot_metrics
from cxr_jax.retrieval.prompts import Question, as_questions

# Few distinct scores, so that most samples hold ties.
SAMPLES = st.lists(st.tuples(st.booleans(), st.integers(-3, 3)), min_size=2, max_size=30).filter(
    lambda images: len({truth for truth, _ in images}) == 2
)
DRAWN = {f"label {i}": Question(f"label {i}", ("yes",), ("no",), (f"label {i}",)) for i in range(3)}


def arrays(images):
    truth, score = zip(*images, strict=True)
    return np.array(truth), np.array(score, np.float64)


def naive_auroc(truth, score):
    """Every pair of a positive and a negative."""
    p, n = np.meshgrid(score[truth], score[~truth])
    return np.mean((p > n) + (p == n) / 2) if p.size else np.nan


def naive_average_precision(truth, score):
    """Step by step down the distinct scores: precision, weighted by how much recall each step adds."""
    total, recall = 0.0, 0.0
    for value in sorted(set(score), reverse=True):
        called = score >= value
        new = truth[called].sum() / truth.sum()
        total, recall = total + (new - recall) * truth[called].mean(), new
    return total


def naive_f1(truth, called):
    hits = (truth & called).sum()
    return 2 * hits / (truth.sum() + called.sum()) if truth.any() else np.nan


def of_sample(truth, score):
    auroc, precision = Ranking(truth, score).scores(np.ones((len(truth), 1)))
    return auroc[0], precision[0]


def drawn_labels(count, labels=2, seed=0, lift=1.0):
    rng = np.random.default_rng(seed)
    truth = rng.random((count, labels)) < 0.3
    return truth, np.round(rng.normal(size=(count, labels)) + lift * truth, 1)


@given(SAMPLES)
def test_ranked_scores_equal_the_naive_ones(images):
    truth, score = arrays(images)
    assert of_sample(truth, score) == pytest.approx((naive_auroc(truth, score), naive_average_precision(truth, score)))


def test_by_hand():
    auroc, precision = of_sample(np.array([True, False, True, False]), np.array([0.9, 0.8, 0.7, 0.1]))
    assert (auroc, precision) == (pytest.approx(3 / 4), pytest.approx((1 + 2 / 3) / 2))


@given(SAMPLES, st.integers(0, 1000))
def test_weighted_scores_equal_those_of_the_drawn_images(images, seed):
    truth, score = arrays(images)
    draws = np.random.default_rng(seed).integers(len(truth), size=(6, len(truth)))
    weights = np.array([np.bincount(draw, minlength=len(truth)) for draw in draws]).T.astype(np.float64)
    called = score >= 0
    f1 = zero_shot.resampled_f1(truth[:, None], called[:, None], weights)[:, 0]
    for draw, *scores in zip(draws, *Ranking(truth, score).scores(weights), f1, strict=True):
        auroc = naive_auroc(truth[draw], score[draw])
        precision = np.nan if np.isnan(auroc) else naive_average_precision(truth[draw], score[draw])
        assert scores == pytest.approx([auroc, precision, naive_f1(truth[draw], called[draw])], nan_ok=True)


@given(SAMPLES)
def test_only_the_order_counts_and_turning_it_round_turns_auroc_round(images):
    truth, score = arrays(images)
    auroc, precision = of_sample(truth, score)
    assert of_sample(truth, np.exp(score) - 7) == pytest.approx((auroc, precision))
    assert of_sample(truth, -score)[0] == pytest.approx(1 - auroc)
    assert of_sample(~truth, score)[0] == pytest.approx(1 - auroc)


def test_a_score_that_says_nothing_is_on_the_floor():
    truth = np.array([True, False, False, False])
    auroc, precision = of_sample(truth, np.zeros(4))
    assert (auroc, precision) == (0.5, 0.25)
    assert {"auroc": auroc, "average_precision": precision} == {
        name: zero_shot.blind_scores(0.25)[name] for name in ("auroc", "average_precision")
    }
    assert zero_shot.blind_scores(0.25)["f1"] == naive_f1(truth, np.ones(4, bool))


@given(SAMPLES)
def test_the_threshold_is_the_best_there_is(images):
    truth, score = arrays(images)
    threshold = best_threshold(truth, score)
    best = max(naive_f1(truth, score >= value) for value in score)
    assert naive_f1(truth, score >= threshold) == pytest.approx(best)
    # Rounding decides nothing: no score stands at the threshold, unless all are called positive.
    assert threshold not in score or threshold == score.min()
    higher = [value for value in score if value > threshold and (score >= value).sum() < (score >= threshold).sum()]
    assert all(naive_f1(truth, score >= value) < best for value in higher)


def test_no_threshold_without_a_positive():
    assert np.isnan(best_threshold(np.zeros(3, bool), np.arange(3.0)))


def test_intervals_match_drawing_patients_one_by_one():
    truth, margin = drawn_labels(120)
    patients = np.arange(120) // 2
    rng = np.random.default_rng(1)
    naive = []
    for _ in range(500):
        drawn = np.concatenate([np.flatnonzero(patients == p) for p in rng.integers(60, size=60)])
        of_labels = [
            (naive_auroc(t, m), naive_average_precision(t, m), naive_f1(t, m >= 0.5), naive_f1(t, m >= 0))
            for t, m in zip(truth[drawn].T, margin[drawn].T, strict=True)
        ]
        naive.append([*of_labels, np.mean(of_labels, axis=0)])
    score, low, high = score_labels(truth, margin, np.full(2, 0.5), patients, resamples=4000)
    ends = np.percentile(naive, [2.5, 97.5], axis=0)
    np.testing.assert_allclose([low, high], ends, atol=0.03)
    assert np.all((low < score) & (score < high))
    np.testing.assert_allclose(score[-1], score[:-1].mean(axis=0))


def test_more_patients_make_intervals_narrower_and_the_same_images_again_do_not():
    widths = []
    for count in (100, 1600):
        _, low, high = score_labels(*drawn_labels(count), np.zeros(2))
        widths.append(high - low)
    assert np.all(widths[1] < widths[0] / 2)
    truth, margin = drawn_labels(100)
    _, low, high = score_labels(
        np.repeat(truth, 4, axis=0), np.repeat(margin, 4, axis=0), np.zeros(2), np.arange(400) // 4
    )
    np.testing.assert_allclose(high - low, widths[0], rtol=1e-9)


def test_a_rare_label_keeps_its_interval_though_many_resamples_miss_it():
    truth = np.zeros((40, 1), bool)
    truth[3] = True
    score, low, high = score_labels(truth, np.arange(40.0)[:, None], np.zeros(1))
    assert np.all(low <= score)
    assert np.all(score <= high)
    assert score[0, 0] == pytest.approx(3 / 39)


@pytest.mark.parametrize("truth", [np.zeros((4, 1), bool), np.ones((4, 1), bool), np.zeros((4, 0), bool)])
def test_what_cannot_be_measured_is_refused(truth):
    with pytest.raises(InputError, match="a positive and a negative of each label"):
        score_labels(truth, np.zeros(truth.shape), np.zeros(truth.shape[1]))


def test_broken_embeddings_are_refused():
    truth, margin = drawn_labels(20)
    margin[3, 0] = np.nan
    with pytest.raises(InputError, match="diverged"):
        score_labels(truth, margin, np.zeros(2))


def test_labels_that_cannot_be_measured_are_listed():
    truth, margin = drawn_labels(60, labels=3)
    truth[:, 1] = False
    val_truth, val_margin = drawn_labels(50, labels=3, seed=1)
    val_truth[:, 2] = False
    metrics = zero_shot_metrics(list(DRAWN.values()), truth, margin, val_truth, val_margin, resamples=50)
    first, none, no_val = metrics["labels"].values()
    assert (none["n_positive"], none["not_measurable"]) == (0, "no positive in this split")
    assert "auroc" not in none
    assert no_val["threshold"] is no_val["f1"] is None
    assert "f1" not in no_val["intervals"]
    assert no_val["f1_at_0.5"] == pytest.approx(naive_f1(truth[:, 2], margin[:, 2] >= 0))
    assert metrics["macro"]["n_labels"] == 2
    assert metrics["macro"]["auroc"] == pytest.approx((first["auroc"] + no_val["auroc"]) / 2)
    assert metrics["macro"]["f1"] == pytest.approx(first["f1"])
    assert first["f1"] == pytest.approx(
        naive_f1(truth[:, 0], margin[:, 0] >= best_threshold(val_truth[:, 0], val_margin[:, 0]))
    )
    nothing = zero_shot_metrics(list(DRAWN.values()), truth & False, margin, val_truth, val_margin)
    assert nothing["macro"] is None


def test_thresholds_are_of_val_and_never_of_the_split_itself():
    truth, margin = drawn_labels(80, labels=3)
    val = drawn_labels(60, labels=3, seed=1)
    whole = zero_shot_metrics(list(DRAWN.values()), truth, margin, *val, resamples=20)["labels"]
    other = zero_shot_metrics(list(DRAWN.values()), ~truth, -margin, *val, resamples=20)["labels"]
    for name in DRAWN:
        assert whole[name]["threshold"] == other[name]["threshold"]


def test_what_is_not_known_does_not_count_for_its_label():
    rng = np.random.default_rng(5)
    truth, margin, known = rng.random((60, 2)) < 0.4, rng.normal(size=(60, 2)), rng.random((60, 2)) < 0.6
    questions = as_questions(["A", "B"])
    metrics = zero_shot_metrics(
        questions, truth, margin, truth, margin, np.arange(60), resamples=20, known=known, val_known=known
    )
    # Whatever stands where nothing is known.
    noise = np.where(known, margin, 1e3 * rng.normal(size=margin.shape))
    assert metrics == zero_shot_metrics(
        questions, truth ^ ~known, noise, truth ^ ~known, noise, np.arange(60), 20, known, known
    )
    for i, name in enumerate("AB"):
        entry, rows = metrics["labels"][name], known[:, i]
        assert entry["n_known"] == rows.sum()
        assert entry["n_positive"] == truth[rows, i].sum() == round(entry["prevalence"] * rows.sum())
        assert entry["auroc"] == pytest.approx(naive_auroc(truth[rows, i], margin[rows, i]))
        assert entry["average_precision"] == pytest.approx(naive_average_precision(truth[rows, i], margin[rows, i]))
        called = margin[rows, i] >= logit(entry["threshold"])
        assert entry["f1"] == pytest.approx(naive_f1(truth[rows, i], called))


def test_a_label_of_which_only_positives_are_known_is_not_measurable():
    truth = np.array([[True], [True], [False]])
    known = truth.copy()
    margin = np.array([[1.0], [2.0], [0.5]])
    metrics = zero_shot_metrics(as_questions(["A"]), truth, margin, truth[:0], margin[:0], known=known)
    assert metrics["macro"] is None
    assert metrics["labels"]["A"]["not_measurable"] == "no negative in this split"
    assert metrics["labels"]["A"]["threshold"] is None

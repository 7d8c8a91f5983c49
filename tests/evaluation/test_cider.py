"""CIDEr: numbers from pycocoevalcap, a naive version, and what it is of a set that is small or repeats."""

import math
from collections import Counter

import numpy as np
import pytest

from cxr_jax.evaluation.cider import cider
from cxr_jax.evaluation.overlap import ngram_overlap
from cxr_jax.evaluation.text_metrics import ReportScorer, sample_scores, score_intervals
from tests.evaluation.test_text_metrics import GOLDEN_REFERENCES, GOLDEN_SYSTEMS, random_reports

# By pycocoevalcap 1.2: Cider().compute_score({i: [reference]}, {i: [prediction]})[1]. To be changed only together with
# the texts.
GOLDEN_CIDER = {
    "constant": [6.8423496, 0.06209502, 2.33986543, 0.41191228, 0.06593511],
    "shifted": [0.28756902, 0.02812364, 0.0, 0.0, 0.00108299],
    "clipped": [1.4705114, 3.85503876, 3.93201532, 5.49068248, 10.0],
}


def naive_cider(references, predictions):
    def counts(text):
        words = text.split()
        return [Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1)) for n in range(1, 5)]

    held = Counter(ngram for text in references for order in counts(text) for ngram in order)
    scores = []
    for reference, prediction in zip(references, predictions, strict=True):
        gap = max(len(prediction.split()) - 1, 0) - max(len(reference.split()) - 1, 0)
        cosines = []
        for of_reference, of_prediction in zip(counts(reference), counts(prediction), strict=True):
            weighted = [
                {g: c * (math.log(len(references)) - math.log(max(1, held[g]))) for g, c in side.items()}
                for side in (of_reference, of_prediction)
            ]
            product = sum(min(value, weighted[0].get(g, 0)) * weighted[0].get(g, 0) for g, value in weighted[1].items())
            norms = [math.sqrt(sum(value**2 for value in side.values())) for side in weighted]
            cosines.append(product / math.prod(norms) if all(norms) else 0.0)
        scores.append(10 * np.mean(cosines) * math.exp(-(gap**2) / 72))
    return scores


def of_pairs(references, predictions):
    lengths = (np.array([len(text.split()) for text in side]) for side in (references, predictions))
    return cider(ngram_overlap(references, predictions).cosines, *lengths)


@pytest.mark.parametrize("system", GOLDEN_SYSTEMS)
def test_it_equals_pycocoevalcap(system):
    np.testing.assert_allclose(of_pairs(GOLDEN_REFERENCES, GOLDEN_SYSTEMS[system]), GOLDEN_CIDER[system], atol=1e-6)
    scores = ReportScorer(GOLDEN_REFERENCES, "raw").scores(GOLDEN_SYSTEMS[system])
    assert scores["cider"] == pytest.approx(np.mean(GOLDEN_CIDER[system]), abs=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_it_equals_a_naive_version(seed):
    references, predictions = random_reports(seed), random_reports(seed + 100)
    np.testing.assert_allclose(of_pairs(references, predictions), naive_cider(references, predictions), atol=1e-9)


def test_it_equals_an_installed_pycocoevalcap():
    module = pytest.importorskip("pycocoevalcap.cider.cider")
    references, predictions = random_reports(7, 60), random_reports(8, 60)
    gold, given = ({i: [text] for i, text in enumerate(side)} for side in (references, predictions))
    expected = module.Cider().compute_score(gold, given)[1]
    np.testing.assert_allclose(of_pairs(references, predictions), expected, atol=1e-6)


def test_a_pair_that_repeats_counts_in_the_document_frequencies_as_often():
    references, predictions = ["a b c", "a d", "e f g"], ["a b c", "d", "e"]
    thrice = [references[i] for i in (0, 0, 0, 1, 2)], [predictions[i] for i in (0, 0, 0, 1, 2)]
    scores = ReportScorer(thrice[0], "raw").statistics(thrice[1]).cider
    np.testing.assert_allclose(scores, of_pairs(*thrice))
    assert scores[3] != pytest.approx(of_pairs(references, predictions)[1])


def test_one_reference_alone_scores_nothing():
    assert of_pairs(["the lungs are clear"], ["the lungs are clear"]) == [0]


def test_an_interval_draws_pairs_under_the_weights_of_the_whole_set():
    statistics = ReportScorer(GOLDEN_REFERENCES, "raw").statistics(GOLDEN_SYSTEMS["clipped"])
    low, high = score_intervals(statistics)["cider"]
    assert min(statistics.cider) <= low < sample_scores(statistics)["cider"] < high <= max(statistics.cider)

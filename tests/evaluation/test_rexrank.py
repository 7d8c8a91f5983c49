"""ReXrank's BLEU-2: numbers from fast_bleu, by which its own scorer computes it, and the corners of both."""

import numpy as np
import pytest

from cxr_jax.evaluation.rexrank import bleu_2_rexrank
from tests.evaluation.test_text_metrics import GOLDEN_REFERENCES, GOLDEN_SYSTEMS

# By fast_bleu 0.0.90 on the words of CXR-Report-Metric's prep_reports, a pair at a time.
GOLDEN_BLEU = {
    "constant": [0.73834988, 0.14433757, 0.4472136, 0.15811388, 0.1118034],
    "shifted": [0.2113954, 0.11740864, 0.03314968, 0.0116884, 0.0255655],
    "clipped": [0.37366845, 0.59234888, 0.52223297, 0.68092776, 1.0],
}
GOLDEN_CORNERS = {
    ("a b c d", "a b c d"): 1.0,
    ("a b c d", "a c"): 0.11633369,  # no bigram: .1 in place of 0
    ("a b c d", "a"): 0.01574405,
    ("a b c d", "x y"): 0.0,
    ("a", "a"): 0.31622777,  # not 1: there is no bigram
    ("a b c", "a b c d e a a"): 0.37796447,
    ("a b", ""): 0.0,
    # A blank before each full stop; a line break does not split.
    ("Heart.\nLungs clear.\tNo effusion. a", "Heart.\nLungs clear.\tNo effusion"): 0.67032005,
}


@pytest.mark.parametrize("system", GOLDEN_SYSTEMS)
def test_it_equals_fast_bleu(system):
    scores = bleu_2_rexrank(GOLDEN_REFERENCES, GOLDEN_SYSTEMS[system])
    np.testing.assert_allclose(scores, GOLDEN_BLEU[system], atol=1e-7)


def test_corners_equal_fast_bleu_too():
    references, predictions = zip(*GOLDEN_CORNERS, strict=True)
    np.testing.assert_allclose(bleu_2_rexrank(references, predictions), list(GOLDEN_CORNERS.values()), atol=1e-7)


def test_a_prediction_without_a_letter_earns_nothing():
    assert bleu_2_rexrank(["a . b ."] * 2, [".", " - "]).tolist() == [0, 0]


def test_capitals_and_repeated_pairs():
    scores = bleu_2_rexrank(["A b.", "c d", "A b."], ["a B .", "c", "a B ."])
    assert scores[0] == scores[2] == 1
    assert scores[1] < 1

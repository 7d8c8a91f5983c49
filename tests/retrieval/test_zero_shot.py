"""From embeddings to margins: opposite sentences by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxr_jax.retrieval.prompts import Question
from cxr_jax.retrieval.zero_shot import margins, probability


def test_margins_by_hand():
    """Two wordings along x and y stand for their middle; the negative lies along x."""
    unit = {"x": [1.0, 0.0], "y": [0.0, 1.0], "-y": [0.0, -1.0]}
    questions = [Question("a", ("x", "y"), ("x",), ("a",)), Question("b", ("x",), ("y", "-y"), ("b",))]
    images = np.array([[1.0, 0.0], [0.0, 1.0]], np.float32)
    margin = margins(images, questions, lambda texts: np.array([unit[t] for t in texts], np.float32), 10.0)
    # The ensemble of y and -y is nothing, not NaN.
    np.testing.assert_allclose(margin, 10 * np.array([[0.5**0.5 - 1, 1], [0.5**0.5, 0]]), atol=1e-12)


@given(st.floats(-1, 1), st.floats(-1, 1), st.floats(0.1, 100))
def test_probability_is_the_softmax_of_two_scaled_cosines(positive, negative, scale):
    both = np.exp(scale * (np.array([positive, negative]) - max(positive, negative)))
    assert probability(np.array([scale * (positive - negative)]))[0] == pytest.approx(both[0] / both.sum())

"""Labels without training on them: which of two opposite sentences an image lies nearer to.

Sentences are put together as CLIP does (Radford et al. 2021, section 3.1.4: the mean of the embeddings, scaled to unit
norm), and a positive one is held against a negative one as CheXzero does (Tiu et al. 2022: softmax over the two).
"""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float
from scipy.special import expit

from cxr_jax.retrieval.prompts import Question


def ensemble(embeddings: Float[np.ndarray, "K E"]) -> Float[np.ndarray, " E"]:
    """The mean of K embeddings of unit norm, scaled to unit norm: one for all wordings of a sentence."""
    mean = embeddings.astype(np.float64).mean(axis=0)
    return mean / max(float(np.linalg.norm(mean)), 1e-12)


def margins(
    images: Float[np.ndarray, "N E"],
    questions: Sequence[Question],
    encode_text: Callable[[list[str]], np.ndarray],
    scale: float,
) -> Float[np.ndarray, "N L"]:
    """scale · (cosine to the positive ensemble − cosine to the negative one), float64, of each image and question.

    Args:
      images: of unit norm.
      encode_text: sentences to embeddings of unit norm; it is called once.
      scale: 1/τ.
    """
    sides = [side for question in questions for side in (question.positive, question.negative)]
    embeddings = encode_text([prompt for side in sides for prompt in side])
    parts = np.split(embeddings, np.cumsum([len(side) for side in sides])[:-1])
    ensembles = np.array([ensemble(part) for part in parts])
    return scale * (images.astype(np.float64) @ (ensembles[::2] - ensembles[1::2]).T)


def probability(margin: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """Softmax over the two scaled cosines, which is the logistic function of their difference."""
    return expit(margin)

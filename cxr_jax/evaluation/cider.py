"""CIDEr, as pycocoevalcap computes it: cosines of weighted n-grams, less for another length."""

import numpy as np

_SIGMA = 6.0  # words


def cider(cosines: np.ndarray, reference_tokens: np.ndarray, prediction_tokens: np.ndarray) -> np.ndarray:
    """Each pair's CIDEr, float64 (n,), 0 to 10; pycocoevalcap's `Cider` (n = 4, sigma = 6) with one reference a pair.

    That is ten times the mean over orders 1 to 4 of the cosine, with CIDEr-D's clipping and Gaussian of the difference
    in length (Vedantam et al. 2015, section 7), but without a stemmer. How much an n-gram weighs depends on how many
    references of the scored set hold it, so a number is of that set, and one reference alone scores 0.

    Args:
      cosines: (n, 4), `overlap.NgramOverlap.cosines`.
      reference_tokens, prediction_tokens: int (n,), their lengths. Both lengths are counted in bigrams there.
    """
    lengths = (np.maximum(tokens - 1, 0) for tokens in (prediction_tokens, reference_tokens))
    difference = np.subtract(*lengths)
    return 10 * cosines.mean(axis=1) * np.exp(-(difference**2) / (2 * _SIGMA**2))

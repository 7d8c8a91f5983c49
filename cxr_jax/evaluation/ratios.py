"""Division where there may be nothing to divide by."""

import numpy as np
import numpy.typing as npt


def ratio(numerator: npt.ArrayLike, denominator: npt.ArrayLike, over_nothing: float = 0.0) -> np.ndarray:
    """numerator / denominator, float64, elementwise and broadcast; `over_nothing` where the denominator is not above 0.

    0 says that nothing was earned, NaN that the score does not exist there: the bootstrap leaves such resamples out.
    """
    numerator, denominator = np.asarray(numerator), np.asarray(denominator)
    shape = np.broadcast_shapes(numerator.shape, denominator.shape)
    return np.divide(numerator, denominator, out=np.full(shape, over_nothing, np.float64), where=denominator > 0)

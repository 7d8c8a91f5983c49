"""Shape aliases and the one structure that travels from the loader to the step.

The dimension letters, used in every annotation of the package:
    B  images or reports in a batch       N  the same over all devices
    H, W, C  an image's or a map's height, width, channels
    L  report tokens    P  soft prompts    D  BERT's hidden size    E  shared embedding (256)
"""

from typing import NotRequired, TypedDict

import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt8

Image = UInt8[Array | np.ndarray, "B H W 1"]
TokenIds = Int[Array | np.ndarray, "B L"]
TokenMask = Int[Array | np.ndarray, "B L"] | Bool[Array | np.ndarray, "B L"]
FeatureMap = Float[Array, "B H W C"]
Scalar = Float[Array, ""]


class Batch(TypedDict):
    """What the loader yields (NumPy) and the step takes; every value has the batch as its first axis."""

    image: np.ndarray  # uint8 (B, H, W, 1), grey as stored; normalised on the device
    token_ids: np.ndarray  # int32 (B, L)
    token_mask: np.ndarray  # int32 (B, L), 1 for a real token
    text_features: NotRequired[np.ndarray]  # float32 (B, D), h of Eq. (5), in place of the two
    group_id: np.ndarray  # int32 (B,), shared by equal normalised reports
    study_id: np.ndarray  # int32 (B,), shared by the images of a study
    labels: np.ndarray  # uint8 (B, K), 1 where the report has a label; K = 0 unless the loss asks for them
    row: np.ndarray  # int32 (B,), where the example stands in its split
    weight: np.ndarray  # float32 (B,), 0 for the padding of the last batch

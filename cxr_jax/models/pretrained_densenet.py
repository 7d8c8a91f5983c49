"""DenseNet's weights from elsewhere: torchvision's, timm's and torchxrayvision's, which share their names.

Every weight on both sides is accounted for. Their names and layout are known here and nowhere else.
"""

from collections.abc import Iterator, Sequence

import numpy as np

NORM = {"scale": "weight", "bias": "bias", "mean": "running_mean", "var": "running_var"}


def torchvision_names(block_sizes: Sequence[int]) -> dict[str, str]:
    """Our path of each DenseNet variable → its name in torchvision's state dict; one to one, so it can be turned round.

    `params/denseblock1_denselayer2/norm1/scale` → `features.denseblock1.denselayer2.norm1.weight`. Left out are
    torchvision's classifier and its `num_batches_tracked`. `to_torch_layout` and `from_torch_layout` turn the values.
    """
    names = {}
    for module, theirs in _modules(block_sizes):
        if "conv" in module.rpartition("/")[2]:
            names[f"params/{module}/kernel"] = f"features.{theirs}.weight"
            continue
        for leaf, their_leaf in NORM.items():
            collection = "params" if leaf in ("scale", "bias") else "batch_stats"
            names[f"{collection}/{module}/{leaf}"] = f"features.{theirs}.{their_leaf}"
    return names


def to_torch_layout(value: np.ndarray) -> np.ndarray:
    """A convolution's kernel (height, width, in, out) → (out, in, height, width); all else as it is."""
    return value.transpose(3, 2, 0, 1) if value.ndim == 4 else value


def from_torch_layout(value: np.ndarray) -> np.ndarray:
    """`to_torch_layout`'s inverse."""
    return value.transpose(2, 3, 1, 0) if value.ndim == 4 else value


def _modules(block_sizes: Sequence[int]) -> Iterator[tuple[str, str]]:
    """Our name and torchvision's of each convolution and BatchNorm, in the order of computation."""
    yield from (("conv0", "conv0"), ("norm0", "norm0"))
    for block, depth in enumerate(block_sizes, start=1):
        for layer in range(1, depth + 1):
            for part in ("norm1", "conv1", "norm2", "conv2"):
                yield f"denseblock{block}_denselayer{layer}/{part}", f"denseblock{block}.denselayer{layer}.{part}"
        if block < len(block_sizes):
            yield from ((f"transition{block}/{part}", f"transition{block}.{part}") for part in ("norm", "conv"))
    yield "norm5", "norm5"

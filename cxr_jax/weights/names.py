"""The names and layout of DenseNet's weights elsewhere, which nothing else knows.

Torchvision's, which timm and torchxrayvision share, and Keras's, which are turned into those.
"""

import re
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

STEM = "features.conv0.weight"
# What a checkpoint may hold beyond the features: heads of its own training, and BatchNorm's count of batches.
EXTRAS = re.compile(
    r"classifier\.|class_layers\.|op_threshs$|.*\.num_batches_tracked$|(predictions|fc1000|dense(_\d+)?)/"
)
NORM = {"scale": "weight", "bias": "bias", "mean": "running_mean", "var": "running_var"}
KERAS_LEAVES = {"kernel": "weight", "gamma": "weight", "beta": "bias", "moving_mean": "running_mean",
                "moving_variance": "running_var"}  # fmt: skip


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


def torchvision_form(weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Wrappers' levels above `features` gone, old releases' `norm.1` as `norm1`, MONAI's `layers` gone, no heads."""
    prefix = next((name.removesuffix(STEM) for name in weights if name.endswith(STEM)), "")
    renamed = {}
    for name, value in weights.items():
        name = re.sub(r"(denselayer\d+)(?:\.layers)?\.(norm|conv)\.?(\d)\.", r"\1.\2\3.", name.removeprefix(prefix))
        if EXTRAS.match(name) is None:
            renamed[name] = value
    return renamed


def from_keras(weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """`conv2_block1_0_bn/gamma` → `features.denseblock1.denselayer1.norm1.weight`, kernels turned to torch's layout."""
    renamed = {}
    for name, value in weights.items():
        layer, _, leaf = name.rpartition("/")
        ours = _keras_layer(layer.replace("/", "_"))  # Keras 2 has conv1/conv, Keras 3 conv1_conv
        renamed[f"features.{ours}.{KERAS_LEAVES.get(leaf, leaf)}" if ours else name] = to_torch_layout(value)
    return renamed


def _keras_layer(layer: str) -> str | None:
    """A layer's torchvision name below `features`; None where DenseNet has none such."""
    if match := re.fullmatch(r"conv(\d+)_block(\d+)_(\d)_(bn|conv)", layer):
        block, index, place = (int(number) for number in match.groups()[:3])
        part = f"norm{place + 1}" if match[4] == "bn" else f"conv{place}"
        return f"denseblock{block - 1}.denselayer{index}.{part}"
    if match := re.fullmatch(r"pool(\d+)_(bn|conv)", layer):
        return f"transition{int(match[1]) - 1}.{'norm' if match[2] == 'bn' else 'conv'}"
    return {"conv1_conv": "conv0", "conv1_bn": "norm0", "bn": "norm5"}.get(layer)


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

"""DenseNet's weights from elsewhere and to there: torchvision's, timm's and torchxrayvision's, which share their names.

keras.applications' are turned into those first. Every weight on both sides is accounted for. Their names and layout are
known here and nowhere else.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy
from flax.traverse_util import flatten_dict, unflatten_dict

from cxr_jax.errors import InputError
from cxr_jax.hub import reachable
from cxr_jax.models.densenet import DenseNet
from cxr_jax.models.weight_files import SUFFIXES, account, find, read

KEY = "image.pretrained"
FILES = ("model.safetensors", "pytorch_model.bin")
STEM = "features.conv0.weight"
# What a checkpoint may hold beyond the features: heads of its own training, and BatchNorm's count of batches.
EXTRAS = re.compile(
    r"classifier\.|class_layers\.|op_threshs$|.*\.num_batches_tracked$|(predictions|fc1000|dense(_\d+)?)/"
)
NORM = {"scale": "weight", "bias": "bias", "mean": "running_mean", "var": "running_var"}
KERAS_LEAVES = {"kernel": "weight", "gamma": "weight", "beta": "bias", "moving_mean": "running_mean",
                "moving_variance": "running_var"}  # fmt: skip
# torchxrayvision's networks see one channel, (2x − 1) · 1024 for grey x in [0, 1]: that is (x − 1/2) / (1/2048).
XRAYVISION_MEAN, XRAYVISION_STD = 0.5, 1 / 2048


class LoadedDenseNet(NamedTuple):
    """What a file of weights makes of the image tower.

    `variables`: {"params", "batch_stats"} of DenseNet, in float32; what is missing with leave is left out.
    `mean`, `std`: of the three input channels, as the weights want them. `note`: one line that says what they are.
    """

    variables: dict[str, Any]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    note: str


def load_densenet(image: Mapping[str, Any]) -> LoadedDenseNet:
    """DenseNet's weights from `image.pretrained`: a file, a folder or a model on the hub.

    A first convolution of one channel is torchxrayvision's, unless the file is Keras's or timm's config.json says how
    its input is scaled: a third of it goes to each of our three equal channels. Mean and standard deviation are timm's
    where a config.json beside the weights has them; else the configuration's, whose ImageNet ones are Keras's as well.
    Keras's BatchNorm adds 1.001e-5 to a variance where ours, as torch's, adds 1e-5.

    Args:
      image: the configuration's `image`.

    Raises:
      InputError: no weights that can be read here, a network of another size, or some weights that are missing, left
        over, of another shape or not finite.
    """
    name = image["pretrained"]
    file = _file(name)
    keras = file.suffix.lower() == ".h5"
    found = _torchvision_form(_from_keras(read(file)) if keras else read(file))
    _check_size(file, found, image)
    names = torchvision_names(image["block_sizes"])
    model = DenseNet(tuple(image["block_sizes"]), image["growth_rate"])
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), jnp.zeros((1, 64, 64, 1))))
    ours = flatten_dict(dict(shapes), sep="/")
    wanted = {theirs: to_torch_layout(np.empty(ours[path].shape)).shape for path, theirs in names.items()}

    stated = _stated_scaling(name, file)
    grey = STEM in found and found[STEM].ndim == 4 and found[STEM].shape[1] == 1
    mean, std, whose = tuple(image["mean"]), tuple(image["std"]), "the configuration's"
    if grey:
        found[STEM] = np.repeat(found[STEM] / 3, 3, axis=1)
        if not keras:
            mean, std, whose = (XRAYVISION_MEAN,) * 3, (XRAYVISION_STD,) * 3, "torchxrayvision's"
    if stated is not None:
        (mean, std), whose = stated, "its config.json's"

    used = set(account(file, found, wanted, image["pretrained_except"], key=f"{KEY}_except"))
    for theirs in used:
        if theirs.endswith("running_var") and (found[theirs] < 0).any():
            raise InputError(f"{file}: {theirs} holds negative variances; fetch it again")
    flat = {p: from_torch_layout(found[theirs]).astype(np.float32) for p, theirs in names.items() if theirs in used}
    channels = "1 channel" if grey else "3 channels"
    note = (
        f"{KEY} = {name}: {file.name}, {len(used)} of {len(wanted)} weights, {channels}, {whose} "
        f"mean {_numbers(mean)} and std {_numbers(std)}"
    )
    return LoadedDenseNet(unflatten_dict(flat, sep="/"), mean, std, note)


def save_densenet(file: Path, variables: Mapping[str, Any], block_sizes: Sequence[int]) -> None:
    """Writes DenseNet's {"params", "batch_stats"} as safetensors under torchvision's names and in its layout.

    That is `torchvision.models.DenseNet`'s state dict without the classifier and `num_batches_tracked`.
    """
    flat = flatten_dict(dict(variables), sep="/")
    names = torchvision_names(block_sizes)
    theirs = {names[path]: np.asarray(to_torch_layout(np.asarray(value)), order="C") for path, value in flat.items()}
    file.write_bytes(safetensors.numpy.save(theirs, metadata={"format": "pt"}))


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


def _file(name: str) -> Path:
    path = Path(name).expanduser()
    if path.is_file():
        return path
    if path.suffix in SUFFIXES and not path.exists():
        raise InputError(f"{KEY} = {name}: there is no such file; give a file of weights, a folder or a hub name")
    if (file := find(KEY, name, FILES)) is None:
        raise InputError(f"{KEY} = {name}: holds no weights; it takes {' or '.join(FILES)}, or name the file itself")
    return file


def _torchvision_form(weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Wrappers' levels above `features` gone, old releases' `norm.1` as `norm1`, MONAI's `layers` gone, no heads."""
    prefix = next((name.removesuffix(STEM) for name in weights if name.endswith(STEM)), "")
    found = {}
    for name, value in weights.items():
        name = re.sub(r"(denselayer\d+)(?:\.layers)?\.(norm|conv)\.?(\d)\.", r"\1.\2\3.", name.removeprefix(prefix))
        if EXTRAS.match(name) is None:
            found[name] = value
    return found


def _from_keras(weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """`conv2_block1_0_bn/gamma` → `features.denseblock1.denselayer1.norm1.weight`, kernels turned to torch's layout."""
    found = {}
    for name, value in weights.items():
        layer, _, leaf = name.rpartition("/")
        ours = _keras_layer(layer.replace("/", "_"))  # Keras 2 has conv1/conv, Keras 3 conv1_conv
        found[f"features.{ours}.{KERAS_LEAVES.get(leaf, leaf)}" if ours else name] = to_torch_layout(value)
    return found


def _keras_layer(layer: str) -> str | None:
    """A layer's torchvision name below `features`; None where DenseNet has none such."""
    if match := re.fullmatch(r"conv(\d+)_block(\d+)_(\d)_(bn|conv)", layer):
        block, index, place = (int(number) for number in match.groups()[:3])
        part = f"norm{place + 1}" if match[4] == "bn" else f"conv{place}"
        return f"denseblock{block - 1}.denselayer{index}.{part}"
    if match := re.fullmatch(r"pool(\d+)_(bn|conv)", layer):
        return f"transition{int(match[1]) - 1}.{'norm' if match[2] == 'bn' else 'conv'}"
    return {"conv1_conv": "conv0", "conv1_bn": "norm0", "bn": "norm5"}.get(layer)


def _check_size(file: Path, found: Mapping[str, np.ndarray], image: Mapping[str, Any]) -> None:
    depths: dict[int, int] = {}
    for name in found:
        if match := re.match(r"features\.denseblock(\d+)\.denselayer(\d+)\.", name):
            block, layer = int(match[1]), int(match[2])
            depths[block] = max(depths.get(block, 0), layer)
    if not depths or STEM not in found:
        return  # then nearly all is missing, which `account` says
    theirs = tuple(depth for _, depth in sorted(depths.items())), found[STEM].shape[0] // 2
    if theirs != (tuple(image["block_sizes"]), image["growth_rate"]):
        ours = f"{tuple(image['block_sizes'])} and {image['growth_rate']}"
        raise InputError(
            f"{file}: its DenseNet has image.block_sizes = {theirs[0]} and image.growth_rate = {theirs[1]}, the "
            f"configuration {ours}; set --config.image.block_sizes='{theirs[0]}' --config.image.growth_rate={theirs[1]}"
        )


def _stated_scaling(name: str, file: Path) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Mean and std of timm's config.json, as three channels each; None where there is none."""
    path: Path | None = file.with_name("config.json")
    if not Path(name).expanduser().exists() and reachable():  # on the hub: it may have to be fetched as well
        path = find(KEY, name, ("config.json",))
    if path is None or not path.is_file():
        return None
    try:
        config = json.loads(path.read_text("utf-8"))
        stated = config.get("pretrained_cfg", config)
        if "mean" not in stated or "std" not in stated:
            return None
        mean, std = (tuple(float(value) for value in stated[field]) for field in ("mean", "std"))
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: cannot be read as timm's configuration ({error}); mend or delete it") from error
    mean, std = (values * 3 if len(values) == 1 else values for values in (mean, std))
    if len(mean) != 3 or len(std) != 3 or not np.isfinite((*mean, *std)).all() or min(std) <= 0:
        raise InputError(f"{path}: mean = {mean} and std = {std} must be one or three numbers each; mend or delete it")
    return mean, std


def _numbers(values: Sequence[float]) -> str:
    return "/".join(f"{value:.4g}" for value in dict.fromkeys(values))

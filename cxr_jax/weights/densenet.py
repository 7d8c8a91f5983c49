"""DenseNet's weights from torchvision, timm, torchxrayvision and Keras, and to torchvision.

Every weight on both sides is accounted for.
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy
from flax.traverse_util import flatten_dict, unflatten_dict

from cxr_jax.errors import InputError
from cxr_jax.models.densenet import DenseNet
from cxr_jax.weights.files import SUFFIXES, account, find, may_be_missing, read
from cxr_jax.weights.hub import reachable
from cxr_jax.weights.names import (
    STEM,
    from_keras,
    from_torch_layout,
    to_torch_layout,
    torchvision_form,
    torchvision_names,
)

KEY = "image.pretrained"
FILES = ("model.safetensors", "pytorch_model.bin")
SCALING = {"mean", "std"}  # of the input channels, where a file of weights or timm's config.json states them
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
    its input is scaled: a third of it goes to each of our three equal channels. Mean and standard deviation are those
    that the file's metadata (`save_densenet`) or timm's config.json beside it state; else the configuration's, whose
    ImageNet ones are Keras's as well. Keras's BatchNorm adds 1.001e-5 to a variance where ours, as torch's, adds 1e-5.

    Args:
      image: the configuration's `image`.

    Raises:
      InputError: no weights that can be read here, a network of another size, or some weights that are missing, left
        over, of another shape or not finite.
    """
    name = image["pretrained"]
    file = _file(name)
    keras = file.suffix.lower() == ".h5"
    weights = torchvision_form(from_keras(read(file)) if keras else read(file))
    _check_size(file, weights, image)
    names = torchvision_names(image["block_sizes"])
    model = DenseNet(tuple(image["block_sizes"]), image["growth_rate"])
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), jnp.zeros((1, 64, 64, 1))))
    ours = flatten_dict(dict(shapes), sep="/")
    wanted = {theirs: to_torch_layout(np.empty(ours[path].shape)).shape for path, theirs in names.items()}

    stated = _stated_scaling(name, file)
    grey = STEM in weights and weights[STEM].ndim == 4 and weights[STEM].shape[1] == 1
    mean, std, whose = tuple(image["mean"]), tuple(image["std"]), "the configuration's"
    if grey:
        weights[STEM] = np.repeat(weights[STEM] / 3, 3, axis=1)
        if not keras:
            mean, std, whose = (XRAYVISION_MEAN,) * 3, (XRAYVISION_STD,) * 3, "torchxrayvision's"
    if stated is not None:
        mean, std, whose = stated

    used = set(account(file, weights, wanted, image["pretrained_except"], may_be_missing(f"{KEY}_except")))
    for theirs in used:
        if theirs.endswith("running_var") and (weights[theirs] < 0).any():
            raise InputError(f"{file}: {theirs} holds negative variances; fetch it again")
    flat = {p: from_torch_layout(weights[theirs]).astype(np.float32) for p, theirs in names.items() if theirs in used}
    channels = "1 channel" if grey else "3 channels"
    note = (
        f"{KEY} = {name}: {file.name}, {len(used)} of {len(wanted)} weights, {channels}, {whose} "
        f"mean {_numbers(mean)} and std {_numbers(std)}"
    )
    return LoadedDenseNet(unflatten_dict(flat, sep="/"), mean, std, note)


def save_densenet(file: Path, variables: Mapping[str, Any], image: Mapping[str, Any]) -> None:
    """Writes DenseNet's {"params", "batch_stats"} as safetensors under torchvision's names and in its layout.

    That is `torchvision.models.DenseNet`'s state dict without the classifier and `num_batches_tracked`. In the metadata
    are `mean` and `std` of the input channels, which `load_densenet` takes back.

    Args:
      image: the configuration's `image`.
    """
    flat = flatten_dict(dict(variables), sep="/")
    names = torchvision_names(image["block_sizes"])
    theirs = {names[path]: np.asarray(to_torch_layout(np.asarray(value)), order="C") for path, value in flat.items()}
    scaling = {field: json.dumps(list(image[field])) for field in sorted(SCALING)}
    file.write_bytes(safetensors.numpy.save(theirs, metadata={"format": "pt"} | scaling))


def _file(name: str) -> Path:
    path = Path(name).expanduser()
    if path.is_file():
        return path
    if path.suffix in SUFFIXES and not path.exists():
        raise InputError(f"{KEY} = {name}: there is no such file; give a file of weights, a folder or a hub name")
    if (file := find(KEY, name, FILES)) is None:
        raise InputError(f"{KEY} = {name}: holds no weights; it takes {' or '.join(FILES)}, or name the file itself")
    return file


def _check_size(file: Path, weights: Mapping[str, np.ndarray], image: Mapping[str, Any]) -> None:
    depths: dict[int, int] = {}
    for name in weights:
        if match := re.match(r"features\.denseblock(\d+)\.denselayer(\d+)\.", name):
            block, layer = int(match[1]), int(match[2])
            depths[block] = max(depths.get(block, 0), layer)
    if not depths or STEM not in weights:
        return  # then nearly all is missing, which `account` says
    theirs = tuple(depth for _, depth in sorted(depths.items())), weights[STEM].shape[0] // 2
    if theirs != (tuple(image["block_sizes"]), image["growth_rate"]):
        ours = f"{tuple(image['block_sizes'])} and {image['growth_rate']}"
        raise InputError(
            f"{file}: its DenseNet has image.block_sizes = {theirs[0]} and image.growth_rate = {theirs[1]}, the "
            f"configuration {ours}; set --config.image.block_sizes='{theirs[0]}' --config.image.growth_rate={theirs[1]}"
        )


def _stated_scaling(name: str, file: Path) -> tuple[tuple[float, ...], tuple[float, ...], str] | None:
    """Mean and std of three channels, and whose: the file's own or timm's config.json's; None where unstated."""
    source, whose = file, "its own"
    try:
        stated = _metadata(file)
        if not stated.keys() >= SCALING and (config := _timm_config(name, file)) is not None:
            source, whose = config, "its config.json's"
            stated = json.loads(config.read_text("utf-8"))
            stated = stated.get("pretrained_cfg", stated)
        if not stated.keys() >= SCALING:
            return None
        mean, std = (tuple(float(value) for value in stated[field]) for field in ("mean", "std"))
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{source}: its mean and std cannot be read ({error}); mend or delete it") from error
    mean, std = (values * 3 if len(values) == 1 else values for values in (mean, std))
    if len(mean) != 3 or len(std) != 3 or not np.isfinite((*mean, *std)).all() or min(std) <= 0:
        raise InputError(
            f"{source}: mean = {mean} and std = {std} must be one or three numbers each; mend or delete it"
        )
    return mean, std, whose


def _metadata(file: Path) -> dict[str, Any]:
    if file.suffix.lower() != ".safetensors":
        return {}
    with safetensors.safe_open(file, "np") as opened:
        metadata = opened.metadata() or {}
    return {field: json.loads(metadata[field]) for field in SCALING & metadata.keys()}


def _timm_config(name: str, file: Path) -> Path | None:
    if not Path(name).expanduser().exists() and reachable():  # on the hub: it may have to be fetched as well
        return find(KEY, name, ("config.json",))
    path = file.with_name("config.json")
    return path if path.is_file() else None


def _numbers(values: Sequence[float]) -> str:
    return "/".join(f"{value:.4g}" for value in dict.fromkeys(values))

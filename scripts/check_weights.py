"""Holds towers loaded from weight files against the same towers in PyTorch, and writes what the tests compare with.

    PYTHONPATH=. python scripts/check_weights.py [--bert FOLDER]

Needs torch. DenseNet121 (torchvision's own where it is installed, else its structure, written out below) and BERT and
its kin get random weights and BatchNorm statistics, are saved as their authors' files are, loaded through
`image.pretrained` and `text.pretrained`, and compared: the largest difference over the largest value. Where Keras is
installed (pip install keras h5py), so is its DenseNet121. `--bert` adds a real BERT's folder.

Prints a table, exits with 1 where a figure passes its tolerance, and else writes tests/weights/torchvision.safetensors:
a tiny DenseNet under torchvision's names, an image, and the maps that torch makes of it by three channels and by one.
"""

import argparse
import json
import os
import re
import sys
import tempfile
from collections import OrderedDict
from pathlib import Path

import jax
import numpy as np
import safetensors.torch
import torch
import transformers
from torch import nn
from torch.nn import functional as F  # noqa: N812
from transformers import BertConfig

from cxr_jax.models.densenet import DenseNet
from cxr_jax.models.text import TextEncoder
from cxr_jax.weights.bert import load_bert, load_bert_config
from cxr_jax.weights.densenet import load_densenet

TOLERANCE = 1e-4
GOLDENS = Path(__file__).parents[1] / "tests" / "weights" / "torchvision.safetensors"
IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
TIMM = {"mean": [0.5, 0.4, 0.3], "std": [0.25, 0.2, 0.3]}
DENSENET121 = {"block_sizes": (6, 12, 24, 16), "growth_rate": 32}
TINY = {"block_sizes": (2, 1), "growth_rate": 4}
BIOBERT = {"vocab_size": 28996, "hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 3072}
LAYERS = 3  # instead of 12: it is the same code


class DenseLayer(nn.Module):
    """BN-ReLU-1×1-BN-ReLU-3×3, appended to the input."""

    def __init__(self, channels: int, growth: int):
        super().__init__()
        self.norm1, self.conv1 = nn.BatchNorm2d(channels), nn.Conv2d(channels, 4 * growth, 1, bias=False)
        self.norm2, self.conv2 = nn.BatchNorm2d(4 * growth), nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # noqa: D102
        return torch.cat([x, self.conv2(F.relu(self.norm2(self.conv1(F.relu(self.norm1(x))))))], 1)


class TorchDenseNet(nn.Module):
    """What `torchvision.models.DenseNet` is, under its names."""

    def __init__(self, growth_rate: int, block_config: tuple[int, ...], num_init_features: int):
        super().__init__()
        channels = num_init_features
        parts = [("conv0", nn.Conv2d(3, channels, 7, 2, 3, bias=False)), ("norm0", nn.BatchNorm2d(channels))]
        parts += [("relu0", nn.ReLU()), ("pool0", nn.MaxPool2d(3, 2, 1))]
        for block, depth in enumerate(block_config, start=1):
            layers = [(f"denselayer{i + 1}", DenseLayer(channels + i * growth_rate, growth_rate)) for i in range(depth)]
            parts.append((f"denseblock{block}", nn.Sequential(OrderedDict(layers))))
            channels += depth * growth_rate
            if block < len(block_config):
                conv = nn.Conv2d(channels, channels // 2, 1, bias=False)
                between = [("norm", nn.BatchNorm2d(channels)), ("relu", nn.ReLU()), ("conv", conv)]
                parts.append((f"transition{block}", nn.Sequential(OrderedDict([*between, ("pool", nn.AvgPool2d(2))]))))
                channels //= 2
        self.features = nn.Sequential(OrderedDict([*parts, ("norm5", nn.BatchNorm2d(channels))]))
        self.classifier = nn.Linear(channels, 1000)


def torch_densenet(sizes: dict, channels: int) -> nn.Module:
    """Random weights and statistics throughout."""
    try:
        from torchvision.models import DenseNet as Structure
    except ImportError:
        Structure = TorchDenseNet
    torch.manual_seed(channels)
    model = Structure(sizes["growth_rate"], sizes["block_sizes"], 2 * sizes["growth_rate"]).eval()
    if channels == 1:
        model.features.conv0 = nn.Conv2d(1, 2 * sizes["growth_rate"], 7, 2, 3, bias=False)
        # As far as a stem must be from zero mean for the borders' padding to matter, and no further.
        nn.init.normal_(model.features.conv0.weight, 0.01, 0.05)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.2)
            nn.init.uniform_(module.running_var, 0.3, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.2)
    if channels == 1:
        model.features.norm0.running_mean.mul_(1000)
        model.features.norm0.running_var.mul_(1e6)
    return model


@torch.inference_mode()
def torch_map(model: nn.Module, grey: np.ndarray, scaling: dict | None) -> np.ndarray:
    """The last feature map, (B, h, w, C), of grey images (B, H, W, 1) in [0, 1]; torchxrayvision's where unscaled."""
    x = torch.from_numpy(grey).permute(0, 3, 1, 2)
    if scaling is None:
        x = (2 * x - 1) * 1024
    else:
        mean, std = (torch.tensor(scaling[name])[:, None, None] for name in ("mean", "std"))
        x = (x.repeat(1, 3, 1, 1) - mean) / std
    return F.relu(model.features(x)).permute(0, 2, 3, 1).numpy()


def our_map(name: Path, grey: np.ndarray, sizes: dict) -> np.ndarray:
    loaded = load_densenet(sizes | IMAGENET | {"pretrained": str(name), "pretrained_except": ()})
    model = DenseNet(**sizes, mean=loaded.mean, std=loaded.std)
    return np.asarray(jax.jit(model.apply)(loaded.variables, grey))


def check_densenet(folder: Path) -> dict[str, float]:
    """Relative errors by the kind of file."""
    grey = np.random.default_rng(0).uniform(size=(2, 312, 312, 1)).astype(np.float32)
    colour, single = (torch_densenet(DENSENET121, channels) for channels in (3, 1))
    safetensors.torch.save_file(colour.state_dict(), folder / "torchvision.safetensors")
    torch.save(colour.state_dict(), folder / "torchvision.pth")
    old = {re.sub(r"(norm|conv)([12])\.", r"\1.\2.", k): v for k, v in colour.state_dict().items()}
    torch.save(
        {"state_dict": {f"module.densenet121.{k}": v for k, v in old.items()}}, folder / "old names, wrapped.pth"
    )
    safetensors.torch.save_file(single.state_dict(), folder / "xrayvision.safetensors")
    timm = folder / "timm"
    timm.mkdir()
    safetensors.torch.save_file(colour.state_dict(), timm / "model.safetensors")
    (timm / "config.json").write_text(json.dumps({"architecture": "densenet121", "pretrained_cfg": TIMM}))
    cases = {
        "torchvision.safetensors": (colour, IMAGENET),
        "torchvision.pth": (colour, IMAGENET),
        "old names, wrapped.pth": (colour, IMAGENET),
        "timm": (colour, TIMM),
        "xrayvision.safetensors": (single, None),
    }
    return {
        f"DenseNet121, {name}": relative_error(our_map(folder / name, grey, DENSENET121), torch_map(m, grey, scaling))
        for name, (m, scaling) in cases.items()
    }


def check_keras(folder: Path) -> dict[str, float]:
    """The relative error of keras.applications' DenseNet121, random throughout, by way of its .h5; {} without Keras."""
    os.environ.setdefault("KERAS_BACKEND", "jax")
    try:
        import keras
    except ImportError:
        return {}
    grey = np.random.default_rng(0).uniform(size=(2, 312, 312, 1)).astype(np.float32)
    model = keras.applications.DenseNet121(weights=None, include_top=False, input_shape=(312, 312, 3))
    rng = np.random.default_rng(1)
    ranges = {"gamma": (0.5, 1.5), "beta": (-0.3, 0.3), "moving_mean": (-0.3, 0.3), "moving_variance": (0.3, 1.5)}
    for weight in model.weights:
        if weight.name in ranges:
            weight.assign(rng.uniform(*ranges[weight.name], weight.shape))
    model.save(folder / "keras.h5")
    x = (np.repeat(grey, 3, axis=-1) - IMAGENET["mean"]) / IMAGENET["std"]
    theirs = np.asarray(model(x, training=False))
    error = relative_error(our_map(folder / "keras.h5", grey, DENSENET121), theirs)
    return {f"DenseNet121, Keras {keras.__version__}'s .h5": error}


def check_bert(name: str, model: nn.Module, folder: Path) -> float:
    """The relative error of the last hidden states, where the mask is 1; without prompts."""
    rng = np.random.default_rng(0)
    lengths = np.array([40, 17, 3])
    mask = (np.arange(40) < lengths[:, None]).astype(np.int32)
    ids = np.where(mask > 0, rng.integers(5, model.config.vocab_size, mask.shape), model.config.pad_token_id)
    with torch.inference_mode():
        tokens = torch.from_numpy(ids), torch.from_numpy(mask)
        theirs = model(input_ids=tokens[0], attention_mask=tokens[1]).last_hidden_state.numpy()
    encoder = TextEncoder(BertConfig(**load_bert_config(str(folder))), num_prompts=0)

    def hidden_states(encoder: TextEncoder, ids: np.ndarray, mask: np.ndarray) -> jax.Array:
        E = encoder.bert_module.embeddings.word_embeddings(ids)
        return encoder.contextualize(E, mask)[0]

    ids = ids.astype(np.int32)
    shapes = jax.eval_shape(lambda: encoder.init(jax.random.key(0), ids, mask))["params"]["bert"]
    params = {"params": {"bert": load_bert(str(folder), shapes).params}}
    ours = jax.jit(lambda *arrays: encoder.apply(*arrays, method=hidden_states))(params, ids, mask)
    return relative_error(np.asarray(ours)[mask > 0], theirs[mask > 0])


def kin(folder: Path) -> dict[str, tuple[nn.Module, Path]]:
    """BERT and its kin with random weights, saved; BERT in both of torch's formats."""
    made = {}
    sizes = BIOBERT | {"num_hidden_layers": LAYERS}
    for kind in ("Bert", "Roberta", "Electra", "DistilBert"):
        config_class = getattr(transformers, f"{kind}Config")
        # The positions beside the padding's are RoBERTa's own.
        more = {"Roberta": {"max_position_embeddings": 514, "type_vocab_size": 1}, "Electra": {"embedding_size": 768}}
        if kind == "DistilBert":
            named = {"dim": 768, "n_layers": LAYERS, "n_heads": 12, "hidden_dim": 3072, "vocab_size": 28996}
        else:
            named = sizes | more.get(kind, {})
        torch.manual_seed(1)
        model = getattr(transformers, f"{kind}Model")(config_class(**named)).eval()
        for parameter in model.parameters():  # transformers' own biases are all 0
            if parameter.ndim == 1:
                nn.init.normal_(parameter, 1.0 if parameter.mean() > 0.5 else 0.0, 0.1)
        for safe in (True, False) if kind == "Bert" else (True,):
            target = folder / f"{kind}{'' if safe else ', pytorch_model.bin'}"
            model.save_pretrained(target, safe_serialization=safe)
            made[target.name] = model, target
    return made


def relative_error(ours: np.ndarray, theirs: np.ndarray) -> float:
    """The largest difference over the largest value."""
    assert ours.shape == theirs.shape, (ours.shape, theirs.shape)
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


def write_goldens() -> None:
    grey = np.random.default_rng(0).uniform(size=(1, 40, 36, 1)).astype(np.float32)
    colour, single = (torch_densenet(TINY, channels) for channels in (3, 1))
    weights = {k: v for k, v in colour.state_dict().items() if "classifier" not in k}
    golden = {"image": grey, "map": torch_map(colour, grey, IMAGENET)}
    for name, value in single.state_dict().items():
        if "classifier" not in name:
            weights[f"single/{name}"] = value
    golden["single/map"] = torch_map(single, grey, None)
    arrays = {f"golden/{name}": torch.from_numpy(value.copy()) for name, value in golden.items()}
    safetensors.torch.save_file(weights | arrays, GOLDENS)
    print(f"{GOLDENS}: {GOLDENS.stat().st_size / 1000:.0f} kB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bert", action="append", default=[], metavar="FOLDER", help="a real BERT to check as well")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        errors = check_densenet(folder) | check_keras(folder)
        errors |= {f"text, {name}": check_bert(name, *pair) for name, pair in kin(folder).items()}
    for name in args.bert:
        errors[f"text, {name}"] = check_bert(name, transformers.AutoModel.from_pretrained(name).float().eval(), name)
    for name, error in errors.items():
        print(f"{name:60} {error:8.1e} < {TOLERANCE:.0e} {'ok' if error < TOLERANCE else 'FAILS'}")
    if not max(errors.values()) < TOLERANCE:
        sys.exit(1)
    write_goldens()


if __name__ == "__main__":
    main()

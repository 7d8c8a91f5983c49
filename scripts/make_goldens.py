"""Holds cxr_jax's model against the same model in PyTorch, and writes the numbers that the tests compare with.

    PYTHONPATH=. python scripts/make_goldens.py --peer torch_peer.py

Needs torch and jax, and the peer: a file with `Model(BertConfig)`, `VisionEncoder`, `TextEncoder` and `DenseLayer`.
Random weights and BatchNorm statistics are drawn on the torch side and converted. Gradients are compared in float64: at
full size torch's own float32 gradients lie 5e-2 from its float64 ones, as rounding moves activations over ReLU's kink.

Prints a table, exits with 1 where a figure passes its tolerance, and else writes tests/models/goldens.npz: a small
model's weights, inputs, outputs and gradients, so that tests/models/test_dual_encoder.py needs no torch. Run it again
only when the model is meant to compute something else.
"""

import argparse
import contextlib
import importlib.util
import json
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import jax
import numpy as np
import torch
from flax.traverse_util import flatten_dict, unflatten_dict
from torch import nn
from transformers import BertConfig

from cxr_jax import config as configuration
from cxr_jax.models.dual_encoder import build_model
from cxr_jax.training.losses import contrastive_loss

GRADIENT = "train/gradient/"
GRADIENT_IMAGE = 96  # side; XLA has no fast float64 convolution on a CPU
GOLDENS = Path(__file__).parents[1] / "tests" / "models" / "goldens.npz"
BERT = {"vocab_size": 1000, "hidden_size": 768, "num_hidden_layers": 2, "num_attention_heads": 12}
FULL = {
    "image": {"block_sizes": [6, 12, 24, 16], "growth_rate": 32, "multi_scale_width": 128},
    "text": {"bert": BERT | {"intermediate_size": 3072}, "num_prompts": 16},
    "embed_dim": 256,
}
SMALL_BERT = {"vocab_size": 30, "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2}
SMALL = {
    "image": {"block_sizes": [2, 1], "growth_rate": 4, "multi_scale_width": 4},
    "text": {"bert": SMALL_BERT | {"intermediate_size": 16, "max_position_embeddings": 12}, "num_prompts": 3},
    "embed_dim": 6,
}
PAPER_HEAD = {
    "multi_scale": True,
    "channel_attention": True,
    "spatial_attention": True,
    "pooling": "adaptive",
    "mean": [0.485, 0.456, 0.406],
    "std": [0.229, 0.224, 0.225],
    "frozen_batch_norm": False,
}
PAPER_TEXT = {"scaled_prompts": True, "pooling": "mean", "projection_layers": 2, "dropout": 0.0, "frozen": True}


def complete(sizes: dict) -> dict:
    """A configuration that build_model takes."""
    image, text = sizes["image"] | PAPER_HEAD, sizes["text"] | PAPER_TEXT
    config = sizes | {"image": image, "text": text, "temperature": 0.07, "compute_dtype": "float32"}
    return configuration.with_younger_keys(config)


# The model on the torch side.


def import_peer(path: str):
    spec = importlib.util.spec_from_file_location("torch_peer", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def torch_densenet(peer, block_sizes: list[int], growth: int) -> tuple[nn.Sequential, int]:
    """The peer's DenseNet at any size, and its output channels."""
    channels = 2 * growth
    layers = [nn.Conv2d(3, channels, 7, 2, 3, bias=False), nn.BatchNorm2d(channels), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    for block, depth in enumerate(block_sizes):
        for _ in range(depth):
            layers.append(peer.DenseLayer(channels, growth))
            channels += growth
        if block < len(block_sizes) - 1:
            conv = nn.Conv2d(channels, channels // 2, 1, bias=False)
            layers += [nn.BatchNorm2d(channels), nn.ReLU(), conv, nn.AvgPool2d(2)]
            channels //= 2
    return nn.Sequential(*layers, nn.BatchNorm2d(channels), nn.ReLU()), channels


def torch_model(peer, config: dict) -> nn.Module:
    """The peer's model, cut to the configuration's sizes where these are not the peer's own; random throughout."""
    torch.manual_seed(0)
    image, text, embed = config["image"], config["text"], config["embed_dim"]
    bert = BertConfig(**text["bert"], attn_implementation="eager")
    model = peer.Model(bert)
    if image["block_sizes"] != [6, 12, 24, 16]:
        vision, width = model.vision, image["multi_scale_width"]
        vision.backbone, c = torch_densenet(peer, image["block_sizes"], image["growth_rate"])
        vision.dw3, vision.dw5 = nn.Conv2d(c, c, 3, padding=1, groups=c), nn.Conv2d(c, c, 5, padding=2, groups=c)
        vision.pw3, vision.pw5 = nn.Conv2d(c, width, 1), nn.Conv2d(c, width, 1)
        vision.se1, vision.se2 = nn.Linear(2 * width, width // 2), nn.Linear(width // 2, 2 * width)
        vision.out = nn.Linear(2 * width, embed, bias=False)
        model.text = peer.TextEncoder(bert, text["num_prompts"], text["projection_layers"], embed)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.0  # a pass in training leaves the statistics alone
            nn.init.normal_(module.running_mean, std=0.2)
            nn.init.uniform_(module.running_var, 0.3, 1.5)
        if isinstance(module, nn.BatchNorm2d | nn.LayerNorm):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.2)
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    nn.init.constant_(model.vision.mix, -0.7)
    # Large enough for α(x) to differ between reports and prompts.
    nn.init.normal_(model.text.prompts, std=0.5)
    nn.init.normal_(model.text.query.weight, std=1.0)
    return model


# Its weights, under our names. (Real checkpoints' names are the business of cxr_jax/models/pretrained_*.py.)

Value = Callable[[torch.Tensor], torch.Tensor]


def kernel(module: nn.Module, value: Value, weight_name: str = "kernel") -> dict:
    """A convolution or a linear layer: torch keeps the outputs first, flax last."""
    weight = value(module.weight)
    out = {weight_name: weight.permute(2, 3, 1, 0) if weight.ndim == 4 else weight.T}
    return out if module.bias is None else out | {"bias": value(module.bias)}


def norm(module: nn.Module, value: Value) -> dict:
    return {"scale": value(module.weight), "bias": value(module.bias)}


def backbone_names(backbone: nn.Sequential) -> dict[str, nn.Module]:
    """Our names, `/` between levels, to the convolutions and norms of the peer's Sequential, which has only places."""
    names: dict[str, nn.Module] = {"conv0": backbone[0], "norm0": backbone[1]}
    block, layer = 1, 0
    for module in backbone[2:]:
        if hasattr(module, "norm1"):
            layer += 1
            parts = {"norm1": module.norm1, "conv1": module.conv1, "norm2": module.norm2, "conv2": module.conv2}
            names |= {f"denseblock{block}_denselayer{layer}/{name}": part for name, part in parts.items()}
        elif isinstance(module, nn.BatchNorm2d):
            names[f"transition{block}/norm"] = module
        elif isinstance(module, nn.Conv2d):
            names[f"transition{block}/conv"] = module
            block, layer = block + 1, 0
    names["norm5"] = names.pop(f"transition{block}/norm")
    return names


def vision_params(vision: nn.Module, value: Value) -> dict:
    return {
        "densenet": {
            name: (norm if isinstance(module, nn.BatchNorm2d) else kernel)(module, value)
            for name, module in backbone_names(vision.backbone).items()
        },
        "multi_scale": {
            "depthwise3": kernel(vision.dw3, value),
            "depthwise5": kernel(vision.dw5, value),
            "pointwise3": kernel(vision.pw3, value),
            "pointwise5": kernel(vision.pw5, value),
        },
        "channel_attention": {"W1": kernel(vision.se1, value), "W2": kernel(vision.se2, value)},
        "spatial_attention": {"conv": kernel(vision.spatial, value)},
        "adaptive_pooling": {"theta": value(vision.mix)},
        "head": kernel(vision.out, value),
    }


def text_params(text: nn.Module, value: Value) -> dict:
    """All but BERT, which is frozen."""
    params = {
        "soft_prompts": {
            "prompts": value(text.prompts),
            "W_q": kernel(text.query, value),
            "W_k": kernel(text.key, value),
        },
        "head": kernel(text.out, value),
    }
    for i, (dense, layer_norm) in enumerate(zip(text.projections, text.norms, strict=True)):
        params[f"projections_{i}"] = {"dense": kernel(dense, value), "norm": norm(layer_norm, value)}
    return params


def bert_params(bert: nn.Module, value: Value) -> dict:
    out: dict = {}
    for name, module in bert.named_modules():
        path = name.replace(".", "/")
        if isinstance(module, nn.Embedding):
            out[path] = {"embedding": value(module.weight)}
        elif isinstance(module, nn.LayerNorm):
            out[path] = norm(module, value)
        elif isinstance(module, nn.Linear):
            out[path] = kernel(module, value)
    return out


def to_arrays(tree: dict) -> dict[str, np.ndarray]:
    return {name: x.detach().numpy().copy() for name, x in flatten_dict(tree, sep="/").items()}


def trainable(model: nn.Module, value: Value) -> dict[str, np.ndarray]:
    """Every trainable parameter, or what `value` makes of it, as `vision/densenet/conv0/kernel`, …"""
    tree = {"vision": vision_params(model.vision, value), "text": text_params(model.text, value)}
    return to_arrays(tree | {"log_scale": value(model.log_scale)})


def variables(model: nn.Module) -> dict[str, np.ndarray]:
    """The whole state: `params/…` and `batch_stats/…`."""
    frozen = to_arrays({"text": {"bert": bert_params(model.text.bert, torch.Tensor.detach)}})
    params = trainable(model, torch.Tensor.detach) | frozen
    statistics = {
        f"vision/densenet/{name}": {"mean": module.running_mean, "var": module.running_var}
        for name, module in backbone_names(model.vision.backbone).items()
        if isinstance(module, nn.BatchNorm2d)
    }
    return {f"params/{k}": v for k, v in params.items()} | {
        f"batch_stats/{k}": v for k, v in to_arrays(statistics).items()
    }


# Both, side by side.


def inputs(config: dict, batch: int, size: int, tokens: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    lengths = rng.integers(2, tokens + 1, batch)
    return {
        "image": rng.integers(0, 256, (batch, size, size, 1), np.uint8),
        "token_ids": rng.integers(1, config["text"]["bert"]["vocab_size"], (batch, tokens)).astype(np.int32),
        "token_mask": (np.arange(tokens)[None, :] < lengths[:, None]).astype(np.int32),
    }


def run_torch(model: nn.Module, config: dict, batch: dict, dtype: str) -> dict[str, np.ndarray]:
    """Outputs in evaluation, and loss and gradients in training, under the names that run_jax uses."""
    mean, std = (np.array(config["image"][name]) for name in ("mean", "std"))
    normalized = ((batch["image"] / 255 - mean) / std).astype(dtype)
    image = torch.from_numpy(normalized.transpose(0, 3, 1, 2).copy())
    ids, mask = torch.from_numpy(batch["token_ids"]).long(), torch.from_numpy(batch["token_mask"])
    model.zero_grad()
    model.eval()
    with torch.no_grad():
        out = {
            "eval/feature_map": model.vision.backbone(image).permute(0, 2, 3, 1),
            "eval/image_embedding": nn.functional.normalize(model.vision(image), dim=-1),
            "eval/text_embedding": nn.functional.normalize(model.text(ids, mask), dim=-1),
            "eval/loss": model(image, ids, mask),
        }
    loss = model.train()(image, ids, mask)
    loss.backward()
    gradients = trainable(model, lambda parameter: parameter.grad)
    return to_arrays(out | {"train/loss": loss}) | {f"train/gradient/{k}": v for k, v in gradients.items()}


def run_jax(weights: dict[str, np.ndarray], config: dict, batch: dict, dtype: str) -> dict[str, np.ndarray]:
    model = build_model(config | {"compute_dtype": dtype})
    tree = unflatten_dict({k: v.astype(dtype) for k, v in weights.items()}, sep="/")
    expected = jax.eval_shape(model.init, jax.random.key(0), **batch)
    wanted = {k: v.shape for k, v in flatten_dict(expected, sep="/").items()}
    assert {k: v.shape for k, v in weights.items()} == wanted, "the converted tree is not the model's"

    def is_densenet(module, method):
        return module.name == "densenet"

    def loss_of(params, batch_stats, batch, train):
        state = {"params": params, "batch_stats": batch_stats}
        out, state = model.apply(
            state, **batch, train=train, mutable=["batch_stats", "intermediates"], capture_intermediates=is_densenet
        )
        return contrastive_loss(out["text_embedding"], out["image_embedding"], out["scale"]), (out, state)

    state = tree["params"], tree["batch_stats"], batch
    loss, (out, state_out) = jax.jit(partial(loss_of, train=False))(*state)
    (train_loss, _), gradients = jax.jit(jax.value_and_grad(partial(loss_of, train=True), has_aux=True))(*state)
    flat = {f"train/gradient/{k}": v for k, v in flatten_dict(gradients, sep="/").items() if "/bert/" not in k}
    return flat | {
        "eval/feature_map": state_out["intermediates"]["vision"]["densenet"]["__call__"][0],
        "eval/image_embedding": out["image_embedding"],
        "eval/text_embedding": out["text_embedding"],
        "eval/loss": loss,
        "train/loss": train_loss,
    }


@contextlib.contextmanager
def without_rounding() -> Iterator[None]:
    """The peer casts its embeddings by `.float()`, which would round here."""
    to_float = torch.Tensor.float
    torch.Tensor.float = lambda tensor: tensor
    yield
    torch.Tensor.float = to_float


def relative_error(ours: np.ndarray, theirs: np.ndarray) -> float:
    """The largest difference over the largest value."""
    return float(np.abs(np.asarray(ours) - theirs).max() / max(np.abs(theirs).max(), 1e-12))


def compare(name: str, ours: dict, theirs: dict[str, np.ndarray], names: Callable[[str], bool]) -> bool:
    """Prints the relative error of each array chosen, gradients as their worst leaf; whether all are close."""
    assert ours.keys() == theirs.keys(), ours.keys() ^ theirs.keys()
    error = {k: relative_error(ours[k], v) for k, v in theirs.items() if names(k)}
    gradients = {k.removeprefix(GRADIENT): error.pop(k) for k in list(error) if k.startswith(GRADIENT)}
    rows = [(k, value, 1e-3 if k.startswith("train/") else 1e-4) for k, value in error.items()]
    if gradients:
        worst = max(gradients, key=gradients.__getitem__)
        rows.append((f"train/gradient, worst of {len(gradients)}: {worst}", gradients[worst], 1e-3))
    for row, value, tolerance in rows:
        verdict = "ok" if value < tolerance else "FAILS"
        print(f"{name:24} {row:85} {value:8.1e} < {tolerance:.0e} {verdict}", flush=True)
    return all(value < tolerance for _, value, tolerance in rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", required=True, help="the PyTorch model's file")
    parser.add_argument("--image", type=int, default=312, help="side of the full-size check's images")
    parser.add_argument("--batch", type=int, default=2, help="pairs of the full-size check")
    args = parser.parse_args()
    peer = import_peer(args.peer)
    passed = True
    shapes = {
        "full": (args.batch, args.image, 24),
        "full, gradients": (args.batch, GRADIENT_IMAGE, 24),
        "small": (4, 40, 7),
    }
    for name, shape in shapes.items():
        config = complete(SMALL if name == "small" else FULL)
        model, batch = torch_model(peer, config), inputs(config, *shape)
        weights = variables(model)
        theirs = run_torch(model, config, batch, "float32")
        if name != "full, gradients":
            ours = run_jax(weights, config, batch, "float32")
            passed &= compare(f"{name}, float32", ours, theirs, lambda k: not k.startswith(GRADIENT))
        if name != "full":
            with jax.enable_x64(True), without_rounding():
                exact = run_torch(model.double(), config, batch, "float64")
                ours = run_jax(weights, config, batch, "float64")
            passed &= compare(f"{name}, float64", ours, exact, lambda k: k.startswith("train/"))
            own = max(relative_error(theirs[k], v) for k, v in exact.items() if k.startswith(GRADIENT))
            print(f"{name:24} {'for comparison: torch float32 against torch float64, worst gradient':85} {own:8.1e}")
    if not passed:
        sys.exit(1)
    stored = {k: np.asarray(v, np.float32) for k, v in exact.items() if k != "eval/feature_map"}
    arrays = {f"variables/{k}": v for k, v in weights.items()} | {f"inputs/{k}": v for k, v in batch.items()} | stored
    np.savez_compressed(GOLDENS, config=np.array(json.dumps(config)), **arrays)
    print(f"{GOLDENS}: {GOLDENS.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()

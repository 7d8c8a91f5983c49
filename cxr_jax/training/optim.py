"""What is trained and how: labels, rates, schedule, optimiser."""

import re
from collections.abc import Collection, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.tree_util import tree_map_with_path

TRAIN, FROZEN = "train", "frozen"
TOWERS = ("vision", "text")
_BERT = ("text", "bert")
_DENSENET = ("vision", "densenet")
_LOOKED_UP = {"prompts", "word_embeddings", "position_embeddings", "token_type_embeddings"}


def parameter_labels(
    params: Any, freeze_bert: bool, freeze_batch_norm: bool = False, freeze_towers: Collection[str] = ()
) -> Any:
    """TRAIN or FROZEN for every leaf: BERT's own weights; DenseNet's BatchNorms' scales and biases; whole TOWERS."""

    def label(path: tuple[Any, ...], _: Any) -> str:
        names = _names(path)
        bert = freeze_bert and names[:2] == _BERT
        norm = freeze_batch_norm and names[:2] == _DENSENET and any(n.startswith("norm") for n in names[2:])
        return FROZEN if bert or norm or names[0] in freeze_towers else TRAIN

    return tree_map_with_path(label, params)


def labels_of(params: Any, config: Mapping[str, Any]) -> Any:
    """`parameter_labels` as a configuration has them."""
    image, text = config["image"], config["text"]
    towers = [tower for tower, frozen in zip(TOWERS, (image["frozen"], text["frozen_tower"]), strict=True) if frozen]
    return parameter_labels(params, text["frozen"], image["frozen_batch_norm"], towers)


def rate_factors(
    params: Any, image_rate: float = 1.0, text_rate: float = 1.0, layer_decay: float = 1.0, bert_rate: float = 0.0
) -> Any:
    """What the learning rate of each leaf is multiplied with.

    image_rate, text_rate: of a tower as a whole; bert_rate: of BERT's own weights instead of text_rate, 0 for that.
    layer_decay: once for each layer below the top of DenseNet or BERT, from 1 at what stands on their layers (as in
    ELECTRA and BEiT); a layer is one of BERT's, or a dense block with the transition behind it; embeddings and stem lie
    below the first. The temperature keeps the learning rate as it is.
    """
    depths = {_names(path): _depth(_names(path)) for path, _ in jax.tree_util.tree_leaves_with_path(params)}
    layers = {
        tower: 1 + max((d for n, d in depths.items() if n[0] == tower and d >= 0), default=-1) for tower in TOWERS
    }
    rates = dict(zip(TOWERS, (image_rate, text_rate), strict=True))

    def factor(path: tuple[Any, ...], _: Any) -> float:
        names = _names(path)
        below = layers[names[0]] - depths[names] if depths[names] >= 0 else 0
        rate = bert_rate if bert_rate and names[:2] == _BERT else rates.get(names[0], 1.0)
        return rate * layer_decay**below

    return tree_map_with_path(factor, params)


def learning_rate_schedule(peak: float, warmup_steps: int, num_steps: int) -> optax.Schedule:
    """Linear from 0 to `peak`, then a cosine that ends at 0 with the last step."""
    warmup_steps = min(warmup_steps, num_steps // 2)
    return optax.warmup_cosine_decay_schedule(0.0, peak, warmup_steps, max(num_steps, warmup_steps + 1), end_value=0.0)


def make_optimizer(
    labels: Any,
    schedule: optax.Schedule,
    weight_decay: float,
    b2: float,
    clip_norm: float,
    factors: Any = None,
) -> optax.GradientTransformation:
    """AdamW for what is trained, nothing for what is frozen; `factors`: `rate_factors`, None for 1 everywhere.

    The gradient is clipped inside the train branch: outside, its norm would be the frozen weights' too, and they would
    have to be differentiated for it. Decay takes matrices and kernels only: neither biases, norms, the temperature, nor
    what is looked up or prepended (soft prompts, word, position and type embeddings).
    """
    adamw = optax.adamw(schedule, b2=b2, weight_decay=weight_decay, mask=is_decayed)
    steps = [optax.clip_by_global_norm(clip_norm), adamw]
    if factors is not None and set(jax.tree.leaves(factors)) != {1.0}:
        factor_of = {_names(path): factor for path, factor in jax.tree_util.tree_leaves_with_path(factors)}
        # By path, for what is frozen is missing in the updates here.
        steps.append(optax.stateless(lambda u, _: tree_map_with_path(lambda path, x: x * factor_of[_names(path)], u)))
    return optax.multi_transform({TRAIN: optax.chain(*steps), FROZEN: optax.set_to_zero()}, labels)


def is_decayed(params: Any) -> Any:
    """Whether weight decay takes each leaf, see `make_optimizer`."""
    return tree_map_with_path(lambda path, x: jnp.ndim(x) > 1 and _LOOKED_UP.isdisjoint(_names(path)), params)


def _names(path: tuple[Any, ...]) -> tuple[str, ...]:
    return tuple(str(key.key) for key in path)


def _depth(names: tuple[str, ...]) -> int:
    """The layer of BERT or DenseNet that a leaf belongs to, from 0 at the input; -1 for what stands on their layers."""
    if names[:2] == _BERT:
        return int(names[4]) + 1 if names[2:4] == ("encoder", "layer") else 0
    if names[:2] == _DENSENET:
        block = re.match(r"(?:denseblock|transition)(\d+)", names[2])
        return int(block[1]) if block else 0 if names[2] in ("conv0", "norm0") else -1
    return -1

"""A run that begins with another's whole model (`init_from`): what it takes, and what that settles of its keys.

Weights have the names that an export's model.safetensors gives them: `params.vision.densenet.conv0.kernel`.
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from flax.traverse_util import flatten_dict, unflatten_dict
from transformers import PreTrainedTokenizerBase

from cxr_jax import config as configuration
from cxr_jax.errors import InputError
from cxr_jax.models.dual_encoder import build_model, variable_shapes
from cxr_jax.weights.bert import complete_bert_config
from cxr_jax.weights.files import account
from cxr_jax.weights.tokenizer import check_vocabulary
from cxr_jax.weights.towers import TOWER_KEYS, resolve_towers

RECORD = "init_taken"  # the key of a run's config.json that says what was taken
TOKENIZER = "tokenizer"
# What a source settles as soon as one weight below the prefix is taken of it.
SETTLED_WITH = {
    "params.vision.densenet.": TOWER_KEYS["image"],
    "params.text.bert.": TOWER_KEYS["text"],
    "params.text.bert.embeddings.word_embeddings.": (TOKENIZER,),
}
# What a refusal names where it differs: it decides which weights there are, and their shapes.
MODEL_KEYS = ("embed_dim", "loss.kind", "image.block_sizes", "image.growth_rate", "image.multi_scale",
              "image.multi_scale_width", "image.channel_attention", "image.spatial_attention", "image.pooling",
              "text.num_prompts", "text.scaled_prompts", "text.pooling", "text.projection_layers")  # fmt: skip


class Source(NamedTuple):
    """A model to begin with: where it lies, its resolved configuration, {"params", "batch_stats"} as NumPy arrays, and
    tokenizer; the step of its checkpoint, and `training.checkpoint.identity` of that."""

    place: str
    config: Mapping[str, Any]
    variables: Mapping[str, Any]
    tokenizer: PreTrainedTokenizerBase
    step: int
    checkpoint: str


def settled_by(source: Source, config: Mapping[str, Any]) -> dict[str, Any]:
    """By dotted key, as JSON holds it: what the source settles, and RECORD, that says what is taken.

    Every weight on either side is taken, left out by `init_except`, or refused. A DenseNet or BERT of which any weight
    is taken is the source's: so are its image.mean and image.std, or its text.bert, and its `pretrained` is not read.
    With the word embeddings comes the tokenizer.

    Args:
      config: not resolved.

    Raises:
      InputError: weights that do not fit, a pattern that matches none, a vocabulary that is not the weights' own.
    """
    name, patterns = f"init_from = {config['init_from']}", config["init_except"]

    def is_left_out(weight: str) -> bool:
        return any(re.search(pattern, weight) for pattern in patterns)

    theirs = flatten_dict(dict(source.variables), sep=".")
    kept = {weight: value for weight, value in theirs.items() if not is_left_out(weight)}
    settles = [key for prefix, keys in SETTLED_WITH.items() if any(w.startswith(prefix) for w in kept) for key in keys]
    flat = configuration.flatten(source.config)
    if TOKENIZER in settles:
        check_vocabulary(source.tokenizer, flat["text.bert"]["vocab_size"], name)
    settled = {key: flat[key] for key in settles if key != TOKENIZER} | {RECORD: {"settles": settles}}

    resolved = resolve_towers(with_settled(config, settled))
    # The size of a vocabulary that is learnt is not known yet; its embeddings are none of the source's.
    text = {**resolved["text"], "bert": complete_bert_config(resolved["text"]["bert"])}
    shapes = variable_shapes(build_model({**resolved, "text": text}), config["image_size"])
    ours = {weight: leaf.shape for weight, leaf in flatten_dict(shapes, sep=".").items()}
    everything = sorted(theirs.keys() | ours.keys())
    for pattern in patterns:
        if not any(re.search(pattern, weight) for weight in everything):
            raise InputError(
                f"init_except holds {pattern!r}, which matches no weight of {config['init_from']}, whose names are as "
                f"{everything[-1]}; mend it"
            )
    wanted = {weight: shape for weight, shape in ours.items() if not is_left_out(weight)}
    taken = account(name, kept, wanted, way_out=_way_out(flat, configuration.flatten(config)))
    if not taken:
        raise InputError(f"{name}: init_except = {list(patterns)} leaves nothing of it; begin without init_from")
    record = {
        "source": source.place,
        "step": source.step,
        "checkpoint": source.checkpoint,
        "weights": len(taken),
        "of": len(ours),
        "parameters": sum(kept[weight].size for weight in taken if weight.startswith("params.")),
        "left_out": [weight for weight in everything if is_left_out(weight)],
        "settles": settles,
    }
    return settled | {RECORD: record}


def with_settled(config: Mapping[str, Any], settled: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration, nested, with values by dotted key in it."""
    out = dict(config)
    for name, value in settled.items():
        *room, key = name.split(".")
        out |= {room[0]: {**out[room[0]], key: value}} if room else {key: value}
    return out


def settled_in(begun: Mapping[str, Any]) -> dict[str, Any]:
    """`settled_by` as the resolved configuration of a run that has begun holds it.

    Raises:
      InputError: it lacks it.
    """
    try:
        flat, record = configuration.flatten(begun), begun[RECORD]
        return {key: flat[key] for key in record["settles"] if key != TOKENIZER} | {RECORD: record}
    except (KeyError, TypeError) as error:
        raise InputError(
            f"config.json: holds no whole {RECORD}, which init_from wrote; restore it from a copy of the run"
        ) from error


def takes_tokenizer(config: Mapping[str, Any]) -> bool:
    """Whether the tokenizer of a resolved configuration is its source's."""
    return TOKENIZER in config.get(RECORD, {}).get("settles", ())


def taken_from(source: Source, config: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """{"params", "batch_stats"} of what is taken alone; and lines that say what that is.

    Args:
      config: resolved.
    """
    record = config[RECORD]
    left_out = set(record["left_out"])
    flat = flatten_dict(dict(source.variables), sep=".")
    variables = unflatten_dict({name: value for name, value in flat.items() if name not in left_out}, sep=".")
    notes = [
        f"init_from = {config['init_from']}: checkpoint {record['checkpoint']} of step {record['step']}, "
        f"{record['weights']} of {record['of']} weights, {record['parameters']:,} parameters; left out by init_except: "
        f"{len(record['left_out'])}; what comes along: {', '.join(record['settles']) or 'nothing'}"
    ]
    for tower, keys in TOWER_KEYS.items():
        if (name := config[tower]["pretrained"]) and keys[0] in record["settles"]:
            notes.append(f"{tower}.pretrained = {name}: is not read, init_from gives that tower")
    return {"params": {}, "batch_stats": {}} | variables, notes


def _way_out(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> str:
    """What there is to do about weights that do not fit."""
    differing = [f"{key} = {theirs[key]}" for key in MODEL_KEYS if _plain(theirs[key]) != _plain(ours[key])]
    as_there = f"it has {', '.join(differing)}: set that, or " if differing else ""
    return f"{as_there}name in --config.init_except what is to begin anew, or to be left behind"


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value

"""Configurations: which keys there are and what they mean, reading a file, overriding, checking, comparing.

A configuration file is Python with `get_config(variant="")` that returns an `ml_collections.ConfigDict`. SCHEMA is the
one place that says which keys exist; a file must give every one of them, most simply by starting from configs/base.py.
"""

import ast
import difflib
import importlib.util
import inspect
import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from cxr_jax.errors import InputError


class Key(NamedTuple):
    """What a key holds: its type, its meaning, and the values it may take, or a tuple may hold, where these are few."""

    kind: type
    meaning: str
    choices: Collection[str] = ()


# The data sets, and the module that reads each, imported when it is needed: `cxr_jax.data.sources` says what it holds.
DATASETS = {
    "openi": "cxr_jax.data.sources.openi",
    "pairs": "cxr_jax.data.sources.pairs",
    "phantom": "cxr_jax.data.sources.phantom",
    "r2gen": "cxr_jax.data.sources.r2gen",
    "mimic": "cxr_jax.data.sources.mimic",
}

SCHEMA = {
    "seed": Key(int, "root of every random stream of training: weights, dropout, order of the data"),
    "init_from": Key(
        str, "the run, export or hub name whose whole model training begins with (docs/pretrained.md); empty: none"
    ),
    "init_except": Key(tuple, "regular expressions: weights that are not init_from's, and begin as without it"),
    "num_steps": Key(int, "optimiser steps in all"),
    "batch_size": Key(int, "pairs a step, over all devices together"),
    "micro_batch": Key(
        int, "pairs that a device embeds at a time, the loss being over the whole batch; 0: its whole share at once"
    ),
    "image_size": Key(int, "side of the square image that the model sees, in pixels"),
    "embed_dim": Key(int, "width of the shared space"),
    "temperature": Key(float, "τ at the start; it is learnt, and 1/τ is clipped at 100"),
    "compute_dtype": Key(
        str, "of activations; parameters, logits, loss and statistics are float32", ("float32", "bfloat16")
    ),
    "remat": Key(
        str,
        "what is computed twice to save memory: nothing; BERT's layers and the bottlenecks of DenseNet's layers; "
        "BERT's layers and DenseNet's blocks",
        ("none", "layers", "blocks"),
    ),
    "loss.kind": Key(
        str,
        "softmax: over the batch's images or reports; sigmoid: each pair a question (SigLIP)",
        ("softmax", "sigmoid"),
    ),
    "loss.positives": Key(
        str,
        "pair: a report and its image; group: and all images of equal reports, and of the study; soft: and others by "
        "the overlap of what the label rules read",
        ("pair", "group", "soft"),
    ),
    "loss.target_temperature": Key(float, "soft: an overlap of o weighs exp((o - 1) / this) beside a positive's 1"),
    "loss.bias": Key(float, "sigmoid: the logits' at the start; learnt (SigLIP: -10, and temperature 0.1)"),
    "log_every": Key(int, "steps between two lines of metrics"),
    "eval_every": Key(int, "steps between two validations, each followed by a checkpoint"),
    "checkpoint_every": Key(int, "steps between two checkpoints, validations apart; 0 for none"),
    "checkpoint_minutes": Key(float, "minutes between two checkpoints, validations apart; 0 for none"),
    "nan": Key(
        str,
        "what becomes of a step whose loss or gradients are not finite: the run ends, or it does not count",
        ("stop", "skip"),
    ),
    "profile_steps": Key(str, "FIRST:LAST: steps that a trace is written of, into profile/; empty for none"),
    "tensorboard": Key(bool, "metrics go to TensorBoard as well (tensorboard/ in the run's folder)"),
    "wandb": Key(str, "the Weights & Biases project that metrics go to as well; empty for none"),
    "data.dataset": Key(str, "which data set: how its files are laid out", DATASETS),
    "data.path": Key(str, "openi, r2gen, mimic, phantom: the release's folder; phantom draws it where it is missing"),
    "data.download": Key(bool, "openi: fetch the archives that data.path lacks from Open-i (14 GB)"),
    "data.csv": Key(
        str,
        "pairs: CSV, JSON lines or Parquet with columns image and report (or findings, impression); optional "
        "patient_id, study_id, view, split, labels",
    ),
    "data.columns": Key(
        dict, "pairs: what the table calls these columns, where it calls them otherwise: image=Path,report=Text"
    ),
    "data.sentences": Key(
        str, "pairs: YAML of labels and sentences, which stand for the reports that the table need not have"
    ),
    "data.root": Key(str, "pairs: folder that images' relative paths start from; empty: the table's"),
    "data.placeholders": Key(
        str, "pairs: what becomes of rows whose report is nothing, nan, None, N/A, …", ("refuse", "drop")
    ),
    "data.unreadable": Key(str, "what becomes of images that are missing or cannot be read", ("refuse", "drop")),
    "data.split": Key(
        str,
        "openi: paper, or auto: by study, 7:2:1, seeded; r2gen: R2Gen's published lists; strict: as paper, and no "
        "near-copy of a report crosses. r2gen, mimic: auto keeps the published split, patient deals by patient, 7:2:1. "
        "pairs: patient; column: the CSV's own; auto: that where there is one",
        ("paper", "r2gen", "strict", "patient", "column", "auto"),
    ),
    "data.seed": Key(int, "of the split, and of what the phantom draws; runs of several seeds share their test set"),
    "data.annotation": Key(str, "r2gen: R2Gen's annotation.json; empty: in the release's folder"),
    "data.section": Key(str, "which part of a report is used", ("findings", "impression", "both")),
    "data.xxxx": Key(
        str, "what Open-i blacked out as XXXX, in the text that is encoded, never in what is scored", ("keep", "drop")
    ),
    "data.view": Key(
        str,
        "frontal: all that is not known to be lateral; mean: train on all, embed a study as the mean over its views",
        ("frontal", "lateral", "all", "mean"),
    ),
    "data.stored_size": Key(int, "short side in pixels at which images are stored, once, before training"),
    "data.stored_format": Key(str, "png: without loss; jpeg: smaller, and faster to decode", ("png", "jpeg")),
    "data.cache": Key(str, "folder for prepared data sets"),
    "data.cache_local": Key(
        str, "folder of this machine's own for prepared data sets, each node preparing them once; empty: data.cache"
    ),
    "data.fingerprint_by": Key(
        str,
        "what tells a changed file from the one that was prepared: size and mtime, or (all read at each start) content",
        ("mtime", "content"),
    ),
    "data.augment": Key(bool, "shift, scale, turn and re-expose training images slightly; never flip them"),
    "data.augment_text": Key(
        tuple,
        "what training texts are drawn by: section (findings, impression or both), leave_out (a sentence, or none), "
        "shuffle (the sentences' order)",
        ("section", "leave_out", "shuffle"),
    ),
    "data.sampler": Key(
        str, "unique_groups: no report twice in a batch, where the data allow it", ("shuffle", "unique_groups")
    ),
    "data.one_view": Key(bool, "an epoch holds one image of each study, drawn anew"),
    "data.num_threads": Key(int, "threads that decode images"),
    "data.num_studies": Key(int, "phantom: studies to draw"),
    "draft.method": Key(
        str,
        "how a draft is made of the neighbours' reports: the nearest one; the one that agrees best with the others; "
        "the pool's nearest sentences; or sentences that say what the neighbours vote for",
        ("top1", "consensus", "sentences", "compose"),
    ),
    "image.block_sizes": Key(tuple, "DenseNet: layers of each dense block"),
    "image.growth_rate": Key(int, "DenseNet: channels that each layer adds"),
    "image.pretrained": Key(
        str,
        "DenseNet's weights (torchvision's, timm's, torchxrayvision's, Keras's): file, folder, hub name; empty: random",
    ),
    "image.pretrained_except": Key(tuple, "regular expressions: weights that may be missing there, or left over"),
    "image.multi_scale": Key(bool, "Eq. (8), (9)"),
    "image.multi_scale_width": Key(int, "channels of each of the two scales"),
    "image.channel_attention": Key(bool, "Eq. (10)"),
    "image.spatial_attention": Key(bool, "Eq. (11)"),
    "image.pooling": Key(
        str, "Eq. (12): one learnt w; a w for each image; or no maximum at all", ("adaptive", "gated", "mean")
    ),
    "image.mean": Key(tuple, "of the three (equal) input channels, subtracted; or image.pretrained's own"),
    "image.std": Key(tuple, "of the three input channels, divided by; or image.pretrained's own"),
    "image.frozen": Key(bool, "the image tower stays as it is: DenseNet with its statistics, Eq. (8)-(12), the head"),
    "image.frozen_batch_norm": Key(bool, "DenseNet's BatchNorms stay as they are: statistics, scales and biases"),
    "text.pretrained": Key(
        str, "BERT's folder or hub name; empty: text.bert with random weights and a learnt vocabulary"
    ),
    "text.pretrained_except": Key(tuple, "regular expressions: weights that may be missing there, or left over"),
    "text.bert": Key(dict, "transformers.BertConfig's fields, where text.pretrained is empty"),
    "text.frozen": Key(bool, "BERT's own weights stay as they are"),
    "text.frozen_tower": Key(bool, "the text tower stays as it is: BERT, prompts, Eq. (5)-(7), the head; no dropout"),
    "text.max_tokens": Key(int, "L: longer reports are cut"),
    "text.length_buckets": Key(
        int, "parts of a device's pairs, by their reports' lengths, each padded to its own; 1: all to max_tokens"
    ),
    "text.num_prompts": Key(int, "P of Eq. (2); 0 for none"),
    "text.scaled_prompts": Key(bool, "Eq. (3)"),
    "text.pooling": Key(str, "Eq. (5): its formula, or its words", ("mean", "attention")),
    "text.projection_layers": Key(int, "K of Eq. (6), (7)"),
    "text.dropout": Key(float, "of the projection layers"),
    "optim.learning_rate": Key(float, "AdamW's, at its peak"),
    "optim.image_rate": Key(float, "the image tower's learning rate over that"),
    "optim.text_rate": Key(float, "the text tower's learning rate over that"),
    "optim.bert_learning_rate": Key(
        float, "BERT's own weights' learning rate at its peak; 0: as the rest of its tower"
    ),
    "optim.layer_decay": Key(float, "of the learning rate, a layer of BERT or DenseNet further down; 1 for none"),
    "optim.warmup_steps": Key(int, "linear from 0; then a cosine to 0 at num_steps"),
    "optim.weight_decay": Key(float, "of matrices and kernels"),
    "optim.b2": Key(float, "AdamW's second-moment decay"),
    "optim.clip_norm": Key(float, "of the trained parameters' gradient"),
}
POSITIVE = ("num_steps", "batch_size", "image_size", "embed_dim", "temperature", "log_every", "eval_every",
            "data.stored_size", "data.num_threads", "data.num_studies", "image.growth_rate", "image.multi_scale_width",
            "loss.target_temperature", "text.length_buckets", "optim.learning_rate", "optim.image_rate",
            "optim.text_rate", "optim.layer_decay", "optim.clip_norm")  # fmt: skip
NOT_NEGATIVE = ("seed", "micro_batch", "checkpoint_every", "checkpoint_minutes", "data.seed", "text.num_prompts",
                "text.projection_layers", "optim.bert_learning_rate", "optim.warmup_steps",
                "optim.weight_decay")  # fmt: skip
FRACTIONS = ("text.dropout", "optim.b2")
FLOAT32_MIN, FLOAT32_MAX = 2.0**-126, (2 - 2.0**-23) * 2.0**127  # smaller ones are 0 to most accelerators
MIN_IMAGE_SIZE = 32  # halved five times
MIN_TOKENS = 3  # [CLS], one word, [SEP]
# What a run did that was begun before there was such a key.
YOUNGER_KEYS = {
    "remat": "none", "data.unreadable": "refuse", "micro_batch": 0, "loss.kind": "softmax", "loss.positives": "pair",
    "loss.target_temperature": 0.1, "loss.bias": -10.0, "data.augment_text": [], "data.sampler": "shuffle",
    "data.one_view": False, "text.length_buckets": 1, "data.sentences": "", "init_from": "", "init_except": [],
    "image.frozen": False, "text.frozen_tower": False,
    "draft.method": "top1",
}  # fmt: skip
# What may change between a run and its continuation without changing what is computed.
FREE_KEYS = ("remat", "log_every", "checkpoint_every", "checkpoint_minutes", "nan", "profile_steps", "tensorboard",
             "wandb", "data.path", "data.download", "data.csv", "data.sentences", "data.root", "data.annotation",
             "data.cache", "data.cache_local", "data.num_threads", "data.unreadable", "draft.method")  # fmt: skip
# What may change all the same, and changes the rest of the run: its folder records it.
CHANGEABLE_KEYS = ("num_steps", "eval_every")


def read(path: str | Path, variant: str = "") -> ConfigDict:
    """Imports a configuration file and calls its `get_config`, with `variant` where one is given.

    Raises:
      InputError: the file is missing, cannot be run, or has no such variant.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such configuration file; configs/ holds base.py, phantom.py and pairs.py")
    spec = importlib.util.spec_from_file_location(f"cxr_jax_config_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise InputError(f"{path}: is not a Python file; give one with a get_config()")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        get_config = module.get_config
        config = get_config(variant) if inspect.signature(get_config).parameters else get_config()
    except InputError:
        raise
    except Exception as error:  # the user's own code: any exception is possible
        raise InputError(f"{path}: cannot be read as a configuration: {type(error).__name__}: {error}") from error
    if not isinstance(config, ConfigDict):
        raise InputError(f"{path}: get_config() returns {type(config).__name__}; return an ml_collections.ConfigDict")
    return config


def variant_changes(path: str | Path, variant: str) -> dict[str, Any]:
    """What a variant of a configuration file changes, dotted keys to values: for a file that starts from that one.

    Raises:
      InputError: as `read`.
    """
    plain, varied = flatten(read(path)), flatten(read(path, variant))
    return {name: value for name, value in varied.items() if value != plain[name]}


def load(spec: str, changes: Iterable[str] = ()) -> dict[str, Any]:
    """`path.py` or `path.py:variant`, with overrides such as `batch_size=128` or `optim.learning_rate=1e-4`.

    Returns nested dicts, checked.

    Raises:
      InputError: a missing or unknown key, or a value of the wrong kind; the line names it.
    """
    path, _, variant = spec.partition(":")
    config = read(path, variant)
    _check_keys(flatten(config), source=path)
    with config.unlocked():
        for override in changes:
            name, separator, text = override.partition("=")
            if name not in SCHEMA or not separator:
                raise InputError(
                    f"--config.{override}: {_unknown(name)}"
                    if name not in SCHEMA
                    else f"--config.{name}: has no value; write --config.{name}=VALUE"
                )
            try:
                config.update_from_flattened_dict({name: _parse(name, text)})
            except ValueError as error:  # a dict's key that a ConfigDict cannot have: one with a full stop
                if isinstance(error, InputError):
                    raise
                raise InputError(f"--config.{name}={text}: {error}") from error
    loaded: dict[str, Any] = config.to_dict()
    check(loaded, source=path)
    return loaded


def overrides(arguments: Sequence[str]) -> list[str]:
    """`--config.key=value` or `--config.key value`, from a command line, as `key=value`.

    Raises:
      InputError: an argument of another kind.
    """
    rest, changes = list(arguments), []
    while rest:
        argument = rest.pop(0)
        if not argument.startswith("--config."):
            raise InputError(f"{argument}: no such argument; --help lists them")
        if "=" not in argument and rest and not rest[0].startswith("--"):
            argument = f"{argument}={rest.pop(0)}"
        changes.append(argument.removeprefix("--config."))
    return changes


def check(config: Mapping[str, Any], source: str) -> None:
    """Holds every value against SCHEMA.

    Raises:
      InputError: naming `source`, the key, what is wrong and what is wanted.
    """
    flat = flatten(config)
    _check_keys(flat, source)
    for name, (kind, _, choices) in SCHEMA.items():
        value: Any = flat[name]
        _check_numbers(value, name, source)
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        fits = isinstance(value, (tuple, list) if kind is tuple else kind)
        if not fits or (kind is int and isinstance(value, bool)):
            raise InputError(f"{source}: {name} = {value!r} is not of type {kind.__name__}; set --config.{name}=…")
        if choices and kind is tuple:
            for held in value:
                if held not in choices:
                    raise InputError(f"{source}: {name} holds {held!r}; it is of {', '.join(choices)}")
        elif choices and value not in choices:
            raise InputError(f"{source}: {name} = {value!r}; it is one of {', '.join(choices)}")
        if name in POSITIVE and not value > 0:
            raise InputError(f"{source}: {name} = {value!r} must be positive")
        if name in NOT_NEGATIVE and not value >= 0:
            raise InputError(f"{source}: {name} = {value!r} must not be negative")
        if name in FRACTIONS and not 0 <= value < 1:
            raise InputError(f"{source}: {name} = {value!r} must be at least 0 and less than 1")
    for name, least in (("image_size", MIN_IMAGE_SIZE), ("text.max_tokens", MIN_TOKENS)):
        if flat[name] < least:
            raise InputError(f"{source}: {name} = {flat[name]} must be at least {least}")
    blocks = flat["image.block_sizes"]
    if not blocks or not all(isinstance(depth, int) and depth > 0 for depth in blocks):
        raise InputError(f"{source}: image.block_sizes = {blocks!r} must be one positive integer a block")
    for name in ("image.mean", "image.std"):
        if len(flat[name]) != 3 or not all(isinstance(value, int | float) for value in flat[name]):
            raise InputError(f"{source}: {name} = {flat[name]!r} must be three numbers")
    if 0 in flat["image.std"]:
        raise InputError(f"{source}: image.std = {flat['image.std']!r} is divided by; it must not hold 0")
    for name in ("image.pretrained_except", "text.pretrained_except", "init_except"):
        for pattern in flat[name]:
            try:
                re.compile(pattern)
            except (re.error, TypeError) as error:
                raise InputError(f"{source}: {name} holds {pattern!r}, no regular expression ({error})") from error
    if flat["init_except"] and not flat["init_from"]:
        raise InputError(f"{source}: init_except = {flat['init_except']!r} stands without init_from; set both or none")
    if flat["image.frozen"] and flat["text.frozen_tower"]:
        raise InputError(
            f"{source}: image.frozen and text.frozen_tower leave nothing to learn but the temperature; set one to false"
        )
    if not all(isinstance(name, str) for pair in flat["data.columns"].items() for name in pair):
        raise InputError(f"{source}: data.columns = {flat['data.columns']!r} must be names of columns, ours to theirs")
    if flat["profile_steps"]:
        profiled_steps(flat["profile_steps"], source)
    check_positions(config, source)


def _check_numbers(value: Any, name: str, source: str) -> None:
    """Every float, and every whole number in its place, is one that float32, which the step computes in, can hold."""
    kind, inner = SCHEMA[name].kind, (value.values() if isinstance(value, Mapping) else value)
    for number in inner if isinstance(value, tuple | list | Mapping) else [value]:
        if isinstance(number, bool) or not isinstance(number, float if kind is int else float | int):
            continue
        if isinstance(number, float) and not math.isfinite(number):
            raise InputError(f"{source}: {name} = {value!r} must be a finite number")
        if number and not FLOAT32_MIN <= abs(number) <= FLOAT32_MAX:
            raise InputError(
                f"{source}: {name} = {value!r} is computed in float32, which holds sizes from {FLOAT32_MIN:.1e} to "
                f"{FLOAT32_MAX:.1e}, and 0"
            )


def profiled_steps(text: str, source: str = "profile_steps") -> range:
    """The steps of `FIRST:LAST`, both among them; none of an empty text.

    Raises:
      InputError: it is not of that form.
    """
    match = re.fullmatch(r"(\d+):(\d+)", text)
    if text and (match is None or not 0 < int(match[1]) <= int(match[2])):
        raise InputError(f"{source}: profile_steps = {text!r} must be FIRST:LAST, steps from 1 on")
    return range(int(match[1]), int(match[2]) + 1) if match else range(0)


def check_positions(config: Mapping[str, Any], source: str) -> None:
    """Prompts and tokens together must have a position each.

    Raises:
      InputError: they have not.
    """
    positions = config["text"]["bert"].get("max_position_embeddings", 512)
    wanted = config["text"]["num_prompts"] + config["text"]["max_tokens"]
    if wanted > positions:
        raise InputError(
            f"{source}: text.num_prompts + text.max_tokens = {wanted} passes BERT's {positions} positions; lower "
            "text.max_tokens"
        )


def flatten(config: Mapping[str, Any] | ConfigDict) -> dict[str, Any]:
    """Dotted keys to values; `text.bert` and what is not in SCHEMA's shape stay whole."""
    flat: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, ConfigDict | dict) and any(key.startswith(f"{name}.") for key in SCHEMA):
            for inner, inner_value in value.items():
                is_dict = isinstance(inner_value, ConfigDict)
                flat[f"{name}.{inner}"] = inner_value.to_dict() if is_dict else inner_value
        else:
            flat[name] = value
    return flat


def with_younger_keys(config: Mapping[str, Any]) -> dict[str, Any]:
    """A run's configuration, nested, with the keys that are younger than the run: YOUNGER_KEYS."""
    completed = {name: dict(value) if isinstance(value, Mapping) else value for name, value in config.items()}
    for name, value in YOUNGER_KEYS.items():
        *room, key = name.split(".")
        inner = completed.setdefault(room[0], {}) if room else completed
        if isinstance(inner, dict):
            inner.setdefault(key, value)
    return completed


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What differs between two configurations, one `key: old → new` each, FREE_KEYS and CHANGEABLE_KEYS aside."""
    old, new = flatten(old), flatten(new)
    names = [name for name in dict.fromkeys([*old, *new]) if name not in (*FREE_KEYS, *CHANGEABLE_KEYS)]
    return [f"{n}: {old.get(n)} → {new.get(n)}" for n in names if _plain(old.get(n)) != _plain(new.get(n))]


def describe() -> str:
    """Every key with its type and meaning, a line each."""
    rows = (
        (name, k.kind.__name__, k.meaning, f" [{' | '.join(k.choices)}]" if k.choices else "")
        for name, k in SCHEMA.items()
    )
    return "\n".join(f"  {name:26} {kind:6} {meaning}{choices}" for name, kind, meaning, choices in rows)


def _pair(text: str) -> tuple[str, str]:
    """`name=value` as both."""
    name, separator, value = (part.strip() for part in text.partition("="))
    if not (name and separator and value):
        raise ValueError(text)
    return name, value


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _check_keys(flat: Mapping[str, Any], source: str) -> None:
    for name, key in SCHEMA.items():
        if name not in flat:
            raise InputError(
                f"{source}: key {name} is missing ({key.kind.__name__}: {key.meaning}); set it in get_config()"
            )
    for name in flat:
        if name not in SCHEMA:
            raise InputError(f"{source}: {_unknown(name)}")


def _unknown(name: str) -> str:
    close = difflib.get_close_matches(name, SCHEMA, n=1, cutoff=0.5)
    return f"there is no key {name}" + (f"; did you mean {close[0]}?" if close else "; --help lists them")


def _parse(name: str, text: str) -> Any:
    kind = SCHEMA[name].kind
    try:
        if kind is bool:
            return {"true": True, "1": True, "false": False, "0": False}[text.lower()]
        if kind is dict and text and not text.lstrip().startswith("{"):
            return dict(_pair(part) for part in text.split(","))
        if kind in (tuple, dict):
            value = ast.literal_eval(text)
            if isinstance(value, str):
                raise TypeError(value)
            return tuple(value) if kind is tuple else dict(value)
        return kind(text)
    except (KeyError, ValueError, TypeError, SyntaxError) as error:
        raise InputError(f"--config.{name}={text}: not of type {kind.__name__}") from error

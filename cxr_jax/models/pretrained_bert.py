"""Weights from elsewhere: the only file that knows foreign names. Every weight on both sides is accounted for."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import flax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from safetensors.numpy import load_file
from transformers import BertConfig
from transformers.utils import cached_file

from cxr_jax.errors import InputError
from cxr_jax.hub import locate

# The fields that shape the network or its numbers; the rest of a hub's config.json is bookkeeping.
BERT_FIELDS = (
    "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "hidden_act",
    "hidden_dropout_prob", "attention_probs_dropout_prob", "max_position_embeddings", "type_vocab_size",
    "layer_norm_eps", "initializer_range", "pad_token_id",
)  # fmt: skip
# What a BERT checkpoint may hold beyond the encoder: heads of its own training, and constants.
BERT_EXTRAS = re.compile(r"pooler[./]|cls[./]|embeddings[./]position_ids$")
Parameters = dict[str, Any]


def load_bert_config(name: str) -> dict[str, Any]:
    """BERT_FIELDS of the BERT in a folder or on the hub.

    Raises:
      InputError: there is no config.json, or it is not a BERT's.
    """
    found, local = locate(name)
    try:
        config, _ = BertConfig.get_config_dict(found, local_files_only=local)
        if not config:
            raise OSError("no config.json in it")
    except Exception as error:  # transformers and its hub client raise a dozen kinds
        raise InputError(
            f"text.pretrained = {name}: no configuration could be loaded ({_first_line(error)}); give a folder that "
            "holds config.json, or a model's name on a hub that this machine reaches"
        ) from error
    if config.get("model_type", "bert") != "bert":
        raise InputError(f"text.pretrained = {name}: is a {config['model_type']}; give a BERT")
    return complete_bert_config({field: config[field] for field in BERT_FIELDS if field in config})


def complete_bert_config(fields: Mapping[str, Any]) -> dict[str, Any]:
    """BERT_FIELDS, with BertConfig's defaults for those not given.

    Raises:
      InputError: a field that is none of them, or heads that cannot share the hidden size.
    """
    if unknown := fields.keys() - set(BERT_FIELDS):
        raise InputError(f"text.bert: there is no field {min(unknown)}; it takes {', '.join(BERT_FIELDS)}")
    config = BertConfig(**fields)
    if config.hidden_size % config.num_attention_heads:
        raise InputError(
            f"text.bert: hidden_size = {config.hidden_size} is no multiple of num_attention_heads = "
            f"{config.num_attention_heads}; mend one of them"
        )
    return {name: getattr(config, name) for name in BERT_FIELDS}


def load_bert(name: str, wanted: Parameters) -> Parameters:
    """FlaxBertModule's parameters in float32, from safetensors or Flax msgpack in a folder or on the hub.

    Args:
      wanted: the tree that the model expects, arrays or shapes; its keys and shapes are what is checked.

    Raises:
      InputError: no weights that can be read without torch, or some that are missing, left over or of another shape.
    """
    if (file := _find(name, "model.safetensors")) is not None:
        try:
            foreign = load_file(file)
        except Exception as error:
            raise InputError(f"{file}: damaged safetensors ({_first_line(error)}); fetch it again") from error
        loaded = {_flax_name(key): _flax_value(key, value) for key, value in foreign.items() if not _extra(key)}
    elif (file := _find(name, "flax_model.msgpack")) is not None:
        try:
            tree = flatten_dict(flax.serialization.msgpack_restore(Path(file).read_bytes()), sep="/")
        except Exception as error:
            raise InputError(f"{file}: damaged msgpack ({_first_line(error)}); fetch it again") from error
        loaded = {key.removeprefix("bert/"): np.asarray(value) for key, value in tree.items() if not _extra(key)}
    else:
        raise InputError(
            f"text.pretrained = {name}: holds neither model.safetensors nor flax_model.msgpack; convert a "
            "pytorch_model.bin with torch and transformers: BertModel.from_pretrained(IN).save_pretrained(OUT)"
        )
    shapes = {key: value.shape for key, value in flatten_dict(wanted, sep="/").items()}
    account(str(file), {key: value.shape for key, value in loaded.items()}, shapes)
    return unflatten_dict({key: loaded[key].astype(np.float32) for key in shapes}, sep="/")


def account(file: str, found: Mapping[str, tuple[int, ...]], wanted: Mapping[str, tuple[int, ...]]) -> None:
    """Refuses weights that do not match one to one.

    Raises:
      InputError: naming how many are missing, left over or of another shape, and the first of each.
    """
    missing, extra = sorted(wanted.keys() - found.keys()), sorted(found.keys() - wanted.keys())
    other = sorted(key for key in wanted.keys() & found.keys() if wanted[key] != found[key])
    faults = []
    if missing:
        faults.append(f"{len(missing)} missing ({missing[0]} first)")
    if extra:
        faults.append(f"{len(extra)} left over ({extra[0]} first)")
    if other:
        faults.append(f"{len(other)} of another shape ({other[0]}: {found[other[0]]}, not {wanted[other[0]]})")
    if faults:
        raise InputError(
            f"{file}: weights do not fit the model: {', '.join(faults)}; config.json and weights must agree"
        )


def _find(name: str, file: str) -> str | None:
    found, local = locate(name)
    try:
        return cached_file(found, file, local_files_only=local, _raise_exceptions_for_missing_entries=False)
    except Exception as error:
        raise InputError(f"text.pretrained = {name}: cannot be reached ({_first_line(error)})") from error


def _extra(key: str) -> bool:
    return BERT_EXTRAS.match(key.removeprefix("bert.").removeprefix("bert/")) is not None


def _flax_name(key: str) -> str:
    parts = key.removeprefix("bert.").split(".")
    if "LayerNorm" in parts:
        leaf = {"weight": "scale", "gamma": "scale", "beta": "bias"}.get(parts[-1], parts[-1])
    elif parts[-2].endswith("embeddings"):
        leaf = {"weight": "embedding"}.get(parts[-1], parts[-1])
    else:
        leaf = {"weight": "kernel"}.get(parts[-1], parts[-1])
    return "/".join([*parts[:-1], leaf])


def _flax_value(key: str, value: np.ndarray) -> np.ndarray:
    # torch's Linear keeps (out, in); an embedding table is the same on both sides.
    return value.T if value.ndim == 2 and _flax_name(key).endswith("kernel") else value


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]

"""BERT's weights from elsewhere, and those of its near kin; their names are known here and nowhere else.

Every weight on both sides is accounted for. The kin are those that FlaxBertModule computes exactly: RoBERTa (whose
positions start after the padding's), ELECTRA (where embeddings are as wide as the rest), DistilBERT (which has no type
embedding), and BERTs under another name.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from transformers import AutoConfig, BertConfig
from transformers.modeling_flax_utils import ACT2FN

from cxr_jax.errors import InputError
from cxr_jax.weights.files import account, find, first_line, may_be_missing, read
from cxr_jax.weights.hub import locate

# The fields that shape the network or its numbers; the rest of a hub's config.json is bookkeeping.
BERT_FIELDS = (
    "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "hidden_act",
    "hidden_dropout_prob", "attention_probs_dropout_prob", "max_position_embeddings", "type_vocab_size",
    "layer_norm_eps", "initializer_range", "pad_token_id",
)  # fmt: skip
SIZES = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size",
         "max_position_embeddings", "type_vocab_size")  # fmt: skip
# A config.json's model_type → whose names and conventions it has.
KIN = {"bert": "bert", "cxr-bert": "bert", "roberta": "roberta", "xlm-roberta": "roberta", "camembert": "roberta",
       "electra": "electra", "distilbert": "distilbert"}  # fmt: skip
DISTILBERT_FIELDS = {
    "hidden_size": "dim", "num_hidden_layers": "n_layers", "num_attention_heads": "n_heads",
    "intermediate_size": "hidden_dim", "hidden_act": "activation", "hidden_dropout_prob": "dropout",
    "attention_probs_dropout_prob": "attention_dropout",
}  # fmt: skip
DISTILBERT_PATHS = {
    "^transformer/layer/": "encoder/layer/",
    "attention/q_lin/": "attention/self/query/",
    "attention/k_lin/": "attention/self/key/",
    "attention/v_lin/": "attention/self/value/",
    "attention/out_lin/": "attention/output/dense/",
    "sa_layer_norm/": "attention/output/LayerNorm/",
    "output_layer_norm/": "output/LayerNorm/",
    "ffn/lin1/": "intermediate/dense/",
    "ffn/lin2/": "output/dense/",
}
# What a checkpoint may hold beyond the encoder: heads of its own training, and constants.
EXTRAS = re.compile(
    r"(pooler|cls|lm_head|classifier|pre_classifier|qa_outputs|cls_projection_head|discriminator_predictions|"
    r"generator_predictions|generator_lm_head|vocab_(transform|layer_norm|projector))/|"
    r"embeddings/(position_ids|token_type_ids)$"
)
# By choice: safetensors, then what needs no torch.
FILES = ("model.safetensors", "flax_model.msgpack", "pytorch_model.bin")
POSITIONS, TYPES = (f"embeddings/{name}_embeddings/embedding" for name in ("position", "token_type"))
Parameters = dict[str, Any]


class LoadedBert(NamedTuple):
    """FlaxBertModule's parameters in float32, less what is missing with leave, and one line that says what they are."""

    params: Parameters
    note: str


def load_bert_config(name: str) -> dict[str, Any]:
    """BERT_FIELDS of the BERT, or its kin, in a folder or on the hub.

    Raises:
      InputError: there is no config.json, or it is of another kind.
    """
    config = _read_config(name)
    model_type = config.get("model_type", "bert")
    if model_type not in KIN:
        raise InputError(f"text.pretrained = {name}: is a {model_type}; what can be computed here is {', '.join(KIN)}")
    kind = KIN[model_type]
    theirs = DISTILBERT_FIELDS if kind == "distilbert" else {}
    defaults = AutoConfig.for_model(kind)
    keys = {field: theirs.get(field, field) for field in BERT_FIELDS}
    fields: dict[str, Any] = {field: config.get(key, getattr(defaults, key, None)) for field, key in keys.items()}
    if kind == "roberta":
        fields["max_position_embeddings"] -= _first_position(config)
    if kind == "distilbert":
        fields |= {"layer_norm_eps": 1e-12, "type_vocab_size": 1}
    if config.get("position_embedding_type", "absolute") != "absolute" or config.get("is_decoder", False):
        raise InputError(f"text.pretrained = {name}: has relative positions or is a decoder; give a plain encoder")
    if kind == "electra" and config.get("embedding_size", defaults.embedding_size) != fields["hidden_size"]:
        raise InputError(
            f"text.pretrained = {name}: is an ELECTRA whose embeddings are narrower than its layers (embedding_size is "
            "not hidden_size), which cannot be computed here; give its base or large size"
        )
    return complete_bert_config(fields)


def complete_bert_config(fields: Mapping[str, Any]) -> dict[str, Any]:
    """BERT_FIELDS, with BertConfig's defaults for those not given.

    Raises:
      InputError: a field that is none of them or makes no network, or heads that cannot share the hidden size.
    """
    if unknown := fields.keys() - set(BERT_FIELDS):
        raise InputError(f"text.bert: there is no field {min(unknown)}; it takes {', '.join(BERT_FIELDS)}")
    config = BertConfig(**fields)
    for field in SIZES:
        if not isinstance(value := getattr(config, field), int) or value < 1:
            raise InputError(f"text.bert: {field} = {value!r} must be a positive integer")
    if config.hidden_act not in ACT2FN:
        raise InputError(f"text.bert: there is no hidden_act {config.hidden_act!r}; it is one of {', '.join(ACT2FN)}")
    if config.hidden_size % config.num_attention_heads:
        raise InputError(
            f"text.bert: hidden_size = {config.hidden_size} is no multiple of num_attention_heads = "
            f"{config.num_attention_heads}; mend one of them"
        )
    return {name: getattr(config, name) for name in BERT_FIELDS}


def load_bert(name: str, wanted: Parameters, excepted: Sequence[str] = ()) -> LoadedBert:
    """FlaxBertModule's parameters in float32, from a folder or the hub: safetensors, Flax msgpack or torch's format.

    Args:
      wanted: the tree that the model expects, arrays or shapes; its keys and shapes are what is checked.
      excepted: `text.pretrained_except`; what is missing with leave is not in the result.

    Raises:
      InputError: no weights that can be read here, or some that are missing, left over, of another shape or not finite.
    """
    if (file := find("text.pretrained", name, FILES)) is None:
        raise InputError(f"text.pretrained = {name}: holds no weights; it takes {', '.join(FILES)}")
    by_flax = file.suffix == ".msgpack"
    named = {_path(key) if by_flax else _flax_path(key): value for key, value in read(file).items()}
    # torch's Linear keeps (out, in); an embedding table is the same on both sides.
    weights = {
        path: value.T if path.endswith("/kernel") and not by_flax else value
        for path, value in named.items()
        if EXTRAS.match(path) is None
    }
    shapes = {path: tuple(value.shape) for path, value in flatten_dict(wanted, sep="/").items()}
    config = _read_config(name)
    kind = KIN.get(config.get("model_type", "bert"))
    if kind == "roberta" and POSITIONS in weights:
        weights[POSITIONS] = weights[POSITIONS][_first_position(config) :]
    if kind == "distilbert" and TYPES in shapes:
        weights[TYPES] = np.zeros(shapes[TYPES], np.float32)
    names = account(file, weights, shapes, excepted, may_be_missing("text.pretrained_except"))
    tree = unflatten_dict({key: weights[key].astype(np.float32) for key in names}, sep="/")
    return LoadedBert(tree, f"text.pretrained = {name}: {file.name}, {len(names)} of {len(shapes)} weights")


def _read_config(name: str) -> dict[str, Any]:
    place, local = locate(name)
    try:
        config, _ = BertConfig.get_config_dict(place, local_files_only=local)
        if not config:
            raise OSError("no config.json in it")
    except Exception as error:  # transformers and its hub client raise a dozen kinds
        raise InputError(
            f"text.pretrained = {name}: no configuration could be loaded ({first_line(error)}); give a folder that "
            "holds config.json, or a model's name on a hub that this machine reaches"
        ) from error
    return config


def _first_position(config: Mapping[str, Any]) -> int:
    """RoBERTa counts its tokens from after the padding's number."""
    return config.get("pad_token_id", 1) + 1


def _path(key: str) -> str:
    """A name of Flax's, without the encoder's own level, as FlaxBertModule has it."""
    path = re.sub(r"^(bert|roberta|electra|distilbert)/", "", key)
    for pattern, ours in DISTILBERT_PATHS.items():
        path = re.sub(pattern, ours, path)
    return path


def _flax_path(key: str) -> str:
    """The same from torch's name."""
    *modules, leaf = key.split(".")
    module = modules[-1] if modules else ""
    if module == "LayerNorm" or module.endswith("layer_norm"):
        leaf = {"weight": "scale", "gamma": "scale", "beta": "bias"}.get(leaf, leaf)
    else:
        leaf = {"weight": "embedding" if module.endswith("embeddings") else "kernel"}.get(leaf, leaf)
    return _path("/".join([*modules, leaf]))

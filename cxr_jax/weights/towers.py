"""A run's pretrained towers: what they settle of its configuration, and their weights.

A run that has begun holds both, in config.json and its checkpoints, and needs the towers' files no more.
"""

from collections.abc import Mapping
from typing import Any

from cxr_jax import config as configuration
from cxr_jax.weights.bert import load_bert, load_bert_config
from cxr_jax.weights.densenet import load_densenet

# What a tower from elsewhere settles of the configuration.
TOWER_KEYS = {"image": ("image.mean", "image.std"), "text": ("text.bert",)}


def pretrained_of(config: Mapping[str, Any], tower: str) -> str:
    """`image.pretrained` or `text.pretrained`; nothing where `init_from` gives that tower instead."""
    given = TOWER_KEYS[tower][0] in config.get("init_taken", {}).get("settles", ())
    return "" if given else config[tower]["pretrained"]


def resolve_towers(config: Mapping[str, Any], begun: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The configuration with what pretrained towers settle: BERT's fields, the image's mean and standard deviation.

    Args:
      begun: the resolved configuration of the run that is gone on with, if one is. Towers that it names are not read.

    Raises:
      InputError: there are no such towers, DenseNet's weights do not fit, or prompts and tokens pass BERT's positions.
    """
    image, text = config["image"], config["text"]
    settled = {
        name: begun[name]
        for name in ("image", "text")
        if begun is not None and begun[name]["pretrained"] == config[name]["pretrained"]
    }
    if name := pretrained_of(config, "text"):
        text = text | {"bert": settled["text"]["bert"] if "text" in settled else load_bert_config(name)}
    configuration.check_positions({"text": text}, source=f"text.pretrained = {name}" if name else "text.bert")
    if pretrained_of(config, "image"):
        source = settled["image"] if "image" in settled else load_densenet(image)._asdict()
        image = image | {"mean": source["mean"], "std": source["std"]}
    return {**config, "image": image, "text": text}


def load_towers(config: Mapping[str, Any], shapes: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """{"params", "batch_stats"} of the pretrained towers alone, and of each a line that says what it is.

    Args:
      config: with its towers resolved.
      shapes: the model's parameters, or what has their shapes.

    Raises:
      InputError: weights that are missing, damaged or do not fit.
    """
    variables: dict[str, Any] = {"params": {}, "batch_stats": {}}
    notes = []
    if pretrained_of(config, "image"):
        densenet = load_densenet(config["image"])
        for part, tree in densenet.variables.items():
            variables[part]["vision"] = {"densenet": tree}
        notes.append(densenet.note)
    if name := pretrained_of(config, "text"):
        bert = load_bert(name, shapes["text"]["bert"], config["text"]["pretrained_except"])
        variables["params"]["text"] = {"bert": bert.params}
        notes.append(bert.note)
    return variables, notes

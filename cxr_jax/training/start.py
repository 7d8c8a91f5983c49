"""Where a run begins: its configuration with nothing left to look up, its tokenizer, its state, its compiled step."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from transformers import PreTrainedTokenizerBase

from cxr_jax.data.length_buckets import LengthBuckets, make_buckets
from cxr_jax.data.pipeline import label_columns
from cxr_jax.data.records import SourceConfig
from cxr_jax.data.text_augmentation import draws_texts
from cxr_jax.errors import InputError
from cxr_jax.files import whole
from cxr_jax.models.text import has_fixed_features
from cxr_jax.runtime import parallel, processes
from cxr_jax.runtime.run_folder import RunFolder
from cxr_jax.training.checkpoint import Checkpoints, merge
from cxr_jax.training.loop import Best
from cxr_jax.training.step import Recipe, TrainState, init_state, make_train_step, micro_batches, state_shapes
from cxr_jax.weights.bert import complete_bert_config
from cxr_jax.weights.tokenizer import load_tokenizer, tokenizer_of
from cxr_jax.weights.towers import load_towers

# What is not known of a run's configuration before its BERT and its data are read.
RESOLVED = ("text.bert", "data.fingerprint", "data.description", "data.split_used")


def find_tokenizer(run: RunFolder, config: Mapping[str, Any], train_texts: Sequence[str]) -> PreTrainedTokenizerBase:
    """The run's own tokenizer, the pretrained BERT's, or one learnt from all that training can draw."""
    if run.config_file.is_file() and run.tokenizer.is_dir():
        return load_tokenizer(run.tokenizer)
    return tokenizer_of(config, train_texts)


def resolve(config: Mapping[str, Any], tokenizer: PreTrainedTokenizerBase, source: SourceConfig) -> dict[str, Any]:
    """The configuration with nothing left to look up: a learnt vocabulary's size, and what the data is.

    Raises:
      InputError: the pretrained BERT's tokenizer is not its own.
    """
    text = config["text"]
    if text["pretrained"]:
        last, words = max(tokenizer.get_vocab().values()), text["bert"]["vocab_size"]
        if last >= words:  # XLA would silently clamp the look-up
            raise InputError(
                f"text.pretrained = {text['pretrained']}: its tokenizer counts to {last} and its weights know {words} "
                "words; give it the tokenizer that it was trained with"
            )
    else:
        text = text | {"bert": complete_bert_config({**text["bert"], "vocab_size": len(tokenizer)})}
    data = config["data"] | {
        "fingerprint": source.name,
        "description": source.description,
        "split_used": source.split,
    }
    return {**config, "text": text, "data": data}


def keep_tokenizer(run: RunFolder, tokenizer: PreTrainedTokenizerBase) -> None:
    """Writes the tokenizer into the run's folder, whole, where it is not there yet."""
    if not run.tokenizer.is_dir():
        with whole(run.tokenizer) as part:
            tokenizer.save_pretrained(part)


@dataclasses.dataclass
class Start:
    """What training begins with: the state on the host, its step, and of the steps up to it the best validation and the
    number of updates left out; the data iterator's state behind them, None at the first; notes to print."""

    state: TrainState
    step: int
    best: Best
    skipped: int
    iterator: Any
    notes: Sequence[str]


def restore_or_init(checkpoints: Checkpoints | None, recipe: Recipe, config: Mapping[str, Any]) -> Start:
    """The newest checkpoint's state, with that of the data iterator at the batch that follows it; or a fresh state.

    A fresh state has the pretrained towers' weights in it. The primary reads; the other processes get it from there.

    Args:
      checkpoints: None in all processes but the primary.

    Raises:
      InputError: no checkpoint can be read, or the pretrained towers' weights are missing, damaged or do not fit.
    """
    shapes = state_shapes(recipe, config)
    data, state, notes = "", jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), shapes), list[str]()
    if checkpoints is not None:
        restored = checkpoints.restore_newest(shapes)
        state, notes = (restored[0], []) if restored else _fresh(recipe, config, shapes)
        data = json.dumps(restored[1]) if restored else ""
    data = processes.from_primary("state", data)
    state = parallel.from_primary(state)
    if not data:
        return Start(state, 0, Best(), 0, None, notes)
    saved = json.loads(data)
    best = Best() if saved["best"]["step"] is None else Best(**saved["best"])
    return Start(state, int(state.step), best, saved["skipped"], saved["iterator"], notes)


def _fresh(recipe: Recipe, config: Mapping[str, Any], shapes: TrainState) -> tuple[TrainState, list[str]]:
    loaded, notes = load_towers(config, shapes.params)
    fresh = init_state(recipe, config)
    params = merge(fresh.params, loaded["params"])
    batch_stats = merge(fresh.batch_stats, loaded["batch_stats"])
    return dataclasses.replace(fresh, params=params, batch_stats=batch_stats), notes


def reads_features(config: Mapping[str, Any]) -> bool:
    """Whether training is given h of Eq. (5), computed once for each distinct report: no step changes it."""
    return has_fixed_features(config["text"]) and not draws_texts(config)


def buckets_of(config: Mapping[str, Any], counts: np.ndarray) -> LengthBuckets:
    """How a run's batches pad their reports, `counts` being the tokens of every training report.

    Texts that are drawn anew, or are no tokens, are not sorted into buckets.
    """
    devices = parallel.num_devices()
    shares = devices * micro_batches(config["micro_batch"], config["batch_size"] // devices)
    if reads_features(config) or draws_texts(config):
        config = {**config, "text": config["text"] | {"length_buckets": 1}}
    return make_buckets(counts, config, shares)


def empty_batch(config: Mapping[str, Any], pairs: int, buckets: LengthBuckets | None = None) -> dict[str, Any]:
    """A batch of so many pairs as the step takes it, all zeros: for its shapes and types."""
    side, lengths = config["image_size"], (config["text"]["max_tokens"],) if buckets is None else buckets.lengths
    tokens = tuple(np.zeros((pairs // len(lengths), length), np.int32) for length in lengths)
    texts: dict[str, Any] = dict.fromkeys(("token_ids", "token_mask"), tokens if len(tokens) > 1 else tokens[0])
    if reads_features(config):
        texts = {"text_features": np.zeros((pairs, config["text"]["bert"]["hidden_size"]), np.float32)}
    return {
        "image": np.zeros((pairs, side, side, 1), np.uint8),
        **texts,
        "group_id": np.zeros(pairs, np.int32),
        "study_id": np.zeros(pairs, np.int32),
        "labels": np.zeros((pairs, len(label_columns(config["loss"]["positives"]))), np.uint8),
    }


def compile_step(
    recipe: Recipe, config: Mapping[str, Any], state: TrainState, buckets: LengthBuckets | None = None
) -> tuple[Any, dict[str, float]]:
    """The train step, compiled: (replicated state, sharded batch, key) → (state, metrics); and `cost_of` it.

    A batch that does not fit the buckets has a program of its own, compiled when it first comes.

    Args:
      state: replicated; it is only looked at.
    """
    batch = empty_batch(config, config["batch_size"] // processes.count(), buckets)
    step = make_train_step(recipe, parallel.AXIS, config["nan"] == "skip")
    pmapped = parallel.pmap(step, in_axes=(0, 0, None), donate=(0,))
    key = jax.random.key(config["seed"])
    first, program = parallel.compiled(pmapped, state, parallel.shard(batch), key)
    programs = {jax.tree.structure(batch): first}

    def call(state: TrainState, batch: Any, key: Any) -> Any:
        structure = jax.tree.structure(batch)
        if structure not in programs:
            programs[structure] = parallel.compiled(pmapped, state, batch, key)[0]
        return programs[structure](state, batch, key)

    share = config["batch_size"] // parallel.num_devices()
    return call, cost_of(program, micro_batches(config["micro_batch"], share))


def cost_of(program: Any, repeats: int = 1) -> dict[str, float]:
    """Of one step: {"flops": of all devices together, "temporary_bytes", "argument_bytes": of one device}.

    By XLA's own analysis, which counts a loop's body once, however often it `repeats`; what it does not say is 0.
    """
    cost, memory = program.cost_analysis() or {}, program.memory_analysis()
    return {
        "flops": float(cost.get("flops", 0.0)) * repeats * parallel.num_devices(),
        "temporary_bytes": float(getattr(memory, "temp_size_in_bytes", 0)),
        "argument_bytes": float(getattr(memory, "argument_size_in_bytes", 0)),
    }

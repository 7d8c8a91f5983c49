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
from cxr_jax.weights.tokenizer import check_vocabulary, load_tokenizer, tokenizer_of
from cxr_jax.weights.towers import TOWER_KEYS, load_towers, pretrained_of
from cxr_jax.weights.warm_start import RECORD, Source, settled_by, settled_in, taken_from, takes_tokenizer, with_settled

# What is not known of a run's configuration before its BERT and its data are read.
RESOLVED = ("text.bert", "data.fingerprint", "data.description", "data.split_used")
# And before its towers, or the model that it begins with, are.
LOOKED_UP = (*RESOLVED, RECORD, *TOWER_KEYS["image"])


def resolve_init(
    config: Mapping[str, Any], begun: Mapping[str, Any] | None, source: Source | None
) -> Mapping[str, Any]:
    """The configuration with what `init_from` settles, as the run that has begun has it, or by the primary's source.

    Raises:
      InputError: weights that do not fit; the source is no longer what the run began with.
    """
    if not config["init_from"]:
        return config
    if begun is None:
        said = processes.from_primary("init_from", json.dumps(settled_by(source, config)) if source else "")
        return with_settled(config, json.loads(said))
    settled = settled_in(begun)
    if source is not None and source.checkpoint != settled[RECORD]["checkpoint"]:
        raise InputError(
            f"init_from = {config['init_from']}: holds checkpoint {source.checkpoint} of step {source.step} now, and "
            f"this run began with {settled[RECORD]['checkpoint']}; give another --workdir to begin with what it holds"
        )
    return with_settled(config, settled)


def find_tokenizer(
    run: RunFolder, config: Mapping[str, Any], train_texts: Sequence[str], source: Source | None = None
) -> PreTrainedTokenizerBase:
    """The run's own tokenizer, that of `init_from`'s word embeddings, the pretrained BERT's, or one learnt from all
    that training can draw."""
    if run.config_file.is_file() and run.tokenizer.is_dir():
        return load_tokenizer(run.tokenizer)
    if source is not None and takes_tokenizer(config):
        return source.tokenizer
    return tokenizer_of(config, train_texts)


def resolve(config: Mapping[str, Any], tokenizer: PreTrainedTokenizerBase, source: SourceConfig) -> dict[str, Any]:
    """The configuration with nothing left to look up: a learnt vocabulary's size, and what the data is.

    Raises:
      InputError: the tokenizer of a BERT from elsewhere is not its own.
    """
    text, name = config["text"], pretrained_of(config, "text")
    if name or takes_tokenizer(config):
        given_by = f"text.pretrained = {name}" if name else f"init_from = {config['init_from']}"
        check_vocabulary(tokenizer, text["bert"]["vocab_size"], given_by)
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


def restore_or_init(
    checkpoints: Checkpoints | None, recipe: Recipe, config: Mapping[str, Any], source: Source | None = None
) -> Start:
    """The newest checkpoint's state, with that of the data iterator at the batch that follows it; or a fresh state.

    A fresh state has the pretrained towers' weights in it, and over these what is taken of the source. The primary
    reads; the other processes get it from there.

    Args:
      checkpoints: None in all processes but the primary.
      source: what `init_from` names, where there is no checkpoint yet.

    Raises:
      InputError: no checkpoint can be read, or the pretrained towers' weights are missing, damaged or do not fit.
    """
    shapes = state_shapes(recipe, config)
    data, state, notes = "", jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), shapes), list[str]()
    if checkpoints is not None:
        restored = checkpoints.restore_newest(shapes)
        state, notes = (restored[0], []) if restored else _fresh(recipe, config, shapes, source)
        data = json.dumps(restored[1]) if restored else ""
    data = processes.from_primary("state", data)
    state = parallel.from_primary(state)
    if not data:
        return Start(state, 0, Best(), 0, None, notes)
    saved = json.loads(data)
    best = Best() if saved["best"]["step"] is None else Best(**saved["best"])
    return Start(state, int(state.step), best, saved["skipped"], saved["iterator"], notes)


def _fresh(
    recipe: Recipe, config: Mapping[str, Any], shapes: TrainState, source: Source | None
) -> tuple[TrainState, list[str]]:
    state, notes = init_state(recipe, config), list[str]()
    for given, said in [load_towers(config, shapes.params), *([taken_from(source, config)] if source else [])]:
        params, batch_stats = merge(state.params, given["params"]), merge(state.batch_stats, given["batch_stats"])
        state, notes = dataclasses.replace(state, params=params, batch_stats=batch_stats), [*notes, *said]
    return state, notes


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

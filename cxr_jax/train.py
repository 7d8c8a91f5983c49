"""Trains, or goes on with, a run.

    python -m cxr_jax.train --config configs/base.py --workdir DIR [--config.batch_size=128 …]

A folder that holds a checkpoint is resumed, and ends as if it had never been broken off.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from tqdm import tqdm
from transformers import PreTrainedTokenizerBase

from cxr_jax import config as configuration
from cxr_jax.data import pipeline
from cxr_jax.data.records import SourceConfig
from cxr_jax.data.reports import encoded_text
from cxr_jax.data.tokens import learn_wordpiece, tokenize
from cxr_jax.errors import ArgumentParser, InputError, run_command
from cxr_jax.evaluation.retrieval_metrics import retrieval_metrics
from cxr_jax.models.dual_encoder import inverse_temperature
from cxr_jax.retrieval.embedding import embed_split, index_split, make_encode_step
from cxr_jax.retrieval.model import load_variables
from cxr_jax.runtime import parallel
from cxr_jax.runtime.run_folder import RunFolder
from cxr_jax.training.checkpoint import Checkpoints
from cxr_jax.training.loop import BEST_METRIC, RECALL_RANKS, restore_or_init, run_steps
from cxr_jax.training.losses import contrastive_loss
from cxr_jax.training.step import Recipe, TrainState, count_parameters, make_recipe
from cxr_jax.weights.bert import complete_bert_config
from cxr_jax.weights.tokenizer import load_tokenizer
from cxr_jax.weights.towers import resolve_towers

# What is not known of a run's configuration before its BERT and its data are read.
RESOLVED = ("text.bert", "data.fingerprint", "data.description", "data.split_used")
VALIDATION_ROWS = 2048  # of a larger validation split, the first this many are looked at while training

Tokens = tuple[np.ndarray, np.ndarray]  # ids and mask, see `tokenize`


def train(config: Mapping[str, Any], workdir: str | Path) -> RunFolder:
    """The whole of training; returns the run's folder, with its index built.

    Raises:
      InputError: bad input, found before the first step.
      KeyboardInterrupt: on SIGINT or SIGTERM, after a checkpoint of the step at hand.
    """
    run = RunFolder(workdir)
    # What can be refused at once is, before data is prepared.
    parallel.check_batch_size(config["batch_size"])
    config = resolve_towers(config, run.load_config() if run.config_file.is_file() else None)
    run.check(config, but=RESOLVED)
    splits, source = pipeline.load_splits(config)
    tokenizer = find_tokenizer(run, config, splits["train"].reports)
    config = resolve(config, tokenizer, source)
    text_keys = config["text"]["max_tokens"], config["data"]["xxxx"]
    tokens = {name: tokenize(tokenizer, split.reports, *text_keys) for name, split in splits.items()}
    batches = pipeline.train_batches(splits["train"], tokens["train"], config, parallel.process())
    run.start(config)
    tokenizer.save_pretrained(run.tokenizer)

    recipe = make_recipe(config, parallel.AXIS)
    checkpoints = Checkpoints(run.checkpoints, BEST_METRIC)
    state, first_step, notes = restore_or_init(checkpoints, recipe, config, batches)
    announce(run, config, splits, state, recipe, first_step, notes)
    encode_step = parallel.pmap(make_encode_step(recipe.model))
    validation = partial(validate, encode_step, split=splits["val"], tokens=tokens["val"], config=config)
    best = run_steps(run, config, recipe, checkpoints, state, batches, validation)
    build_index(run, config, splits, tokens, encode_step, best)
    return run


def find_tokenizer(run: RunFolder, config: Mapping[str, Any], train_reports: Sequence[str]) -> PreTrainedTokenizerBase:
    """The run's own tokenizer, the pretrained BERT's, or one learnt from the training reports."""
    if run.config_file.is_file() and run.tokenizer.is_dir():
        return load_tokenizer(run.tokenizer)
    pretrained = config["text"]["pretrained"]
    if pretrained:
        return load_tokenizer(pretrained)
    return learn_wordpiece([encoded_text(report, config["data"]["xxxx"]) for report in train_reports])


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


def validate(
    encode_step: Any, state: TrainState, split: pipeline.Split, tokens: Tokens, config: Mapping[str, Any]
) -> dict[str, float]:
    """Loss (mean over batches of the training size, in order) and group-aware recall, image → report, on a split."""
    variables = {"params": state.params, "batch_stats": state.batch_stats}
    part = split.take(np.arange(min(VALIDATION_ROWS, len(split))))
    part, z_v, z_t, _ = embed_split(encode_step, variables, part, tokens, config)
    size = min(config["batch_size"], len(part))
    scale = inverse_temperature(parallel.unreplicate(state.params["log_scale"]))
    losses = [
        contrastive_loss(jnp.asarray(z_t[i : i + size]), jnp.asarray(z_v[i : i + size]), scale)
        for i in range(0, len(part) - size + 1, size)
    ]
    metrics = retrieval_metrics(z_v @ z_t.T, part.group_ids, part.group_ids)
    recall = {f"val_recall@{k}": metrics[f"recall@{k}"] for k in RECALL_RANKS}
    return {"val_loss": float(np.mean(losses)), **recall, BEST_METRIC: float(np.mean(list(recall.values())))}


def build_index(
    run: RunFolder,
    config: Mapping[str, Any],
    splits: Mapping[str, pipeline.Split],
    tokens: Mapping[str, Tokens],
    encode_step: Any,
    step: int,
) -> None:
    """Embeds every split with the checkpoint of a step and keeps that in the run's folder."""
    variables = parallel.replicate(load_variables(run, config, step))
    for name, split in splits.items():
        progress = partial(tqdm, desc=f"indexing {name}", unit="batch", leave=False)
        embedded = embed_split(encode_step, variables, split, tokens[name], config, progress)
        index_split(step, *embedded).save(run.index)


def announce(
    run: RunFolder, config: Any, splits: Any, state: TrainState, recipe: Recipe, first_step: int, notes: Sequence[str]
) -> None:
    """Says what is about to be trained, on what, and from where."""
    sizes = ", ".join(f"{name} {len(split)}" for name, split in splits.items())
    total, trained = count_parameters(recipe, state.params)
    print(
        f"{config['data']['dataset']}, split by {config['data']['split_used']}: {sizes} pairs; "
        f"{total:,} parameters, {trained:,} trained; {parallel.describe()}"
    )
    for note in notes:
        print(note)
    print(f"{run.root}: {f'resuming at step {first_step}' if first_step else 'a new run'}", flush=True)


def parse_arguments(argv: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """The arguments, and the `--config.key=value` overrides as `key=value`."""
    parser = ArgumentParser(
        prog="python -m cxr_jax.train",
        description=__doc__,
        epilog="configuration keys, for --config.KEY=VALUE:\n" + configuration.describe(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--config", required=True, metavar="FILE[:VARIANT]", help="a configuration file, see configs/")
    parser.add_argument("--workdir", required=True, metavar="DIR", help="the run's folder; made, or resumed")
    arguments, rest = parser.parse_known_args(argv)
    return arguments, configuration.overrides(rest)


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    arguments, overrides = parse_arguments(sys.argv[1:] if argv is None else argv)
    config = configuration.load(arguments.config, overrides)
    parallel.start()
    parallel.cache_compilations(Path(config["data"]["cache"]).expanduser() / "compiled")
    run = train(config, arguments.workdir)
    print(f"done: {run.root}; now evaluate it:\n  python -m cxr_jax.evaluate --workdir {run.root}")


if __name__ == "__main__":
    run_command(main)

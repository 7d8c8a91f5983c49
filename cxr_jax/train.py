"""Trains, or goes on with, a run.

    python -m cxr_jax.train --config configs/base.py --workdir DIR [--config.batch_size=128 …]

A folder that holds a checkpoint is resumed, and ends as if it had never been broken off.
"""

import argparse
import dataclasses
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from ml_collections import ConfigDict
from tqdm import tqdm
from transformers import PreTrainedTokenizerBase

from cxr_jax import config as configuration
from cxr_jax.data import pipeline, reports
from cxr_jax.data.records import SourceConfig
from cxr_jax.errors import ArgumentParser, InputError, run_command
from cxr_jax.evaluation.retrieval_metrics import retrieval_metrics
from cxr_jax.models.dual_encoder import MAX_SCALE
from cxr_jax.retrieval import model as inference
from cxr_jax.runtime import parallel
from cxr_jax.runtime.run_folder import RunFolder
from cxr_jax.training.checkpoint import Checkpoints
from cxr_jax.training.losses import contrastive_loss
from cxr_jax.training.step import (
    Recipe,
    TrainState,
    count_parameters,
    init_state,
    make_encode_step,
    make_recipe,
    make_train_step,
    state_shapes,
)
from cxr_jax.weights.bert import complete_bert_config
from cxr_jax.weights.towers import load_towers, resolve_towers

PROGRESS = "loss {loss:.3f}, lr {learning_rate:.1e}, τ {temperature:.4f}, {pairs_per_second:.0f} pairs/s"
# What is not known of a run's configuration before its BERT and its data are read.
RESOLVED = ("text.bert", "data.fingerprint", "data.description", "data.split_used")
VALIDATION_ROWS = 2048  # of a larger validation split, the first this many are looked at while training


def train(config: Mapping[str, Any], workdir: str | Path) -> RunFolder:
    """The whole of training; returns the run's folder, with its index built.

    Raises:
      InputError: bad input, found before the first step.
      KeyboardInterrupt: on SIGINT or SIGTERM, after a checkpoint of the step at hand.
    """
    run = RunFolder(workdir)
    # What can be refused at once is, before data is prepared.
    parallel.check_batch_size(config["batch_size"])
    config = config.to_dict() if isinstance(config, ConfigDict) else config
    config = resolve_towers(config, run.load_config() if run.config_file.is_file() else None)
    run.check(config, but=RESOLVED)
    splits, source = pipeline.load_splits(config)
    tokenizer = find_tokenizer(run, config, splits["train"].reports)
    config = resolve(config, tokenizer, source)
    text_keys = config["text"]["max_tokens"], config["data"]["xxxx"]
    tokens = {name: reports.tokenize(tokenizer, split.reports, *text_keys) for name, split in splits.items()}
    batches = pipeline.train_batches(splits["train"], tokens["train"], config, parallel.process())
    run.start(config)
    tokenizer.save_pretrained(run.tokenizer)

    recipe = make_recipe(config, parallel.AXIS)
    checkpoints = Checkpoints(run.checkpoints, inference.BEST_METRIC)
    state, first_step, notes = restore_or_init(checkpoints, recipe, config, batches)
    run.forget_after(first_step)
    announce(run, config, splits, state, recipe, first_step, notes)

    key = jax.random.key(config["seed"])
    train_step = parallel.pmap(make_train_step(recipe, parallel.AXIS), in_axes=(0, 0, None), donate=(0,))
    encode_step = parallel.pmap(make_encode_step(recipe.model))
    state = parallel.replicate(state)
    bar = tqdm(total=config["num_steps"], initial=first_step, unit="step", desc="compiling", dynamic_ncols=True)
    clock, since = time.perf_counter(), first_step
    with stop_signals() as stopped:
        for step in range(first_step + 1, config["num_steps"] + 1):
            state, metrics = train_step(state, parallel.shard(next(batches)), key)
            last = step == config["num_steps"]
            if step % config["log_every"] == 0 or step == first_step + 1 or last:
                shown = {name: float(value) for name, value in parallel.unreplicate(metrics).items()}
                now = time.perf_counter()
                shown["pairs_per_second"] = round((step - since) * config["batch_size"] / (now - clock), 2)
                run.log(step, **shown)
                clock, since = now, step
                bar.set_description("training")
                bar.set_postfix_str(PROGRESS.format(**shown))
            bar.update()
            if step % config["eval_every"] == 0 or last or stopped:
                # Order matters: the iterator's state belongs to the batch that made this state.
                data = batches.get_state()
                validation = validate(encode_step, state, splits["val"], tokens["val"], config)
                checkpoints.save(step, parallel.unreplicate(state), {"iterator": data}, validation)
                run.log(step, **validation)
                run.draw_curves()
                bar.write(
                    f"step {step}: validation loss {validation['val_loss']:.3f}, image → report recall@1/5/10 "
                    + "/".join(f"{validation[f'val_recall@{k}']:.3f}" for k in (1, 5, 10))
                )
                clock = time.perf_counter()
            if stopped and not last:
                checkpoints.close()
                raise KeyboardInterrupt(f"checkpoint of step {step} is saved; the same command goes on from there")
    bar.close()
    best = checkpoints.best_step()
    assert best is not None
    checkpoints.close()
    build_index(run, config, splits, tokens, recipe, encode_step, best)
    return run


def find_tokenizer(run: RunFolder, config: Mapping[str, Any], train_reports: Sequence[str]) -> PreTrainedTokenizerBase:
    """The run's own tokenizer, the pretrained BERT's, or one learnt from the training reports."""
    if run.config_file.is_file() and run.tokenizer.is_dir():
        return reports.load_tokenizer(run.tokenizer)
    pretrained = config["text"]["pretrained"]
    if pretrained:
        return reports.load_tokenizer(pretrained)
    return reports.learn_wordpiece([reports.encoded_text(report, config["data"]["xxxx"]) for report in train_reports])


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


def restore_or_init(
    checkpoints: Checkpoints, recipe: Recipe, config: Mapping[str, Any], batches: Any
) -> tuple[TrainState, int, list[str]]:
    """The newest checkpoint's state and step, its data iterator set; or a fresh state, and 0.

    A fresh state has the pretrained towers' weights in it; of each, a line that says what they are.
    """
    shapes = state_shapes(recipe, config)
    if (step := checkpoints.latest_step()) is not None:
        state, data = checkpoints.restore(step, shapes)
        batches.set_state(data["iterator"])
        return state, step, []
    loaded, notes = load_towers(config, shapes.params)
    fresh = init_state(recipe, config)
    params, batch_stats = merged(fresh.params, loaded["params"]), merged(fresh.batch_stats, loaded["batch_stats"])
    state = dataclasses.replace(fresh, params=params, batch_stats=batch_stats)
    return state, 0, notes


def merged(fresh: Mapping[str, Any], loaded: Mapping[str, Any]) -> dict[str, Any]:
    """`fresh`, a nested tree, with the leaves that `loaded` has in their place."""
    return unflatten_dict(flatten_dict(fresh) | flatten_dict(loaded))


def validate(
    encode_step: Any, state: TrainState, split: pipeline.Split, tokens: tuple[np.ndarray, np.ndarray], config: Any
) -> dict[str, float]:
    """Loss (mean over batches of the training size, in order) and group-aware recall, image → report, on a split."""
    variables = {"params": state.params, "batch_stats": state.batch_stats}
    part = split.take(np.arange(min(VALIDATION_ROWS, len(split))))
    part, z_v, z_t, _ = inference.embed_split(encode_step, variables, part, tokens, config)
    size = min(config["batch_size"], len(part))
    scale = min(float(np.exp(parallel.unreplicate(state.params["log_scale"]))), MAX_SCALE)
    starts = range(0, len(part) - size + 1, size)
    losses = [
        contrastive_loss(jnp.asarray(z_t[i : i + size]), jnp.asarray(z_v[i : i + size]), jnp.float32(scale))
        for i in starts
    ]
    recall = retrieval_metrics(z_v @ z_t.T, part.group_ids, part.group_ids)
    found = {f"val_recall@{k}": recall[f"recall@{k}"] for k in (1, 5, 10)}
    return {"val_loss": float(np.mean(losses)), **found, inference.BEST_METRIC: float(np.mean(list(found.values())))}


def build_index(
    run: RunFolder,
    config: Mapping[str, Any],
    splits: Mapping[str, pipeline.Split],
    tokens: Mapping[str, tuple[np.ndarray, np.ndarray]],
    recipe: Recipe,
    encode_step: Any,
    step: int,
) -> None:
    """Embeds every split with the best checkpoint and keeps that in the run's folder."""
    variables = parallel.replicate(inference.load_variables(run, config, step))
    for name, split in splits.items():
        progress = partial(tqdm, desc=f"indexing {name}", unit="batch", leave=False)
        embedded = inference.embed_split(encode_step, variables, split, tokens[name], config, progress)
        inference.index_split(step, *embedded).save(run.index)


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


@contextmanager
def stop_signals() -> Iterator[list[int]]:
    """A list that is empty until SIGINT or SIGTERM arrives; a second signal ends the process at once."""
    received: list[int] = []

    def note(number: int, _: Any) -> None:
        if received:
            sys.exit(130)
        received.append(number)

    try:
        previous = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not in the main thread, where signals cannot be handled
        previous = {}
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


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
    parallel.cache_compilations(Path(config.data.cache).expanduser() / "compiled")
    run = train(config, arguments.workdir)
    print(f"done: {run.root}; now evaluate it:\n  python -m cxr_jax.retrieve --workdir {run.root}")


if __name__ == "__main__":
    run_command(main)

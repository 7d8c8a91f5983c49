"""Trains, or goes on with, a run.

    python -m cxr_jax.train --config configs/base.py --workdir DIR [--config.batch_size=128 …]

A folder that holds a checkpoint is resumed, and ends as if it had never been broken off; a finished one is left as it
is, or, where num_steps is larger now, goes on. --config.init_from=DIR begins with another run's or an export's model.
SIGTERM, SIGUSR1, Ctrl-C or the end of --max_hours save at once and end with exit code 75, Ctrl-C with 130: the same
command goes on from there. The processes of a cluster job find each other (docs/cluster.md).
"""

import argparse
import contextlib
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from tqdm import tqdm
from transformers import PreTrainedTokenizerBase

import cxr_jax
from cxr_jax import config as configuration
from cxr_jax.data import pipeline
from cxr_jax.data.length_buckets import part_lengths
from cxr_jax.data.records import SourceConfig
from cxr_jax.data.text_augmentation import TextAugmentation, alternatives, draws_texts
from cxr_jax.data.tokens import TextFeatures, Tokens, tokenize, whole_lengths
from cxr_jax.errors import ArgumentParser, InputError, run_command
from cxr_jax.evaluation.retrieval_metrics import retrieval_metrics
from cxr_jax.evaluation.tables import format_table
from cxr_jax.export.folder import read_source
from cxr_jax.models.dual_encoder import inverse_temperature
from cxr_jax.models.text import has_fixed_features
from cxr_jax.retrieval import abstention
from cxr_jax.retrieval.embedding import (
    Encoders,
    Texts,
    compiled_encoders,
    embed_split,
    features_of_all,
    index_split,
    text_features,
)
from cxr_jax.retrieval.loading import load_variables, zeros_like_variables
from cxr_jax.retrieval.store import SplitIndex, splits_in
from cxr_jax.runtime import lock, parallel, processes
from cxr_jax.runtime.metric_writers import open_writers
from cxr_jax.runtime.run_folder import RunFolder
from cxr_jax.runtime.stopping import Stopper
from cxr_jax.training.checkpoint import Checkpoints, identity, newest_step
from cxr_jax.training.loop import BEST_METRIC, RECALL_RANKS, Loop, is_validated
from cxr_jax.training.losses import contrastive_loss, identity_of, loss_floor, make_objective
from cxr_jax.training.optim import learning_rate_schedule
from cxr_jax.training.start import (
    LOOKED_UP,
    RESOLVED,
    Start,
    buckets_of,
    compile_step,
    find_tokenizer,
    keep_tokenizer,
    reads_features,
    resolve,
    resolve_init,
    restore_or_init,
)
from cxr_jax.training.step import Recipe, TrainState, count_parameters, make_recipe, parameters_by_part
from cxr_jax.weights.towers import resolve_towers
from cxr_jax.weights.warm_start import Source

VALIDATION_ROWS = 2048  # of a larger validation split, the first this many are looked at while training


def train(
    config: Mapping[str, Any], workdir: str | Path, stopper: Stopper | None = None, dry_run: bool = False
) -> RunFolder:
    """The whole of training; returns the run's folder, with its index built.

    Args:
      stopper: entered; it tells when to stop. None for never.
      dry_run: compile the step, say what it costs, and end; the folder is not made.

    Raises:
      InputError: bad input, most of it found before the first step; a loss that is not finite; a full disk.
      Preempted, KeyboardInterrupt: it was told to stop, and what there was is saved.
    """
    run, stopper = RunFolder(workdir), stopper or Stopper()
    # What can be refused at once is, before data is prepared.
    parallel.check_batch_size(config["batch_size"], config["micro_batch"])
    run.check(config, but=LOOKED_UP)
    begun = run.load_config() if run.config_file.is_file() else None
    source = source_of(run, config, dry_run)
    config = resolve_towers(resolve_init(config, begun, source), begun)
    run.check(config, but=RESOLVED)
    if (newest_step(run.checkpoints) or 0) > config["num_steps"]:
        raise InputError(
            f"num_steps = {config['num_steps']}: {run.root} has come to step {newest_step(run.checkpoints)}; give at "
            "least that, or another folder to begin anew"
        )
    writes = processes.is_primary() and not dry_run
    with contextlib.ExitStack() as stack:
        if writes:
            run.make()
            stack.enter_context(lock.hold(run.lock_file, f"--workdir {run.root}"))
        processes.barrier("locked")
        if is_finished(run, config):
            tell(f"{run.root}: is finished; nothing is left to do")
            return run
        if writes:
            run.unfinished.touch()
        with stopper.losing_nothing("preparing the data"):
            splits, data = load_splits(config)
            # Refuses what cannot be shared, before the folder has a configuration that it would be bound to.
            pipeline.training_order(splits["train"], config, processes.count())
            tokens, tokenizer, config = read_texts(run, config, splits, data, source, writes)
        with stopper.losing_nothing("reading the weights"):
            recipe = make_recipe(config, parallel.AXIS)
            checkpoints = Checkpoints(run.checkpoints, recipe.labels) if writes else None
            if checkpoints:
                stack.callback(checkpoints.close)  # also after a fault: what is being saved is waited for
            start, source = restore_or_init(checkpoints, recipe, config, source), None  # it holds a model
        announce(run, config, splits, recipe, start, begun)
        with stopper.losing_nothing("compiling"):
            state = parallel.replicate(start.state)
            counts = tokens["train"].token_mask.sum(axis=1)
            buckets = buckets_of(config, counts)
            train_step, cost = compile_step(recipe, config, state, buckets)
            lengths = part_lengths(counts, config["text"]["length_buckets"])
            encoders = compiled_encoders(recipe.model, config, variables_of(state), lengths)
        if dry_run:
            describe_step(recipe, config, start, cost)
            return run
        with stopper.losing_nothing("reading the texts"):
            texts: Tokens | TextFeatures = tokens["train"]
            if reads_features(config):
                texts = features_of_all(encoders, variables_of(state), tokens["train"], config)
            augmentation = TextAugmentation(tokenizer, splits["train"], config) if draws_texts(config) else None
        shard = processes.index(), processes.count()
        batches = pipeline.train_batches(splits["train"], texts, config, shard, augmentation, buckets)
        if start.iterator is not None:
            batches.set_state(start.iterator)
        if (score := validation_score(run, start.step)) is not None:
            start.best.consider(start.step, score)
        loop = Loop(
            config=config,
            folder=run.root,
            train_step=train_step,
            batches=batches,
            study_ids=splits["train"].study_ids,
            validate=Validation(encoders, splits["val"], tokens["val"], config),
            checkpoints=checkpoints,
            writers=open_writers(run.metrics_file, config, start.step) if writes else [],
            stopper=stopper,
            first_step=start.step,
            best=start.best,
            skipped=start.skipped,
            validated=not is_validated(start.step, config) or score is not None,
            kept=not config["init_from"] or start.iterator is not None,
            flops=cost["flops"],
        )
        best = loop.run(state)
        with stopper.losing_nothing("indexing"):
            build_index(run, config, splits, tokens, encoders, best)
    return run


def source_of(run: RunFolder, config: Mapping[str, Any], dry_run: bool) -> Source | None:
    """What `init_from` names, where it is needed: by the primary, until the run has a checkpoint of its own; in a dry
    run, which leaves no tokenizer to share, by every process."""
    if not config["init_from"] or newest_step(run.checkpoints) is not None:
        return None
    return read_source(config["init_from"]) if processes.is_primary() or dry_run else None


def is_finished(run: RunFolder, config: Mapping[str, Any]) -> bool:
    """Whether the last step is done and every split that training indexes is, by its best checkpoint."""
    done = newest_step(run.checkpoints) == config["num_steps"] and {"train", "val"} <= set(splits_in(run.index))
    return bool(processes.from_primary("finished", "yes" if done and not run.unfinished.exists() else ""))


def load_splits(config: Mapping[str, Any]) -> tuple[dict[str, pipeline.Split], SourceConfig]:
    """`pipeline.load_splits`, prepared by one process: of the job, or, where data.cache_local is set, of each node."""
    first = processes.node_first if config["data"]["cache_local"] else processes.primary_first
    with first("prepare"):
        return pipeline.load_splits(config)


def read_texts(
    run: RunFolder,
    config: Mapping[str, Any],
    splits: Mapping[str, pipeline.Split],
    data: SourceConfig,
    source: Source | None,
    writes: bool,
) -> tuple[dict[str, Tokens], PreTrainedTokenizerBase, dict[str, Any]]:
    """Every split's tokens, the tokenizer, the configuration resolved; whoever `writes` keeps the latter two."""
    with processes.primary_first("tokenizer"):
        texts = [text for parts in alternatives(splits["train"], config) for part in parts for text in part]
        tokenizer = find_tokenizer(run, config, texts, source)
        config = resolve(config, tokenizer, data)
        if writes:
            facts = {"processes": processes.count(), "devices": parallel.describe(), "version": cxr_jax.__version__}
            run.start(config, **facts)
            keep_tokenizer(run, tokenizer)
    longest, xxxx = config["text"]["max_tokens"], config["data"]["xxxx"]
    tokens = {name: tokenize(tokenizer, split.reports, longest, xxxx) for name, split in splits.items()}
    lengths = {name: whole_lengths(tokenizer, splits[name].reports, mask, xxxx) for name, (_, mask) in tokens.items()}
    cut = ", ".join(f"{name} {int((counts > longest).sum()):,}" for name, counts in lengths.items())
    tell(
        f"reports that are cut at text.max_tokens = {longest}: {cut}; the longest has "
        f"{max(int(counts.max()) for counts in lengths.values())} tokens"
    )
    return tokens, tokenizer, config


def variables_of(state: TrainState) -> dict[str, Any]:
    """What a model is applied with."""
    return {"params": state.params, "batch_stats": state.batch_stats}


def validation_score(run: RunFolder, step: int) -> float | None:
    """BEST_METRIC of the step's validation in metrics.jsonl, by the primary's word; None where it has had none.

    The step's checkpoint need not know it: where a stop was not to wait for the validation, it was saved before.
    """
    lines = run.metrics() if processes.is_primary() else []
    scores = [line[BEST_METRIC] for line in lines if line["step"] == step and BEST_METRIC in line]
    said = processes.from_primary("validated", json.dumps(scores))
    return next(iter(json.loads(said)), None)


class Validation:
    """Training's loss, its floor, and group-aware recall, image → report, on a split.

    The loss is the mean over batches of the training size, of rows in an order of their own that is always the same: as
    they lie, the images of a study would share a batch.
    """

    def __init__(self, encoders: Encoders, split: pipeline.Split, tokens: Tokens, config: Mapping[str, Any]):
        rows = np.arange(min(VALIDATION_ROWS, len(split)))
        self.split, self.texts = split.take(rows), Texts.of(tokens.take(rows))
        self.encoders, self.config, self.objective = encoders, config, make_objective(config)
        self._features: np.ndarray | None = None

    def __call__(self, state: TrainState, check: Callable[[], None]) -> dict[str, float]:
        """The metrics of a state.

        Args:
          state: replicated.
          check: called between batches; what it raises ends the validation.
        """

        def checked(batches: Iterable[Any]) -> Iterator[Any]:
            for batch in batches:
                check()
                yield batch

        given = self.encoders, variables_of(state)
        features = self._features
        if features is None:
            features = text_features(*given, self.texts, self.config, checked)
            self._features = features if has_fixed_features(self.config["text"]) else None
        split, z_v, z_t, _ = embed_split(*given, self.split, self.texts, self.config, checked, features)
        metrics = retrieval_metrics(z_v @ z_t.T, split.group_ids, split.group_ids)
        recall = {f"val_recall@{k}": metrics[f"recall@{k}"] for k in RECALL_RANKS}
        learnt = {name: state.params[name] for name in ("log_scale", "bias") if name in state.params}
        losses = self.losses(split, z_t, z_v, parallel.unreplicate(learnt))
        return losses | recall | {BEST_METRIC: float(np.mean(list(recall.values())))}

    def losses(self, split: pipeline.Split, z_t: np.ndarray, z_v: np.ndarray, params: Any) -> dict[str, float]:
        """val_loss and val_loss_floor of a split's embeddings, (n, E), by the model's log_scale and bias."""
        objective, identities = self.objective, pipeline.identities(split, self.objective.positives)
        scale, bias = inverse_temperature(params["log_scale"]), jnp.asarray(params.get("bias", 0.0))
        order, size = np.random.default_rng(0).permutation(len(split)), min(self.config["batch_size"], len(split))
        sums = np.zeros(2)
        batches = order[: len(order) // size * size].reshape(-1, size)
        for rows in batches:
            of = identity_of({name: numbers[rows] for name, numbers in identities.items()})
            given = jnp.asarray(z_t[rows]), jnp.asarray(z_v[rows]), scale
            loss = contrastive_loss(*given, objective=objective, identity=of, bias=bias)
            sums += float(loss), float(loss_floor(objective, of))
        return dict(zip(("val_loss", "val_loss_floor"), (sums / len(batches)).tolist(), strict=True))


def build_index(
    run: RunFolder,
    config: Mapping[str, Any],
    splits: Mapping[str, pipeline.Split],
    tokens: Mapping[str, Tokens],
    encoders: Encoders,
    step: int,
) -> None:
    """Embeds every split with the checkpoint of a step; the primary keeps that in the run's folder."""
    primary = processes.is_primary()
    variables = load_variables(run, config, step) if primary else zeros_like_variables(config)
    checkpoint = identity(variables) if primary else ""
    scale = float(inverse_temperature(variables["params"]["log_scale"]))
    variables = parallel.replicate(parallel.from_primary(variables))
    for name, split in splits.items():
        progress = partial(tqdm, desc=f"indexing {name}", unit="batch", leave=False, disable=None)
        embedded = embed_split(encoders, variables, split, Texts.of(tokens[name]), config, progress)
        if primary:
            index_split(step, checkpoint, *embedded).save(run.index)
    if primary:
        save_limits(run, scale)
        run.unfinished.unlink()


def save_limits(run: RunFolder, scale: float) -> None:
    """Chooses on the validation split what is doubted before a draft, and keeps that beside the index.

    Args:
      scale: 1/τ.
    """
    train, val = (SplitIndex.load(run.index, name) for name in ("train", "val"))
    limits = abstention.limits_of(val, train, abstention.Gauge(train), scale)
    if limits is not None:
        abstention.save(run.index, limits, train.step, train.checkpoint)


def announce(
    run: RunFolder,
    config: Mapping[str, Any],
    splits: Mapping[str, pipeline.Split],
    recipe: Recipe,
    start: Start,
    begun: Mapping[str, Any] | None,
) -> None:
    """Says what is about to be trained, on what, and from where.

    Args:
      begun: the configuration that the run had so far, if it had one.
    """
    sizes = ", ".join(f"{name} {len(split)}" for name, split in splits.items())
    total, trained = count_parameters(recipe, start.state.params)
    tell(
        f"{config['data']['dataset']}, split by {config['data']['split_used']}: {sizes} pairs; "
        f"{total:,} parameters, {trained:,} trained; {parallel.describe()}"
    )
    for note in start.notes:
        tell(note)
    for tower, frozen in (("image", "frozen"), ("text", "frozen_tower")):
        if config[tower][frozen] and not config["init_from"]:
            warn(f"{tower}.{frozen} without init_from: what no pretrained weights are given for stays random")
    tell(f"{run.root}: {'a new run' if start.iterator is None else f'resuming at step {start.step}'}")
    if start.step and begun is not None and begun["num_steps"] != config["num_steps"]:
        before, optim = begun["num_steps"], begun["optim"]
        ended = learning_rate_schedule(optim["learning_rate"], optim["warmup_steps"], before)(start.step - 1)
        tell(
            f"num_steps: {before:,} → {config['num_steps']:,}; the learning rate goes on as a run of that many steps "
            f"has it: {float(ended):.1e} in step {start.step}, {float(recipe.schedule(start.step)):.1e} in step "
            f"{start.step + 1}, 0 at the end"
        )


def describe_step(recipe: Recipe, config: Mapping[str, Any], start: Start, cost: Mapping[str, float]) -> None:
    """What a dry run prints: the parameters by part, and what the compiled step costs."""
    rows = [
        [name, f"{total:,}", f"{trained:,}"]
        for name, (total, trained) in parameters_by_part(recipe, start.state.params).items()
    ]
    tell(format_table(["parameters", "all", "trained"], rows))
    tell(
        f"\nbatch {config['batch_size']} over {parallel.describe()}, {config['num_steps']:,} steps; a step, by XLA's "
        f"own analysis: {cost['flops'] / 1e9:,.2f} GFLOP in all, {cost['temporary_bytes'] / 2**20:,.0f} MiB of "
        f"temporaries and {cost['argument_bytes'] / 2**20:,.0f} MiB of arguments a device"
    )


def warn(text: str) -> None:
    """A warning on standard error, by the primary alone."""
    if processes.is_primary():
        print(f"warning: {text}", file=sys.stderr, flush=True)


def tell(text: str) -> None:
    """A line on standard output, by the primary alone."""
    if processes.is_primary():
        print(text, flush=True)


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
    parser.add_argument(
        "--distributed",
        default="auto",
        choices=processes.MODES,
        help="join the job's processes where the launcher says that there are several; on: there must be; off: never",
    )
    parser.add_argument("--max_hours", type=float, default=0.0, metavar="H", help="save and end with 75 after so long")
    parser.add_argument("--dry_run", action="store_true", help="say what would be trained and what a step costs; end")
    arguments, rest = parser.parse_known_args(argv)
    return arguments, configuration.overrides(rest)


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    arguments, overrides = parse_arguments(sys.argv[1:] if argv is None else argv)
    config = configuration.load(arguments.config, overrides)
    with Stopper(arguments.max_hours) as stopper:
        with stopper.losing_nothing("joining the job's other processes"):
            processes.join(arguments.distributed)
        with processes.together():
            parallel.cache_compilations(Path(config["data"]["cache"]).expanduser() / "compiled")
            run = train(config, arguments.workdir, stopper, arguments.dry_run)
            if not arguments.dry_run:
                tell(f"done: {run.root}; now evaluate it:\n  python -m cxr_jax.evaluate --workdir {run.root}")


if __name__ == "__main__":
    run_command(main)

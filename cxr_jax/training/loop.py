"""The loop of training: step, log, validate, checkpoint, until the last step or a signal to stop."""

import dataclasses
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import jax
from flax.traverse_util import flatten_dict, unflatten_dict
from tqdm import tqdm

from cxr_jax.runtime import parallel
from cxr_jax.runtime.run_folder import RunFolder
from cxr_jax.training.checkpoint import Checkpoints
from cxr_jax.training.step import Recipe, TrainState, init_state, make_train_step, state_shapes
from cxr_jax.weights.towers import load_towers

PROGRESS = "loss {loss:.3f}, lr {learning_rate:.1e}, τ {temperature:.4f}, {pairs_per_second:.0f} pairs/s"
RECALL_RANKS = (1, 5, 10)
BEST_METRIC = "val_recall_mean"  # what decides which checkpoint is the best, of what a validation returns

Validate = Callable[[TrainState], Mapping[str, float]]


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
    params = _merged(fresh.params, loaded["params"])
    batch_stats = _merged(fresh.batch_stats, loaded["batch_stats"])
    state = dataclasses.replace(fresh, params=params, batch_stats=batch_stats)
    return state, 0, notes


def _merged(fresh: Mapping[str, Any], loaded: Mapping[str, Any]) -> dict[str, Any]:
    """`fresh`, a nested tree, with the leaves that `loaded` has in their place."""
    return unflatten_dict(flatten_dict(fresh) | flatten_dict(loaded))


def run_steps(
    run: RunFolder,
    config: Mapping[str, Any],
    recipe: Recipe,
    checkpoints: Checkpoints,
    state: TrainState,
    batches: Any,
    validate: Validate,
) -> int:
    """Trains from `state` to the last step; returns the step of the best checkpoint.

    Args:
      state: on the host, as `restore_or_init` gives it.
      batches: the data iterator, set to the batch that follows `state`.
      validate: from the replicated state to metrics, val_loss, val_recall@k of RECALL_RANKS and BEST_METRIC among them.

    Raises:
      KeyboardInterrupt: on SIGINT or SIGTERM, after a checkpoint of the step at hand.
    """
    first_step, last_step = int(state.step), config["num_steps"]
    run.forget_after(first_step)
    key = jax.random.key(config["seed"])
    train_step = parallel.pmap(make_train_step(recipe, parallel.AXIS), in_axes=(0, 0, None), donate=(0,))
    state = parallel.replicate(state)
    bar = tqdm(total=last_step, initial=first_step, unit="step", desc="compiling", dynamic_ncols=True)
    clock, since = time.perf_counter(), first_step
    with stop_signals() as stopped:
        for step in range(first_step + 1, last_step + 1):
            state, metrics = train_step(state, parallel.shard(next(batches)), key)
            if step % config["log_every"] == 0 or step in (first_step + 1, last_step):
                shown = {name: float(value) for name, value in parallel.unreplicate(metrics).items()}
                now = time.perf_counter()
                shown["pairs_per_second"] = round((step - since) * config["batch_size"] / (now - clock), 2)
                run.log(step, **shown)
                clock, since = now, step
                bar.set_description("training")
                bar.set_postfix_str(PROGRESS.format(**shown))
            bar.update()
            if step % config["eval_every"] == 0 or step == last_step or stopped:
                # Order matters: the iterator's state belongs to the batch that made this state.
                data = batches.get_state()
                validation = validate(state)
                checkpoints.save(step, parallel.unreplicate(state), {"iterator": data}, validation)
                run.log(step, **validation)
                run.draw_curves()
                recall = "/".join(f"{validation[f'val_recall@{k}']:.3f}" for k in RECALL_RANKS)
                ranks = "/".join(map(str, RECALL_RANKS))
                bar.write(
                    f"step {step}: validation loss {validation['val_loss']:.3f}, image → report recall@{ranks} {recall}"
                )
                clock = time.perf_counter()
            if stopped and step < last_step:
                checkpoints.close()
                raise KeyboardInterrupt(f"checkpoint of step {step} is saved; the same command goes on from there")
    bar.close()
    best = checkpoints.best_step()
    assert best is not None
    checkpoints.close()
    return best


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

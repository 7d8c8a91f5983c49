"""The loop of training: step, log, validate, checkpoint, until the last step or until it is told to stop."""

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from cxr_jax.config import profiled_steps
from cxr_jax.errors import InputError
from cxr_jax.runtime import parallel, processes
from cxr_jax.runtime.meter import Meter
from cxr_jax.runtime.metric_writers import MetricWriter
from cxr_jax.runtime.progress import Progress
from cxr_jax.runtime.stopping import Stopper
from cxr_jax.training.checkpoint import Checkpoints
from cxr_jax.training.step import TrainState, step_inputs

RECALL_RANKS = (1, 5, 10)
BEST_METRIC = "val_recall_mean"  # what decides which checkpoint is the best, of what a validation returns
GO_ON, SAVE, STOP = 0, 1, 2  # what the processes agree on after a step: the greatest


class Stopped(Exception):  # noqa: N818 - it is no error
    """Raised within a validation that is not to be finished."""


@dataclasses.dataclass
class Best:
    """The best validation so far, whose checkpoint stays; of equals the earlier one."""

    step: int | None = None
    score: float = -math.inf

    def consider(self, step: int, score: float) -> None:
        """Takes a validation that is better."""
        if score > self.score:
            self.step, self.score = step, score


@dataclasses.dataclass
class Loop:
    """Trains a run from `first_step` on, by `run`.

    Attributes:
      config: of the run, resolved.
      folder: of the run.
      train_step: compiled: (replicated state, sharded batch, key) → (state, metrics).
      batches: the data iterator, set to the batch that follows `first_step`.
      study_ids: of the training split, by a batch's `row`.
      validate: (replicated state, check) → metrics, val_loss, val_loss_floor, val_recall@k of RECALL_RANKS and
        BEST_METRIC among them; it calls `check` between batches, which may raise Stopped.
      checkpoints, writers: None and empty in all processes but the primary.
      first_step: of the checkpoint that is gone on from; 0 without one.
      best: the best validation up to there.
      skipped: updates left out up to there, for their steps were not finite.
      validated: whether `first_step` needs no validation, or has had it.
      kept: whether `first_step` needs no checkpoint, or has one.
      flops: of a step, all devices together; 0 where that is not known.
    """

    config: Mapping[str, Any]
    folder: Path
    train_step: Callable[..., Any]
    batches: Any
    study_ids: Sequence[str]
    validate: Callable[[Any, Callable[[], None]], Mapping[str, float]]
    checkpoints: Checkpoints | None
    writers: Sequence[MetricWriter]
    stopper: Stopper
    first_step: int
    best: Best
    skipped: int
    validated: bool
    kept: bool = True
    flops: float = 0.0

    def run(self, state: TrainState) -> int:
        """Trains from `state`, replicated, to the last step; returns the step of the best checkpoint.

        Raises:
          InputError: the loss is not finite, or a checkpoint cannot be written.
          Preempted, KeyboardInterrupt: it was told to stop; the state is saved.
        """
        key, last_step, agree = jax.random.key(self.config["seed"]), self.config["num_steps"], parallel.Agreement()
        self._meter = Meter(self.config["batch_size"], self.flops)
        self._saved_at, self._saved = time.monotonic(), self.first_step
        self._unchecked: tuple[int, Any, np.ndarray] | None = None  # the last step, until it is known to be finite
        with contextlib.ExitStack() as stack:
            self._progress = stack.enter_context(Progress(self.first_step, last_step))
            profile = stack.enter_context(Profile(self.config["profile_steps"], self.folder / "profile"))
            if not self.kept:
                self._save(self.first_step, state)
            if not self.validated:
                self._validate(self.first_step, state)
            for step in range(self.first_step + 1, last_step + 1):
                with self._meter.waiting_for_data():
                    batch = next(self.batches)
                profile.before(step)
                inputs = parallel.shard(step_inputs(batch))
                state, metrics = self.train_step(state, inputs, key)
                self._check()  # the step before: it is done by now, so that the devices need not wait
                self._unchecked = step, metrics, batch["row"]
                self._progress.advance()
                if step % self.config["log_every"] == 0 or step in (1, last_step):
                    self._log(step, metrics)
                decision = agree(self._wanted())
                if decision == STOP and step < last_step:
                    self._save(step, state)
                    self._stop(step)
                if is_validated(step, self.config):
                    self._validate(step, state)
                if is_validated(step, self.config) or decision == SAVE:
                    self._save(step, state)
            self._check()
        self._close()
        assert self.best.step is not None
        return self.best.step

    def _wanted(self) -> int:
        """What this process wants; that it is time for a checkpoint is the primary's to say."""
        if self.stopper.wanted:
            return STOP
        minutes, every = self.config["checkpoint_minutes"], self.config["checkpoint_every"]
        by_time = minutes and time.monotonic() - self._saved_at >= 60 * minutes
        by_step = every and self._progress.step % every == 0
        return SAVE if processes.is_primary() and (by_time or by_step) else GO_ON

    def _log(self, step: int, metrics: Any) -> None:
        values = {name: float(value) for name, value in parallel.unreplicate(metrics).items()}
        self._check()
        if self.config["nan"] == "skip":
            values["skipped"] = self.skipped
        values |= self._meter.read()
        self._write(step, values)
        self._progress.show(
            f"loss {values['loss']:.3f} (floor {values['loss_floor']:.3f}), lr {values['learning_rate']:.1e}, "
            f"τ {values['temperature']:.4f}, {values['pairs_per_second']:.0f} pairs/s"
        )

    def _write(self, step: int, values: Mapping[str, float]) -> None:
        for writer in self.writers:
            writer.write(step, values)

    def _validate(self, step: int, state: Any) -> None:
        """Scores the state, and keeps it if it is the best so far. A stop that comes meanwhile does not wait."""
        agree = parallel.Agreement()

        def check() -> None:
            if agree(STOP if self.stopper.wanted else GO_ON) == STOP:
                raise Stopped

        with self._meter.leaving_out():
            try:
                values = self.validate(state, check)
            except Stopped:
                if step != self._saved:
                    self._save(step, state)
                self._stop(step)
            self.best.consider(step, values[BEST_METRIC])
            self._write(step, values)
        recall = "/".join(f"{values[f'val_recall@{k}']:.3f}" for k in RECALL_RANKS)
        self._progress.say(
            f"step {step}: validation loss {values['val_loss']:.3f} (floor {values['val_loss_floor']:.3f}), "
            f"image → report recall@{'/'.join(map(str, RECALL_RANKS))} {recall}"
        )

    def _save(self, step: int, state: Any) -> None:
        """A checkpoint of the state, with the iterator's place behind its batch, and of the best so far: one unit."""
        with self._meter.leaving_out():
            self._check()
            if self.checkpoints:
                best = {"step": self.best.step, "score": None if self.best.step is None else self.best.score}
                data = {"iterator": self.batches.get_state(), "best": best, "skipped": self.skipped}
                self.checkpoints.save(step, parallel.unreplicate(state), data, self.best.step)
            self._saved, self._saved_at = step, time.monotonic()

    def _close(self) -> None:
        """Waits until all is written, in every process: who ends takes the others along, and not before that."""
        if self.checkpoints:
            self.checkpoints.close()
        for writer in self.writers:
            writer.close()
        processes.barrier("closed")

    def _stop(self, step: int) -> None:
        self._close()
        raise self.stopper.error(f"checkpoint of step {step} is saved; the same command goes on from there")

    def _check(self) -> None:
        """Looks at the last step, if that was not done yet: one that is not finite ends the run, or is counted."""
        if self._unchecked is None:
            return
        (step, metrics, rows), self._unchecked = self._unchecked, None
        values = {name: float(value) for name, value in parallel.unreplicate(metrics).items()}
        if all(math.isfinite(values[name]) for name in ("loss", "gradient_norm")):
            return
        if self.config["nan"] == "skip":
            self.skipped += 1
            self._progress.say(
                f"step {step}: the loss is {values['loss']} and the gradient's norm {values['gradient_norm']}; its "
                f"update is left out, as {self.skipped - 1} before it"
            )
            return
        count = len(rows) * processes.count()
        batch = parallel.gather_rows(rows, count)
        studies = list(dict.fromkeys(self.study_ids[row] for row in batch))
        self._close()
        raise InputError(
            f"step {step}: the loss is {values['loss']} and the gradient's norm {values['gradient_norm']}; the last "
            f"good checkpoint is of step {self._saved}; the batch's studies: {', '.join(studies)}; lower "
            "optim.learning_rate, look at these studies, or leave such steps out by --config.nan=skip"
        )


class Profile:
    """Writes a trace of some steps, for TensorBoard's profiler or Perfetto."""

    def __init__(self, steps: str, folder: Path):
        self.steps, self.folder, self._running = profiled_steps(steps), folder, False

    def before(self, step: int) -> None:
        """Called before each step is begun."""
        if step in self.steps and not self._running:
            jax.profiler.start_trace(str(self.folder))
            self._running = True
        elif step not in self.steps:
            self._end()

    def _end(self) -> None:
        if self._running:
            jax.profiler.stop_trace()
            self._running = False

    def __enter__(self) -> "Profile":
        return self

    def __exit__(self, *_: object) -> None:
        self._end()


def is_validated(step: int, config: Mapping[str, Any]) -> bool:
    """Whether a step is followed by a validation; at 0, whether the first is preceded by one: a warm start's is."""
    if step == 0:
        return bool(config["init_from"])
    return bool(step % config["eval_every"] == 0 or step == config["num_steps"])

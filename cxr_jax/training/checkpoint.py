"""Checkpoints of a run: the only file that imports Orbax.

`folder/<step>/` holds what training changes, with the data iterator's state and the best validation so far: one unit.
`folder/frozen/` holds the parameters that it does not change, once. Saving does not hold up training.
"""

import hashlib
import logging
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from flax.traverse_util import flatten_dict, unflatten_dict
from orbax.checkpoint import checkpoint_managers

from cxr_jax.errors import InputError
from cxr_jax.runtime import processes
from cxr_jax.training.optim import FROZEN

KEPT = 2  # newest: should the last one be damaged, the one before it is used
FROZEN_FOLDER = "frozen"
SAMPLED = 4096


@dataclass
class _Kept(checkpoint_managers.PreservationPolicy):
    """Keeps the newest KEPT, and the best."""

    best: int | None = None

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> Sequence[bool]:
        """One answer a checkpoint, in their order."""
        newest = len(checkpoints) - KEPT
        return [i >= newest or info.step == self.best for i, info in enumerate(checkpoints)]


class Checkpoints:
    """The checkpoints of one run, for the process that writes them.

    Args:
      folder: made when missing.
      labels: TRAIN or FROZEN for every parameter.
    """

    def __init__(self, folder: Path, labels: Any):
        self.folder, self.labels = folder, labels
        self._kept = _Kept()
        logging.getLogger("absl").addFilter(_is_not_orbaxs)
        if not isinstance(sys.unraisablehook, _Unraisable):
            sys.unraisablehook = _Unraisable(sys.unraisablehook)
        folder.mkdir(parents=True, exist_ok=True)
        # Of a run that was killed. Orbax's own clearing runs in the background, and takes away what is being written.
        for unfinished in folder.glob("*.orbax-checkpoint-tmp*"):
            shutil.rmtree(unfinished)
        self._manager = self._open()

    def _open(self) -> ocp.CheckpointManager:
        options = ocp.CheckpointManagerOptions(
            preservation_policy=self._kept,
            enable_async_checkpointing=True,
            create=False,
            multiprocessing_options=_alone(),
        )
        return ocp.CheckpointManager(self.folder.absolute(), options=options, item_names=("state", "data"))

    def newest_step(self) -> int | None:
        """The step of the newest checkpoint, or None."""
        return self._manager.latest_step()

    def save(self, step: int, state: Any, data: Mapping[str, Any], best: int | None) -> None:
        """Saves in the background.

        Args:
          state: a TrainState of NumPy arrays.
          data: what JSON holds.
          best: the step whose checkpoint is the best so far, and stays.

        Raises:
          InputError: this one or the one before it could not be written.
        """
        trained, frozen = split(state.params, self.labels)
        self._kept.best = best
        with _unwritten(self.folder):
            if frozen and self.newest_step() is None:
                with _checkpointer(ocp.StandardCheckpointHandler) as once:
                    once.save((self.folder / FROZEN_FOLDER).absolute(), args=ocp.args.StandardSave(frozen), force=True)
            args = ocp.args.Composite(
                state=ocp.args.StandardSave(state.replace(params=trained)), data=ocp.args.JsonSave(dict(data))
            )
            self._manager.save(step, args=args, force=True)

    def restore_newest(self, like: Any) -> tuple[Any, dict[str, Any]] | None:
        """The newest checkpoint that can be read, as (state, data); None without one.

        One that is damaged is set aside as `<step>.damaged`, and standard error says so.

        Args:
          like: the state, as arrays or ShapeDtypeStructs.

        Raises:
          InputError: all of them are damaged, or they are of another model.
        """
        while (step := self.newest_step()) is not None:
            try:
                return self._restore(step, like)
            except _DamagedError as error:
                place = self.folder / str(step)
                if len(self._manager.all_steps()) == 1:
                    raise InputError(f"{error}; it is the only one: remove {self.folder} to begin anew") from error
                aside = place.with_name(f"{place.name}.damaged")
                print(f"warning: {error}; set aside as {aside.name}, the one before it is used", file=sys.stderr)
                self._manager.close()
                shutil.rmtree(aside, ignore_errors=True)  # of an earlier time that the run came by this step
                place.rename(aside)
                self._manager = self._open()
        return None

    def _restore(self, step: int, like: Any) -> tuple[Any, dict[str, Any]]:
        place = self.folder / str(step)
        trained, frozen = split(like.params, self.labels)
        abstract = _abstract(like.replace(params=trained))
        args = ocp.args.Composite(state=ocp.args.StandardRestore(abstract), data=ocp.args.JsonRestore())
        _check_model(place / "state", abstract, place)
        with _damaged(place):
            restored = self._manager.restore(step, args=args)
        params = merge(restored["state"].params, _restore_frozen(self.folder, frozen))
        return restored["state"].replace(params=params), restored["data"]

    def wait(self) -> None:
        """Waits until all is on disk.

        Raises:
          InputError: it could not be written.
        """
        with _unwritten(self.folder):
            self._manager.wait_until_finished()

    def close(self) -> None:
        """`wait`, and no more is saved."""
        self.wait()
        self._manager.close()


def newest_step(folder: Path) -> int | None:
    """The step of the newest checkpoint below `folder`; None without one."""
    return max((int(place.name) for place in folder.glob("*") if place.name.isdigit()), default=None)


def restore_variables(folder: Path, step: int, like: Mapping[str, Any], labels: Any) -> dict[str, Any]:
    """The model's own part of a checkpoint, {"params", "batch_stats"}; the optimiser's is not read.

    Args:
      folder, labels: as `Checkpoints` has them.
      like: arrays or ShapeDtypeStructs, as `models.dual_encoder.variable_shapes` gives them.

    Raises:
      InputError: the checkpoint is missing, damaged, or of another model.
    """
    place = folder / str(step)
    trained, frozen = split(like["params"], labels)
    abstract = _abstract({**like, "params": trained})
    args = ocp.args.PyTreeRestore(
        item=abstract, restore_args=ocp.checkpoint_utils.construct_restore_args(abstract), partial_restore=True
    )
    try:
        _check_model(place / "state", abstract, place)
        with _damaged(place), _checkpointer(ocp.PyTreeCheckpointHandler) as checkpointer:
            restored = checkpointer.restore((place / "state").absolute(), args=args)
    except _DamagedError as error:
        raise InputError(f"{error}; remove this folder to go on from an earlier one") from error
    return {**restored, "params": merge(restored["params"], _restore_frozen(folder, frozen))}


def identity(variables: Mapping[str, Any]) -> str:
    """What tells a checkpoint's variables from every other's, of another run or step: 16 hexadecimal digits.

    It is a digest of every leaf's name and shape and of at most SAMPLED of its values, evenly spread: a step of
    training changes every trained weight, so this takes milliseconds where all values would take a second. It does not
    find a single weight that was edited.
    """
    digest = hashlib.sha256()
    for path, leaf in sorted(flatten_dict(dict(variables), sep=".").items()):
        values = np.asarray(leaf)
        digest.update(f"{path} {values.shape} {values.dtype}\n".encode())
        digest.update(values.reshape(-1)[:: -(-values.size // SAMPLED) or 1].tobytes())
    return digest.hexdigest()[:16]


def split(params: Any, labels: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """(What is trained, what is frozen) of nested parameters, each without the other's leaves."""
    flat, of_leaf = flatten_dict(params), flatten_dict(labels)
    trained = {path: leaf for path, leaf in flat.items() if of_leaf[path] != FROZEN}
    frozen = {path: leaf for path, leaf in flat.items() if of_leaf[path] == FROZEN}
    return unflatten_dict(trained), unflatten_dict(frozen)


def merge(params: Mapping[str, Any], others: Mapping[str, Any]) -> dict[str, Any]:
    """`params`, a nested tree, with the leaves that `others` has in their place or beside them."""
    return unflatten_dict(flatten_dict(params) | flatten_dict(others))


def _restore_frozen(folder: Path, frozen: Mapping[str, Any]) -> dict[str, Any]:
    if not frozen:
        return {}
    place, abstract = folder / FROZEN_FOLDER, _abstract(frozen)
    try:
        _check_model(place, abstract, place)
        with _damaged(place), _checkpointer(ocp.StandardCheckpointHandler) as checkpointer:
            restored = checkpointer.restore(place.absolute(), args=ocp.args.StandardRestore(abstract))
    except _DamagedError as error:
        raise InputError(
            f"{error}; no checkpoint of this run can be used without it: restore it from a copy"
        ) from error
    return dict(restored)


def _alone() -> ocp.options.MultiprocessingOptions:
    """The primary's affair: the other processes of a job have no part in it, and are not waited for."""
    index = processes.index()
    return ocp.options.MultiprocessingOptions(
        primary_host=index, active_processes={index}, barrier_sync_key_prefix=f"process{index}"
    )


def _checkpointer(handler: Any) -> ocp.Checkpointer:
    options = _alone()
    logging.getLogger("absl").addFilter(_is_not_orbaxs)
    return ocp.Checkpointer(handler(multiprocessing_options=options), multiprocessing_options=options)


class _DamagedError(Exception):
    pass


@contextmanager
def _damaged(place: Path) -> Iterator[None]:
    """Orbax and TensorStore raise many kinds on a damaged checkpoint."""
    try:
        yield
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise _DamagedError(f"{place}: checkpoint cannot be read ({reason})") from error


@contextmanager
def _unwritten(folder: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # as many kinds, some of them from the thread that writes
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        reason = reason.rpartition('": ')[2][-200:]  # the paths of temporary files before it are no use
        raise InputError(
            f"{folder}: checkpoint cannot be written ({reason}); make room there, the earlier ones are whole"
        ) from error


def _abstract(like: Any) -> Any:
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), like)


def _check_model(item: Path, abstract: Any, place: Path) -> None:
    """Before it is read: a checkpoint of another model is not damaged, and of another shape Orbax cuts or pads it."""
    with _damaged(place), _checkpointer(ocp.PyTreeCheckpointHandler) as checkpointer:
        if not item.is_dir():
            raise FileNotFoundError(f"there is no {item.name}")
        stored = _shapes(checkpointer.metadata(item.absolute()).item_metadata.tree)
    wanted = _shapes(abstract)
    parts = {path[0] for path in wanted}
    if wanted != {path: shape for path, shape in stored.items() if path[0] in parts}:
        raise InputError(f"{place}: checkpoint is of another model; use the run's own config.json")


def _shapes(tree: Any) -> dict[tuple[str, ...], tuple[int, ...]]:
    return {path: tuple(leaf.shape) for path, leaf in ocp.tree.to_flat_dict(tree).items()}


def _is_not_orbaxs(record: logging.LogRecord) -> bool:
    """Orbax logs whole tracebacks of what it also raises, and warns of files that a checkpoint like ours has not."""
    return "orbax" not in record.pathname


@dataclass(frozen=True)
class _Unraisable:
    """After a write that failed TensorStore's others tell a loop that Orbax has closed, and Python prints each."""

    report: Callable[[Any], Any]

    def __call__(self, unraisable: Any) -> None:
        if str(unraisable.exc_value) != "Event loop is closed":
            self.report(unraisable)

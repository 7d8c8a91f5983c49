"""Checkpoints of a run: the only file that imports Orbax. Model state and data iterator are saved as one unit."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers

from cxr_jax.errors import InputError


class Checkpoints:
    """`folder/<step>/`: the newest checkpoint and the one of the best validation. Saving does not hold up training.

    Args:
      folder: made when missing.
      metric: the validation metric that decides which is best; larger is better.
    """

    def __init__(self, folder: Path, metric: str):
        self.folder, self.metric = folder, metric
        policies = checkpoint_managers
        best = policies.BestN(get_metric_fn=lambda metrics: metrics[metric], n=1)
        options = ocp.CheckpointManagerOptions(
            preservation_policy=policies.AnyPreservationPolicy([policies.LatestN(1), best]),
            best_fn=lambda metrics: metrics[metric],
            best_mode="max",
            enable_async_checkpointing=True,
        )
        self._manager = ocp.CheckpointManager(folder.absolute(), options=options, item_names=("state", "data"))

    def latest_step(self) -> int | None:
        """The step of the newest checkpoint, or None."""
        return self._manager.latest_step()

    def best_step(self) -> int | None:
        """The step of the best validation so far, or None."""
        return self._manager.best_step()

    def save(self, step: int, state: Any, data: Mapping[str, Any], metrics: Mapping[str, float]) -> None:
        """Saves in the background a state of NumPy arrays, the iterator's state and the validation metrics."""
        args = ocp.args.Composite(state=ocp.args.StandardSave(state), data=ocp.args.JsonSave(dict(data)))
        self._manager.save(step, args=args, metrics=dict(metrics))

    def restore(self, step: int, like: Any) -> tuple[Any, dict[str, Any]]:
        """The state, in the shape of `like` (arrays or ShapeDtypeStructs), and the iterator's state.

        Raises:
          InputError: the checkpoint is damaged, or of another model.
        """
        abstract = _abstract(like)
        args = ocp.args.Composite(state=ocp.args.StandardRestore(abstract), data=ocp.args.JsonRestore())
        with _refused(self.folder / str(step)):
            restored = self._manager.restore(step, args=args)
        _check_shapes(restored["state"], abstract, self.folder / str(step))
        return restored["state"], restored["data"]

    def close(self) -> None:
        """Waits until all is on disk."""
        self._manager.wait_until_finished()
        self._manager.close()


def restore_variables(folder: Path, step: int, like: Mapping[str, Any]) -> dict[str, Any]:
    """The model's own part of a checkpoint's state, {"params", "batch_stats"}; the optimiser's is not read.

    Args:
      folder: as `Checkpoints` has it.
      like: arrays or ShapeDtypeStructs, as `models.dual_encoder.variable_shapes` gives them.

    Raises:
      InputError: the checkpoint is missing, damaged, or of another model.
    """
    abstract = _abstract(like)
    args = ocp.args.PyTreeRestore(
        item=abstract, restore_args=ocp.checkpoint_utils.construct_restore_args(abstract), partial_restore=True
    )
    with _refused(folder / str(step)), ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as checkpointer:
        restored = checkpointer.restore((folder / str(step) / "state").absolute(), args=args)
    _check_shapes(restored, abstract, folder / str(step))
    return dict(restored)


def _abstract(like: Any) -> Any:
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), like)


@contextmanager
def _refused(checkpoint: Path) -> Iterator[None]:
    """Orbax and TensorStore raise many kinds on a damaged checkpoint; they become one line."""
    try:
        yield
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise InputError(
            f"{checkpoint}: checkpoint cannot be read ({reason}); remove this folder to go on from an earlier one"
        ) from error


def _check_shapes(restored: Any, abstract: Any, checkpoint: Path) -> None:
    # Orbax cuts or pads an array of another shape without a word.
    fits = jax.tree.map(lambda x, wanted: x.shape == wanted.shape, restored, abstract)
    if not all(jax.tree.leaves(fits)):
        raise InputError(f"{checkpoint}: checkpoint is of another model; use the run's own config.json")

"""A run's folder to its model, and to the variables of one of its checkpoints."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import numpy as np

from cxr_jax.errors import InputError
from cxr_jax.models.dual_encoder import build_model, variable_shapes
from cxr_jax.retrieval.draft import NEIGHBOURS
from cxr_jax.retrieval.model import Model
from cxr_jax.retrieval.search import neighbours_of
from cxr_jax.retrieval.store import SplitIndex, splits_in
from cxr_jax.retrieval.voting import Thresholds, vote, vote_weights
from cxr_jax.runtime.run_folder import RunFolder
from cxr_jax.training.checkpoint import restore_variables
from cxr_jax.training.optim import labels_of
from cxr_jax.weights.tokenizer import load_tokenizer


def load_run(run: RunFolder) -> Model:
    """The model of a run's folder, which may have been moved.

    Raises:
      InputError: it holds no run, or the run is unfinished, or a file is damaged.
    """
    config = run.load_config()
    pool = SplitIndex.load(run.index, "train")
    if run.unfinished.exists() and not (run.checkpoints / str(pool.step)).is_dir():
        raise InputError(
            f"--workdir {run.root}: is trained further, and the checkpoint of step {pool.step} that its index is of is "
            "no longer the best; go on with it by its training command"
        )
    thresholds = None
    if "val" in splits_in(run.index):
        thresholds = partial(of_validation, SplitIndex.load(run.index, "val"))
    return Model(
        config, load_variables(run, config, pool.step), load_tokenizer(run.tokenizer), pool, thresholds=thresholds
    )


def of_validation(val: SplitIndex, model: Model) -> Thresholds:
    """The thresholds of drafts that serve a model's validation split best."""
    similarity, rows = neighbours_of(val, model.pool, NEIGHBOURS)
    votes = vote(model.reports, rows, vote_weights(similarity, model.scale))
    return Thresholds.chosen(votes, [row.report for row in val.rows])


def zeros_like_variables(config: Mapping[str, Any]) -> dict[str, Any]:
    """What `load_variables` returns, of the same shapes, in zeros."""
    shapes = variable_shapes(build_model(config), config["image_size"])
    return jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), shapes)


def load_variables(run: RunFolder, config: Mapping[str, Any], step: int) -> dict[str, Any]:
    """{"params", "batch_stats"} of a run's checkpoint.

    Raises:
      InputError: it is missing, damaged, or of another model.
    """
    shapes = variable_shapes(build_model(config), config["image_size"])
    return restore_variables(run.checkpoints, step, shapes, labels_of(shapes["params"], config))

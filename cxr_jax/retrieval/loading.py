"""A run's folder to its model, and to the variables of one of its checkpoints."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import numpy as np

from cxr_jax.errors import InputError
from cxr_jax.models.dual_encoder import build_model, variable_shapes
from cxr_jax.retrieval import abstention
from cxr_jax.retrieval.abstention import Checks, Gauge, Limits, limits_of
from cxr_jax.retrieval.draft import voters_of
from cxr_jax.retrieval.model import Model
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
    stored = abstention.load(run.index, pool)
    val = SplitIndex.load(run.index, "val") if "val" in splits_in(run.index) else None
    variables, tokenizer = load_variables(run, config, pool.step), load_tokenizer(run.tokenizer)
    thresholds = None if val is None else partial(of_validation, val)
    return Model(
        config, variables, tokenizer, pool, thresholds=thresholds, checks=partial(checks_of, stored=stored, val=val)
    )


def checks_of(model: Model, stored: Limits | None, val: SplitIndex | None = None) -> Checks | None:
    """What is checked of a model's images before a draft: by the limits that are stored, else chosen on `val`.

    None where there are neither.
    """
    if stored is None and val is None:
        return None
    gauge = Gauge(model.pool)
    limits = stored
    if limits is None and val is not None:
        limits = limits_of(val, model.pool, gauge, model.scale)
    return None if limits is None else Checks(gauge, limits)


def of_validation(val: SplitIndex, model: Model) -> Thresholds:
    """The thresholds of drafts that serve a model's validation split best."""
    voters = voters_of(val, model.pool)
    votes = vote(model.reports, voters.rows, vote_weights(voters.similarity, model.scale))
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

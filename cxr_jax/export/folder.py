"""An exported model's folder, in the hub's shape: weights as safetensors, configuration, tokenizer, card. No pickle."""

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy
from flax.traverse_util import flatten_dict, unflatten_dict

from cxr_jax.errors import InputError
from cxr_jax.files import write_json
from cxr_jax.models.dual_encoder import build_model, variable_shapes
from cxr_jax.retrieval import abstention, regions
from cxr_jax.retrieval.loading import checks_of, load_run
from cxr_jax.retrieval.model import Model
from cxr_jax.retrieval.store import SplitIndex, splits_in
from cxr_jax.retrieval.voting import Thresholds
from cxr_jax.runtime.run_folder import RunFolder
from cxr_jax.training.checkpoint import identity
from cxr_jax.weights import hub
from cxr_jax.weights.files import account, listed, read
from cxr_jax.weights.tokenizer import load_tokenizer
from cxr_jax.weights.warm_start import Source

MODEL_TYPE = "cxr_jax"
WEIGHTS = "model.safetensors"
# What is fetched of a model on the hub.
FILES = ("config.json", WEIGHTS, "tokenizer*.json", "special_tokens_map.json", "added_tokens.json", "vocab.txt",
         "index/train.*", "index/train/*", "index/draft.json", f"index/{abstention.FILE}",
         f"index/{regions.OFFERED}")  # fmt: skip


class ExportFolder:
    """`root/` with config.json, model.safetensors, the tokenizer's files, README.md, and index/ where it has a pool.

    config.json is the run's, with what `MARKS` names before it.
    """

    MARKS = ("model_type", "cxr_jax_version", "step")

    def __init__(self, root: str | Path):
        self.root = Path(root).expanduser()
        self.config_file = self.root / "config.json"
        self.weights_file = self.root / WEIGHTS
        self.card = self.root / "README.md"
        self.tokenizer = self.root
        self.index = self.root / "index"
        self.thresholds_file = self.index / "draft.json"

    def is_one(self) -> bool:
        """Whether the folder is an export: its config.json says so."""
        try:
            config = json.loads(self.config_file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        return isinstance(config, dict) and config.get("model_type") == MODEL_TYPE

    def save_config(self, config: Mapping[str, Any], version: str, step: int) -> None:
        """Writes the run's configuration under the marks."""
        marks = zip(self.MARKS, (MODEL_TYPE, version, step), strict=True)
        write_json(self.config_file, dict(marks) | dict(config))

    def load_config(self) -> dict[str, Any]:
        """The configuration as the run had it, without the marks.

        Raises:
          InputError: it is damaged, or lacks a key.
        """
        config = RunFolder(self.root).load_config()
        return {key: value for key, value in config.items() if key not in self.MARKS}

    def step(self) -> int:
        """The step of the checkpoint that was exported; call `load_config` first, which refuses a damaged one."""
        return int(json.loads(self.config_file.read_text(encoding="utf-8"))["step"])

    def save_variables(self, variables: Mapping[str, Any]) -> None:
        """Writes {"params", "batch_stats"} under dotted names: `params.vision.densenet.conv0.kernel`.

        Raises:
          InputError: a weight is NaN or infinite.
        """
        flat = _dotted(variables)
        account(self.weights_file, flat, {name: value.shape for name, value in flat.items()})
        # Not save_file, whose files their owner alone may read.
        self.weights_file.write_bytes(safetensors.numpy.save(flat, metadata={"format": MODEL_TYPE}))

    def load_thresholds(self) -> Thresholds | None:
        """Those of drafts' votes; None of an export that has none.

        Raises:
          InputError: the file is damaged.
        """
        if not self.thresholds_file.is_file():
            return None
        try:
            return Thresholds.of_json(json.loads(self.thresholds_file.read_text(encoding="utf-8")))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{self.thresholds_file}: damaged ({error}); export the run again") from error

    def load_variables(self, shapes: Any) -> dict[str, Any]:
        """{"params", "batch_stats"} as they were, bit for bit.

        Args:
          shapes: the same tree with what has a `shape` as leaves.

        Raises:
          InputError: the file is missing, damaged, a pickle, or of another model.
        """
        weights = read(self.weights_file)
        wanted = {name: leaf.shape for name, leaf in flatten_dict(shapes, sep=".").items()}
        account(self.weights_file, weights, wanted)
        if odd := [name for name in wanted if weights[name].dtype != np.float32]:
            raise InputError(f"{self.weights_file}: holds {listed(odd)} as {weights[odd[0]].dtype}; export it again")
        return unflatten_dict({name: jnp.asarray(weights[name]) for name in wanted}, sep=".")


def _dotted(variables: Mapping[str, Any]) -> dict[str, np.ndarray]:
    return {name: np.asarray(value, order="C") for name, value in flatten_dict(dict(variables), sep=".").items()}


def open_folder(workdir: str | Path) -> RunFolder | ExportFolder:
    """What `load` loads the model of: a run's folder or an export's, fetched where it is on the hub.

    Raises:
      InputError: `workdir` is no folder, but reads as a model on the hub and cannot be had from there.
    """
    root = hub.fetch(workdir, FILES)
    export = ExportFolder(root)
    return export if export.is_one() else RunFolder(root)


def load(workdir: str | Path) -> Model:
    """The model of a run's folder or of an export's, either of which may have been moved, or of an export on the hub.

    Raises:
      InputError: there is neither, or the run is unfinished, or a file is damaged.
    """
    folder = open_folder(workdir)
    return _load_export(folder) if isinstance(folder, ExportFolder) else load_run(folder)


def read_source(name: str) -> Source:
    """The model that `init_from` names: a run's folder or an export's, or an export on the hub.

    Raises:
      InputError: there is neither, or the run is unfinished, or a file is damaged.
    """
    root = Path(name).expanduser()
    try:
        root = hub.fetch(name, FILES)
        export, run = ExportFolder(root), RunFolder(root)
        if not export.is_one() and run.config_file.is_file() and "train" not in splits_in(run.index):
            raise InputError("the run is not finished; go on with it by its training command, or name another")
        model = load(root)
    except InputError as error:
        raise InputError(f"init_from = {name}: {str(error).removeprefix(f'--workdir {root}: ')}") from error
    place = str(root.resolve()) if root == Path(name).expanduser() else name
    step = export.step() if export.is_one() else model.pool.step
    variables = jax.device_get(model.variables)
    return Source(place, model.config, variables, model.tokenizer, step, identity(variables))


def _load_export(export: ExportFolder) -> Model:
    config = export.load_config()
    variables = export.load_variables(variable_shapes(build_model(config), config["image_size"]))
    pool = SplitIndex.load(export.index, "train") if export.index.is_dir() else None
    if pool is not None:
        pool.check_checkpoint(export.step(), "", "the weights beside it")
    stored = export.load_thresholds()
    thresholds = None if stored is None else lambda _: stored
    limits = None if pool is None else abstention.load(export.index, pool)
    checks = partial(checks_of, stored=limits)
    return Model(config, variables, load_tokenizer(export.tokenizer), pool, export.step(), thresholds, checks)

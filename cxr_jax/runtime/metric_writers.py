"""Where a run's metrics go: metrics.jsonl always, TensorBoard and Weights & Biases where the configuration asks."""

import json
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from cxr_jax.errors import InputError
from cxr_jax.files import whole, write_text
from cxr_jax.runtime.curves import draw_curves

# What differs between two runs that compute the same: a test of exactness leaves it out, and nothing else.
TIMINGS = ("pairs_per_second", "step_seconds", "data_wait_seconds", "model_flop_utilisation", "device_memory_bytes")


@runtime_checkable
class MetricWriter(Protocol):
    """One place that metrics go to."""

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Adds the values of a step."""

    def close(self) -> None:
        """Writes what is still held back."""


class JsonLines:
    """One object a line, `step` in each.

    Args:
      first_step: that the run goes on from; lines of later steps, which it writes again, are dropped.
    """

    def __init__(self, file: Path, first_step: int):
        self.file = file
        kept = [json.dumps(line) + "\n" for line in read_lines(file) if line["step"] <= first_step]
        write_text(file, "".join(kept))

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """One line, whole or (where the power fails) cut short, as `read_lines` expects."""
        with self.file.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **values}) + "\n")

    def close(self) -> None:
        """Nothing is held back."""


class Curves:
    """The picture of loss, recall and temperature, drawn anew after each validation from metrics.jsonl."""

    def __init__(self, metrics_file: Path, picture: Path):
        self.metrics_file, self.picture = metrics_file, picture

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Draws where the values are a validation's."""
        if "val_loss" in values:
            with whole(self.picture) as part:
                draw_curves(read_lines(self.metrics_file), part)

    def close(self) -> None:
        """Nothing is held back."""


class TensorBoard:
    """Event files in a folder, by tensorboardX (the extra `tensorboard`)."""

    def __init__(self, folder: Path, first_step: int):
        try:
            from tensorboardX import SummaryWriter
        except ImportError as error:
            raise InputError('tensorboard = true: needs tensorboardX; pip install "cxr_jax[tensorboard]"') from error
        self._writer = SummaryWriter(str(folder), purge_step=first_step + 1)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """One scalar a value."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Flushes the event file."""
        self._writer.close()


class WeightsAndBiases:
    """A run at Weights & Biases (the extra `wandb`); its id is kept in a file, so that a resumed run is one curve."""

    def __init__(self, project: str, file: Path, config: Mapping[str, Any]):
        try:
            import wandb
        except ImportError as error:
            raise InputError('wandb is set: it needs wandb; pip install "cxr_jax[wandb]"') from error
        known = file.read_text(encoding="utf-8").strip() if file.is_file() else uuid.uuid4().hex[:8]
        write_text(file, known + "\n")
        self._run = wandb.init(project=project, id=known, resume="allow", config=dict(config), dir=str(file.parent))

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Metrics of the step; `step` is a metric of its own, for wandb's own count may not go back."""
        self._run.log({"step": step, **values})

    def close(self) -> None:
        """Waits until all is sent, or kept for `wandb sync` where there is no network."""
        self._run.finish()


def open_writers(metrics_file: Path, config: Mapping[str, Any], first_step: int) -> list[MetricWriter]:
    """The writers that the configuration asks for, of a run that goes on from `first_step`; all in its folder.

    Raises:
      InputError: one needs a package that is not installed.
    """
    writers: list[MetricWriter] = [JsonLines(metrics_file, first_step)]
    writers.append(Curves(metrics_file, metrics_file.with_name("curves.png")))
    if config["tensorboard"]:
        writers.append(TensorBoard(metrics_file.parent / "tensorboard", first_step))
    if config["wandb"]:
        writers.append(WeightsAndBiases(config["wandb"], metrics_file.parent / "wandb_id", config))
    return writers


def read_lines(file: Path) -> list[dict[str, Any]]:
    """The objects of metrics.jsonl; a line that a crash cut short is left out."""
    if not file.is_file():
        return []
    lines = []
    for line in file.read_text(encoding="utf-8").splitlines():
        try:
            lines.append(json.loads(line))
        except ValueError:
            continue
    return lines

"""A run's folder: what lies where in it, and the records that training keeps there."""

import json
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from cxr_jax import config as configuration
from cxr_jax.errors import InputError
from cxr_jax.files import write_json
from cxr_jax.runtime.metric_writers import read_lines


class RunFolder:
    """`root/` with config.json, metrics.jsonl, curves.png, checkpoints/, tokenizer/, index/ and eval/<split>/.

    It holds all that retrieval needs, and can be moved.
    """

    def __init__(self, root: str | Path):
        self.root = Path(root).expanduser()
        self.config_file = self.root / "config.json"
        self.metrics_file = self.root / "metrics.jsonl"
        self.history_file = self.root / "history.jsonl"
        self.lock_file = self.root / "run.lock"
        self.unfinished = self.root / "unfinished"  # there from the first start until the index is whole
        self.checkpoints = self.root / "checkpoints"
        self.tokenizer = self.root / "tokenizer"
        self.index = self.root / "index"

    def evaluation(self, split: str) -> Path:
        """Where the evaluation of a split goes."""
        return self.root / "eval" / split

    def check(self, config: Mapping[str, Any], but: Collection[str] = ()) -> None:
        """Holds a configuration against that of the run that is here, if one is; `but` names keys to pass over.

        Raises:
          InputError: the folder belongs to another configuration.
        """
        if not self.config_file.is_file():
            return
        old, new = self._kept_and(config)
        differences = configuration.difference(*({k: v for k, v in c.items() if k not in but} for c in (old, new)))
        if differences:
            raise InputError(
                f"--workdir {self.root}: was made with another configuration ({'; '.join(differences)}); "
                "use that one to go on, or another folder to begin anew"
            )

    def make(self) -> None:
        """Makes the folder where it is missing.

        Raises:
          InputError: it cannot be made.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"--workdir {self.root}: cannot be made ({error.strerror}); name another folder"
            ) from error

    def start(self, config: Mapping[str, Any], **facts: Any) -> None:
        """Writes the resolved configuration, or holds it against the one that is there, and keeps what may change.

        history.jsonl gets a line: the time, what has changed since the start before, and the `facts`.

        Raises:
          InputError: the folder belongs to another configuration, or cannot be made.
        """
        self.check(config)
        self.make()
        changed = {}
        if self.config_file.is_file():
            old, new = self._kept_and(config)
            changed = {name: [old.get(name), new[name]] for name in new if old.get(name) != new[name]}
        if changed or not self.config_file.is_file():
            write_json(self.config_file, config)
        line = {"time": time.strftime("%Y-%m-%dT%H:%M:%S%z"), **facts, "changed": changed}
        with self.history_file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def _kept_and(self, config: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """The configuration that is here and another, both as JSON has them, under dotted keys."""
        return configuration.flatten(self.load_config()), configuration.flatten(json.loads(json.dumps(config)))

    def load_config(self) -> dict[str, Any]:
        """The resolved configuration.

        Raises:
          InputError: this is no run's folder.
        """
        try:
            config = json.loads(self.config_file.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError) as error:
            raise InputError(
                f"--workdir {self.root}: holds no run (no config.json); python -m cxr_jax.train makes one"
            ) from error
        except (OSError, ValueError) as error:
            raise InputError(f"{self.config_file}: not JSON ({error}); restore it from a copy of the run") from error
        config = configuration.with_younger_keys(config) if isinstance(config, dict) else {}
        missing = configuration.SCHEMA.keys() - configuration.flatten(config)
        if missing:
            raise InputError(f"{self.config_file}: holds no {min(missing)}; restore it from a copy of the run")
        return config

    def metrics(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl; one that a crash cut short is left out."""
        return read_lines(self.metrics_file)

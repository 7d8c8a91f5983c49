"""A run's folder: what lies where in it, and the records that training keeps there."""

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from cxr_jax import config as configuration
from cxr_jax.errors import InputError
from cxr_jax.runtime import curves


class RunFolder:
    """`root/` with config.json, metrics.jsonl, curves.png, checkpoints/, tokenizer/, index/ and eval/<split>/.

    It holds all that retrieval needs, and can be moved.
    """

    def __init__(self, root: str | Path):
        self.root = Path(root).expanduser()
        self.config_file = self.root / "config.json"
        self.metrics_file = self.root / "metrics.jsonl"
        self.curves_file = self.root / "curves.png"
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
        old, new = (configuration.flatten(c) for c in (self.load_config(), json.loads(json.dumps(config))))
        differences = configuration.difference(*({k: v for k, v in c.items() if k not in but} for c in (old, new)))
        if differences:
            raise InputError(
                f"--workdir {self.root}: was made with another configuration ({'; '.join(differences)}); "
                "use that one to go on, or another folder to begin anew"
            )

    def start(self, config: Mapping[str, Any]) -> None:
        """Writes the resolved configuration, or holds it against the one that is there.

        Raises:
          InputError: the folder belongs to another configuration, or cannot be made.
        """
        self.check(config)
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"--workdir {self.root}: cannot be made ({error.strerror}); name another folder"
            ) from error
        if not self.config_file.is_file():
            write_json(self.config_file, config)

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
        missing = configuration.SCHEMA.keys() - (configuration.flatten(config) if isinstance(config, dict) else {})
        if missing:
            raise InputError(f"{self.config_file}: holds no {min(missing)}; restore it from a copy of the run")
        return config

    def log(self, step: int, **values: float) -> None:
        """Appends one line to metrics.jsonl."""
        with self.metrics_file.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step} | values) + "\n")

    def metrics(self) -> list[dict[str, int | float]]:
        """The lines of metrics.jsonl; one that a crash cut short is left out."""
        if not self.metrics_file.is_file():
            return []
        lines = []
        for line in self.metrics_file.read_text(encoding="utf-8").splitlines():
            try:
                lines.append(json.loads(line))
            except ValueError:
                continue
        return lines

    def forget_after(self, step: int) -> None:
        """Drops the lines of steps after `step`: a resumed run writes them again."""
        kept = [json.dumps(line) + "\n" for line in self.metrics() if line["step"] <= step]
        write_text(self.metrics_file, "".join(kept))

    def draw_curves(self) -> None:
        """curves.png: loss, recall and temperature over the steps."""
        curves.draw_curves(self.metrics(), self.curves_file)


def write_json(file: Path, value: Any) -> None:
    """JSON, whole or not at all."""
    write_text(file, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_text(file: Path, text: str) -> None:
    """UTF-8 text, whole or not at all."""
    part = file.with_name(file.name + ".part")
    part.write_text(text, encoding="utf-8")
    part.replace(file)

"""Commands of a cluster that only note how they were called: shell scripts in a folder that stands first on PATH."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "scripts" / "cluster"
INHERITED = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "SRUN_", "MAX_"))}


@dataclass
class Ended:
    """A script's exit code, what it printed on standard error, and the commands that it called, in order."""

    code: int
    err: str
    calls: list[str]


def stub(folder: Path, name: str, body: str = "") -> None:
    """A command of that name, that notes its arguments and then runs `body`."""
    file = folder / name
    file.write_text(f'#!/bin/bash\necho "{name} $*" >> "{folder / "calls"}"\n{body}\n', "utf-8")
    file.chmod(0o755)


def run_script(folder: Path, script: str, arguments: list[str], environment: dict[str, str]) -> Ended:
    """Runs a script of scripts/cluster from the repository's root, with the stubs of `folder`."""
    path = {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}
    command = ["bash", str(SCRIPTS / script), *arguments]
    ended = subprocess.run(
        command, env=INHERITED | path | environment, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False
    )
    calls = folder / "calls"
    return Ended(ended.returncode, ended.stderr, calls.read_text("utf-8").splitlines() if calls.exists() else [])

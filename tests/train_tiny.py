"""Trains the tests' tiny configuration alone: python -m tests.train_tiny WORKDIR CACHE [KEY=VALUE …].

Programs are compiled without most optimisations, into a cache that all such processes share.
"""

import sys
import tempfile
from pathlib import Path

import jax

from cxr_jax.errors import run_command
from cxr_jax.runtime import parallel, processes
from cxr_jax.runtime.stopping import Stopper
from cxr_jax.train import train
from tests.tiny import tiny_config


def main() -> None:
    workdir, cache, *changes = sys.argv[1:]
    jax.config.update("jax_disable_most_optimizations", True)
    devices = [change for change in changes if change.startswith("devices=")]
    for change in devices:
        changes.remove(change)
        jax.config.update("jax_num_cpu_devices", int(change.partition("=")[2]))
    config = tiny_config(f"data.cache={cache}", *changes)
    processes.join()
    with Stopper() as stopper, processes.together():
        parallel.cache_compilations(Path(tempfile.gettempdir()) / "cxr_jax_train_tiny")
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
        print("started", flush=True)
        train(config, workdir, stopper)


if __name__ == "__main__":
    run_command(main)

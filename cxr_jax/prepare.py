"""Prepares a data set before training: reads, shrinks and stores every image, once, and needs no accelerator for it.

    python -m cxr_jax.prepare --config configs/base.py [--workers N] [--verify] [--config.data.path=DIR …]

Broken off, by a kill, a damaged image or a full disk, it goes on from there with the same command. Training prepares
what is missing as well; done beforehand, on a machine without an accelerator, it finds the set in data.cache.
"""

import argparse
import signal
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from cxr_jax import config as configuration
from cxr_jax.data import prepare, side_files
from cxr_jax.errors import ArgumentParser, InputError, Preempted, run_command


def _stop(number: int, frame: Any) -> NoReturn:
    """What is half done is seen by nobody, so it can end at once."""
    raise Preempted(f"{signal.Signals(number).name} while preparing data; the same command goes on from there")


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = ArgumentParser(
        prog="python -m cxr_jax.prepare", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", required=True, metavar="FILE[:VARIANT]", help="a configuration file, see configs/")
    parser.add_argument("--workers", type=int, metavar="N", help="processes that read and encode; default: all cores")
    parser.add_argument("--verify", action="store_true", help="afterwards read all that is stored, and check it")
    parser.add_argument(
        "--beam_runner", default="", metavar="NAME", help="prepare by Apache Beam, on DirectRunner, DataflowRunner, …"
    )
    arguments, rest = parser.parse_known_args(sys.argv[1:] if argv is None else argv)
    if arguments.workers is not None and arguments.workers < 1:
        raise InputError(f"--workers {arguments.workers}: give at least 1")
    config = configuration.load(arguments.config, configuration.overrides(rest))
    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, _stop)
    say = partial(print, flush=True)
    builder = prepare.prepare(config["data"], arguments.workers, say, arguments.beam_runner)
    if arguments.verify:
        print(f"{prepare.verify(builder):,} images verified")
    folder = Path(builder.data_path)
    if summary := side_files.warning_summary(side_files.read_rows(folder)):
        print(summary)
    sizes = ", ".join(f"{name} {split.num_examples:,}" for name, split in builder.info.splits.items())
    megabytes = sum(file.stat().st_size for file in folder.iterdir()) / 1e6
    print(f"{builder.builder_config.description}: {sizes} images, {megabytes:,.0f} MB, prepared: {folder}")


if __name__ == "__main__":
    run_command(main)

#!/usr/bin/env python3
"""Decoded training images a second, from the stored set to whole batches, by format and threads: no model, no device.

    python scripts/benchmark_data.py --config configs/base.py --config.data.path=data/rehearsal

"A CPU-second" counts the work of all threads, so it speaks of one core wherever it is measured. The last column is what
a host of `--cores` would give at that rate on every core, over the `--demand` of an accelerator's training step. That
threads scale so far is an assumption, for which 1 against 2 of them is a hint.
"""

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cxr_jax import config as configuration
from cxr_jax.data import pipeline
from cxr_jax.errors import ArgumentParser, run_command

FORMATS = ("png", "jpeg")
HEADER = ("stored as", "KB an image", "augmented", "threads", "images/s", "images/CPU-second", "of the demand")


def measure(config: Mapping[str, Any], split: pipeline.Split, seconds: float) -> tuple[float, float]:
    """(Images a second, images a CPU-second) of the training batches that `config` describes, once they flow."""
    length = config["text"]["max_tokens"]
    tokens = np.zeros((len(split), length), np.int32), np.ones((len(split), length), np.int32)
    batches = pipeline.train_batches(split, tokens, config)
    for _ in range(3):  # what was read ahead while the threads started is not counted
        next(batches)
    count, start, cpu_start = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - start < seconds:
        count += len(next(batches)["image"])
    return count / (time.perf_counter() - start), count / (time.process_time() - cpu_start)


def compare(config: Mapping[str, Any], arguments: argparse.Namespace) -> None:
    """Prints a line for each format, with and without augmentation, and number of threads."""
    print("  ".join(HEADER))
    for stored_format in FORMATS:
        data = config["data"] | {"stored_format": stored_format}
        split = pipeline.load_splits({**config, "data": data})[0]["train"]
        sizes = [len(split.encoded_image(row)) for row in range(0, len(split), max(1, len(split) // 200))]
        for augment in (False, True):
            for threads in arguments.threads:
                varied = {**config, "data": data | {"augment": augment, "num_threads": threads}}
                rate, cpu_rate = measure(varied, split, arguments.seconds)
                cells = (
                    stored_format,
                    f"{np.mean(sizes) / 1000:.0f}",
                    "yes" if augment else "no",
                    str(threads),
                    f"{rate:.0f}",
                    f"{cpu_rate:.0f}",
                    f"{cpu_rate * arguments.cores / arguments.demand:.0%}",
                )
                print("  ".join(c.rjust(len(h)) for c, h in zip(cells, HEADER, strict=True)), flush=True)


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", required=True, metavar="FILE[:VARIANT]", help="whose data, batch and image size")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2, 4], help="data.num_threads to try")
    parser.add_argument("--seconds", type=float, default=5, help="of each measurement")
    parser.add_argument("--demand", type=float, default=2000, help="pairs a second that the step takes")
    parser.add_argument("--cores", type=int, default=16, help="of the host in the last column")
    arguments, rest = parser.parse_known_args(sys.argv[1:] if argv is None else argv)
    compare(configuration.load(arguments.config, configuration.overrides(rest)), arguments)


if __name__ == "__main__":
    run_command(main)

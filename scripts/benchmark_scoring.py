#!/usr/bin/env python3
"""What it costs to score many reports: seconds and peak memory of their scores and intervals, by their number.

    python scripts/benchmark_scoring.py --annotation annotation.json [--pairs 10000 30000 100000]

References are the annotation's training reports, predictions others of them at random, both repeated as often as
needed. Each size is measured in a process of its own. Java is left out: METEOR is the exact + stem version.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from cxr_jax.evaluation.text_metrics import ReportScorer, sample_scores, score_intervals


def measure(annotation: Path, pairs: int) -> str:
    """One line of the table, measured in this process."""
    reports = [entry["report"] for entry in json.loads(annotation.read_text(encoding="utf-8"))["train"]]
    drawn = np.random.default_rng(0).integers(len(reports), size=(2, pairs))
    references, predictions = ([reports[i] for i in side] for side in drawn)
    start = time.perf_counter()
    statistics = ReportScorer(references, "r2gen", reports, meteor="exact_stem").statistics(predictions)
    sample_scores(statistics)
    scored = time.perf_counter() - start
    score_intervals(statistics)
    whole = time.perf_counter() - start
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return f"{pairs:>9,}  {scored:>12.1f} s  {whole - scored:>12.1f} s  {memory:>9,.0f} MB"


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--annotation", required=True, type=Path, metavar="FILE", help="R2Gen's annotation.json")
    parser.add_argument("--pairs", type=int, nargs="+", default=[10_000, 30_000, 100_000])
    arguments = parser.parse_args()
    if len(arguments.pairs) == 1:
        print(measure(arguments.annotation, arguments.pairs[0]))
        return
    print("    pairs          scores       intervals     memory", flush=True)
    for pairs in arguments.pairs:
        command = [sys.executable, __file__, "--annotation", str(arguments.annotation), "--pairs", str(pairs)]
        subprocess.run(command, check=True)


if __name__ == "__main__":
    main()

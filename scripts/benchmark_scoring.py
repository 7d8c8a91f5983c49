#!/usr/bin/env python3
"""What it costs to score many reports, by part; and R2Gen's 590 test reports beside pycocoevalcap's evaluation of them.

    python scripts/benchmark_scoring.py --annotation annotation.json [--pairs 10000 30000 100000] [--meteor exact_stem]
    python scripts/benchmark_scoring.py --annotation annotation.json --peer [--rounds 3]

The first: references are the annotation's training reports, predictions others of them at random, both repeated as
often as needed. The second needs pycocoevalcap and Java: its tokenizer, BLEU, ROUGE-L and METEOR, and all of our
scores with their intervals, METEOR by the same jar and by ours, of the same strings, in turn. Each measurement is a
process of its own, from its first call on (imports left out); CPU seconds are those of Java too.
"""

import argparse
import contextlib
import io
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from cxr_jax.evaluation import meteor, meteor_jar, text_metrics
from cxr_jax.evaluation.protocols import report_preparers
from cxr_jax.evaluation.text_metrics import ReportScorer, sample_scores, score_intervals

PARTS = {
    "preparing": [(text_metrics, "report_preparers"), (text_metrics, "prepare_all")],
    "n-grams": [(text_metrics, "ngram_overlap"), (text_metrics, "bleu_2_rexrank")],
    "ROUGE-L": [(text_metrics, "rouge_l")],
    "METEOR": [(meteor, "meteor_statistics"), (meteor_jar, "jar_statistics")],
    "rules": [(text_metrics, "rule_statuses"), (text_metrics, "label_matrices")],
    "intervals": [(sys.modules[__name__], "score_intervals")],
}


def read(annotation: Path, split: str) -> list[str]:
    return [entry["report"] for entry in json.loads(annotation.read_text(encoding="utf-8"))[split]]


def cpu_seconds() -> float:
    """Of this process and of those that have ended; Java's too, once it is stopped."""
    return sum(os.times()[:4])


@contextlib.contextmanager
def timed_parts() -> Iterator[dict[str, float]]:
    """Wall-clock seconds of each of PARTS; METEOR's run beside the others'."""
    seconds = dict.fromkeys(PARTS, 0.0)

    def timed(part: str, function: Callable) -> Callable:
        def run(*arguments, **options):
            start = time.perf_counter()
            try:
                return function(*arguments, **options)
            finally:
                seconds[part] += time.perf_counter() - start

        return run

    for part, functions in PARTS.items():
        for module, name in functions:
            setattr(module, name, timed(part, getattr(module, name)))
    yield seconds


def score(references: list[str], predictions: list[str], train: list[str], meteor: str) -> None:
    statistics = ReportScorer(references, "r2gen", train, meteor).statistics(predictions)
    sample_scores(statistics)
    score_intervals(statistics)


def measure_pairs(annotation: Path, pairs: int, meteor: str) -> str:
    """One line of the table, measured in this process."""
    reports = read(annotation, "train")
    drawn = np.random.default_rng(0).integers(len(reports), size=(2, pairs))
    references, predictions = ([reports[i] for i in side] for side in drawn)
    with timed_parts() as parts:
        start, cpu = time.perf_counter(), cpu_seconds()
        score(references, predictions, reports, meteor)
        wall = time.perf_counter() - start
    meteor_jar.stop()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    columns = "".join(f"{seconds:>11.2f}" for seconds in parts.values())
    return f"{pairs:>9,}{wall:>9.2f}{cpu_seconds() - cpu:>9.2f}{columns}{memory:>9,.0f} MB"


def split_pairs(annotation: Path) -> tuple[list[str], list[str], list[str]]:
    """R2Gen's true test reports, a training report at random for each, and the training reports."""
    train, references = read(annotation, "train"), read(annotation, "test")
    drawn = np.random.default_rng(0).integers(len(train), size=len(references))
    return references, [train[i] for i in drawn], train


def measure_ours(annotation: Path, meteor: str) -> None:
    pairs = split_pairs(annotation)
    score(*pairs, meteor)
    meteor_jar.stop()


def measure_peer(annotation: Path) -> None:
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.meteor.meteor import Meteor
    from pycocoevalcap.rouge.rouge import Rouge
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    references, predictions, train = split_pairs(annotation)
    sides = zip(report_preparers("r2gen", train), (references, predictions), strict=True)
    gold, given = ({i: [{"caption": prepare(r)}] for i, r in enumerate(side)} for prepare, side in sides)
    tokenizer = PTBTokenizer()
    gold, given = tokenizer.tokenize(gold), tokenizer.tokenize(given)
    meteor = Meteor()
    for scorer in (Bleu(4), Rouge(), meteor):
        scorer.compute_score(gold, given)
    meteor.meteor_p.stdin.close()
    meteor.meteor_p.wait()


MEASURED = {
    "pycocoevalcap": measure_peer,
    "ours, the jar": lambda annotation: measure_ours(annotation, "jar"),
    "ours, without Java": lambda annotation: measure_ours(annotation, "exact_stem"),
}


def measure(annotation: Path, name: str) -> list[float]:
    """[wall-clock seconds, CPU seconds], measured in this process."""
    if name == "pycocoevalcap":
        import pycocoevalcap.bleu.bleu  # noqa: F401  an import that is not counted either
    start, cpu = time.perf_counter(), cpu_seconds()
    with contextlib.redirect_stdout(io.StringIO()):
        MEASURED[name](annotation)
    return [time.perf_counter() - start, cpu_seconds() - cpu]


def compare(annotation: Path, rounds: int) -> None:
    command = [sys.executable, __file__, "--annotation", str(annotation), "--measure"]
    subprocess.run([*command, "ours, the jar"], check=True, capture_output=True)  # makes the index of METEOR's tables
    seconds: dict[str, list[list[float]]] = {name: [] for name in MEASURED}
    for _ in range(rounds):
        for name in MEASURED:
            ran = subprocess.run([*command, name], check=True, capture_output=True, text=True)
            seconds[name].append(json.loads(ran.stdout))
    medians = {name: np.median(values, axis=0) for name, values in seconds.items()}
    print(f"{'590 pairs':<20}{'wall s':>9}{'CPU s':>9}{'ratio of wall':>16}{'of CPU':>9}")
    for name, median in medians.items():
        ratios = medians["pycocoevalcap"] / median
        print(f"{name:<20}{median[0]:>9.2f}{median[1]:>9.2f}{ratios[0]:>16.1f}{ratios[1]:>9.1f}")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--annotation", required=True, type=Path, metavar="FILE", help="R2Gen's annotation.json")
    parser.add_argument("--pairs", type=int, nargs="+", default=[10_000, 30_000, 100_000])
    parser.add_argument("--meteor", choices=("jar", "exact_stem"), default="exact_stem")
    parser.add_argument("--peer", action="store_true", help="compare with pycocoevalcap")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--measure", choices=MEASURED, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(arguments.annotation, arguments.measure)))
    elif arguments.peer:
        compare(arguments.annotation, arguments.rounds)
    elif len(arguments.pairs) == 1:
        print(measure_pairs(arguments.annotation, arguments.pairs[0], arguments.meteor))
    else:
        print(f"{'pairs':>9}{'wall s':>9}{'CPU s':>9}{''.join(f'{part:>11}' for part in PARTS)}   memory", flush=True)
        for pairs in arguments.pairs:
            command = [sys.executable, __file__, "--annotation", str(arguments.annotation), "--pairs", str(pairs)]
            subprocess.run([*command, "--meteor", arguments.meteor], check=True)


if __name__ == "__main__":
    main()

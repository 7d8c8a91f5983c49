"""Runs beside each other, the paper's Table 3: each variant's scores over its seeds, and what it gains on the first.

    python -m cxr_jax.ablation DIR … [--split test] [--out ablation.md]

A DIR is a run that has been scored (python -m cxr_jax.evaluate --workdir DIR). Runs that differ in nothing but their
seed are one variant; the first DIR's variant is the one that the others are held against. All must answer the same
images with the same references. scripts/ablate.py trains such runs.

Scores are means over seeds ± their standard deviation, beside floors and ceiling; a random report's R@k is what
embeddings that know nothing find. Differences carry 95 % intervals of a bootstrap that draws patients and, where a
variant has several, seeds: "pays" and "costs" stand where the interval leaves out 0.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cxr_jax.errors import ArgumentParser, run_command
from cxr_jax.evaluation.ablation import read_run
from cxr_jax.evaluation.ablation_tables import report
from cxr_jax.files import write_text
from cxr_jax.training.step import count_parameters, make_recipe, state_shapes


def parameters_of(config: Mapping[str, Any]) -> tuple[int, int]:
    """How many parameters a configuration's model has, and how many of them are trained."""
    recipe = make_recipe(config)
    return count_parameters(recipe, state_shapes(recipe, config).params)


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = ArgumentParser(
        prog="python -m cxr_jax.ablation", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("workdirs", nargs="+", metavar="DIR", help="folders of scored runs; the first is the measure")
    parser.add_argument("--split", default="test", choices=("val", "test"), help="the split that was scored (test)")
    parser.add_argument("--out", default="", metavar="FILE", help="a Markdown file to write the tables to as well")
    arguments = parser.parse_args(sys.argv[1:] if argv is None else argv)
    runs = [read_run(folder, arguments.split) for folder in arguments.workdirs]
    text, as_markdown = report(runs, parameters_of)
    print(text)
    if arguments.out:
        write_text(Path(arguments.out), as_markdown)
        print(f"\ntables: {arguments.out}")


if __name__ == "__main__":
    run_command(main)

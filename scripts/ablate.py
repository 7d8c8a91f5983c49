#!/usr/bin/env python3
"""Trains the variants of a configuration over several seeds, scores them, and prints the paper's Table 3 of them.

    python scripts/ablate.py --config configs/phantom.py --out runs/ablation [--seeds 0 1 2] [--config.KEY=VALUE …]

The first variant is the measure: `paper`, the configuration as it stands. The others are those that the configuration
file has (configs/base.py lists them), the paper's own ablations where --variants does not name any. Each run lies in
OUT/VARIANT/seedN. Runs that are there are gone on with, or only read, so a broken-off ablation goes on with the same
command. All runs share data.seed, and so the split. The tables are printed and written to OUT/ablation.md.
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from cxr_jax import config as configuration
from cxr_jax.ablation import parameters_of
from cxr_jax.errors import ArgumentParser, InputError, run_command
from cxr_jax.evaluation.ablation import read_run
from cxr_jax.evaluation.ablation_tables import report
from cxr_jax.files import write_text
from cxr_jax.runtime.run_folder import RunFolder
from cxr_jax.train import LOOKED_UP

PAPER = "paper"
VARIANTS = (PAPER, "plain_densenet", "frozen_bert", "finetune_bert", "unscaled_prompts")


def run_one(spec: str, folder: Path, overrides: Sequence[str], split: str) -> None:
    """Trains and scores one run, unless that has been done.

    Raises:
      InputError: one of the two commands failed; its own line has been printed.
    """
    run, config = RunFolder(folder), configuration.load(spec, overrides)
    if (run.evaluation(split) / "metrics.json").is_file():
        run.check(config, but=LOOKED_UP)
        if run.load_config()["num_steps"] == config["num_steps"] and not run.unfinished.exists():
            return
    print(f"== {folder}", flush=True)
    keys = [f"--config.{override}" for override in overrides]
    for command in (
        ["cxr_jax.train", "--config", spec, "--workdir", str(folder), *keys],
        ["cxr_jax.evaluate", "--workdir", str(folder), "--split", split],
    ):
        # A process each: what one compiled and holds in memory is gone before the next begins.
        if subprocess.run([sys.executable, "-m", *command], check=False).returncode:
            raise InputError(f"{folder}: {command[0]} failed, see above; the same command goes on from there")


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", required=True, metavar="FILE", help="a configuration file, see configs/")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="where the runs go")
    parser.add_argument("--variants", nargs="+", default=VARIANTS, metavar="NAME", help="the first is the measure")
    parser.add_argument("--seeds", nargs="+", type=int, default=(0, 1, 2), metavar="N", help="(0 1 2)")
    parser.add_argument("--split", default="test", choices=("val", "test"), help="the split that is scored (test)")
    arguments, rest = parser.parse_known_args(sys.argv[1:] if argv is None else argv)
    overrides = configuration.overrides(rest)
    specs = {v: arguments.config if v == PAPER else f"{arguments.config}:{v}" for v in arguments.variants}
    for spec in specs.values():
        configuration.load(spec, overrides)  # what can be refused is, before hours of training
    folders = {v: [arguments.out / v / f"seed{seed}" for seed in arguments.seeds] for v in specs}
    # Seeds on the outside: broken off, it leaves whole tables of fewer seeds.
    for i, seed in enumerate(arguments.seeds):
        for variant, spec in specs.items():
            run_one(spec, folders[variant][i], [*overrides, f"seed={seed}"], arguments.split)
    runs = [read_run(folder, arguments.split) for variant in specs for folder in folders[variant]]
    names = {folder: variant for variant in specs for folder in folders[variant]}
    text, as_markdown = report(runs, parameters_of, names)
    write_text(arguments.out / "ablation.md", as_markdown)
    print(f"\n{text}\n\ntables: {arguments.out / 'ablation.md'}")


if __name__ == "__main__":
    run_command(main)

#!/usr/bin/env python3
"""Do a model's region maps point at what a sentence speaks of? The pointing game and IoU on drawn radiographs.

    python scripts/pointing_game.py --workdir runs/phantom [--split test] [--limit N]

The phantom knows where it drew each finding. Beside A_s, the similarity map and occlusion (cxr_jax.retrieval.regions)
stand a random map, one of the centre, the place where other studies have the finding, and each map of another study's
image. The tables are printed and written to eval/SPLIT/pointing_game.md and .json in the run's folder. Of which
findings `Model.region` and the server then show a map stands in index/regions.json: those of which one of the two
points right in half of the studies or more, and beats random, centre, and itself in another study's image, outside its
interval. docs/regions.md has the rules, and what was measured.
"""

import argparse
import sys
from collections.abc import Sequence

from tqdm import tqdm

from cxr_jax.errors import ArgumentParser, InputError, run_command
from cxr_jax.evaluation.pointing_game import MEASURES, offers, summary, table
from cxr_jax.files import write_json, write_text
from cxr_jax.recipes.regions import studies_of, trials_of
from cxr_jax.retrieval.loading import load_run
from cxr_jax.retrieval.regions import MAPS, OFFERED
from cxr_jax.retrieval.store import SplitIndex
from cxr_jax.runtime.run_folder import RunFolder


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workdir", required=True, metavar="DIR", help="a run's folder, of configs/phantom.py")
    parser.add_argument("--split", default="test", choices=("val", "test"), help="whose studies (test)")
    parser.add_argument("--limit", type=int, default=400, metavar="N", help="studies with findings, at most (400)")
    arguments = parser.parse_args(sys.argv[1:] if argv is None else argv)
    if arguments.limit < 1:
        raise InputError(f"--limit {arguments.limit}: ask for at least 1")
    run = RunFolder(arguments.workdir)
    model, split = load_run(run), SplitIndex.load(run.index, arguments.split)
    studies = list(studies_of(model.config, split, arguments.limit))
    found = summary(trials_of(model, studies, lambda each: tqdm(each, unit="study", leave=False)))
    shown, text = offers(found, MAPS), "\n\n".join(table(found, measure) for measure in MEASURES)
    about = {
        "split": arguments.split, "studies": len(studies), "image_size": model.config["image_size"],
        "step": model.step, "checkpoint": model.pool.checkpoint, "trained_on": model.config["data"]["description"],
    }  # fmt: skip
    run.evaluation(arguments.split).mkdir(parents=True, exist_ok=True)
    write_text(run.evaluation(arguments.split) / "pointing_game.md", text + "\n")
    write_json(run.evaluation(arguments.split) / "pointing_game.json", {**about, "findings": found})
    write_json(run.index / OFFERED, {**about, "shown": shown})
    names = ", ".join(f"{finding} ({of['map']})" for finding, of in shown.items()) or "none"
    print(f"{text}\n\nfindings of which a map is shown from now on: {names}")


if __name__ == "__main__":
    run_command(main)

"""The options of `evaluate` that are of a set from elsewhere."""

import argparse
import dataclasses

from cxr_jax.data.label_values import BLANK_POLICIES
from cxr_jax.errors import InputError
from cxr_jax.recipes.external_set import Options
from cxr_jax.retrieval.corpus import TRAIN

OF_A_SET = ("name", "columns", "images", "pool", "calibrate", "blank", "sample", "seed", "out")


def add(parser: argparse.ArgumentParser) -> None:
    """The options of scoring a set from elsewhere."""
    group = parser.add_argument_group("a set from elsewhere")
    group.add_argument(
        "--data", default="", metavar="FILE|DIR", help="its table (CSV, JSON lines, Parquet), or its images"
    )
    group.add_argument("--name", default="", help="of the folder in eval/ (the table's name)")
    group.add_argument("--columns", default="", metavar="YAML", help="which column says what (configs/labels/*.yaml)")
    group.add_argument("--images", default="", metavar="DIR", help="where the images lie (the table's folder)")
    group.add_argument(
        "--pool", nargs="+", metavar="FILE|DIR|train", help="reports to retrieve: the run's (train), other runs', files"
    )
    group.add_argument(
        "--calibrate", default="", metavar="FILE", help="a table to choose thresholds on (the run's val)"
    )
    group.add_argument("--blank", choices=BLANK_POLICIES, help="what a blank counts as (ignore)")
    group.add_argument("--sample", default="", metavar="CxN", help="score N images of each of C classes only: 5x200")
    group.add_argument("--seed", type=int, default=0, help="of that sample (0)")
    group.add_argument("--out", default="", metavar="DIR", help="where NAME goes (the run's eval/)")


def check(arguments: argparse.Namespace) -> None:
    """Refuses them where there is no set.

    Raises:
      InputError: naming the first.
    """
    for name in OF_A_SET:
        if getattr(arguments, name) and not arguments.data:
            raise InputError(f"--{name}: is of a set from elsewhere; give --data FILE with it")


def options_of(arguments: argparse.Namespace) -> Options:
    """What is given of them, and the default of what is not."""
    names = [field.name for field in dataclasses.fields(Options)]
    given = {name: value for name in names if (value := getattr(arguments, name))}
    return Options(**given | {"pool": tuple(arguments.pool or [TRAIN])})

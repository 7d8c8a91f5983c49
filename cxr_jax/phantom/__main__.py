"""Draws a release of chest radiographs with reports, in the layout of Open-i's download; no patient is shown.

python -m cxr_jax.phantom --out data/phantom --studies 1000
"""

import argparse
import sys
from collections.abc import Sequence

from cxr_jax.errors import ArgumentParser, InputError, run_command
from cxr_jax.phantom.release import write_release


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = ArgumentParser(
        prog="python -m cxr_jax.phantom", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="a new or empty folder for the release")
    parser.add_argument("--studies", type=int, default=1000, help="number of studies, two images each (default 1000)")
    parser.add_argument("--size", type=int, default=128, help="pixels a side (default 128)")
    parser.add_argument("--seed", type=int, default=0, help="another seed gives other patients (default 0)")
    parser.add_argument("--workers", type=int, default=None, help="processes (default: one for each CPU)")
    arguments = parser.parse_args(sys.argv[1:] if argv is None else argv)
    try:
        folder = write_release(arguments.out, arguments.studies, arguments.size, arguments.seed, arguments.workers)
    except OSError as error:
        raise InputError(f"--out {arguments.out}: cannot be written ({error}); name another folder") from error
    print(f"{folder}: {arguments.studies} drawn studies of {arguments.size} x {arguments.size} pixels")


if __name__ == "__main__":
    run_command(main)

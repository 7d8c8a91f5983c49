"""Retrieves with a trained run: scores a split, or answers for single images and texts.

    python -m cxr_jax.retrieve --workdir DIR [--split test]         scores, predictions.jsonl and a page of cases
    python -m cxr_jax.retrieve --workdir DIR --image FILE|DIR …     the nearest training reports of each image
    python -m cxr_jax.retrieve --workdir DIR --text "…"             the training images nearest to a text

The run's folder is all that is needed. Retrieved reports always come from the training split. More ways to score are
`python -m cxr_jax.evaluate`'s.
"""

import argparse
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

import cxr_jax
from cxr_jax.data import folders, images
from cxr_jax.errors import ArgumentParser, InputError, run_command
from cxr_jax.evaluate import add_split_arguments, evaluate_split
from cxr_jax.retrieval.model import BATCH, Model, Neighbour
from cxr_jax.runtime import parallel


def show_reports(model: Model, files: Sequence[Path], top_k: int, recall: float = 1.0) -> None:
    """Prints the nearest training reports of each image; as many as a batch holds are encoded together.

    Raises:
      InputError: an image cannot be read; the readable ones are answered first.
    """
    faults = []
    for start in range(0, len(files), BATCH):
        pictures = []
        for file in files[start : start + BATCH]:
            try:
                pictures.append((file, images.read(file)))
            except InputError as error:
                faults.append(str(error))
        found = model.retrieve_each([picture.grey for _, picture in pictures], top_k, recall) if pictures else []
        for (file, picture), neighbours in zip(pictures, found, strict=True):
            for warning in picture.warnings:
                print(f"{file}: warning: {warning}", file=sys.stderr)
            print(f"\n{file}")
            _print_neighbours(neighbours)
    if faults:
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        raise InputError(faults[0] + more)


def image_files(arguments: Sequence[str]) -> list[Path]:
    """The image files that the arguments name; a folder stands for the images in it, `folders.image_files`.

    Raises:
      InputError: a folder without an image.
    """
    files = []
    for argument in map(Path, arguments):
        inside = folders.image_files(argument) if argument.is_dir() else [argument]
        if not inside:
            raise InputError(f"{argument}: no image in this folder ({', '.join(images.SUFFIXES)}); name another")
        files += inside
    return files


def _print_neighbours(neighbours: Sequence[Neighbour]) -> None:
    for rank, neighbour in enumerate(neighbours, start=1):
        labels = f"  [{', '.join(neighbour.row.labels)}]" if neighbour.row.labels else ""
        print(f"{rank:3}. {neighbour.similarity:+.3f}  {neighbour.row.study_id} ({neighbour.row.image_id}){labels}")
        print(textwrap.indent(textwrap.fill(neighbour.row.report, 100), " " * 13))


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = ArgumentParser(
        prog="python -m cxr_jax.retrieve", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workdir", default="", metavar="DIR", help="a run's folder, or an export's with its index")
    add_split_arguments(parser)
    parser.add_argument("--image", nargs="+", metavar="FILE|DIR", help="images to find reports for")
    parser.add_argument("--text", metavar="TEXT", help="a text to find images for")
    parser.add_argument(
        "--approximate",
        type=float,
        default=1.0,
        metavar="RECALL",
        help="find this share of the nearest, .95 say: faster on a TPU, where the pool is large (1: all of them)",
    )
    arguments = parser.parse_args(sys.argv[1:] if argv is None else argv)
    if arguments.top_k < 1:
        raise InputError(f"--top_k {arguments.top_k}: must be at least 1")
    if not 0 < arguments.approximate <= 1:
        raise InputError(f"--approximate {arguments.approximate}: must be more than 0 and at most 1")
    if arguments.approximate < 1 and not arguments.image and arguments.text is None:
        raise InputError("--approximate: scores are of the exact search; give it with --image or --text")
    if not arguments.workdir:
        raise InputError("--workdir: is missing; name a run's folder")
    if not arguments.image and arguments.text is None:
        evaluate_split(arguments.workdir, arguments.split, arguments.protocol or "r2gen", arguments.top_k)
        return
    files = image_files(arguments.image or [])
    model = cxr_jax.load(arguments.workdir)
    parallel.cache_compilations(Path(model.config["data"]["cache"]).expanduser() / "compiled")
    if files:
        show_reports(model, files, arguments.top_k, arguments.approximate)
    if arguments.text is not None:
        print(f'\n"{arguments.text}"')
        _print_neighbours(model.retrieve_images(arguments.text, arguments.top_k, arguments.approximate))


if __name__ == "__main__":
    run_command(main)

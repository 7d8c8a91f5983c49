"""Retrieves with a trained run: scores a split, or answers for single images and texts.

    python -m cxr_jax.retrieve --workdir DIR [--split test]         scores, predictions.jsonl and a page of cases
    python -m cxr_jax.retrieve --workdir DIR --image FILE|DIR …     the nearest training reports of each image
    python -m cxr_jax.retrieve --workdir DIR --text "…"             the training images nearest to a text
    python -m cxr_jax.retrieve --workdir DIR --image FILE --find images [--add "…"]
                                                                    the training images nearest to an image, and a text

The run's folder is all that is needed. Retrieved reports come from the training split, or from --pool: a CSV or text
file of reports or sentences, other runs' folders, train, or several. More ways to score are `python -m
cxr_jax.evaluate`'s.
"""

import argparse
import sys
import textwrap
import warnings
from collections.abc import Sequence
from pathlib import Path

import cxr_jax
from cxr_jax.data import folders, images
from cxr_jax.data.notes import Notes, say
from cxr_jax.errors import ArgumentParser, InputError, run_command
from cxr_jax.evaluate import add_split_arguments
from cxr_jax.recipes.split import evaluate_split
from cxr_jax.retrieval.abstention import UNCHECKED
from cxr_jax.retrieval.corpus import read_pool
from cxr_jax.retrieval.draft import Draft
from cxr_jax.retrieval.external import Embedder
from cxr_jax.retrieval.model import BATCH, DraftWarning, Model, Neighbour
from cxr_jax.runtime import parallel

SHOWN = 5  # studies that are named of a sentence


def show_reports(
    model: Model,
    files: Sequence[Path],
    top_k: int,
    recall: float = 1.0,
    find: str = "reports",
    text: str = "",
    method: str = "",
    abstain: bool = False,
) -> None:
    """Prints the nearest studies of the pool of each image; as many as a batch holds are encoded together.

    What is doubted of an image is said on standard error.

    Args:
      find, text: see `Model.retrieve_each`.
      method: of a draft, which is printed with its evidence before them; "" for none.
      abstain: withhold the drafts of images that are doubted.

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
        greys = [picture.grey for _, picture in pictures]
        found = model.retrieve_each(greys, top_k, recall, find, text) if greys else []
        drafts: Sequence[Draft | None] = [None] * len(found)
        doubts: Sequence[tuple[str, ...]] = [()] * len(found)
        if greys and method:
            with warnings.catch_warnings():  # they are said below, by the files' names
                warnings.simplefilter("ignore", DraftWarning)
                drafts = made = model.draft_each(greys, method, abstain)
            doubts = [draft.doubts for draft in made]
        elif greys and find == "reports":
            doubts = model.doubts_each(greys)
        for (file, picture), neighbours, draft, doubted in zip(pictures, found, drafts, doubts, strict=True):
            for warning in (*picture.warnings, *doubted):
                print(f"{file}: warning: {warning}", file=sys.stderr)
            print(f"\n{file}", *([f'and "{text}"'] if text else []))
            if draft is not None:
                _print_draft(draft, model)
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


def _print_draft(draft: Draft, model: Model) -> None:
    """Each sentence with the weight of those of the 20 nearest that say the same, and the studies of both sides."""
    print(f"draft ({draft.method}):{' withheld' if draft.withheld else ''}")
    for sentence in draft.sentences:
        print(textwrap.indent(textwrap.fill(sentence.text, 100), " " * 4))
        for word, sources in (("from", sentence.sources), ("against", sentence.against)):
            if sources:
                studies = ", ".join(model.pool.rows[source.row].study_id for source in sources[:SHOWN])
                more = f" and {len(sources) - SHOWN} more" if len(sources) > SHOWN else ""
                share = f" (share {sentence.share:.2f})" if word == "from" else ""
                print(f"{' ' * 8}{word} {studies}{more}{share}")


def _print_neighbours(neighbours: Sequence[Neighbour]) -> None:
    for rank, neighbour in enumerate(neighbours, start=1):
        labels = f"  [{', '.join(neighbour.row.labels)}]" if neighbour.row.labels else ""
        image = f" ({neighbour.row.image_id})" if neighbour.row.image_id else ""  # a pool of reports alone has none
        print(f"{rank:3}. {neighbour.similarity:+.3f}  {neighbour.row.study_id}{image}{labels}")
        print(textwrap.indent(textwrap.fill(neighbour.row.report, 100), " " * 13))


def _with_pool(model: Model, given: Sequence[str] | None) -> Model:
    if not given:
        return model
    notes = Notes()
    pool, _ = read_pool(Embedder(model, model.step), given, notes)
    say("--pool", notes.all)
    return model.with_pool(pool)


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = ArgumentParser(
        prog="python -m cxr_jax.retrieve", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workdir", default="", metavar="DIR", help="a run's folder, or an export's with its index")
    add_split_arguments(parser)
    parser.add_argument("--image", nargs="+", metavar="FILE|DIR", help="images to find reports for")
    parser.add_argument("--text", metavar="TEXT", help="a text to find images for")
    parser.add_argument("--find", default="reports", choices=("reports", "images"), help="for --image (reports)")
    parser.add_argument("--add", default="", metavar="TEXT", help="what is looked for besides each --image")
    parser.add_argument("--pool", nargs="+", metavar="FILE|DIR|train", help="where reports come from (train)")
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
    for name in ("pool", "add"):
        if getattr(arguments, name) and not arguments.image:
            raise InputError(f"--{name}: is of images; give it with --image (evaluate --data has a --pool of its own)")
    if arguments.method and arguments.text is not None and not arguments.image:
        raise InputError("--method: is of drafts for images; give it with --image, or alone to score a split")
    if arguments.abstain and arguments.text is not None and not arguments.image:
        raise InputError("--abstain: is of drafts for images; give it with --image, or alone to score a split")
    if not arguments.image and arguments.text is None:
        evaluate_split(
            arguments.workdir,
            arguments.split,
            arguments.protocol or "r2gen",
            arguments.top_k,
            method=arguments.method,
            abstain=arguments.abstain,
        )
        return
    files = image_files(arguments.image or [])
    model = cxr_jax.load(arguments.workdir)
    parallel.cache_compilations(Path(model.config["data"]["cache"]).expanduser() / "compiled")
    if files:
        method = arguments.method or (model.config["draft"]["method"] if arguments.abstain else "")
        if (method or arguments.find == "reports") and model.checks is None:
            print(f"--workdir {arguments.workdir}: images are {UNCHECKED}", file=sys.stderr)
        show_reports(
            _with_pool(model, arguments.pool), files, arguments.top_k, arguments.approximate, arguments.find,
            arguments.add.strip(), method, arguments.abstain,
        )  # fmt: skip
    if arguments.text is not None:
        print(f'\n"{arguments.text}"')
        _print_neighbours(model.retrieve_images(arguments.text, arguments.top_k, arguments.approximate))


if __name__ == "__main__":
    run_command(main)

"""Retrieves with a trained run: scores a split, or answers for single images and texts.

    python -m cxr_jax.retrieve --workdir DIR [--split test]         scores, predictions.jsonl and a page of cases
    python -m cxr_jax.retrieve --workdir DIR --image FILE|DIR …     the nearest training reports of each image
    python -m cxr_jax.retrieve --workdir DIR --text "…"             the training images nearest to a text

The run's folder is all that is needed. Retrieved reports always come from the training split.
"""

import argparse
import json
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

from cxr_jax import inference, parallel
from cxr_jax.data.images import SUFFIXES
from cxr_jax.errors import ArgumentParser, InputError, run_command
from cxr_jax.evaluation import evaluate as evaluation
from cxr_jax.evaluation import tables
from cxr_jax.evaluation.page import write_page
from cxr_jax.evaluation.text_metrics import PROTOCOLS
from cxr_jax.index import SplitIndex
from cxr_jax.workdir import RunFolder, write_json, write_text

PAGE_CASES = 200


def evaluate_split(workdir: str | Path, split: str = "test", protocol: str = "r2gen", top_k: int = 3) -> Path:
    """Scores a split, prints the tables and writes metrics.json, predictions.jsonl and index.html.

    Returns:
      the folder that they are in, `eval/<split>`.

    Raises:
      InputError: the folder holds no finished run, or the run no such split.
    """
    run = RunFolder(workdir)
    config = run.load_config()
    query, train, val = (SplitIndex.load(run.index, name) for name in (split, "train", "val"))
    dataset, data_split = config["data"]["description"], config["data"].get("split_used", config["data"]["split"])
    similarity, rows = evaluation.neighbours_of(query, train, top_k)
    metrics = evaluation.evaluate(train, val, query, rows, dataset, protocol, data_split)

    scores, recall = tables.score_table(metrics), tables.recall_table(metrics)
    title = (
        f"{dataset}, split by {data_split}: {split} split, {len(query)} images, protocol {protocol}, "
        f"pool of {len(train)} training reports"
    )
    print(f"{title}\n\n{tables.format_table(*scores)}\n\n{tables.format_table(*recall)}\n")

    folder = run.evaluation(split)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "metrics.json", metrics)
    lines = evaluation.prediction_lines(query, train, similarity, rows)
    write_text(folder / "predictions.jsonl", "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    cases = evaluation.cases(query, train, similarity, rows, PAGE_CASES)
    notes = [
        f"{dataset}, split by {data_split}. Checkpoint of step {query.step}. "
        f"Scores: protocol {protocol}, all {len(query)} images.",
        f"{len(cases)} of {len(query)} cases are shown." if len(cases) < len(query) else "All cases are shown.",
    ]
    write_page(folder / "index.html", f"{split}: true and retrieved reports", scores, cases, notes)
    print(f"page: {folder / 'index.html'}")
    return folder


def show_reports(model: inference.Model, files: Sequence[Path], top_k: int) -> None:
    """Prints the nearest training reports of each image.

    Raises:
      InputError: an image cannot be read; the readable ones are answered first.
    """
    faults = []
    for file in files:
        try:
            found = model.retrieve(file, top_k)
        except InputError as error:
            faults.append(str(error))
            continue
        print(f"\n{file}")
        _print_neighbours(found)
    if faults:
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        raise InputError(faults[0] + more)


def image_files(arguments: Sequence[str]) -> list[Path]:
    """The image files that the arguments name; a folder stands for the images in it.

    Raises:
      InputError: a folder without an image.
    """
    files = []
    for argument in map(Path, arguments):
        inside = (
            sorted(f for f in argument.iterdir() if f.suffix.lower() in SUFFIXES and f.is_file())
            if argument.is_dir()
            else [argument]
        )
        if not inside:
            raise InputError(f"{argument}: no image in this folder ({', '.join(SUFFIXES)}); name another")
        files += inside
    return files


def _print_neighbours(found: Sequence[inference.Neighbour]) -> None:
    for rank, neighbour in enumerate(found, start=1):
        labels = f"  [{', '.join(neighbour.row.labels)}]" if neighbour.row.labels else ""
        print(f"{rank:3}. {neighbour.similarity:+.3f}  {neighbour.row.study_id} ({neighbour.row.image_id}){labels}")
        print(textwrap.indent(textwrap.fill(neighbour.row.report, 100), " " * 13))


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = ArgumentParser(
        prog="python -m cxr_jax.retrieve", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workdir", required=True, metavar="DIR", help="a run's folder, made by cxr_jax.train")
    parser.add_argument("--split", default="test", choices=("val", "test"), help="the split to score (test)")
    parser.add_argument("--protocol", default="r2gen", choices=PROTOCOLS, help="how reports are scored (r2gen)")
    parser.add_argument("--image", nargs="+", metavar="FILE|DIR", help="images to find reports for")
    parser.add_argument("--text", metavar="TEXT", help="a text to find images for")
    parser.add_argument("--top_k", type=int, default=3, metavar="K", help="how many to retrieve (3)")
    arguments = parser.parse_args(sys.argv[1:] if argv is None else argv)
    if arguments.top_k < 1:
        raise InputError(f"--top_k {arguments.top_k}: must be at least 1")
    if not arguments.image and arguments.text is None:
        evaluate_split(arguments.workdir, arguments.split, arguments.protocol, arguments.top_k)
        return
    files = image_files(arguments.image or [])
    cache = Path(RunFolder(arguments.workdir).load_config()["data"]["cache"])
    parallel.cache_compilations(cache.expanduser() / "compiled")
    model = inference.load(arguments.workdir)
    if files:
        show_reports(model, files, arguments.top_k)
    if arguments.text is not None:
        print(f'\n"{arguments.text}"')
        _print_neighbours(model.retrieve_images(arguments.text, arguments.top_k))


if __name__ == "__main__":
    run_command(main)

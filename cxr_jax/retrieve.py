"""Retrieves with a trained run: scores a split, or answers for single images and texts.

    python -m cxr_jax.retrieve --workdir DIR [--split test]         scores, predictions.jsonl and a page of cases
    python -m cxr_jax.retrieve --workdir DIR --compare DIR|FILE     the same, and a paired test against another system
    python -m cxr_jax.retrieve --workdir DIR --image FILE|DIR …     the nearest training reports of each image
    python -m cxr_jax.retrieve --workdir DIR --text "…"             the training images nearest to a text
    python -m cxr_jax.retrieve --workdir DIR --zero_shot YAML       labels asked by opposite sentences: AUROC and F1
    python -m cxr_jax.retrieve --annotation FILE                    floors and ceiling of R2Gen's annotation.json
    python -m cxr_jax.retrieve --annotation FILE|--workdir DIR --score predictions.jsonl
                                                                    any system's reports beside the same floors

The run's folder is all that is needed. Retrieved reports always come from the training split. A system's lines hold
study_id and prediction; what a run writes as predictions.jsonl holds more. Labels of another tool, CheXbert's say, are
taken from CSVs: --labels FILE with --zero_shot, in place of the data's own; --labels REFERENCES PREDICTIONS with
--score.
"""

import argparse
import json
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

from cxr_jax.data.images import SUFFIXES
from cxr_jax.data.reports import group_ids
from cxr_jax.errors import ArgumentParser, InputError, run_command
from cxr_jax.evaluation import predictions as outside
from cxr_jax.evaluation import scoring as evaluation
from cxr_jax.evaluation import tables
from cxr_jax.evaluation.retrieval_metrics import random_chance, tied_chance
from cxr_jax.evaluation.text_metrics import PROTOCOLS
from cxr_jax.pages import charts
from cxr_jax.pages.page import write_page
from cxr_jax.retrieval import model as inference
from cxr_jax.retrieval.store import SplitIndex
from cxr_jax.runtime import parallel
from cxr_jax.runtime.run_folder import RunFolder, write_json, write_text
from cxr_jax.zero_shot import zero_shot_split

PAGE_CASES = 200


def evaluate_split(
    workdir: str | Path, split: str = "test", protocol: str = "r2gen", top_k: int = 3, other: str = ""
) -> Path:
    """Scores a split, prints the tables and writes metrics.json, predictions.jsonl, tables.md and index.html.

    Args:
      other: a run's folder that has been scored, or a predictions.jsonl, to compare with.

    Returns:
      the folder that they are in, `eval/<split>`.

    Raises:
      InputError: the folder holds no finished run, the run no such split, or the other is of other images.
    """
    run = RunFolder(workdir)
    config = run.load_config()
    others = outside.read_predictions(predictions_file(other, split)) if other else []
    query, train, val = (SplitIndex.load(run.index, name) for name in (split, "train", "val"))
    dataset, data_split = config["data"]["description"], config["data"].get("split_used", config["data"]["split"])
    similarity, rows = evaluation.neighbours_of(query, train, top_k)
    metrics = evaluation.evaluate(train, val, query, rows, dataset, protocol, data_split)

    lines = evaluation.prediction_lines(query, train, similarity, rows)
    if others:
        reports = [train.rows[i].report for i in train.one_row_per_study()]
        metrics["comparison"] = {"with": other, "scores": outside.compare(lines, others, protocol, reports)}

    scores, recall = tables.score_table(metrics), tables.recall_table(metrics)
    title = (
        f"{dataset}, split by {data_split}: {split} split, {len(query)} images, protocol {protocol}, "
        f"pool of {len(train)} training reports"
    )
    print(f"{title}\n\n{tables.format_table(*scores)}\n\n{tables.format_table(*recall)}\n")
    if others:
        difference = tables.comparison_table(metrics["comparison"]["scores"])
        print(f"{run.root} minus {other}\n{tables.format_table(*difference)}\n")

    folder = run.evaluation(split)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "metrics.json", metrics)
    write_text(folder / "predictions.jsonl", "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    write_text(folder / "tables.md", tables.markdown(metrics, lines))
    # DenseNet halves the side twice, and once more between any two blocks.
    cell = 2 ** (len(config["image"]["block_sizes"]) + 1) / config["image_size"]
    cases = evaluation.cases(query, train, similarity, rows, PAGE_CASES, cell)
    notes = [
        f"{dataset}, split by {data_split}. Checkpoint of step {query.step}. "
        f"Scores: protocol {protocol}, all {len(query)} images.",
        f"{len(cases)} of {len(query)} cases are shown: the {PAGE_CASES // 8} best and the {PAGE_CASES // 8} worst by "
        "ROUGE-L, the others evenly spread."
        if len(cases) < len(query)
        else "All cases are shown.",
    ]
    pictures = [charts.score_chart(metrics), charts.curves(run.metrics(), query.step)]
    write_page(folder / "index.html", f"{split}: true and retrieved reports", scores, cases, notes, pictures)
    print(f"page: {folder / 'index.html'}")
    return folder


def predictions_file(given: str, split: str) -> Path:
    """The predictions file that a run's folder, or the file itself, stands for."""
    if not Path(given).is_dir():
        return Path(given)
    file = RunFolder(given).evaluation(split) / "predictions.jsonl"
    if not file.is_file():
        raise InputError(f"{file}: is not there; score that run first: retrieve --workdir {given} --split {split}")
    return file


def score_file(
    file: str, workdir: str, annotation: str, split: str, protocol: str, labels: tuple[str, str] | None = None
) -> None:
    """Scores any system's reports beside floors and ceiling, which come alone where `file` is empty.

    Without `workdir` and `annotation` it is the run that the file lies in, as RUN/eval/SPLIT/predictions.jsonl.

    Args:
      labels: CSVs of the references' labels and of the predictions', see `outside.label_scores`.

    Raises:
      InputError: a file is not what it should be, or does not answer every study of the split.
    """
    if not workdir and not annotation:
        run_folder, split = _run_around(Path(file))
        workdir = str(run_folder)
    if annotation:
        (pool, reports), source = outside.read_annotation(Path(annotation), split), annotation
    else:
        run = RunFolder(workdir)
        query, train, val = (SplitIndex.load(run.index, name) for name in (split, "train", "val"))
        first = [train.rows[i] for i in train.one_row_per_study()]
        pool, source = evaluation.Pool([row.report for row in first], [row.report for row in val.rows]), workdir
        reports = {row.study_id: row.report for row in query.rows}
    if not file:
        metrics = evaluation.score_system(pool, list(reports.values()), None, protocol)
    else:
        lines = outside.read_predictions(Path(file))
        references = outside.references_of(lines, reports, file)
        of_labels = outside.label_scores(lines, reports, labels, file) if labels else None
        metrics = evaluation.score_system(pool, references, [line["prediction"] for line in lines], protocol)
    print(f"{source}: {split} split, {metrics['n']} reports, protocol {protocol}, {len(pool.train)} training reports\n")
    print(tables.format_table(*tables.score_table(metrics, Path(file).name)))
    if not file:
        groups = group_ids(list(reports.values()))
        chances = {"in random order": random_chance, "with equal reports tied": tied_chance}
        said = (
            "/".join(f"{chance(groups, groups, k).mean():.3f}" for k in (1, 5, 10)) + f" {order}"
            for order, chance in chances.items()
        )
        print(f"\nrecall@1/5/10 among them by chance: {', '.join(said)}")
    else:
        if of_labels:
            print(f"\n{tables.format_table(*outside.label_table(of_labels))}")
            for key in ("scores", "intervals"):
                metrics[key] |= of_labels.pop(key)
            metrics["labels"] = of_labels
        written = Path(file).with_suffix(".metrics.json")
        write_json(written, {"predictions": file, "source": source, "split": split, **metrics})
        print(f"\nscores: {written}")


def _run_around(file: Path) -> tuple[Path, str]:
    """The run's folder and the split that a predictions file lies in."""
    folders = file.absolute().parents
    if len(folders) < 3 or folders[1].name != "eval" or not RunFolder(folders[2]).config_file.is_file():
        raise InputError(
            f"{file}: lies in no run's folder, so its floors have no training reports; name a run's folder "
            "(--workdir) or R2Gen's annotation.json (--annotation)"
        )
    return folders[2], folders[0].name


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
    parser.add_argument("--workdir", default="", metavar="DIR", help="a run's folder, or an export's with its index")
    parser.add_argument("--split", default="test", choices=("val", "test"), help="the split to score (test)")
    parser.add_argument("--protocol", default="r2gen", choices=PROTOCOLS, help="how reports are scored (r2gen)")
    parser.add_argument("--compare", default="", metavar="DIR|FILE", help="another run, or its predictions.jsonl")
    parser.add_argument("--score", default="", metavar="FILE", help="any system's predictions.jsonl to score instead")
    parser.add_argument("--annotation", default="", metavar="FILE", help="R2Gen's annotation.json, for --score")
    parser.add_argument(
        "--zero_shot", default="", metavar="YAML", help="labels and sentences (configs/zero_shot_*.yaml)"
    )
    parser.add_argument("--labels", nargs="+", default=[], metavar="CSV", help="labels of another tool, see above")
    parser.add_argument("--image", nargs="+", metavar="FILE|DIR", help="images to find reports for")
    parser.add_argument("--text", metavar="TEXT", help="a text to find images for")
    parser.add_argument("--top_k", type=int, default=3, metavar="K", help="how many to retrieve (3)")
    arguments = parser.parse_args(sys.argv[1:] if argv is None else argv)
    if arguments.top_k < 1:
        raise InputError(f"--top_k {arguments.top_k}: must be at least 1")
    if not (arguments.workdir or arguments.annotation or arguments.score):
        raise InputError("--workdir: is missing; name a run's folder (or --annotation FILE, see --help)")
    wanted = 2 if arguments.score else 1 if arguments.zero_shot and not arguments.annotation else 0
    if arguments.labels and len(arguments.labels) != wanted:
        raise InputError(
            f"--labels: got {len(arguments.labels)} files; takes two with --score, of the references and of the "
            "predictions, one with --zero_shot, and none else"
        )
    if arguments.score or arguments.annotation:
        labels = (arguments.labels[0], arguments.labels[1]) if arguments.labels else None
        score_file(
            arguments.score, arguments.workdir, arguments.annotation, arguments.split, arguments.protocol, labels
        )
        return
    if arguments.zero_shot:
        if arguments.image or arguments.text is not None:
            raise InputError(
                "--zero_shot: scores a split; for images, cxr_jax.load(workdir).zero_shot(images, prompts)"
            )
        zero_shot_split(arguments.workdir, arguments.zero_shot, arguments.split, *arguments.labels)
        return
    if not arguments.image and arguments.text is None:
        evaluate_split(arguments.workdir, arguments.split, arguments.protocol, arguments.top_k, arguments.compare)
        return
    files = image_files(arguments.image or [])
    model = inference.load(arguments.workdir)
    parallel.cache_compilations(Path(model.config["data"]["cache"]).expanduser() / "compiled")
    if files:
        show_reports(model, files, arguments.top_k)
    if arguments.text is not None:
        print(f'\n"{arguments.text}"')
        _print_neighbours(model.retrieve_images(arguments.text, arguments.top_k))


if __name__ == "__main__":
    run_command(main)

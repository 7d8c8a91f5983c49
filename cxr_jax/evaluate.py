"""Evaluates: a run's split, or any system's reports, beside floors and ceiling.

    python -m cxr_jax.evaluate --workdir DIR [--split test]         scores, predictions.jsonl and a page of cases
    python -m cxr_jax.evaluate --workdir DIR --compare DIR|FILE     the same, and a paired test against another system
    python -m cxr_jax.evaluate --workdir DIR --zero_shot YAML       labels by opposite sentences: AUROC and F1
    python -m cxr_jax.evaluate --workdir DIR --data FILE.csv        a set from elsewhere: by its labels, its reports
    python -m cxr_jax.evaluate --annotation FILE                    floors and ceiling of R2Gen's annotation.json
    python -m cxr_jax.evaluate --annotation FILE|--workdir DIR --score predictions.jsonl
                                                                    any system's reports beside the same floors
    python -m cxr_jax.evaluate … --texts OUT                        all of these texts, for other people's metrics
    python -m cxr_jax.evaluate … --scores NAME=FILE.csv             their numbers back: NAME is a score like the rest
    python -m cxr_jax.evaluate --annotation FILE|--workdir DIR --probes
                                                                    what scores, and the model, see of side and negation

The run's folder is all that is needed; for --data an export's will do, or a model on the hub. Retrieved reports come
from the training split, with --data from any --pool. A system's lines hold study_id and prediction; what a run writes
as predictions.jsonl holds more. Labels of another tool, CheXbert's say, are taken from CSVs: --labels FILE with
--zero_shot, in place of the data's own; --labels REFERENCES PREDICTIONS with --score.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import cxr_jax
from cxr_jax.data.reports import group_ids
from cxr_jax.errors import ArgumentParser, InputError, run_command
from cxr_jax.evaluation import comparison, predictions, probes, scoring, tables
from cxr_jax.evaluation.external_scores import NO_EXCHANGE, Exchange, add_scores, note_scores, parse_scores
from cxr_jax.evaluation.floors import Pool
from cxr_jax.evaluation.label_policies import UNCERTAIN
from cxr_jax.evaluation.protocols import PROTOCOLS
from cxr_jax.evaluation.retrieval_metrics import random_chance, tied_chance
from cxr_jax.evaluation.zero_shot import zero_shot_metrics
from cxr_jax.files import write_json, write_text
from cxr_jax.labels.csv_files import read_labels
from cxr_jax.labels.indicators import indicators
from cxr_jax.pages import charts
from cxr_jax.pages.cases import cases_of
from cxr_jax.pages.page import write_page
from cxr_jax.recipes import external_arguments
from cxr_jax.recipes.drafts import predictions_of
from cxr_jax.recipes.external import evaluate_external
from cxr_jax.retrieval.draft import METHODS
from cxr_jax.retrieval.prompts import match_labels, read_questions
from cxr_jax.retrieval.search import neighbours_of
from cxr_jax.retrieval.store import SplitIndex
from cxr_jax.retrieval.zero_shot import margins
from cxr_jax.runtime import parallel
from cxr_jax.runtime.run_folder import RunFolder

PAGE_CASES = 200


def evaluate_split(
    workdir: str | Path,
    split: str = "test",
    protocol: str = "r2gen",
    top_k: int = 3,
    other: str = "",
    uncertain: str = "positive",
    exchange: Exchange = NO_EXCHANGE,
    method: str = "",
) -> Path:
    """Scores a split, prints the tables and writes metrics.json, predictions.jsonl, tables.md and index.html.

    Args:
      other: a run's folder that has been scored, or a predictions.jsonl, to compare with.
      uncertain: the policy for doubt in the label scores that are named by it.
      exchange: texts and scores by files, see `external_scores`.
      method: of drafts, in place of the run's own draft.method.

    Returns:
      the folder that they are in, `eval/<split>`; of a method that is not the run's own, `eval/<split>-<method>`.

    Raises:
      InputError: the folder holds no finished run, the run no such split, or the other is of other images.
    """
    run = RunFolder(workdir)
    config = run.load_config()
    others = predictions.read_predictions(predictions_file(other, split)) if other else []
    query, train, val = (SplitIndex.load(run.index, name) for name in (split, "train", "val"))
    dataset, data_split = config["data"]["description"], config["data"]["split_used"]
    similarity, rows = neighbours_of(query, train, top_k)
    own, predicted = config["draft"]["method"], None
    method = method or own
    if method != METHODS[0]:
        predicted = predictions_of(cxr_jax.load(workdir), query, val, method)
    lines = scoring.prediction_lines(query, train, similarity, rows, predicted)
    pool = scoring.pool_of(train, val)
    external = exchange.of(lines, pool, protocol, scoring.labels_of(query))
    metrics = scoring.evaluate(
        train, val, query, rows, dataset, protocol, data_split, uncertain=uncertain, predicted=predicted
    )
    metrics["method"] = method
    add_scores(metrics, external, [line["patient_id"] for line in lines])
    note_scores(lines, external)
    if others:
        compared = comparison.compare(lines, others, protocol, pool.train, uncertain=uncertain)
        metrics["comparison"] = {"with": other, "scores": compared}

    scores, recall = tables.score_table(metrics), tables.recall_table(metrics)
    title = (
        f"{dataset}, split by {data_split}: {split} split, {len(query)} images, protocol {protocol}, "
        f"pool of {len(train)} training reports, drafts by {method}"
    )
    remarks = tables.score_remarks(metrics)
    labels = tables.policy_table(metrics)
    parts = [tables.format_table(*scores), *remarks, "", tables.format_table(*labels), "", tables.format_table(*recall)]
    print("\n".join([title, "", *parts, ""]))
    if others:
        difference = tables.comparison_table(metrics["comparison"]["scores"])
        print(f"{run.root} minus {other}\n{tables.format_table(*difference)}\n")

    folder = run.evaluation(split if method == own else f"{split}-{method}")
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "metrics.json", metrics)
    write_text(folder / "predictions.jsonl", "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    write_text(folder / "tables.md", tables.markdown(metrics, lines))
    # DenseNet halves the side twice, and once more between any two blocks.
    cell = 2 ** (len(config["image"]["block_sizes"]) + 1) / config["image_size"]
    cases = cases_of(query, train, similarity, rows, PAGE_CASES, cell, predicted)
    notes = [
        f"{dataset}, split by {data_split}. Checkpoint of step {query.step}. "
        f"Scores: protocol {protocol}, all {len(query)} images.",
        f"{len(cases)} of {len(query)} cases are shown: the {PAGE_CASES // 8} best and the {PAGE_CASES // 8} worst by "
        "ROUGE-L, the others evenly spread."
        if len(cases) < len(query)
        else "All cases are shown.",
        *remarks,
    ]
    pictures = [charts.score_chart(metrics), charts.curve_figures(run.metrics(), query.step)]
    write_page(folder / "index.html", f"{split}: true and retrieved reports", scores, cases, notes, pictures)
    print(f"page: {folder / 'index.html'}")
    return folder


def predictions_file(given: str, split: str) -> Path:
    """The predictions file that a run's folder, or the file itself, stands for."""
    if not Path(given).is_dir():
        return Path(given)
    file = RunFolder(given).evaluation(split) / "predictions.jsonl"
    if not file.is_file():
        raise InputError(
            f"{file}: is not there; score that run first: python -m cxr_jax.evaluate --workdir {given} --split {split}"
        )
    return file


def score_file(
    file: str,
    workdir: str,
    annotation: str,
    split: str,
    protocol: str,
    labels: tuple[str, str] | None = None,
    uncertain: str = "positive",
    exchange: Exchange = NO_EXCHANGE,
) -> None:
    """Scores any system's reports beside floors and ceiling, which come alone where `file` is empty.

    Without `workdir` and `annotation` it is the run that the file lies in, as RUN/eval/SPLIT/predictions.jsonl.

    Args:
      labels: CSVs of the references' labels and of the predictions', see `predictions.label_scores`.
      uncertain, exchange: as in `evaluate_split`.

    Raises:
      InputError: a file is not what it should be, or does not answer every study of the split.
    """
    if not workdir and not annotation:
        run_folder, split = _run_around(Path(file))
        workdir = str(run_folder)
    pool, reports, source = _pool_and_reports(workdir, annotation, split)
    if not file:
        lines: list[predictions.Line] = [{"study_id": name, "reference": text} for name, text in reports.items()]
        external = exchange.of(lines, pool, protocol)
        metrics = scoring.score_system(pool, list(reports.values()), None, protocol, uncertain=uncertain)
    else:
        lines = predictions.read_predictions(Path(file))
        references = predictions.references_of(lines, reports, file)
        of_labels = predictions.label_scores(lines, reports, labels, file, uncertain) if labels else None
        answered = [{**line, "reference": text} for line, text in zip(lines, references, strict=True)]
        external = exchange.of(answered, pool, protocol)
        answers = [line["prediction"] for line in lines]
        metrics = scoring.score_system(pool, references, answers, protocol, uncertain=uncertain)
    add_scores(metrics, external)
    print(f"{source}: {split} split, {metrics['n']} reports, protocol {protocol}, {len(pool.train)} training reports\n")
    shown = tables.format_table(*tables.score_table(metrics, Path(file).name)), *tables.score_remarks(metrics)
    print("\n".join([*shown, "", tables.format_table(*tables.policy_table(metrics))]))
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
            print(f"\n{tables.format_table(*tables.label_table(of_labels))}")
            for key in ("scores", "intervals"):
                metrics[key] |= of_labels.pop(key)
            metrics["labels"] = of_labels
        written = Path(file).with_suffix(".metrics.json")
        write_json(written, {"predictions": file, "source": source, "split": split, **metrics})
        print(f"\nscores: {written}")


def _pool_and_reports(workdir: str, annotation: str, split: str) -> tuple[Pool, dict[str, str], str]:
    """What floors and ceiling are drawn from, the split's true reports by study, and where both are from."""
    if annotation:
        return *predictions.read_annotation(Path(annotation), split), annotation
    run = RunFolder(workdir)
    query, train, val = (SplitIndex.load(run.index, name) for name in (split, "train", "val"))
    return scoring.pool_of(train, val), {row.study_id: row.report for row in query.rows}, workdir


def _run_around(file: Path) -> tuple[Path, str]:
    """The run's folder and the split that a predictions file lies in."""
    folders = file.absolute().parents
    if len(folders) < 3 or folders[1].name != "eval" or not RunFolder(folders[2]).config_file.is_file():
        raise InputError(
            f"{file}: lies in no run's folder, so its floors have no training reports; name a run's folder "
            "(--workdir) or R2Gen's annotation.json (--annotation)"
        )
    return folders[2], folders[0].name


def probe_annotation(annotation: str, split: str = "test", protocol: str = "r2gen") -> None:
    """Prints what each score loses when the reports of R2Gen's split, and of what answers them, are perturbed.

    Raises:
      InputError: the file cannot be read, or is not in R2Gen's form.
    """
    pool, reports = predictions.read_annotation(Path(annotation), split)
    references = list(reports.values())
    results = probes.probe_scores(references, probes.probed_systems(references, None, pool, protocol), pool, protocol)
    print(f"{annotation}: {split} split, {len(references)} reports, protocol {protocol}\n")
    print(probes.text_of(results))


def probe_split(workdir: str | Path, split: str = "test", protocol: str = "r2gen") -> Path:
    """The same of a run, whose model is probed as well; writes `eval/<split>/probes.json`, which it returns.

    Raises:
      InputError: the folder holds no finished run, or the run no such split.
    """
    run = RunFolder(workdir)
    config = run.load_config()
    query, train, val = (SplitIndex.load(run.index, name) for name in (split, "train", "val"))
    _, rows = neighbours_of(query, train, 1)
    parallel.cache_compilations(Path(config["data"]["cache"]).expanduser() / "compiled")
    model = cxr_jax.load(workdir)
    query.check_checkpoint(model.pool.step, model.pool.checkpoint, "the model")
    pool = scoring.pool_of(train, val)
    references, patients = ([getattr(row, name) for row in query.rows] for name in ("report", "patient_id"))
    answers = [train.rows[line[0]].report for line in rows]
    systems = probes.probed_systems(references, answers, pool, protocol)
    results = probes.probe_scores(references, systems, pool, protocol, patients)
    preferred = probes.preferences(query.image_embeddings, references, model.encode_text, patients)
    data = f"{config['data']['description']}, split by {config['data']['split_used']}"
    print(f"{data}: {split} split, {len(query)} images of {len(set(patients))} patients, protocol {protocol}\n")
    print(probes.text_of(results, preferred))
    folder = run.evaluation(split)
    folder.mkdir(parents=True, exist_ok=True)
    head = {"split": split, "step": query.step, "protocol": protocol, "n": len(query)}
    write_json(folder / "probes.json", {**head, "scores": results, "model": preferred})
    print(f"\nprobes: {folder / 'probes.json'}")
    return folder / "probes.json"


def zero_shot_split(workdir: str | Path, prompts: str | Path, split: str = "test", labels_from: str = "") -> Path:
    """Scores a split's labels, prints the table and writes `eval/<split>/zero_shot.json`, which it returns.

    Images are not read again: the index has their embeddings.

    Args:
      prompts: a labels.yaml, see `cxr_jax.retrieval.prompts`.
      labels_from: a CSV of another tool's labels of val and of the split (`cxr_jax.labels.csv_files`), which then
        stand in for the data's own.

    Raises:
      InputError: a file is not in its form or asks for a label that the data lack, or the folder holds no finished
        run, or the run no such split.
    """
    questions = read_questions(Path(prompts))
    run = RunFolder(workdir)
    config = run.load_config()
    held_out = {name: SplitIndex.load(run.index, name) for name in ("val", "test")}
    query, val = held_out[split], held_out["val"]
    given = {name: _given_labels(labels_from, held_out[name]) for name in sorted({split, "val"}) if labels_from}
    parallel.cache_compilations(Path(config["data"]["cache"]).expanduser() / "compiled")
    model = cxr_jax.load(workdir)
    for index in held_out.values():
        index.check_checkpoint(model.pool.step, model.pool.checkpoint, "the model")
    rows = {"train": model.pool.rows, **{name: index.rows for name, index in held_out.items()}}
    labels = given or {name: [frozenset(row.labels) for row in of_split] for name, of_split in rows.items()}
    known = {label for of_split in labels.values() for study in of_split for label in study}
    questions = match_labels(questions, known, str(prompts))

    images = np.concatenate([query.image_embeddings, val.image_embeddings])
    margin, val_margin = np.split(margins(images, questions, model.encode_text, model.scale), [len(query)])
    columns = [question.labels for question in questions]
    truth, val_truth = (indicators(labels[name], columns) for name in (split, "val"))
    patients = [row.patient_id for row in query.rows]
    metrics: dict[str, Any] = {
        "dataset": config["data"]["description"],
        "data_split": config["data"]["split_used"],
        "split": split,
        "step": query.step,
        "labels_from": labels_from or "the data set",
        "n": len(query),
        "n_patients": len(set(patients)),
        "scale": model.scale,
        "thresholds": "highest F1 on val",
        **zero_shot_metrics(questions, truth, margin, val_truth, val_margin, patients),
    }
    own = ", which is this split itself: F1 is too good" if split == "val" else ""
    origin = f", labels of {labels_from}" if labels_from else ""
    print(
        f"{metrics['dataset']}, split by {metrics['data_split']}: {split} split, {len(query)} images of "
        f"{len(set(patients))} patients, zero-shot by {prompts}{origin}\n\n"
        f"{tables.format_table(*tables.zero_shot_table(metrics))}\n\n"
        f"F1 at the threshold that is best on val{own}. A guess has AUROC .500 and as average precision the share.\n"
    )
    folder = run.evaluation(split)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "zero_shot.json"
    write_json(file, metrics)
    print(f"scores and sentences: {file}")
    return file


def _given_labels(file: str, index: SplitIndex) -> list[frozenset[str]]:
    """Each image's labels: those that the CSV gives its study."""
    studies = list(dict.fromkeys(row.study_id for row in index.rows))
    labels = dict(zip(studies, read_labels(Path(file), studies), strict=True))
    return [labels[row.study_id] for row in index.rows]


def add_split_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of scoring a run's split, which `retrieve` has as well."""
    parser.add_argument("--split", default="test", choices=("val", "test"), help="the split to score (test)")
    parser.add_argument(
        "--protocol", choices=PROTOCOLS, help="how reports are scored (r2gen; of a set from elsewhere raw)"
    )
    parser.add_argument("--method", default="", choices=METHODS, help="how drafts are made (the run's draft.method)")
    parser.add_argument("--top_k", type=int, default=3, metavar="K", help="how many to retrieve (3)")


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = ArgumentParser(
        prog="python -m cxr_jax.evaluate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workdir", default="", metavar="DIR", help="a run's folder")
    add_split_arguments(parser)
    parser.add_argument("--compare", default="", metavar="DIR|FILE", help="another run, or its predictions.jsonl")
    parser.add_argument(
        "--score",
        default="",
        metavar="FILE",
        help="any system's reports to score instead: JSON lines or list, ReXrank's object, CSV",
    )
    parser.add_argument("--annotation", default="", metavar="FILE", help="R2Gen's annotation.json, in place of a run")
    parser.add_argument(
        "--zero_shot", default="", metavar="YAML", help="labels and sentences (configs/zero_shot_*.yaml)"
    )
    parser.add_argument("--labels", nargs="+", default=[], metavar="CSV", help="labels of another tool, see above")
    parser.add_argument(
        "--uncertain",
        choices=UNCERTAIN,
        help="what a doubt is: in the label F1 (positive), of a set from elsewhere (ignore)",
    )
    parser.add_argument("--texts", default="", metavar="OUT", help="a folder for all systems' texts, for other metrics")
    parser.add_argument("--scores", nargs="+", default=[], metavar="NAME=FILE.csv", help="other metrics of these texts")
    parser.add_argument(
        "--higher_is_better", nargs="+", default=[], choices=("yes", "no"), help="of --scores: once, or once for each"
    )
    parser.add_argument(
        "--probes", action="store_true", help="what the scores, and the model, see of side and negation"
    )
    external_arguments.add(parser)
    arguments = parser.parse_args(sys.argv[1:] if argv is None else argv)
    _check(arguments)
    if arguments.data:
        evaluate_external(external_arguments.options_of(arguments))
        return
    arguments.protocol, arguments.uncertain = arguments.protocol or "r2gen", arguments.uncertain or "positive"
    exchange = Exchange(arguments.texts, parse_scores(arguments.scores, arguments.higher_is_better))
    if arguments.probes and arguments.annotation:
        probe_annotation(arguments.annotation, arguments.split, arguments.protocol)
    elif arguments.probes:
        probe_split(arguments.workdir, arguments.split, arguments.protocol)
    elif arguments.score or arguments.annotation:
        labels = (arguments.labels[0], arguments.labels[1]) if arguments.labels else None
        score_file(
            arguments.score,
            arguments.workdir,
            arguments.annotation,
            arguments.split,
            arguments.protocol,
            labels,
            arguments.uncertain,
            exchange,
        )
    elif arguments.zero_shot:
        zero_shot_split(arguments.workdir, arguments.zero_shot, arguments.split, *arguments.labels)
    else:
        evaluate_split(
            arguments.workdir,
            arguments.split,
            arguments.protocol,
            arguments.top_k,
            arguments.compare,
            arguments.uncertain,
            exchange,
            arguments.method,
        )


def _check(arguments: argparse.Namespace) -> None:
    """Refuses at once arguments that do not go together."""
    if arguments.top_k < 1:
        raise InputError(f"--top_k {arguments.top_k}: must be at least 1")
    if not (arguments.workdir or arguments.annotation or arguments.score):
        raise InputError("--workdir: is missing; name a run's folder (or --annotation FILE, see --help)")
    _refuse_together(arguments)
    external_arguments.check(arguments)
    wanted = 2 if arguments.score else 1 if arguments.zero_shot and not arguments.annotation else 0
    if arguments.labels and len(arguments.labels) != wanted:
        raise InputError(
            f"--labels: got {len(arguments.labels)} files; takes two with --score, of the references and of the "
            "predictions, one with --zero_shot, and none else"
        )


def _refuse_together(arguments: argparse.Namespace) -> None:
    for name, others in (
        ("method", ("annotation", "data", "score", "zero_shot", "probes")),
        ("data", ("annotation", "score", "compare", "labels", "texts", "scores", "probes")),
        ("annotation", ("workdir", "compare", "zero_shot")),
        ("score", ("compare", "zero_shot")),
        ("zero_shot", ("compare", "texts", "scores")),
        ("probes", ("score", "zero_shot", "compare", "labels", "texts", "scores")),
    ):
        for other in others:
            if getattr(arguments, name) and getattr(arguments, other):
                raise InputError(f"--{name} and --{other}: do not go together; give one of them")


if __name__ == "__main__":
    run_command(main)

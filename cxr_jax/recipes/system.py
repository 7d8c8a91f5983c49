"""Any system's reports, beside the floors and the ceiling of a run's split or of R2Gen's."""

from pathlib import Path

from cxr_jax.data.reports import group_ids
from cxr_jax.errors import InputError
from cxr_jax.evaluation import predictions, scoring, tables
from cxr_jax.evaluation.external_scores import NO_EXCHANGE, Exchange, add_scores
from cxr_jax.evaluation.floors import Pool
from cxr_jax.evaluation.retrieval_metrics import random_chance, tied_chance
from cxr_jax.files import write_json
from cxr_jax.retrieval.store import SplitIndex
from cxr_jax.runtime.run_folder import RunFolder


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
    pool, reports, source = pool_and_reports(workdir, annotation, split)
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


def pool_and_reports(workdir: str, annotation: str, split: str) -> tuple[Pool, dict[str, str], str]:
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

"""Other people's metrics by files: the texts of a system, of every floor and of the ceiling out, a score for each in.

`texts.csv` has a row for each pair of a system's, with the columns of COLUMNS. Whoever computes a metric elsewhere adds
the column `score` to it. Beside it stands a folder for each system, as two tools read them: `radeval.json`, with
"references" and "hypotheses" (RadEval, github.com/jbdel/RadEval, README, "File Format Suggestion"); `references.csv`
and `predictions.csv`, study_id and report (CXR-Report-Metric's `calc_metric`, by which ReXrank scores:
github.com/rajpurkarlab/ReXrank, example_files/evaluation_script.md). The latter takes whole numbers only for ids, so
there study_id is the pair's number among the system's rows of texts.csv, from 0.
"""

import csv
import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from cxr_jax import ids
from cxr_jax.csv_table import CsvTable, Row, listed
from cxr_jax.errors import InputError
from cxr_jax.evaluation.bootstrap import Clusters, interval
from cxr_jax.evaluation.ceiling import skill
from cxr_jax.evaluation.floors import Pool
from cxr_jax.evaluation.label_metrics import Labels
from cxr_jax.evaluation.predictions import Line
from cxr_jax.evaluation.systems import CEILING, SYSTEM, Systems, floor_of, systems_of
from cxr_jax.evaluation.text_metrics import ReportScorer
from cxr_jax.files import write_json, write_text

COLUMNS = ("system", "study_id", "image_id", "reference", "hypothesis")
_NAME = re.compile(r"[A-Za-z][\w.-]*")


def write_texts(folder: Path, lines: Sequence[Line], references: Sequence[str], systems: Systems) -> None:
    """Writes texts.csv and a folder for each system, as the module says; lines: whose ids are written.

    Raises:
      InputError: the folder cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--texts {folder}: cannot be made a folder ({error.strerror}); name another") from error
    rows = [
        [system, line["study_id"], line.get("image_id", ""), reference, hypothesis]
        for system, hypotheses in systems.items()
        for line, reference, hypothesis in zip(lines, references, hypotheses, strict=True)
    ]
    write_text(folder / "texts.csv", _csv(COLUMNS, rows))
    for system, hypotheses in systems.items():
        own = folder / system
        own.mkdir(exist_ok=True)
        write_json(own / "radeval.json", {"references": list(references), "hypotheses": list(hypotheses)})
        for name, side in (("references", references), ("predictions", hypotheses)):
            write_text(own / f"{name}.csv", _csv(("study_id", "report"), list(enumerate(side))))


def _csv(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return out.getvalue()


@dataclass(frozen=True)
class ExternalScore:
    """A metric that was computed elsewhere: of each system a number for each pair, float64 (n,)."""

    name: str
    file: str
    higher_is_better: bool
    values: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Exchange:
    """What goes out and what comes in: a folder for the texts, or ""; scores from `parse_scores`."""

    texts: str = ""
    scores: Sequence[tuple[str, Path, bool]] = ()

    @property
    def option(self) -> str:
        """The option that asks for it, as it is written; "" where nothing goes out or comes in."""
        return "--texts" if self.texts else "--scores" if self.scores else ""

    def of(
        self,
        lines: Sequence[Line],
        pool: Pool,
        protocol: str,
        labels: Labels | None = None,
        more: Systems = MappingProxyType({}),
    ) -> list[ExternalScore]:
        """Writes the texts and reads the scores of them, of the system and of what stands beside it.

        Args:
          lines: with a reference each, and a prediction where there is a system.
          labels: of the references, where the data have some and the floors use them.
          more: systems beside those of `systems_of`, each with an answer to every line.

        Raises:
          InputError: as `read_scores`.
        """
        if not self.option:
            return []
        references = [line["reference"] for line in lines]
        answers = [line["prediction"] for line in lines] if "prediction" in lines[0] else None
        systems = {**systems_of(ReportScorer(references, protocol, pool.train), pool, answers, labels), **more}
        if self.texts:
            write_texts(Path(self.texts), lines, references, systems)
            print(f"texts of {len(systems)} systems, {len(lines)} pairs each: {Path(self.texts) / 'texts.csv'}")
        return [read_scores(*score, lines, systems) for score in self.scores]


NO_EXCHANGE = Exchange()


def parse_scores(given: Sequence[str], higher_is_better: Sequence[str]) -> list[tuple[str, Path, bool]]:
    """(Name, file, whether higher is better) of each "NAME=FILE"; of the latter one for all, or one for each.

    Raises:
      InputError: a name is missing, malformed, comes twice or is one of our own scores'.
    """
    better = list(higher_is_better) or ["yes"]
    if not given and higher_is_better:
        raise InputError("--higher_is_better: goes with --scores NAME=FILE.csv; give both or neither")
    if len(better) not in (1, len(given)) and given:
        raise InputError(
            f"--higher_is_better: {len(better)} answers for {len(given)} scores; give one, or one for each"
        )
    named: dict[str, tuple[str, Path, bool]] = {}
    for entry, answer in zip(given, better * (len(given) // len(better)), strict=True):
        name, _, file = entry.partition("=")
        if not _NAME.fullmatch(name) or not file:
            raise InputError(f"--scores {entry}: is no NAME=FILE.csv; a name is letters, digits, _, . and -")
        if name in named:
            raise InputError(f"--scores {entry}: {name} comes twice; give each score its own name")
        named[name] = name, Path(file), answer == "yes"
    return list(named.values())


def read_scores(
    name: str, file: Path, higher_is_better: bool, lines: Sequence[Line], systems: Systems
) -> ExternalScore:
    """A table of `texts.csv`'s rows with the column score: each system's numbers, in the order of `lines`.

    Columns system, study_id and score are needed, image_id too where a study has several images in `lines`; others may
    be there. Ids are matched by `cxr_jax.ids.key`. Where the column hypothesis is kept, its texts must be the systems'.

    Raises:
      InputError: in one line that names the row: a score that is no finite number, a system or a study that is unknown,
        comes twice or is missing, or a hypothesis of another run.
    """
    by_image = len({ids.key(line["study_id"]) for line in lines}) < len(lines)
    table = CsvTable(file, required=("system", "study_id", "score", *(["image_id"] if by_image else [])))
    place = {_key(line.get("study_id", ""), line.get("image_id", "") if by_image else ""): i for i, line in
             enumerate(lines)}  # fmt: skip
    values = {system: np.full(len(lines), np.nan) for system in systems}
    for row in table:
        system, study = row.cells["system"], row.cells["study_id"]
        where = f"{file} {row.where}"
        if system not in values:
            raise InputError(f"{where}, column system: {system!r} is none of {listed(list(systems))}; mend the name")
        i = place.get(_key(study, row.cells["image_id"] if by_image else ""))
        if i is None:
            raise InputError(
                f"{where}: study {study} is none of those that are scored; score the texts that --texts wrote"
            )
        if not math.isnan(values[system][i]):
            raise InputError(f"{where}: study {study} comes a second time for {system}; keep one row of it")
        values[system][i] = _number(row, where)
        if "hypothesis" in row.cells and row.cells["hypothesis"].split() != systems[system][i].split():
            raise InputError(
                f"{where}, column hypothesis: is not what {system} says of study {study} now; write the texts again "
                "(--texts) and score those"
            )
    for system, of_system in values.items():
        if missing := int(np.isnan(of_system).sum()):
            study = lines[int(np.isnan(of_system).argmax())]["study_id"]
            raise InputError(
                f"{file}: {missing} of {len(lines)} scores of {system} are missing ({study} first); score every row "
                "that --texts wrote"
            )
    return ExternalScore(name, str(file), higher_is_better, values)


def _key(study: str, image: str) -> tuple[str, str]:
    return ids.key(study), ids.key(image)


def _number(row: Row, where: str) -> float:
    cell = row.cells["score"]
    try:
        number = float(cell)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise InputError(f"{where}, column score: {cell[:40]!r} is no finite number; write one for every row")
    return number


def add_scores(
    metrics: dict[str, Any], external: Sequence[ExternalScore], patients: Clusters | None = None
) -> dict[str, Any]:
    """What `scoring.score_system` returns, with these scores among its own: intervals, floors, ceiling and skill.

    Each is the mean over pairs, as its interval's resamples are; a random floor's is the mean over its draws. The key
    "external" says from which file each came and whether higher is better.

    Raises:
      InputError: one is named as a score that is there.
    """
    for score in external:
        if score.name in metrics["ceiling"]:
            raise InputError(f"--scores {score.name}: is the name of a score of ours; give it another")
        for floor, scores in metrics["floors"].items():
            draws = [of for system, of in score.values.items() if floor == floor_of(system)]
            scores[score.name] = float(np.mean(draws))
        metrics["ceiling"][score.name] = float(score.values[CEILING].mean())
        metrics.setdefault("external", {})[score.name] = {
            "file": score.file,
            "higher_is_better": score.higher_is_better,
        }
        if SYSTEM in score.values:
            own = score.values[SYSTEM]
            metrics["scores"][score.name] = float(own.mean())
            low, high = interval(partial(_weighted_mean, own), len(own), patients)
            metrics["intervals"][score.name] = [float(low), float(high)]
    if "scores" in metrics:
        lower = [score.name for score in external if not score.higher_is_better]
        metrics["skill"] = skill(metrics["scores"], metrics["floors"]["random_report"], metrics["ceiling"], lower)
    return metrics


def note_scores(lines: Sequence[dict[str, Any]], external: Sequence[ExternalScore]) -> None:
    """Puts the system's own into its lines, as "scores", where `scores_of_lines` finds them for a comparison."""
    for i, line in enumerate(lines if external else []):
        line["scores"] = {score.name: float(score.values[SYSTEM][i]) for score in external}


def _weighted_mean(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return weights @ values / weights.sum(axis=1)


def scores_of_lines(lines: Sequence[Line]) -> dict[str, np.ndarray]:
    """The scores that every one of a run's lines holds as "scores", {name: number}: float64 (lines,) each.

    Raises:
      InputError: one of them is no finite number.
    """
    held = [line.get("scores") for line in lines]
    if not all(isinstance(scores, dict) for scores in held):
        return {}
    names = [name for name in held[0] or () if all(name in scores for scores in held if scores is not None)]
    result = {}
    for name in names:
        column = [scores[name] for scores in held if scores is not None]
        if not all(isinstance(value, int | float) and math.isfinite(value) for value in column):
            raise InputError(f"predictions: scores of {name} are not all finite numbers; score that run again")
        result[name] = np.array(column, float)
    return result

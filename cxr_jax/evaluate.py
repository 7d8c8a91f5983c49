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

--compare, --texts, --scores and --probes go with --data too. The run's folder is all that is needed; for --data an
export's will do, or a model on the hub. Retrieved reports come from the training split, with --data from any --pool. A
system's lines hold study_id and prediction; what a run writes as predictions.jsonl holds more. Labels of another tool,
CheXbert's say, are taken from CSVs: --labels FILE with --zero_shot, in place of the data's own; --labels REFERENCES
PREDICTIONS with --score.
"""

import argparse
import sys
from collections.abc import Sequence

from cxr_jax.errors import ArgumentParser, InputError, run_command
from cxr_jax.evaluation.external_scores import Exchange, parse_scores
from cxr_jax.evaluation.label_policies import UNCERTAIN
from cxr_jax.evaluation.protocols import PROTOCOLS
from cxr_jax.recipes import external_arguments
from cxr_jax.recipes.external import evaluate_external
from cxr_jax.recipes.score_probes import probe_annotation, probe_external, probe_split
from cxr_jax.recipes.split import evaluate_split
from cxr_jax.recipes.system import score_file
from cxr_jax.recipes.zero_shot import zero_shot_split
from cxr_jax.retrieval.draft import METHODS


def add_split_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of scoring a run's split, which `retrieve` has as well."""
    parser.add_argument("--split", default="test", choices=("val", "test"), help="the split to score (test)")
    parser.add_argument(
        "--protocol", choices=PROTOCOLS, help="how reports are scored (r2gen; of a set from elsewhere raw)"
    )
    parser.add_argument("--method", default="", choices=METHODS, help="how drafts are made (the run's draft.method)")
    parser.add_argument("--abstain", action="store_true", help="withhold drafts that are doubted (docs/abstention.md)")
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
    exchange = Exchange(arguments.texts, parse_scores(arguments.scores, arguments.higher_is_better))
    if arguments.data and arguments.probes:
        probe_external(external_arguments.options_of(arguments))
        return
    if arguments.data:
        evaluate_external(external_arguments.options_of(arguments), exchange)
        return
    arguments.protocol, arguments.uncertain = arguments.protocol or "r2gen", arguments.uncertain or "positive"
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
            arguments.abstain,
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
        ("abstain", ("annotation", "data", "score", "zero_shot", "probes", "compare", "texts", "scores")),
        ("data", ("annotation", "score", "labels")),
        ("annotation", ("workdir", "compare", "zero_shot")),
        ("score", ("compare", "zero_shot")),
        # Of a set from elsewhere labels are asked beside its reports, and not in their place.
        ("zero_shot", () if arguments.data else ("compare", "texts", "scores")),
        ("probes", ("score", "zero_shot", "calibrate", "compare", "labels", "texts", "scores")),
    ):
        for other in others:
            if getattr(arguments, name) and getattr(arguments, other):
                raise InputError(f"--{name} and --{other}: do not go together; give one of them")


if __name__ == "__main__":
    run_command(main)

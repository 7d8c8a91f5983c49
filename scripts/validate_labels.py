"""How far the rule labeller agrees with Open-i's indexers on the 3,955 real reports; no images are needed.

    python scripts/validate_labels.py --reports NLMCXR_reports.tgz --write docs/labels.md
    python scripts/validate_labels.py --reports NLMCXR_reports.tgz --show "Pleural Effusion"

The labeller reads findings and impression; what it finds is held against the study's MeSH terms. Its rules were made on
one half of the reports (seeded); disagreements in the other were only ever counted, and --show leaves them out.
"""

import argparse
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cxr_jax.data.archives import REPORT_NAME, members
from cxr_jax.data.reports import SIDES, choose_section, says_normal
from cxr_jax.data.sources.openi_release import MAX_REPORT, parse_study
from cxr_jax.errors import ArgumentParser, InputError, run_command
from cxr_jax.evaluation.label_metrics import finding_f1
from cxr_jax.evaluation.tables import Table, format_table, markdown_table
from cxr_jax.files import write_text
from cxr_jax.labels.rules import OBSERVATIONS, find_mentions, is_read, label_report, rule_labels

# What an indexer's term, in lower case, stands for: heading and qualifiers, "opacity/lung/base/right".
TERMS = {
    "Enlarged Cardiomediastinum": r"mediastinum/.*(prominent|enlarged)",
    "Cardiomegaly": r"cardiomegaly|(cardiac shadow|heart)/.*enlarged",
    "Lung Opacity": r"(opacity|density)/(?!(breast|ribs|thorax|mediastinum|sternum|heart|adipose)\b).*|opacity"
    r"|airspace disease|infiltrate|markings/(?!.*bronchovascular).*|lung/.*(interstitial|reticular)"
    r"|cicatrix(?!/.*pleura).*|pulmonary fibrosis|lung diseases, interstitial|thickening/.*(bronch|interstitial)",
    "Lung Lesion": r"nodule|mass|(opacity|density)/.*round|cavitation",
    "Edema": r"pulmonary (edema|congestion)|heart failure",
    "Consolidation": r"consolidation",
    "Pneumonia": r"pneumonia",
    "Atelectasis": r"pulmonary atelectasis",
    "Pneumothorax": r"(hydro|hemo)?pneumothorax",
    "Pleural Effusion": r"pleural effusion|(hydro|hemo)(pneumo)?thorax",
    "Pleural Other": r"(thickening|cicatrix|calcinosis)/.*pleura|pleura/(?!.*blunted).*",
    "Fracture": r"fractures, bone",
    "Support Devices": r"catheters, indwelling|(implanted )?medical device|tube, inserted|stents|spinal fusion",
}


class Study(NamedTuple):
    """One indexed report: its text, and what the indexers say it holds."""

    name: str
    report: str
    terms: tuple[str, ...]

    def observations(self) -> frozenset[str]:
        """The observations of its terms; "No Finding" where they say normal."""
        said = {name for name in TERMS if self.terms_of(name)}
        return frozenset(said | {"No Finding"} if says_normal(self.terms) else said)

    def terms_of(self, observation: str) -> list[str]:
        """Those of its terms that stand for an observation."""
        pattern = re.compile(rf"(?:{TERMS[observation]})(?![^/])") if observation in TERMS else re.compile("normal$")
        return [term for term in self.terms if pattern.match(term)]

    def side(self, observation: str) -> str:
        """The side that the terms give an observation, "" where they give none."""
        sides = {q for term in self.terms_of(observation) for q in term.split("/") if q in SIDES}
        return "bilateral" if len(sides) > 1 else next(iter(sides), "")


def main() -> None:
    parser = ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reports", type=Path, required=True, metavar="TGZ", help="Open-i's NLMCXR_reports.tgz")
    parser.add_argument("--write", type=Path, metavar="FILE", help="put the tables between FILE's two marks")
    parser.add_argument("--show", choices=OBSERVATIONS, metavar="OBSERVATION", help="print its disagreements instead")
    parser.add_argument("--seed", type=int, default=0, help="of the two halves (default 0)")
    arguments = parser.parse_args()
    studies = read_studies(arguments.reports)
    order = np.random.default_rng(arguments.seed).permutation(len(studies))
    halves = [[studies[i] for i in sorted(part)] for part in np.array_split(order, 2)]
    if arguments.show:
        show(halves[0], arguments.show)
        return
    tables = [agreement(studies, halves), mention_counts(studies)]
    print("\n\n".join(format_table(*table) for table in tables))
    unread = sum(not is_read(study.report) for study in studies)
    print(f"\nNothing is read in {unread} of {len(studies):,} reports")
    if arguments.write:
        write_between_marks(arguments.write, "\n\n".join(markdown_table(*table) for table in tables))


def read_studies(archive: Path) -> list[Study]:
    """The reports that have findings or an impression and were indexed, in the order of their numbers."""
    if not archive.is_file():
        raise InputError(f"--reports {archive}: there is no such file; download NLMCXR_reports.tgz from Open-i")
    studies = []
    for name, content in sorted(members(archive, REPORT_NAME, MAX_REPORT), key=lambda pair: (len(pair[0]), pair[0])):
        study = parse_study(content, f"{archive}: {name}")
        sections = (study.sections.get("FINDINGS", ""), study.sections.get("IMPRESSION", ""))
        terms = tuple(term.lower() for term in study.major)
        if any(sections) and terms and "no indexing" not in terms:
            studies.append(Study(study.study_id, choose_section(*sections, "both"), terms))
    return studies


def agreement(studies: Sequence[Study], halves: Sequence[Sequence[Study]]) -> Table:
    """Precision, recall and F1 of each observation against the terms; F1 on each half, and with doubt as absence."""
    whole, *parts = (
        finding_f1([study.observations() for study in part], rule_labels(study.report for study in part), resamples=1)
        for part in (studies, *halves)
    )
    affirmed = [
        {name for name, status in label_report(study.report).items() if status == "positive"} for study in studies
    ]
    certain = finding_f1([study.observations() for study in studies], affirmed, resamples=1)
    rows = []
    for name in OBSERVATIONS:
        of_halves = [part["per_finding"].get(name, {"f1": 0})["f1"] for part in parts]
        of_all = whole["per_finding"][name]
        scores = [of_all["precision"], of_all["recall"], of_all["f1"], *of_halves, certain["per_finding"][name]["f1"]]
        rows.append([name, f"{of_all['support']:,}", *(f"{score:.3f}" for score in scores)])
    for mean in ("macro", "micro"):
        rows.append([mean, "", "", "", *(f"{part[mean]:.3f}" for part in (whole, *parts, certain))])
    columns = ["observation", "indexed", "precision", "recall", "F1", "first half", "other half", "affirmed only"]
    return Table(columns, rows)


def mention_counts(studies: Sequence[Study]) -> Table:
    """How the labeller's mentions are said, and how often both it and the indexers give a side, and the same."""
    counts: Counter[tuple[str, str]] = Counter()
    for study in studies:
        mentions = find_mentions(study.report)
        counts.update((m.observation, m.status) for m in mentions)
        counts.update((m.observation, "side") for m in mentions if m.side)
        for name in TERMS:
            sides = {m.side for m in mentions if m.observation == name and m.side and m.status != "negative"}
            side, indexed = "bilateral" if len(sides) > 1 else next(iter(sides), ""), study.side(name)
            if side and indexed:
                counts[name, "both"] += 1
                counts[name, "same"] += side == indexed
    rows = []
    for name in TERMS:
        said = [f"{counts[name, key]:,}" for key in ("positive", "uncertain", "negative", "side")]
        rows.append([name, *said, f"{counts[name, 'same']} of {counts[name, 'both']}" if counts[name, "both"] else ""])
    return Table(["observation", "affirmed", "doubted", "denied", "with a side", "side as indexed"], rows)


def show(studies: Sequence[Study], observation: str) -> None:
    for study, labels in zip(studies, rule_labels(study.report for study in studies), strict=True):
        indexed = observation in study.observations()
        if indexed != (observation in labels):
            spans = [study.report[m.start : m.end] for m in find_mentions(study.report) if m.observation == observation]
            kind = "missed" if indexed else "found"
            print(f"{study.name}: {kind} {spans}; {'; '.join(study.terms)}\n  {study.report}\n")


def write_between_marks(file: Path, tables: str) -> None:
    """Replaces what stands between FILE's two marks, and leaves the rest, written by hand, as it is."""
    try:
        head, _, tail = re.split(r"(?s)(?<=<!-- tables -->\n)(.*)(?=<!-- end -->)", file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise InputError(f"--write {file}: lacks the lines <!-- tables --> and <!-- end -->; put both in") from error
    write_text(file, f"{head}\n{tables}\n\n{tail}")


if __name__ == "__main__":
    run_command(main)

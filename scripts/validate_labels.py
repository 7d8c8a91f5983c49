#!/usr/bin/env python3
"""Holds the rule labeller against Open-i's own indexing of the same reports, observation by observation.

    python scripts/validate_labels.py --reports NLMCXR_reports.tgz [--write docs/labels_table.md]

The labeller reads findings and impression; the indexers' MeSH terms ("major") are what it is held against, by the table
TERMS below. Neither is the truth: indexers leave out what they find minor, and name what the text says in other words.
Rules were improved on one half of the reports (even ids); the other half was looked at only for its figures.
"""

import argparse
import re
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from cxr_jax.data.archives import members
from cxr_jax.data.release import MAX_REPORT, Study, parse_study
from cxr_jax.errors import ArgumentParser, run_command
from cxr_jax.evaluation.finding_metrics import finding_f1
from cxr_jax.evaluation.labels import OBSERVATIONS, find_mentions, rule_labels
from cxr_jax.evaluation.tables import format_table, markdown_table
from cxr_jax.workdir import write_text

# The headings, and the qualifiers that they need where they name a place, of each observation; None: "normal".
TERMS = {
    "Enlarged Cardiomediastinum": r"mediastinum/.*(?:prominent|enlarged|widened)",
    "Cardiomegaly": r"cardiomegaly|cardiac shadow/.*(?:enlarged|borderline)|heart/.*enlarged",
    "Lung Opacity": r"opacity|airspace disease|infiltrate|density(?:/.*lung)?|markings/(?:.*/)?(?:interstitial|"
    r"prominent)|cicatrix(?!/pleura)|pulmonary fibrosis|lung diseases, interstitial|lung/.*(?:interstitial|reticular)",
    "Lung Lesion": r"nodule|mass|(?:calcified )?granuloma|granulomatous disease|cavitation|.*neoplasm|density/.*round",
    "Edema": r"pulmonary edema|pulmonary congestion|heart failure",
    "Consolidation": r"consolidation",
    "Pneumonia": r"pneumonia",
    "Atelectasis": r"pulmonary atelectasis|volume loss|atelectasis",
    "Pneumothorax": r"pneumothorax|hydropneumothorax",
    "Pleural Effusion": r"pleural effusion|hydropneumothorax",
    "Pleural Other": r"(?:thickening|cicatrix|calcinosis|nodule|opacity)/.*pleura|pleura/.*abnormal",
    "Fracture": r"fractures, bone",
    "Support Devices": r"catheters, indwelling|(?:implanted )?medical device|surgical instruments|tube, inserted|"
    r"stents|sutures|spinal fusion|breast implants",
    "No Finding": r"normal",
}
SIDES = ("left", "right", "bilateral")


def read_studies(archive: Path) -> list[Study]:
    return [parse_study(content, name) for name, content in members(archive, re.compile(r".*\.xml"), MAX_REPORT)]


def observations_of(terms: Sequence[str]) -> frozenset[str]:
    """What the indexers' terms say, in CheXpert's words."""
    lowered = [term.lower() for term in terms]
    return frozenset(
        name for name, pattern in TERMS.items() if any(re.match(rf"(?:{pattern})(?:$|/)", term) for term in lowered)
    )


def indexed_side(terms: Sequence[str], observation: str) -> str:
    """The side that the terms give an observation, "" where they give none or several."""
    matching = [t.lower().split("/") for t in terms if re.match(rf"(?:{TERMS[observation]})(?:$|/)", t.lower())]
    sides = {side for parts in matching for side in SIDES if side in parts}
    return "bilateral" if sides == {"left", "right"} else sides.pop() if len(sides) == 1 else ""


def table(studies: Sequence[Study]) -> tuple[list[str], list[list[str]]]:
    """Precision, recall and F1 of each observation, then their means."""
    reports = [report_of(study) for study in studies]
    found, indexed = rule_labels(reports), [observations_of(study.major) for study in studies]
    scores = finding_f1(indexed, found)
    mentions = [find_mentions(report) for report in reports]
    statuses = Counter((m.observation, m.status) for each in mentions for m in each)
    rows = []
    for name in OBSERVATIONS:
        of_name = scores["per_finding"].get(name, {"precision": 0, "recall": 0, "f1": 0, "support": 0})
        found_count = sum(name in each for each in found)
        pairs = [
            ({m.side for m in each if m.observation == name and m.side and m.status != "negative"}, side)
            for each, study in zip(mentions, studies, strict=True)
            if (side := indexed_side(study.major, name))
        ]
        said = [(sides, side) for sides, side in pairs if sides]
        agree = sum(side in sides or (side == "bilateral" and {"left", "right"} <= sides) for sides, side in said)
        counts = (statuses[name, status] for status in ("positive", "uncertain", "negative"))
        rows.append(
            [
                name,
                f"{of_name['support']}",
                f"{found_count}",
                *(f"{of_name[key]:.3f}" for key in ("precision", "recall", "f1")),
                "/".join(map(str, counts)) if name != "No Finding" else "",
                f"{agree} of {len(said)}" if said else "",
            ]
        )
    rows.append(["macro", "", "", "", "", f"{scores['macro']:.3f}", "", ""])
    rows.append(["micro", "", "", "", "", f"{scores['micro']:.3f}", "", ""])
    columns = ["", "indexed", "labelled", "precision", "recall", "F1", "mentions: there/in doubt/denied", "same side"]
    return columns, rows


def report_of(study: Study) -> str:
    """Findings and impression, a line each."""
    return "\n".join(filter(None, (study.sections.get(name) for name in ("FINDINGS", "IMPRESSION"))))


def main() -> None:
    """The command line."""
    parser = ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reports", required=True, type=Path, metavar="FILE", help="Open-i's NLMCXR_reports.tgz")
    parser.add_argument("--write", type=Path, metavar="FILE", help="a Markdown file for the tables")
    parser.add_argument("--show", metavar="OBSERVATION", help="print the even-id reports in which the two differ")
    arguments = parser.parse_args(sys.argv[1:])
    # A report without a word, or one that nobody indexed, says nothing of the labeller.
    studies = [s for s in read_studies(arguments.reports) if report_of(s) and "No Indexing" not in s.major]
    halves = {"even": [], "odd": []}
    for study in studies:
        halves["odd" if int(re.sub(r"\D", "", study.study_id)) % 2 else "even"].append(study)
    if arguments.show:
        show(halves["even"], arguments.show)
        return
    written = []
    for title, part in (
        (f"All {len(studies)} indexed reports", studies),
        (f"The {len(halves['odd'])} with odd ids, on which no rule was made", halves["odd"]),
    ):
        print(f"{title}\n\n{format_table(*table(part))}\n")
        written.append(f"{title}:\n\n{markdown_table(*table(part))}\n")
    if arguments.write:
        write_text(arguments.write, "\n".join(written))


def show(studies: Sequence[Study], observation: str) -> None:
    """Prints the reports in which labeller and indexers differ in an observation."""
    for study in studies:
        report = report_of(study)
        found, indexed = observation in rule_labels([report])[0], observation in observations_of(study.major)
        if found != indexed:
            named = [report[m.start : m.end] for m in find_mentions(report) if m.observation == observation]
            print(
                f"\n{study.study_id}: {'labelled' if found else 'indexed'} only; {list(study.major)} {named}\n{report}"
            )


if __name__ == "__main__":
    run_command(main)

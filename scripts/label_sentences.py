#!/usr/bin/env python3
"""Makes pairs of radiographs that have one finding each and no report: a template sentence stands for the report.

    python scripts/label_sentences.py --table table.csv --out pairs.csv [--source kermany]
    python -m cxr_jax.train --config configs/pairs.py --workdir runs/sentences --config.data.csv=pairs.csv

The table has the columns image (relative to it), patient_id, finding and, where --source is given, source. Which of a
finding's four sentences an image gets hangs on its name. So hundreds of images share each report: the case in which
equal reports as negatives hurt most (docs/training.md).
"""

import argparse
import csv
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from zlib import crc32

from cxr_jax.csv_table import CsvTable
from cxr_jax.errors import ArgumentParser, InputError, run_command
from cxr_jax.files import whole

SENTENCES = {
    "normal": (
        "No acute cardiopulmonary abnormality.",
        "The lungs are clear.",
        "Normal chest radiograph.",
        "No focal consolidation, effusion or pneumothorax.",
    ),
    "bacterial pneumonia": (
        "Focal consolidation, as in bacterial pneumonia.",
        "There is lobar consolidation.",
        "Bacterial pneumonia.",
        "Dense airspace opacity, likely bacterial infection.",
    ),
    "viral pneumonia": (
        "Diffuse interstitial opacities, as in viral pneumonia.",
        "There is bilateral peribronchial thickening.",
        "Viral pneumonia.",
        "Hazy interstitial markings, likely viral infection.",
    ),
    "pneumonia": (
        "There is pneumonia.",
        "Airspace opacity, as in pneumonia.",
        "Findings of pneumonia.",
        "Patchy opacity, likely infection.",
    ),
}


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", required=True, type=Path, metavar="FILE", help="image, patient_id, finding, source")
    parser.add_argument("--out", required=True, type=Path, metavar="FILE", help="the CSV that is written")
    parser.add_argument("--source", default="", metavar="NAME", help="only rows of this source")
    arguments = parser.parse_args(sys.argv[1:] if argv is None else argv)
    needed = ["image", "patient_id", "finding", *(["source"] if arguments.source else [])]
    rows = [row.cells for row in CsvTable(arguments.table, needed)]
    rows = [row for row in rows if arguments.source in ("", row.get("source"))]
    for row in rows:
        if row["finding"] not in SENTENCES:
            raise InputError(
                f"{arguments.table}: finding {row['finding']!r} of {row['image']} has no sentences; there are some of "
                f"{', '.join(SENTENCES)}"
            )
    with whole(arguments.out) as part, part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "report", "patient_id", "labels"])
        for row in rows:
            image = os.path.relpath(arguments.table.parent / row["image"], arguments.out.parent)
            sentences = SENTENCES[row["finding"]]
            report = sentences[crc32(Path(row["image"]).name.encode()) % len(sentences)]
            writer.writerow([image, report, row["patient_id"], row["finding"]])
    print(f"{arguments.out}: {len(rows):,} images, {len({row['finding'] for row in rows})} findings")


if __name__ == "__main__":
    run_command(main)

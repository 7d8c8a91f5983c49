"""scripts/label_sentences.py: images with one finding each become pairs."""

import csv
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parent.parent / "scripts" / "label_sentences.py"


def call(table, out, *more):
    command = [sys.executable, str(SCRIPT), "--table", str(table), "--out", str(out), *more]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def write(table, rows):
    table.parent.mkdir(exist_ok=True)
    lines = [f"images/{number}.jpg,p{number // 2},{finding},{source}" for number, (finding, source) in enumerate(rows)]
    table.write_text("\n".join(["image,patient_id,finding,source", *lines]))


def test_a_finding_becomes_one_of_its_sentences(tmp_path):
    table, out = tmp_path / "set" / "table.csv", tmp_path / "pairs.csv"
    write(table, [("normal", "a"), ("pneumonia", "b")] * 20)
    ended = call(table, out)
    assert (ended.returncode, ended.stdout.strip()) == (0, f"{out}: 40 images, 2 findings")
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows] == [f"set/images/{number}.jpg" for number in range(40)]
    assert [row["patient_id"] for row in rows] == [f"p{number // 2}" for number in range(40)]
    reports = {
        finding: {row["report"] for row in rows if row["labels"] == finding} for finding in ("normal", "pneumonia")
    }
    assert all(len(texts) == 4 for texts in reports.values())
    assert not reports["normal"] & reports["pneumonia"]
    assert call(table, out, "--source", "b").stdout.strip() == f"{out}: 20 images, 1 findings"


def test_a_finding_without_sentences_is_refused_and_nothing_is_written(tmp_path):
    table, out = tmp_path / "set" / "table.csv", tmp_path / "pairs.csv"
    write(table, [("normal", "a"), ("fracture", "a")])
    ended = call(table, out)
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert "finding 'fracture' of images/1.jpg has no sentences" in line
    assert not out.exists()

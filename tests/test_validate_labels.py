"""scripts/validate_labels.py on the real reports: agreement, speed, and that docs/labels.md holds its tables."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cxr_jax.errors import InputError
from cxr_jax.evaluation.label_metrics import macro_f1
from cxr_jax.evaluation.protocols import clean_r2gen
from cxr_jax.labels import rules as labels

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "scripts"))
import validate_labels  # noqa: E402


@pytest.fixture(scope="module")
def studies(shared):
    reports = shared / "data" / "iu_xray" / "NLMCXR_reports.tgz"
    if not reports.is_file():
        pytest.skip(f"no {reports}")
    return validate_labels.read_studies(reports)


@pytest.fixture(scope="module")
def read_labels(studies):
    return labels.rule_labels(study.report for study in studies)


@pytest.mark.slow
def test_agreement_does_not_fall(studies, read_labels):
    assert macro_f1([study.observations() for study in studies], read_labels) >= 0.82


@pytest.mark.slow
def test_the_docs_hold_what_the_script_writes(studies):
    halves = [
        [studies[i] for i in sorted(part)]
        for part in np.array_split(np.random.default_rng(0).permutation(len(studies)), 2)
    ]
    tables = validate_labels.agreement(studies, halves), validate_labels.mention_counts(studies)
    text = (ROOT / "docs" / "labels.md").read_text("utf-8")
    for table in tables:
        assert validate_labels.markdown_table(*table) in text, "run scripts/validate_labels.py --write docs/labels.md"


@pytest.mark.slow
def test_r2gens_cleaning_changes_few_labels(studies, read_labels):
    cleaned = labels.rule_labels(clean_r2gen(study.report) for study in studies[:1000])
    assert np.mean([a == b for a, b in zip(read_labels[:1000], cleaned, strict=True)]) > 0.98


def test_590_reports_take_little_time(studies):
    """As many as R2Gen's test split holds. In a process of its own, for pytest's type checks slow the labeller down."""
    code = (
        "import json, sys, time\nfrom cxr_jax.labels.rules import rule_labels\nreports = json.load(sys.stdin)\n"
        "start = time.process_time()\nrule_labels(reports)\nprint(time.process_time() - start)"
    )
    reports = json.dumps([study.report for study in studies[:590]])
    ran = subprocess.run(
        [sys.executable, "-c", code], input=reports, capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert float(ran.stdout) < 0.6


def test_only_what_is_between_the_marks_is_written_anew(tmp_path):
    file = tmp_path / "labels.md"
    file.write_text("by hand\n<!-- tables -->\nold\n<!-- end -->\nmore\n")
    for _ in range(2):
        validate_labels.write_between_marks(file, "| new |")
        assert file.read_text() == "by hand\n<!-- tables -->\n\n| new |\n\n<!-- end -->\nmore\n"
    file.write_text("no marks")
    with pytest.raises(InputError, match=r"labels\.md: lacks the lines"):
        validate_labels.write_between_marks(file, "| new |")

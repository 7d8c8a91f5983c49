"""scripts/rehearse_openi.py: the release's own reports and ids, with drawn images."""

import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest

from cxr_jax.data.images import grey_of
from cxr_jax.data.sources.openi import REHEARSAL, describe
from cxr_jax.data.sources.openi_release import read_release
from cxr_jax.phantom.release import report_xml, study_findings_and_report
from tests.data.settings import make_data

SCRIPT = Path(__file__).parent.parent / "scripts" / "rehearse_openi.py"
sys.path.insert(0, str(SCRIPT.parent))
from rehearse_openi import findings_from_terms  # noqa: E402


def archive(path, members):
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def rehearse(*arguments):
    return subprocess.run([sys.executable, SCRIPT, *map(str, arguments)], capture_output=True, text=True)


@pytest.fixture
def reports():
    return {f"ecgen-radiology/{n}.xml": report_xml(n, study_findings_and_report(0, n)[1]) for n in (3, 12)}


def test_every_named_image_is_drawn_beside_the_untouched_report(tmp_path, reports):
    source = archive(tmp_path / "reports.tgz", reports)
    run = rehearse("--reports", source, "--out", tmp_path / "out", "--size", 64)
    assert run.returncode == 0, run.stderr
    assert "2 real reports, 4 drawn images" in run.stdout
    for name, content in reports.items():
        assert (tmp_path / "out" / name).read_bytes() == content
    assert json.loads((tmp_path / "out" / "release.json").read_text())["drawn"] is True
    records, counts = read_release(tmp_path / "out", tmp_path)
    assert (counts.reports, counts.images, counts.unknown_views) == (2, 4, 0)
    source = describe(make_data(tmp_path, path=tmp_path / "out", split="paper"))
    assert source.description == REHEARSAL
    assert [(r.study_id, r.view) for r in records] == [
        (study, view) for study in ("CXR3", "CXR12") for view in ("frontal", "lateral")
    ]
    assert {grey_of(record.image).shape for record in records} == {(64, 64)}


def test_a_folder_that_is_there_is_not_touched(tmp_path, reports):
    source = archive(tmp_path / "reports.tgz", reports)
    run = rehearse("--reports", source, "--out", tmp_path)
    assert run.returncode == 2
    assert run.stderr.startswith("error: ")
    assert run.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"<eCitation><uId id='CXR5'/><parentImage id='../../etc/passwd'/></eCitation>", "none of the release's"),
        (b"<eCitation>", "not well-formed"),
    ],
)
def test_a_report_that_lies_is_refused_in_one_line(tmp_path, content, said):
    source = archive(tmp_path / "reports.tgz", {"../../5.xml": content})
    run = rehearse("--reports", source, "--out", tmp_path / "out")
    assert run.returncode == 2
    assert said in run.stderr
    assert run.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob("*.xml"))


@pytest.mark.parametrize(
    ("terms", "drawn"),
    [
        (["normal"], set()),
        (["Spine/degenerative"], set()),
        (["Pleural Effusion/bilateral/small"], {("effusion", "bilateral", "", "small")}),
        (["Cardiomegaly/mild"], {("cardiomegaly", "", "", "mild")}),
        (["Opacity/lung/upper lobe/left"], {("consolidation", "left", "upper lobe", "")}),
        (["Opacity/lung/base/left"], {("atelectasis", "left", "", "")}),
        (
            ["Pulmonary Atelectasis/base/bilateral"],
            {("atelectasis", "right", "", ""), ("atelectasis", "left", "", "")},
        ),
        (["Diaphragm/right/elevated"], {("elevated", "right", "", "")}),
        (["Lung/hyperdistention", "Pulmonary Emphysema"], {("hyperinflation", "", "", "")}),
    ],
)
def test_terms_become_what_the_pen_can_draw(terms, drawn):
    findings = findings_from_terms(terms, np.random.default_rng(0))
    assert {(f.kind, f.side, f.place, f.severity) for f in findings} == drawn

import csv
import json
import signal
import time
from xml.etree import ElementTree

import pytest
from PIL import Image

from cxr_jax.errors import InputError
from cxr_jax.phantom import release as phantom
from tests.runtime.launch import start

SIZE = 64


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    return phantom.write_release(tmp_path_factory.mktemp("phantom") / "release", 24, image_size=SIZE, seed=3, workers=1)


def test_two_workers_write_the_same_bytes(release, tmp_path):
    assert contents(phantom.write_release(tmp_path, 24, image_size=SIZE, seed=3, workers=2)) == contents(release)


def test_a_study_does_not_depend_on_how_many_are_drawn(release, tmp_path):
    few = contents(phantom.write_release(tmp_path, 3, image_size=SIZE, seed=3, workers=1))
    many = contents(release)
    shared = [name for name in few if name.endswith((".png", ".xml"))]
    assert len(shared) == 9
    assert all(few[name] == many[name] for name in shared)


def test_another_seed_draws_others(release, tmp_path):
    other = contents(phantom.write_release(tmp_path, 1, image_size=SIZE, seed=4, workers=1))
    assert other["NLMCXR_png/CXR1_IM-0001-1001.png"] != contents(release)["NLMCXR_png/CXR1_IM-0001-1001.png"]


def test_layout_is_open_is(release):
    rows = list(csv.DictReader((release / "indiana_projections.csv").read_text().splitlines()))
    assert rows[:2] == [
        {"uid": "1", "filename": "1_IM-0001-1001.dcm.png", "projection": "Frontal"},
        {"uid": "1", "filename": "1_IM-0001-2001.dcm.png", "projection": "Lateral"},
    ]
    assert len(rows) == 48
    for row in rows:
        with Image.open(release / "NLMCXR_png" / f"CXR{row['filename'].removesuffix('.dcm.png')}.png") as image:
            assert (image.mode, image.size) == ("L", (SIZE, SIZE))
    assert json.loads((release / "release.json").read_text()) == {
        "name": "phantom",
        "drawn": True,
        "studies": 24,
        "image_size": SIZE,
        "seed": 3,
        "version": phantom.VERSION,
    }


def test_xml_says_what_the_report_says_and_that_it_is_drawn(release):
    for number in range(1, 25):
        root = ElementTree.parse(release / "ecgen-radiology" / f"{number}.xml").getroot()
        _, report = phantom.study_findings_and_report(3, number)
        sections = {part.get("Label"): part.text for part in root.iter("AbstractText")}
        assert sections == {
            "COMPARISON": report.comparison,
            "INDICATION": report.indication,
            "FINDINGS": report.findings,
            "IMPRESSION": report.impression,
        }
        assert root.find("uId").get("id") == f"CXR{number}"
        assert tuple(tag.text for tag in root.findall("MeSH/major")) == report.tags
        for image in root.findall("parentImage"):
            assert (release / "NLMCXR_png" / f"{image.get('id')}.png").exists()
            assert image.find("panel/url").text.endswith(f"{image.get('id')}.jpg")
        assert "no patient" in root.find("licenseType").text


def test_xml_escapes():
    report = phantom.study_findings_and_report(0, 1)[1]
    nasty = type(report)("a < b & c", report.indication, report.findings, report.impression, report.tags)
    assert ElementTree.fromstring(phantom.report_xml(1, nasty)).find(".//AbstractText").text == "a < b & c"


def test_a_whole_release_is_left_alone(release):
    image = release / "NLMCXR_png" / "CXR1_IM-0001-1001.png"
    before = image.stat().st_mtime_ns
    phantom.write_release(release, 24, image_size=SIZE, seed=3)
    assert image.stat().st_mtime_ns == before


def test_an_interrupted_release_is_taken_up_again(tmp_path, monkeypatch, release):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(phantom, "write_projections", stop)
    with pytest.raises(KeyboardInterrupt):
        phantom.write_release(tmp_path, 24, image_size=SIZE, seed=3, workers=1)
    assert not (tmp_path / "release.json").exists()
    monkeypatch.undo()
    with pytest.raises(InputError, match="another release"):
        phantom.write_release(tmp_path, 25, image_size=SIZE, seed=3, workers=1)
    assert contents(phantom.write_release(tmp_path, 24, image_size=SIZE, seed=3, workers=1)) == contents(release)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_no_drawing_process_outlives_its_caller(tmp_path, number):
    process = start(["cxr_jax.phantom", "--out", str(tmp_path), "--studies", "100000", "--workers", "2"])
    deadline = time.monotonic() + 60
    while not any(tmp_path.rglob("*.png")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(number)
    process.communicate(timeout=20)  # what they print to ends with the last of them
    assert process.returncode == -number


@pytest.mark.parametrize("change", [{"num_studies": 25}, {"image_size": 96}, {"seed": 4}])
def test_another_release_in_the_folder_is_refused(release, change):
    arguments = {"num_studies": 24, "image_size": SIZE, "seed": 3} | change
    with pytest.raises(InputError, match=r"release\.json.*another release") as error:
        phantom.write_release(release, **arguments)
    assert "\n" not in str(error.value)


def test_other_files_in_the_folder_are_refused(tmp_path):
    (tmp_path / "thesis.docx").write_text("years of work")
    with pytest.raises(InputError, match="no phantom release"):
        phantom.write_release(tmp_path, 1)
    with pytest.raises(InputError, match="not a folder"):
        phantom.write_release(tmp_path / "thesis.docx", 1)


@pytest.mark.parametrize("change", [{"num_studies": 0}, {"image_size": 31}, {"seed": -1}, {"workers": 0}])
def test_bad_arguments_are_refused_in_one_line(tmp_path, change):
    with pytest.raises(InputError) as error:
        phantom.write_release(tmp_path / "new", **({"num_studies": 1} | change))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "new").exists()

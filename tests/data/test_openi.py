import csv
import os
import shutil
import tarfile
from collections import Counter

import pytest

from cxr_jax.data import openi, phantom, records
from cxr_jax.errors import InputError


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    return phantom.write_release(tmp_path_factory.mktemp("drawn") / "release", 10, 64, seed=1, workers=1)


@pytest.fixture
def release(drawn, tmp_path):
    return shutil.copytree(drawn, tmp_path / "release")


def report_file(release, number):
    return release / openi.REPORTS / f"{number}.xml"


def test_every_image_carries_its_studys_report(release):
    found = list(openi.read_release(release))
    assert [r.study_id for r in found] == [f"CXR{n}" for n in range(1, 11) for _ in range(2)]
    for record in found:
        _, report = phantom.study_findings_and_report(1, int(record.study_id.removeprefix("CXR")))
        assert record.findings == report.findings
        assert record.impression == report.impression
        assert record.indication == report.indication
        assert record.labels == tuple(report.tags)
        assert record.patient_id == record.study_id
        assert record.image == release / openi.IMAGES / f"{record.image_id}.png"
        assert record.image.is_file()
        assert record.view == {"1001": "frontal", "2001": "lateral"}[record.image_id[-4:]]


def test_splits_hold_every_record_once_and_no_study_twice(release):
    builder = openi.Openi(config=openi.config_for(release, "paper", 0, 32), data_dir=str(release / "cache"))
    splits = builder.records()
    assert {name: len(part) for name, part in splits.items()} == {"train": 14, "val": 4, "test": 2}
    homes = {name: {r.study_id for r in part} for name, part in splits.items()}
    assert sum(map(len, homes.values())) == 10


def test_a_release_is_stored_with_its_texts_labels_and_views(release, tmp_path):
    builder = records.prepare(openi.Openi, openi.config_for(release, "auto", 0, 32), tmp_path / "cache")
    given = {r.image_id: r for r in openi.read_release(release)}
    for split in records.SPLITS:
        for fields in builder.as_data_source(split):
            record = given.pop(fields["image_id"].decode())
            assert fields["findings"].decode() == record.findings
            assert fields["view"].decode() == record.view
            assert tuple(label.decode() for label in fields["labels"]) == record.labels
            assert fields["image"].shape == (32, 32, 1)
    assert not given


def test_without_a_table_no_view_is_known(release):
    (release / openi.PROJECTIONS).unlink()
    assert {r.view for r in openi.read_release(release)} == {""}


def test_another_table_of_views_makes_another_data_set(release):
    name = openi.config_for(release, "paper", 0, 32).name
    table = release / openi.PROJECTIONS
    table.write_text(table.read_text().replace("Lateral", "Frontal"))  # of the same size
    assert openi.config_for(release, "paper", 0, 32).name != name
    table.unlink()
    assert openi.config_for(release, "paper", 0, 32).name != name


def test_studies_without_image_or_report_are_left_out(release):
    for view in ("1001", "2001"):
        (release / openi.IMAGES / f"CXR3_IM-0003-{view}.png").unlink()
    (release / openi.IMAGES / "CXR4_IM-0004-2001.png").unlink()
    for number, label in ((5, "FINDINGS"), (6, "FINDINGS"), (6, "IMPRESSION")):
        text = report_file(release, number).read_text()
        start = text.index(">", text.index(f'Label="{label}"')) + 1
        report_file(release, number).write_text(text[:start] + text[text.index("</AbstractText>", start) :])
    count = Counter(r.study_id for r in openi.read_release(release))
    assert count == {f"CXR{n}": 2 for n in (1, 2, 5, 7, 8, 9, 10)} | {"CXR4": 1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<eCitation><uId id='CXR2'>", r"2\.xml: not well-formed XML"),
        ("", r"2\.xml: not well-formed XML"),
        ("<eCitation/>", r"2\.xml: has no uId"),
        ("<eCitation><uId/></eCitation>", r"2\.xml: has no uId"),
    ],
)
def test_bad_reports_are_refused(release, text, message):
    report_file(release, 2).write_text(text)
    with pytest.raises(InputError, match=message):
        list(openi.read_release(release))


def test_an_image_of_two_reports_is_refused(release):
    (report_file(release, 11)).write_bytes(report_file(release, 2).read_bytes())
    with pytest.raises(InputError, match=r"11\.xml: image CXR2_IM-0002-1001 is also in 2\.xml"):
        list(openi.read_release(release))


@pytest.mark.parametrize(
    "content", [b"uid,name\n1,x\n", b"filename,projection\nx.png\n", b"filename,projection\n\xff,Frontal\n"]
)
def test_bad_tables_are_refused(release, content):
    (release / openi.PROJECTIONS).write_bytes(content)
    with pytest.raises(InputError, match=r"indiana_projections\.csv"):
        list(openi.read_release(release))


@pytest.mark.parametrize("folder", [openi.REPORTS, openi.IMAGES])
def test_missing_folders_are_refused(release, folder):
    (release / folder).rename(release / "elsewhere")
    with pytest.raises(InputError, match=rf"data\.path = .*release: there is no folder {folder}"):
        openi.config_for(release, "paper", 0, 32)


def test_other_splits_are_refused(release):
    with pytest.raises(InputError, match=r"data\.split = patient"):
        openi.config_for(release, "patient", 0, 32)


def test_fingerprint_does_not_depend_on_the_folder_but_on_seed_and_size(release):
    name = openi.config_for(release, "paper", 0, 32).name
    assert openi.config_for(release, "paper", 1, 32).name != name
    assert openi.config_for(release, "paper", 0, 33).name != name
    moved = release.rename(release.with_name("moved"))
    assert openi.config_for(moved, "paper", 0, 32).name == name


@pytest.fixture(scope="module")
def real_release(shared, tmp_path_factory):
    source, folder = shared / "data" / "iu_xray", tmp_path_factory.mktemp("iu_xray")
    with tarfile.open(source / "NLMCXR_reports.tgz") as archive:
        archive.extractall(folder, filter="data")
    for name in (openi.IMAGES, openi.PROJECTIONS):
        os.symlink(source / name, folder / name)
    return folder


def test_the_real_release_can_be_read(real_release):
    found = list(openi.read_release(real_release))
    assert len(list((real_release / openi.REPORTS).glob("*.xml"))) == 3955
    assert len({r.image_id for r in found}) == len(found) == 8
    assert Counter(r.view for r in found) == {"frontal": 5, "lateral": 3}
    with (real_release / openi.PROJECTIONS).open(newline="") as file:
        numbers = {f"CXR{row['filename'].split('.')[0]}": f"CXR{row['uid']}" for row in csv.DictReader(file)}
    for record in found:
        assert numbers[record.image_id] == record.study_id
        assert record.findings
        assert record.labels


def test_every_real_report_can_be_read(real_release, tmp_path):
    # Names for the images that are not here: what is read of a report does not depend on their pixels.
    (tmp_path / openi.IMAGES).mkdir()
    os.symlink(real_release / openi.REPORTS, tmp_path / openi.REPORTS)
    os.symlink(real_release / openi.PROJECTIONS, tmp_path / openi.PROJECTIONS)
    for file in (real_release / openi.REPORTS).glob("*.xml"):
        for part in file.read_text(encoding="utf-8").split('<parentImage id="')[1:]:
            (tmp_path / openi.IMAGES / f"{part[: part.index(chr(34))]}.png").touch()
    found = list(openi.read_release(tmp_path))
    studies = {r.study_id: r for r in found}
    # Of 7,470 images, those whose study has findings or an impression.
    assert 7400 < len(found) <= 7470
    assert sum(bool(r.findings) for r in studies.values()) > 3300
    assert sum(r.view == "" for r in found) <= 6
    assert not any("\n" in r.study_id or not r.labels for r in found)

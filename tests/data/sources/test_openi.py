import dataclasses
import itertools
import json
import shutil
import tarfile
import time
from collections import Counter

import numpy as np
import pytest

from cxr_jax.data import reports, splits
from cxr_jax.data.prepare import prepare
from cxr_jax.data.sources import openi
from cxr_jax.data.sources import openi_release as release_files
from cxr_jax.data.sources import openi_views as views
from cxr_jax.errors import InputError
from cxr_jax.phantom import release as phantom
from tests.data import settings
from tests.data.settings import make_data


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    return phantom.write_release(tmp_path_factory.mktemp("drawn") / "release", 10, 64, seed=1, workers=1)


@pytest.fixture
def release(drawn, tmp_path):
    return shutil.copytree(drawn, tmp_path / "release")


def data_of(folder, split="paper", seed=0, stored_size=32, **more):
    return make_data(
        folder.parent / "cache", dataset="openi", path=folder, split=split, seed=seed, stored_size=stored_size, **more
    )


def describe(folder, split="paper", seed=0, stored_size=32, **more):
    return openi.describe(data_of(folder, split, seed, stored_size, **more))


def read(folder):
    return release_files.read_release(folder, folder.parent / "cache")[0]


def report_file(release, number):
    return release / release_files.REPORTS / f"{number}.xml"


def test_every_image_carries_its_studys_report(release):
    records = read(release)
    assert [r.study_id for r in records] == [f"CXR{n}" for n in range(1, 11) for _ in range(2)]
    for record in records:
        _, report = phantom.study_findings_and_report(1, int(record.study_id.removeprefix("CXR")))
        assert record.findings == report.findings
        assert record.impression == report.impression
        assert record.labels == tuple(report.tags)
        assert record.patient_id == record.study_id
        assert record.image == release / release_files.IMAGES / f"{record.image_id}.png"
        assert record.image.is_file()
        assert record.view == {"1001": "frontal", "2001": "lateral"}[record.image_id[-4:]]


def test_splits_hold_every_record_once_and_no_study_twice(release):
    splits = settings.read(openi, data_of(release))
    assert {name: len(part) for name, part in splits.items()} == {"train": 14, "val": 4, "test": 2}
    homes = {name: {r.study_id for r in part} for name, part in splits.items()}
    assert sum(map(len, homes.values())) == 10


def test_a_release_is_stored_with_its_texts_labels_and_views(release, tmp_path):
    builder = prepare(data_of(release, "auto"))
    given = {r.image_id: r for r in read(release)}
    for split in splits.SPLITS:
        for fields in builder.as_data_source(split):
            record = given.pop(fields["image_id"].decode())
            assert fields["findings"].decode() == record.findings
            assert fields["view"].decode() == record.view
            assert fields["impression"].decode() == record.impression
            assert tuple(term.decode() for term in fields["labels"]) == record.labels
            assert fields["image"].shape == (32, 32, 1)
    assert not given


def test_without_a_table_no_view_is_known(release):
    (release / views.PROJECTIONS).unlink()
    assert {r.view for r in read(release)} == {""}


def test_another_table_of_views_makes_another_data_set(release):
    name = describe(release).name
    table = release / views.PROJECTIONS
    table.write_text(table.read_text().replace("Lateral", "Frontal"))  # of the same size
    assert describe(release).name != name
    table.unlink()
    assert describe(release).name != name


def test_studies_without_image_or_report_are_left_out(release):
    for view in ("1001", "2001"):
        (release / release_files.IMAGES / f"CXR3_IM-0003-{view}.png").unlink()
    (release / release_files.IMAGES / "CXR4_IM-0004-2001.png").unlink()
    for number, label in ((5, "FINDINGS"), (6, "FINDINGS"), (6, "IMPRESSION")):
        text = report_file(release, number).read_text()
        start = text.index(">", text.index(f'Label="{label}"')) + 1
        report_file(release, number).write_text(text[:start] + text[text.index("</AbstractText>", start) :])
    count = Counter(r.study_id for r in read(release))
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
        read(release)


def test_an_image_of_two_reports_is_refused(release):
    (report_file(release, 11)).write_bytes(report_file(release, 2).read_bytes())
    with pytest.raises(InputError, match=r"11\.xml: image CXR2_IM-0002-1001 is also in 2\.xml"):
        read(release)


@pytest.mark.parametrize(
    "content", [b"uid,name\n1,x\n", b"filename,projection\nx.png\n", b"filename,projection\n\xff,Frontal\n"]
)
def test_bad_tables_are_refused(release, content):
    (release / views.PROJECTIONS).write_bytes(content)
    with pytest.raises(InputError, match=r"indiana_projections\.csv"):
        read(release)


@pytest.mark.parametrize("folder", [release_files.REPORTS, release_files.IMAGES])
def test_missing_folders_are_refused(release, folder):
    (release / folder).rename(release / "elsewhere")
    with pytest.raises(InputError, match=rf"data\.path = .*release: there is no folder {folder}") as error:
        describe(release)
    for part in ("https://openi.nlm.nih.gov/faq", "NLMCXR_reports.tgz", "NLMCXR_png.tgz", "into that folder"):
        assert part in str(error.value)


def test_other_splits_are_refused(release):
    with pytest.raises(InputError, match=r"data\.split = patient"):
        describe(release, "patient")


def test_fingerprint_does_not_depend_on_the_folder_but_on_seed_and_size(release):
    name = describe(release).name
    assert describe(release, seed=1).name != name
    assert describe(release, stored_size=33).name != name
    moved = release.rename(release.with_name("moved"))
    assert describe(moved).name == name


# Archives


def pack(release, name, inside=""):
    """The release's folder `name` as the archive that Open-i publishes, and no folder."""
    with tarfile.open(release / release_files.ARCHIVES[name], "w:gz") as tar:
        for file in sorted((release / name).iterdir(), reverse=True):
            tar.add(file, f"{inside}{file.name}")
    shutil.rmtree(release / name)


@pytest.mark.parametrize(
    "packed", [[release_files.REPORTS], [release_files.IMAGES], [release_files.REPORTS, release_files.IMAGES]]
)
def test_archives_are_read_as_folders_are(drawn, release, packed):
    for name in packed:
        pack(release, name, "ecgen-radiology/" if name == release_files.REPORTS else "./")
    expected = {r.image_id: (r, r.image.read_bytes()) for r in read(drawn)}
    records = read(release)
    assert [r.image_id for r in records] == list(expected)
    for record in records:
        same, content = expected[record.image_id]
        assert record.image.read_bytes() == content
        assert dataclasses.replace(record, image=same.image) == same
    assert not list(release.parent.glob("ecgen*"))


def test_a_prepared_archive_is_not_unpacked_again(release, capsys):
    for name in (release_files.REPORTS, release_files.IMAGES):
        pack(release, name)
    cache = release.parent / "cache"
    prepare(data_of(release))
    assert "10 reports" in capsys.readouterr().err
    for folder in cache.glob("openi-images-*"):
        shutil.rmtree(folder)
    again = prepare(data_of(release))
    assert len(again.as_data_source("train")) == 14
    assert not list(cache.glob("openi-images-*"))
    assert capsys.readouterr().err == ""


def test_another_archive_makes_another_data_set(release):
    pack(release, release_files.REPORTS)
    archive = release / release_files.ARCHIVES[release_files.REPORTS]
    name = describe(release).name
    content = bytearray(archive.read_bytes())
    content[-6] ^= 1
    archive.write_bytes(content)
    assert describe(release).name != name
    with pytest.raises(InputError, match=r"NLMCXR_reports\.tgz: damaged"):
        read(release)


LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12))


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    "declared",
    [
        f'<!DOCTYPE e [<!ENTITY l0 "ha">{LAUGHS}]>',
        '<!DOCTYPE e SYSTEM "http://127.0.0.1/e.dtd">',
        '<!DOCTYPE e [<!ENTITY l11 SYSTEM "file:///etc/passwd">]>',
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_xml_that_declares_entities_is_refused_at_once(release, declared, encoding, packed):
    text = f'<?xml version="1.0" encoding="{encoding}"?>{declared}<eCitation><uId id="CXR2">&l11;</uId></eCitation>'
    report_file(release, 2).write_bytes(text.encode(encoding))
    if packed:
        pack(release, release_files.REPORTS)
    start = time.perf_counter()
    with pytest.raises(InputError, match=r"2\.xml: declares a document type"):
        read(release)
    assert time.perf_counter() - start < 2


def test_a_huge_report_is_refused(release):
    report_file(release, 2).write_bytes(b" " * (release_files.MAX_REPORT + 1))
    with pytest.raises(InputError, match=r"2\.xml: has more than"):
        read(release)
    pack(release, release_files.REPORTS)
    with pytest.raises(InputError, match=r"'2\.xml' is said to have"):
        read(release)


# Counts


def test_counts_say_what_is_there(release):
    _, whole = release_files.read_release(release, release.parent / "cache")
    assert whole == release_files.ReleaseCounts(10, 20, 10, 0)
    for view in ("1001", "2001"):
        (release / release_files.IMAGES / f"CXR3_IM-0003-{view}.png").rename(
            release / release_files.IMAGES / f"other-{view}.png"
        )
    text = report_file(release, 4).read_text()
    report_file(release, 4).write_text(text[: text.index("<parentImage")] + "</eCitation>")
    text = report_file(release, 5).read_text()
    report_file(release, 5).write_text(text.replace('Label="FINDINGS"', 'Label="NONE"'))
    (release / views.PROJECTIONS).unlink()
    _, counts = release_files.read_release(release, release.parent / "cache")
    assert counts == release_files.ReleaseCounts(10, 18, 9, 1, missing_files=2, unnamed_files=4, unknown_views=16)


def test_differences_from_the_official_release_are_stated():
    lines = release_files.ReleaseCounts(3955, 7468, 3426, 104, missing_files=3).lines(release_files.OFFICIAL)
    assert lines[0].split() == ["3,955", "reports"]
    assert "official release: 7,470; 2 fewer" in lines[1]
    assert "official release: 3,425; 1 more" in lines[2]
    assert "official" not in lines[3]
    assert "official release: 0; 3 more" in lines[4]
    assert not any("official" in line for line in release_files.OFFICIAL.lines(release_files.OFFICIAL))


@pytest.mark.parametrize("is_drawn", [True, False])
def test_a_release_is_counted_when_it_is_prepared(release, capsys, is_drawn):
    if not is_drawn:
        (release / phantom.RELEASE_FILE).unlink()
    prepare(data_of(release, "strict"))
    text = capsys.readouterr().err
    assert "strict split: train 7 studies (14 images)" in text
    assert ("official release: 3,955; 3,945 fewer" in text) != is_drawn
    assert ("drawn" in text.splitlines()[0]) == is_drawn


# Splits


def studies_of(release, split, **more):
    assert describe(release, split, **more).split == split
    parts = settings.read(openi, data_of(release, split, **more))
    return {name: {r.study_id for r in part} for name, part in parts.items()}


@pytest.mark.parametrize("place", ["annotation.json", "r2gen_annotation.json", "../mine.json"])
def test_r2gens_lists_are_found_and_followed(release, place):
    lists = {"train": ("CXR1_IM-1", "CXR4_IM-1"), "val": ("CXR2_IM-7",), "test": ("CXR10_IM-3", "CXR77_IM-3")}
    text = json.dumps({name: [{"id": study} for study in ids] for name, ids in lists.items()})
    (release / place).write_text(text)
    more = {"annotation": str(release / place)} if ".." in place else {}
    assert studies_of(release, "r2gen", **more) == {"train": {"CXR1", "CXR4"}, "val": {"CXR2"}, "test": {"CXR10"}}
    name = describe(release, "r2gen", **more).name
    (release / place).write_text(text.replace("CXR10_", "CXR9_"))
    assert describe(release, "r2gen", **more).name != name


def test_r2gen_without_its_lists_is_refused(release):
    with pytest.raises(InputError, match=r"data\.split = r2gen: there is no .*annotation\.json.*data\.annotation"):
        describe(release, "r2gen")
    with pytest.raises(InputError, match=r"there is no /nowhere\.json;"):
        describe(release, "r2gen", annotation="/nowhere.json")


def test_strict_keeps_copies_of_the_section_together(release):
    for number in (3, 5, 9):
        text = report_file(release, number).read_text()
        start = text.index(">", text.index('Label="FINDINGS"')) + 1
        end = text.index("</AbstractText>", start)
        report_file(release, number).write_text(f"{text[:start]}The heart is large{'.' * number}{text[end:]}")
    names = set()
    for section in ("findings", "impression"):
        names.add(describe(release, "strict", section=section).name)
        homes = studies_of(release, "strict", section=section)
        texts = {r.study_id: reports.choose_section(r.findings, r.impression, section) for r in read(release)}
        cluster = dict(zip(texts, splits.near_copies(list(texts.values())), strict=True))
        for one, other in itertools.combinations(homes.values(), 2):
            assert not {cluster[s] for s in one} & {cluster[s] for s in other}
        if section == "findings":
            assert len({cluster[f"CXR{n}"] for n in (3, 5, 9)}) == 1
    assert len(names) == 2


# The real release


@pytest.fixture(scope="module")
def real_studies(shared):
    return {study.study_id: study for study in release_files.read_studies(shared / "data" / "iu_xray")}


def test_every_real_report_is_read_from_the_archive(real_studies):
    assert list(real_studies) == sorted(real_studies, key=lambda name: int(name.removeprefix("CXR")))
    assert len(real_studies) == 3955
    for study in real_studies.values():
        assert set(study.sections) == {"COMPARISON", "INDICATION", "FINDINGS", "IMPRESSION"}
        assert all(study.major)
    assert "CXR1_1_IM-0001-3001" in real_studies["CXR1"].image_ids


def test_the_real_release_is_counted_and_its_images_find_their_studies(shared):
    folder = shared / "data" / "iu_xray"
    records, counts = release_files.read_release(folder, folder)
    official = dataclasses.replace(release_files.OFFICIAL, missing_files=7470 - 8)
    assert dataclasses.replace(counts, unknown_views=0) == official
    assert len({r.image_id for r in records}) == len(records) == 8
    assert {r.study_id for r in records} == {f"CXR{n}" for n in (7, 25, 54, 303, 1900)}
    assert Counter(r.view for r in records) == {"frontal": 5, "lateral": 3}
    for record in records:
        assert record.image_id.startswith(f"{record.study_id}_")
        assert record.findings
        assert record.labels


def test_of_nearly_every_real_image_the_view_is_known(shared, real_studies):
    known = views.read_views(shared / "data" / "iu_xray")
    ids = [image for study in real_studies.values() for image in study.image_ids]
    assert sum(views.plain_id(image) in known for image in ids) == 7466


def test_r2gens_reports_are_the_real_findings(shared, real_studies):
    """All 2,955 are equal but for white space: what R2Gen scores is the findings as they stand in the XML."""
    lists = json.loads((shared / "data" / "iu_xray" / "r2gen_annotation.json").read_text())
    assert {name: len(part) for name, part in lists.items()} == {"train": 2069, "val": 296, "test": 590}
    for entry in itertools.chain.from_iterable(lists.values()):
        study = real_studies[entry["id"].split("_")[0]]
        assert entry["report"].split() == study.sections["FINDINGS"].split()
        assert len(study.image_ids) >= len(entry["image_path"]) == 2


def test_the_strict_split_of_the_real_reports(real_studies):
    texts = {name: study.sections["FINDINGS"] for name, study in real_studies.items() if study.sections["FINDINGS"]}
    texts = {name: text for name, text in texts.items() if real_studies[name].image_ids}
    start = time.perf_counter()
    split_of = splits.strict_split(texts, 0)
    assert time.perf_counter() - start < 10
    assert Counter(split_of.values()) == {"train": 2336, "val": 667, "test": 334}
    # All pairs at once, naively: sizes of intersections by a product of indicator matrices.
    bags = [set(reports.normalize_report(text).split()) for text in texts.values()]
    number = {word: n for n, word in enumerate(sorted(set().union(*bags)))}
    has = np.zeros((len(bags), len(number)), np.float32)
    for row, bag in enumerate(bags):
        has[row, [number[word] for word in bag]] = 1
    common, size = has @ has.T, has.sum(axis=1)
    near = 10 * common >= 9 * (size[:, None] + size[None, :] - common)
    home = np.array([split_of[name] for name in texts])
    assert near.sum() > len(bags)
    assert not (near & (home[:, None] != home[None, :])).any()

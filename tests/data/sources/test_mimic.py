import csv
import gzip
import io
from pathlib import Path

import numpy as np
import pytest

from cxr_jax.data import images, pipeline
from cxr_jax.data.sources import mimic
from cxr_jax.data.sources import mimic_tables as tables
from cxr_jax.errors import InputError
from tests.data import settings
from tests.data.settings import make_config, make_data

SIDE = 16
SPLITS = ["train"] * 12 + ["validate"] * 4 + ["test"] * 4


def dicom_id(number):
    return "-".join([f"{number:08x}"] * 5)


def study_of(number):
    """(subject_id, study_id) of an image: two images a study, two studies a patient."""
    return f"1000{number // 4:04d}", f"5000{number // 2:04d}"


def write_table(folder, name, columns, rows, packed=True):
    text = io.StringIO()
    csv.writer(text).writerows([columns, *rows])
    data = text.getvalue().encode()
    (folder / f"{name}.csv{'.gz' * packed}").write_bytes(gzip.compress(data) if packed else data)


def split_rows(splits=SPLITS):
    return [[dicom_id(n), study_of(n)[1], study_of(n)[0], split] for n, split in enumerate(splits)]


def write_split(folder, rows, packed=True):
    write_table(folder, tables.SPLIT, ["dicom_id", "study_id", "subject_id", "split"], rows, packed)


def write_release(folder, packed=True, reports="files"):
    """Twenty images, each as bright as ten times its number; of each study, the first is frontal."""
    folder.mkdir(exist_ok=True)
    write_split(folder, split_rows(), packed)
    views = [[dicom_id(n), "CHEST", "LATERAL" if n % 2 else "PA"] for n in range(len(SPLITS))]
    write_table(folder, tables.METADATA, ["dicom_id", "Procedure", "ViewPosition"], views, packed)
    for number in range(len(SPLITS)):
        subject, study = study_of(number)
        home = folder / "files" / f"p{subject[:2]}" / f"p{subject}" / f"s{study}"
        home.mkdir(parents=True, exist_ok=True)
        pixels = np.full((SIDE, SIDE), 10 * number, np.uint8)
        (home / f"{dicom_id(number)}.jpg").write_bytes(images.encode_jpeg(pixels))
        report = report_file(folder, number, reports)
        report.parent.mkdir(parents=True, exist_ok=True)
        report.write_text(f" FINAL REPORT\n FINDINGS: Report {study}.\n\n IMPRESSION: In short {study}.\n")
    return folder


def report_file(folder, number, reports="files"):
    subject, study = study_of(number)
    return folder / reports / f"p{subject[:2]}" / f"p{subject}" / f"s{study}.txt"


@pytest.fixture
def release(tmp_path):
    return write_release(tmp_path / "release")


def load(folder, split="auto", **data):
    config = make_config("", folder.parent / "cache", dataset="mimic", path=str(folder), split=split, **data)
    return pipeline.load_splits(config)


def data_of(folder, split="auto", seed=0):
    return make_data(Path(folder).parent / "cache", dataset="mimic", path=folder, split=split, seed=seed)


def describe(folder, split="auto", seed=0):
    return mimic.describe(data_of(folder, split, seed))


def read(folder, split="auto"):
    return settings.read(mimic, data_of(folder, split))


def refused(folder, split="auto"):
    """The complaint about a release: one line that names it."""
    with pytest.raises(InputError) as error:
        read(folder, split)
    message = str(error.value)
    assert str(folder) in message
    assert "\n" not in message
    return message


@pytest.mark.parametrize(("packed", "reports"), [(True, "files"), (False, "mimic-cxr-reports/files")])
def test_a_release_reaches_the_pipeline(tmp_path, packed, reports):
    splits, source = load(write_release(tmp_path / "release", packed, reports))
    assert source.description == "MIMIC-CXR-JPG (official split)"
    assert {name: len(split) for name, split in splits.items()} == {"train": 12, "val": 4, "test": 4}
    for split in splits.values():
        for row, image_id in enumerate(split.image_ids):
            number = int(image_id[:8], 16)
            assert (split.patient_ids[row], split.study_ids[row]) == study_of(number)
            assert split.reports[row] == f"Report {study_of(number)[1]}."
            assert np.all(np.abs(images.decode(split.encoded_image(row)).astype(int) - 10 * number) <= 1)


def test_section_and_view(release):
    splits, _ = load(release, section="both", view="lateral")
    assert [int(name[:8], 16) % 2 for name in splits["train"].image_ids] == [1] * 6
    assert splits["train"].reports[0] == "Report 50000000. In short 50000000."


def test_chexpert_labels(release):
    columns = ["subject_id", "study_id", "No Finding", *tables.FINDINGS]
    certain = {"Edema": "1.0", "Pneumonia": "-1.0", "Fracture": "0.0", "Lung Opacity": "1"}
    rows = [
        ["10000000", "50000000", "", *(certain.get(name, "") for name in tables.FINDINGS)],
        ["10000000", "50000001", "1.0", *[""] * 13],
    ]
    before = describe(release).name
    write_table(release, tables.CHEXPERT, columns, rows)
    assert describe(release).name != before
    labels = load(release)[0]["train"].labels
    assert labels[:4] == [frozenset({"Edema", "Lung Opacity"})] * 2 + [frozenset()] * 2
    rows[1][4] = "yes"
    write_table(release, tables.CHEXPERT, columns, rows)
    assert "chexpert.csv.gz row 3: has a cell 'yes'" in refused(release)
    write_table(release, tables.CHEXPERT, columns[:-1], [row[:-1] for row in rows])
    assert "has no column Support Devices" in refused(release)


def test_dealt_anew_by_patient(release):
    split = "patient"
    write_split(release, split_rows(["train", "train", "validate", "validate"] * 5))
    assert "patient 10000000 is in val and in train" in refused(release)
    homes = {name: {r.patient_id for r in part} for name, part in read(release, split).items()}
    assert len(set.union(*homes.values())) == sum(map(len, homes.values())) == 5
    assert "dealt anew by patient" in describe(release, split).description
    with pytest.raises(InputError, match=r"data\.split = paper: MIMIC-CXR-JPG has a split of its own"):
        describe(release, "paper")
    names = {describe(release, s, n).name for s, n in (("auto", 0), ("column", 1), (split, 0), (split, 1))}
    assert len(names) == 3


def test_studies_without_text_are_left_out_and_counted_once(release, capsys):
    report_file(release, 2).write_text(" FINAL REPORT\n COMPARISON: None.\n")
    report_file(release, 4).write_text(" FINAL REPORT\n IMPRESSION: Clear.\n")
    assert len(load(release, section="impression")[0]["train"]) == 10
    assert capsys.readouterr().err.count("1 studies without findings and impression are left out") == 1


def test_how_each_text_was_found_is_counted(release, capsys):
    report_file(release, 2).write_text(" FINAL REPORT\n CHEST, TWO VIEWS: Lungs are clear.\n")
    report_file(release, 4).write_text(" FINAL REPORT\n AP CHEST, ___\n \n Lungs are clear.\n")
    report_file(release, 6).write_text(" FINAL REPORT\n IMPRESSON: Lungs are clear.\n")
    views = [[dicom_id(n), "LAO" if n == 3 else "PA"] for n in range(len(SPLITS))]
    write_table(release, tables.METADATA, ["dicom_id", "ViewPosition"], views)
    assert {r.study_id: r.findings for part in read(release).values() for r in part}["50000002"] == "Lungs are clear."
    text = capsys.readouterr().err
    for line in (
        "7 reports: findings and impression under their headings",
        "1 reports: findings under a heading that names the views",
        "1 reports: the last paragraphs, for no heading says findings or impression: the text is findings",
        "1 reports: findings or impression under a misspelt heading",
        f"1 views are neither frontal nor lateral, and count as frontal ({dicom_id(3)})",
    ):
        assert f"{release}: {line}\n" in text
    source = load(release)[1]
    assert sum(note.count for note in source.notes if note.what.startswith("reports: ")) == 10  # for the audit


@pytest.mark.parametrize("place", ["", "mimic-cxr-reports", "files"])
def test_the_official_sections_are_taken_where_they_lie(release, capsys, place):
    before = describe(release).name
    columns = ["study", "impression", "findings", "last_paragraph", "comparison"]
    rows = [
        ["s50000000", "In\nshort.", "All of\n it.", "", "None."],
        ["s50000001", "", "", "What is below.", ""],
        ["s50000002", "", "", "", "None."],
    ]
    (release / place).mkdir(exist_ok=True)
    write_table(release / place, tables.SECTIONED, columns, rows, packed=False)
    for number in (0, 2, 4):
        report_file(release, number).unlink()  # it is not needed
    assert describe(release).name != before
    texts = {r.study_id: (r.findings, r.impression) for part in read(release).values() for r in part}
    assert texts["50000000"] == ("All of it.", "In short.")
    assert texts["50000001"] == ("What is below.", "")
    assert "50000002" not in texts
    assert texts["50000003"] == ("Report 50000003.", "In short 50000003.")  # not in the table: cut here
    text = capsys.readouterr().err
    assert "1 reports: findings or impression, by mimic_cxr_sectioned\n" in text
    assert "1 reports: the last paragraph, by mimic_cxr_sectioned\n" in text
    assert "1 studies without findings and impression are left out" in text


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([["s50000000", "", ""], ["50000000.0", "", ""]], "row 3: study 50000000.0 is there twice"),
        ([["../x", "", ""]], "row 2: study is '../x'; wanted is s50414267, say"),
    ],
)
def test_official_sections_that_are_none(release, rows, message):
    write_table(release, tables.SECTIONED, ["study", "impression", "findings"], rows)
    assert f"{tables.SECTIONED}.csv.gz {message}" in refused(release)


# What is refused


def test_another_folder(tmp_path):
    for path in ("", tmp_path):
        with pytest.raises(InputError, match=r"data\.path = '.*there is no folder files in it"):
            describe(path)


def test_a_split_that_it_has_not(release):
    with pytest.raises(InputError, match=r"data\.split = r2gen: MIMIC-CXR-JPG has a split of its own"):
        describe(release, "r2gen")


@pytest.mark.parametrize("name", [tables.SPLIT, tables.METADATA])
def test_a_missing_or_damaged_table(release, name):
    file = release / f"{name}.csv.gz"
    whole = file.read_bytes()
    for damaged in (whole[:60], whole[:-4], b"no gzip", b"", whole[:30] + b"\0\0\0\0" + whole[34:]):
        file.write_bytes(damaged)
        assert f"{name}.csv.gz" in refused(release)
    file.write_bytes(gzip.compress(b"dicom_id,\xff\n"))
    assert "damaged, or not a CSV in UTF-8" in refused(release)
    file.unlink()
    assert f"there is no {name}.csv.gz or .csv in it" in refused(release)


@pytest.mark.parametrize("column", ["dicom_id", "study_id", "subject_id", "split"])
def test_a_missing_column(release, column):
    file = release / f"{tables.SPLIT}.csv.gz"
    file.write_bytes(gzip.compress(gzip.decompress(file.read_bytes()).replace(column.encode(), b"other", 1)))
    assert f"{file}: has no column {column}" in refused(release)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        (0, "../../../../etc/passwd", "dicom_id is '../../../../etc/passwd'; wanted are hexadecimal digits"),
        (0, "/etc/passwd", "dicom_id is '/etc/passwd'"),
        (0, "", "dicom_id is ''"),
        (0, dicom_id(1), f"dicom_id {dicom_id(1)} is there twice"),
        (1, "../50000002", "study_id is '../50000002'; wanted are digits"),
        (1, "٣٤", "study_id is '٣٤'"),
        (1, "50000000", "study_id 50000000 is of subject_id 10000001 and of 10000000"),
        (2, "..", "subject_id is '..'; wanted are two digits or more"),
        (2, "1", "subject_id is '1'"),
        (3, "val", "split is 'val'; it is one of train, validate, test"),
        (3, "", "split is ''"),
    ],
)
def test_cells(release, column, value, message):
    rows = split_rows()
    rows[5][column] = value
    write_split(release, rows)
    assert f"{tables.SPLIT}.csv.gz row 7: {message}" in refused(release)


def test_a_row_that_is_cut_off(release):
    rows = split_rows()
    write_split(release, [*rows[:-1], rows[-1][:2]])
    assert f"{tables.SPLIT}.csv.gz row 21: has 2 cells for 4 columns" in refused(release)


def test_missing_files_are_counted(release):
    home = report_file(release, 8).with_suffix("")
    for number in (8, 9):
        (home / f"{dicom_id(number)}.jpg").unlink()
    assert f"{home / dicom_id(8)}.jpg: no such image; 2 that the table" in refused(release)
    for number in (0, 2, 4):
        report_file(release, number).unlink()
    assert f"{report_file(release, 0)}: no such report; 3 that the table" in refused(release)


def test_a_report_that_is_no_text(release):
    report_file(release, 6).write_bytes(b"\xff\xfe")
    assert f"{report_file(release, 6)}: cannot be read as text" in refused(release)


def test_an_image_without_metadata(release):
    write_table(release, tables.METADATA, ["dicom_id", "ViewPosition"], [[dicom_id(0), "PA"]])
    assert f"has no row of dicom_id {dicom_id(1)}" in refused(release)

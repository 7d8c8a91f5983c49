import csv
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from cxr_jax.data import images, side_files
from cxr_jax.data.notes import Notes
from cxr_jax.data.prepare import prepare
from cxr_jax.data.sources import pairs
from cxr_jax.data.splits import SPLITS
from cxr_jax.errors import InputError
from tests.data import settings
from tests.data.settings import make_data

COLUMNS = ("image", "report", "findings", "impression", "patient_id", "study_id", "view", "split", "labels")


def write_table(folder, rows, name="pairs.csv", images_too=True):
    """A CSV of `rows`, and an image for each row that lacks one, of the brightness of its row."""
    folder.mkdir(exist_ok=True)
    columns = [column for column in COLUMNS if any(column in row for row in rows)]
    with (folder / name).open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        writer.writerows(rows)
    for number, row in enumerate(rows if images_too else []):
        if row["image"] and not (folder / row["image"]).exists():
            (folder / row["image"]).parent.mkdir(parents=True, exist_ok=True)
            (folder / row["image"]).write_bytes(images.encode_png(np.full((16, 16), number, np.uint8)))
    return folder / name


def plain_rows(count, **columns):
    return [
        {"image": f"{i}.png", "report": f"Report {i}."} | {name: value(i) for name, value in columns.items()}
        for i in range(count)
    ]


def data_of(table, split="auto", seed=0):
    return make_data(Path(table).parent / "cache", csv=table, split=split, seed=seed)


def describe(table, split="auto", seed=0):
    return pairs.describe(data_of(table, split, seed))


def read(table, split="auto", seed=0):
    return settings.read(pairs, data_of(table, split, seed))


def build(table, split="auto"):
    return prepare(data_of(table, split))


def refused(table, split="auto"):
    """The complaint about a table: one line that names it."""
    with pytest.raises(InputError) as error:
        build(table, split)
    message = str(error.value)
    assert str(table) in message
    assert "\n" not in message
    return message


def test_image_and_report_are_enough(tmp_path):
    splits = read(write_table(tmp_path, plain_rows(20)))
    assert {name: len(part) for name, part in splits.items()} == {"train": 14, "val": 4, "test": 2}
    for record in (r for part in splits.values() for r in part):
        number = record.image.stem
        assert record.findings == f"Report {number}."
        assert record.image == tmp_path / f"{number}.png"
        assert (record.study_id, record.patient_id) == (number, f"study:{number}")
        assert (record.view, record.labels, record.impression) == ("", (), "")


def test_every_column_is_read(tmp_path):
    row = {
        "image": "a/b.png",
        "report": ' "Clear", he said;\nsecond line, ünïcode ',
        "patient_id": "P1",
        "study_id": "S1",
        "view": "Lateral",
        "split": "Training",
        "labels": "Cardiomegaly/mild | Nodule/left|",
    }
    rows = [row, *plain_rows(2, split=lambda i: ["dev", "TEST"][i], patient_id=lambda i: f"Q{i}")]
    splits = read(write_table(tmp_path, rows))
    (record,) = splits["train"]
    assert record.findings == row["report"].strip()
    assert record.image == tmp_path / "a" / "b.png"
    assert (record.patient_id, record.study_id, record.view) == ("P1", "S1", "lateral")
    assert record.labels == ("Cardiomegaly/mild", "Nodule/left")
    assert [r.findings for r in splits["val"]] == ["Report 0."]
    assert [r.findings for r in splits["test"]] == ["Report 1."]


@pytest.mark.parametrize(
    ("view", "expected"),
    [("PA", "frontal"), ("AP Supine", "frontal"), ("L", "lateral"), ("lateral", "lateral"), ("", ""), ("Axial", "")],
)
def test_views(tmp_path, view, expected):
    splits = read(write_table(tmp_path, plain_rows(3, view=lambda i: view)))
    assert {r.view for part in splits.values() for r in part} == {expected}


def test_what_is_stored_is_what_the_row_says(tmp_path):
    rows = plain_rows(20, labels=lambda i: f"Finding {i}|Other", patient_id=lambda i: f"P{i // 2}")
    table = write_table(tmp_path / "source", rows)
    builder = build(table)
    seen = set()
    for split in SPLITS:
        for fields in builder.as_data_source(split):
            number = int(fields["image_id"].decode().split(":")[0])
            assert np.all(fields["image"] == number)
            assert fields["findings"].decode() == f"Report {number}."
            assert [label.decode() for label in fields["labels"]] == [f"Finding {number}", "Other"]
            seen.add(number)
    assert seen == set(range(20))


def test_one_image_may_stand_in_several_rows(tmp_path):
    rows = plain_rows(10, patient_id=lambda i: f"P{i}") + [
        {"image": "0.png", "report": f"Sentence {i}.", "patient_id": "P0"} for i in range(3)
    ]
    table = write_table(tmp_path, rows)
    given = [r for part in read(table).values() for r in part]
    assert len({r.image_id for r in given}) == len(given) == 13
    builder = build(table)
    assert sum(len(builder.as_data_source(split)) for split in SPLITS) == 13


def test_images_of_one_name_in_many_folders_are_many_studies(tmp_path):
    rows = [{"image": f"patient{i}/view1_frontal.png", "report": f"Report {i}."} for i in range(10)]
    splits = read(write_table(tmp_path, rows))
    assert {name: len(part) for name, part in splits.items()} == {"train": 7, "val": 2, "test": 1}


def test_absolute_paths(tmp_path):
    write_table(tmp_path / "images", plain_rows(10))
    rows = [row | {"image": str(tmp_path / "images" / row["image"])} for row in plain_rows(10)]
    given = [r for part in read(write_table(tmp_path / "table", rows)).values() for r in part]
    assert all(r.image == tmp_path / "images" / f"{r.findings[7:-1]}.png" for r in given)


def test_a_byte_order_mark_and_blanks_round_names_are_accepted(tmp_path):
    table = write_table(tmp_path, plain_rows(10))
    text = table.read_text().replace("image,report", " image , report ")
    table.write_text("\ufeff" + text, encoding="utf-8")
    assert sum(map(len, read(table).values())) == 10


# Splits


def test_no_patient_is_in_two_splits(tmp_path):
    table = write_table(tmp_path, plain_rows(60, patient_id=lambda i: f"P{i % 20}"))
    splits = read(table)
    assert {name: len({r.patient_id for r in part}) for name, part in splits.items()} == {
        "train": 14,
        "val": 4,
        "test": 2,
    }
    assert sum(len({r.patient_id for r in part}) for part in splits.values()) == 20
    other = read(table, seed=1)
    assert [r.image_id for r in other["test"]] != [r.image_id for r in splits["test"]]


def test_the_split_column_rules_unless_patient_is_asked_for(tmp_path):
    table = write_table(tmp_path, plain_rows(30, split=lambda i: ["train", "val", "test"][i % 3]))
    for split in ("auto", "column"):
        assert {name: len(part) for name, part in read(table, split).items()} == {"train": 10, "val": 10, "test": 10}
    assert {name: len(part) for name, part in read(table, "patient").items()} == {"train": 21, "val": 6, "test": 3}


def test_the_seed_matters_only_where_it_deals(tmp_path):
    table = write_table(tmp_path, plain_rows(3, split=lambda i: ["train", "val", "test"][i]))
    cases = [("column", 0), ("column", 1), ("auto", 2), ("patient", 0), ("patient", 1)]
    names = [describe(table, split, seed).name for split, seed in cases]
    assert names[0] == names[1] == names[2]
    assert len(set(names)) == 3


def test_fingerprint_follows_text_and_images_but_not_the_folder(tmp_path):
    table = write_table(tmp_path / "one", plain_rows(4))
    name = describe(table).name
    shutil.copytree(tmp_path / "one", tmp_path / "two")  # with the files' times
    assert describe(tmp_path / "two" / table.name).name == name
    (tmp_path / "one" / "2.png").write_bytes(b"longer" * 99)
    assert describe(table).name != name
    table = write_table(tmp_path / "two", [*plain_rows(3), {"image": "3.png", "report": "Report 4."}])
    assert describe(table).name != name


# What is refused


def test_a_missing_table(tmp_path):
    for path in ("", tmp_path / "none.csv", tmp_path):
        with pytest.raises(InputError, match=r"data\.csv = .*no such file"):
            describe(path)


@pytest.mark.parametrize("column", ["image", "report"])
def test_a_missing_column(tmp_path, column):
    table = write_table(tmp_path, plain_rows(3))
    table.write_text(table.read_text().replace(column, "other", 1))
    assert f"has no column {column}, only " in refused(table)


def test_no_rows(tmp_path):
    table = tmp_path / "pairs.csv"
    table.write_text("image,report\n\n ,\n")
    assert "has no rows" in refused(table)
    table.write_text("")
    assert "has no column image" in refused(table)


@pytest.mark.parametrize("column", ["image", "report"])
def test_an_empty_cell_is_named_by_its_row(tmp_path, column):
    rows = plain_rows(5)
    rows[0]["report"] = "Two\nlines."
    rows[3][column] = "  "
    assert f"row 5 (line 6): {column} is empty" in refused(write_table(tmp_path, rows))


def test_blank_lines_count_as_rows_but_are_no_error(tmp_path):
    table = write_table(tmp_path, plain_rows(10))
    table.write_text(table.read_text().replace("\n", "\n\n", 1) + "\n\n")
    assert sum(map(len, read(table).values())) == 10
    table.write_text(table.read_text() + "9.png,\n")
    assert "row 15: report is empty" in refused(table)


def test_a_comma_outside_quotes_is_not_the_end_of_a_report(tmp_path):
    table = write_table(tmp_path, plain_rows(10))
    table.write_text(table.read_text().replace("Report 2.", "Heart normal, lungs clear."))
    assert "row 4: has 3 cells for 2 columns" in refused(table)
    table.write_text(table.read_text().replace(", lungs", ",").replace(" clear.", ""))
    assert read(table)  # an empty cell too many is a spreadsheet's habit


def test_a_quote_that_is_never_closed_is_refused(tmp_path):
    table = write_table(tmp_path, plain_rows(10))
    table.write_text(table.read_text().replace("Report 2.", '"Report 2.'))
    assert "not a CSV" in refused(table)


def test_a_missing_image(tmp_path):
    table = write_table(tmp_path, plain_rows(10))
    (tmp_path / "6.png").unlink()
    assert f"{tmp_path / '6.png'}: no such image" in refused(table)


def test_a_truncated_image(tmp_path):
    table = write_table(tmp_path, plain_rows(10))
    data = (tmp_path / "6.png").read_bytes()
    (tmp_path / "6.png").write_bytes(data[:50])
    with pytest.raises(InputError, match=r"6\.png: damaged image"):
        build(table)
    (tmp_path / "6.png").write_bytes(data)
    assert build(table).info.splits["train"].num_examples == 7


@pytest.mark.parametrize("word", ["tset", ""])
def test_an_unknown_split(tmp_path, word):
    table = write_table(tmp_path, plain_rows(3, split=lambda i: ["train", word, "val"][i]))
    assert f"row 3: split is {word!r}; it is one of train, val, test" in refused(table)


def test_a_patient_in_two_splits(tmp_path):
    rows = plain_rows(4, patient_id=lambda i: "PX" if i in (0, 3) else f"P{i}", split=lambda i: ["train", "val"][i % 2])
    assert "row 5: patient PX is in val and in train" in refused(write_table(tmp_path, rows))


def test_an_empty_training_split(tmp_path):
    table = write_table(tmp_path, plain_rows(3, split=lambda i: ["test", "val", "val"][i]))
    assert "the train split is empty (train 0, val 2, test 1)" in refused(table)


def test_split_column_asked_for_but_absent(tmp_path):
    table = write_table(tmp_path, plain_rows(3))
    assert "has no column split" in refused(table, "column")
    with pytest.raises(InputError, match=r"data\.split = paper"):
        describe(table, "paper")


def test_other_encodings(tmp_path, capsys):
    table = write_table(tmp_path, plain_rows(3))
    text = table.read_text().replace("Report", "Größe")
    for encoding in ("cp1252", "utf-16", "utf-16-le", "utf-8-sig"):
        table.write_bytes(text.encode(encoding))
        capsys.readouterr()
        assert [r.findings for part in read(table).values() for r in part] == ["Größe 0.", "Größe 1.", "Größe 2."]
        assert ("is read as cp1252" in capsys.readouterr().err) == (encoding == "cp1252")
    table.write_bytes(table.read_text("utf-8-sig").replace("Größe", "сердце в норме").encode("cp1251"))
    assert "not a CSV in UTF-8" in refused(table)


# What is in doubt is counted, and said


def records_and_notes(table, **data):
    """The records of a table in its order, and the lines on it."""
    given = data_of(table) | data
    notes = Notes()
    return pairs.records(given, notes), [str(note) for note in notes.all]


def test_a_table_in_good_order_has_no_notes(tmp_path, capsys):
    table = write_table(tmp_path, plain_rows(5, view=lambda i: "PA", labels=lambda i: "Edema|Nodule"))
    assert records_and_notes(table)[1] == []
    assert capsys.readouterr().err == ""


def test_notes_are_said_once_and_kept(tmp_path, capsys):
    rows = plain_rows(10, view=lambda i: ["LAO", "RAO", "PA"][i % 3])
    table = write_table(tmp_path, rows)
    note = "7 views are neither frontal nor lateral, and count as frontal ('LAO', 'RAO')"
    builder = build(table)
    assert capsys.readouterr().err.count(f"{table}: {note}\n") == 1
    assert [str(kept) for kept in side_files.read_notes(Path(builder.data_path))] == [note]
    build(table)
    assert capsys.readouterr().err == ""


IDS = [("123", "123.0"), ("7", "007"), ("p1", "P1"), ("P1", "P 1"), ("P7", "P007")]


@pytest.mark.parametrize("forms", IDS)
def test_forms_of_a_patient_are_one_patient(tmp_path, forms):
    rows = plain_rows(20, patient_id=lambda i: forms[i] if i < 2 else f"Q{i}")
    given, notes = records_and_notes(write_table(tmp_path, rows))
    assert given[0].patient_id == given[1].patient_id == forms[0]
    assert notes == [
        "1 of the ids in patient_id are written in several ways, each of them is taken for one "
        f"({forms[0]!r} and {forms[1]!r})"
    ]


@pytest.mark.parametrize("forms", IDS)
def test_a_patient_in_two_splits_under_two_forms_is_refused(tmp_path, forms):
    rows = plain_rows(2, patient_id=lambda i: forms[i], split=lambda i: ["train", "test"][i])
    message = refused(write_table(tmp_path, rows))
    assert f"row 3: patient {forms[0]} (written {forms[1]!r} and {forms[0]!r}) is in test and in train" in message


def test_ids_that_became_floats_are_whole_again(tmp_path):
    rows = plain_rows(4, patient_id=lambda i: f"{i}.0", study_id=lambda i: f"{i + 50}.0")
    given, notes = records_and_notes(write_table(tmp_path, rows))
    assert [(r.patient_id, r.study_id) for r in given] == [(str(i), str(i + 50)) for i in range(4)]
    assert notes[0] == "4 of the ids in patient_id end in .0, which is left out ('0.0', '1.0', '2.0', …)"


def test_a_placeholder_is_no_patient(tmp_path):
    rows = plain_rows(4, patient_id=lambda i: ["nan", "nan", "None", "P3"][i])
    given, notes = records_and_notes(write_table(tmp_path, rows))
    assert [r.patient_id for r in given] == ["study:0", "study:1", "study:2", "P3"]
    assert notes == [
        "3 cells of patient_id hold a placeholder and count as blank ('nan', 'None')",
        "3 rows name no patient: each such study counts as a patient of its own ('0', '1', '2')",
    ]


def test_a_study_has_the_patient_that_one_of_its_rows_names(tmp_path):
    patients = ["P0", "", "P1", "P1"]
    rows = plain_rows(4, study_id=lambda i: f"S{i // 2}", patient_id=lambda i: patients[i], report=lambda i: "Clear.")
    given, notes = records_and_notes(write_table(tmp_path, rows))
    assert [r.patient_id for r in given] == ["P0", "P0", "P1", "P1"]
    assert notes == []


def test_a_study_id_of_several_patients_is_a_study_of_each(tmp_path):
    rows = plain_rows(4, study_id=lambda i: f"study{i % 2}", patient_id=lambda i: f"P{i // 2}")
    given, notes = records_and_notes(write_table(tmp_path, rows))
    assert [r.study_id for r in given] == ["P0/study0", "P0/study1", "P1/study0", "P1/study1"]
    assert notes == ["2 study_ids stand under several patients, and count as a study of each ('study0', 'study1')"]


def test_images_of_a_study_share_the_report_of_its_first_row(tmp_path):
    texts = ["A one.", "A two.", "B.", "b", "C.", "C."]
    rows = plain_rows(6, study_id=lambda i: f"S{i // 2}", report=lambda i: texts[i])
    given, notes = records_and_notes(write_table(tmp_path, rows))
    assert [r.findings for r in given] == ["A one.", "A one.", "B.", "b", "C.", "C."]
    assert notes == ["1 studies have images with different reports: that of the first row stands for all ('S0')"]


def test_an_image_in_several_rows_keeps_the_text_of_each(tmp_path):
    rows = [{"image": "0.png", "report": f"Sentence {i}."} for i in range(3)]
    given, notes = records_and_notes(write_table(tmp_path, rows))
    assert [r.findings for r in given] == ["Sentence 0.", "Sentence 1.", "Sentence 2."]
    assert notes == ["1 images stand in several rows with different reports: each row is a pair of its own ('0')"]


def test_labels_in_doubt(tmp_path):
    labels = ["Edema, Effusion", "edema|Nodule;Mass", "Edema", "nan", "Nodule|None"]
    given, notes = records_and_notes(write_table(tmp_path, plain_rows(5, labels=lambda i: labels[i])))
    assert [r.labels for r in given] == [
        ("Edema, Effusion",), ("edema", "Nodule;Mass"), ("Edema",), (), ("Nodule",),
    ]  # fmt: skip
    assert notes == [
        "2 labels hold , or ; which do not separate: | does ('Edema, Effusion', 'Nodule;Mass')",
        "1 labels differ from another in case alone, and count as others ('edema' and 'Edema')",
    ]


REPORTS = ["FINDINGS: Clear. IMPRESSION: Normal.", "IMPRESSION: Fine.", "No headings here."]


def test_sections_inside_a_report(tmp_path):
    table = write_table(tmp_path, plain_rows(3, report=lambda i: REPORTS[i]))
    given, notes = records_and_notes(table)
    assert [(r.findings, r.impression) for r in given] == [
        ("Clear.", "Normal."), ("", "Fine."), ("No headings here.", ""),
    ]  # fmt: skip
    assert notes == [
        "2 reports have headings, by which data.section takes its part (FINDINGS:, IMPRESSION:)",
        "1 rows have no text for data.section=findings, which leaves them out (0000001:1.png)",
    ]
    assert "1 rows have no text for data.section=impression" in records_and_notes(table, section="impression")[1][1]
    assert len(records_and_notes(table, section="both")[1]) == 1


def test_findings_and_impression_may_have_columns_of_their_own(tmp_path):
    rows = [
        {"image": "0.png", "report": "", "findings": "Fa.", "impression": "Ia."},
        {"image": "1.png", "report": "", "findings": "nan", "impression": "Ib."},
        {"image": "2.png", "report": "FINDINGS: Rest. IMPRESSION: Say.", "findings": "", "impression": "Ic."},
        {"image": "3.png", "report": "Whole.", "findings": "Fd.", "impression": "Id."},
    ]
    given, _ = records_and_notes(write_table(tmp_path, rows), section="both")
    assert [(r.findings, r.impression) for r in given] == [
        ("Fa.", "Ia."), ("", "Ib."), ("Rest.", "Ic."), ("Fd.", "Id."),
    ]  # fmt: skip


# Real data


def test_the_covid_collection_builds(shared, tmp_path):
    table = shared / "data" / "covid_cxr" / "pairs.csv"
    with table.open(newline="", encoding="utf-8") as file:
        given = list(csv.DictReader(file))
    builder = prepare(data_of(table) | {"stored_size": 64, "cache": str(tmp_path / "cache")})
    patients, reports = {}, []
    for split in SPLITS:
        for fields in builder.as_data_source(split):
            patients.setdefault(fields["patient_id"].decode(), set()).add(split)
            reports.append(fields["findings"].decode())
            assert min(fields["image"].shape[:2]) == 64
    assert len(reports) == len(given) == 364
    assert sorted(reports) == sorted(row["report"].strip() for row in given)
    assert len(patients) == len({row["patient_id"] for row in given}) == 189
    assert all(len(homes) == 1 for homes in patients.values())


def test_an_image_of_two_patients_is_refused(tmp_path):
    """It would be trained on and tested."""
    rows = plain_rows(4, patient_id=lambda i: f"P{i}", split=lambda i: ["train", "val", "train", "test"][i])
    for again in ("0.png", "./0.png", "x/../0.png", str(tmp_path / "0.png")):
        rows[3]["image"] = again
        message = refused(write_table(tmp_path, rows))
        assert message.endswith(
            f"image {again} is of patient P3, and in row 2 of patient P0; leave one of the rows out"
        )
    by_study = [
        {k: v for k, v in row.items() if k != "patient_id"} | {"study_id": f"s{i}"} for i, row in enumerate(rows)
    ]
    assert "is of study s3, and in row 2 of study s0" in refused(write_table(tmp_path, by_study))
    nobody = [{k: v for k, v in row.items() if k != "patient_id"} for row in rows]
    assert "patient study:0 is in test and in train" in refused(write_table(tmp_path, nobody))


def test_images_that_differ_in_their_suffix_alone_are_two_studies(tmp_path):
    rows = [{"image": f"{i // 2}.{'jpg' if i % 2 else 'png'}", "report": f"Report {i}."} for i in range(6)]
    table = write_table(tmp_path, rows)
    records, notes = records_and_notes(table)
    assert [r.findings for r in records] == [f"Report {i}." for i in range(6)]
    assert [r.study_id for r in records] == [row["image"] for row in rows]
    assert notes == []


def test_a_row_of_nobody_in_a_study_of_two_patients_is_refused(tmp_path):
    rows = plain_rows(3, patient_id=lambda i: ["P0", "P1", ""][i], study_id=lambda i: "s")
    assert "row 4: names no patient, and study s stands under P0 and P1; name the patient" in refused(
        write_table(tmp_path, rows)
    )


@pytest.mark.slow
def test_many_studies_of_several_patients_take_no_longer(tmp_path):
    """It was quadratic: 14 s for these."""
    rows = plain_rows(20_000, patient_id=lambda i: f"P{i}", study_id=lambda i: f"s{i // 2}")
    table = write_table(tmp_path, rows, images_too=False)
    start = time.process_time()
    records, notes = records_and_notes(table)
    assert time.process_time() - start < 8
    assert len({r.study_id for r in records}) == 20_000
    assert notes == [
        "10,000 study_ids stand under several patients, and count as a study of each ('s0', 's1', 's2', \u2026)"
    ]


def test_paths_of_windows_are_followed(tmp_path):
    (tmp_path / "images").mkdir()
    rows = plain_rows(3)
    for row in rows:
        row["image"] = f"images/{row['image']}"
    table = write_table(tmp_path, rows)
    table.write_text(table.read_text().replace("images/", "images\\"))
    records, notes = records_and_notes(table)
    assert [r.image for r in records] == [tmp_path / "images" / f"{i}.png" for i in range(3)]
    assert notes == [
        r"3 images' paths are written with \, as Windows has them ('images\\0.png', 'images\\1.png', 'images\\2.png')"
    ]


@pytest.mark.parametrize(
    ("cell", "labels"),
    [
        ("['normal']", ("normal",)),
        ("['Pleural effusion', 'Mass']", ("Pleural effusion", "Mass")),
        ('["Mass"]', ("Mass",)),
        ("[]", ()),
        ("Mass|Edema", ("Mass", "Edema")),
    ],
)
def test_labels_may_be_a_list_as_programs_print_it(tmp_path, cell, labels):
    table = write_table(tmp_path, plain_rows(2, labels=lambda i: cell))
    records, notes = records_and_notes(table)
    assert [r.labels for r in records] == [labels] * 2
    assert notes == []


SENTENCES = "normal: [Lungs are clear., Normal chest.]\nedema: [Wet lungs.]\nmass: [A mass.]\n"


def with_sentences(folder, rows, sentences=SENTENCES, **columns):
    table = write_table(folder, rows)
    (folder / "sentences.yaml").write_text(sentences)
    return data_of(table) | {"sentences": str(folder / "sentences.yaml"), "columns": columns}


def test_sentences_of_the_labels_stand_for_reports(tmp_path):
    labels = ["normal", "mass|EDEMA", "", "edema", "nan", "edema"]
    rows = [{"image": f"{i}.png", "view": "PA", "labels": text, "split": "train"} for i, text in enumerate(labels)]
    notes = Notes()
    records = pairs.records(with_sentences(tmp_path, rows), notes)
    assert [(r.image.stem, r.findings, r.labels) for r in records] == [
        ("0", "Lungs are clear.", ("normal",)),
        ("1", "Wet lungs. A mass.", ("mass", "EDEMA")),
        ("3", "Wet lungs.", ("edema",)),
        ("5", "Wet lungs.", ("edema",)),
    ]
    assert [note.count for note in notes.all if "have no label" in note.what] == [2]


def test_with_sentences_reports_are_not_read(tmp_path):
    rows = plain_rows(3, labels=lambda i: "normal", impression=lambda i: "nan")
    data = with_sentences(tmp_path, rows, labels="labels")
    assert {(r.findings, r.impression) for r in pairs.records(data, Notes())} == {("Lungs are clear.", "")}
    assert {r.findings for r in pairs.records(data | {"sentences": ""}, Notes())} == {
        "Report 0.",
        "Report 1.",
        "Report 2.",
    }


def test_other_sentences_are_another_set(tmp_path):
    rows = plain_rows(3, labels=lambda i: "normal")
    names = {pairs.describe(with_sentences(tmp_path, rows)).name}
    # Comments and the file's place are of no account, and each sentence is.
    moved = with_sentences(tmp_path, rows, "# a comment\n" + SENTENCES)
    (tmp_path / "sentences.yaml").rename(tmp_path / "other.yaml")
    names.add(pairs.describe(moved | {"sentences": str(tmp_path / "other.yaml")}).name)
    assert len(names) == 1
    names.add(pairs.describe(with_sentences(tmp_path, rows, SENTENCES.replace("Normal chest", "Normal"))).name)
    names.add(pairs.describe(moved | {"sentences": ""}).name)
    assert len(names) == 3


@pytest.mark.parametrize(
    ("rows", "match"),
    [
        (plain_rows(3, labels=lambda i: ["normal", "mass", "tumour"][i]), "no sentences for the label 'tumour'"),
        (plain_rows(3, labels=lambda i: ""), "none of its 3 rows has a label"),
        (plain_rows(3), "has no column labels"),
    ],
)
def test_labels_that_sentences_need(tmp_path, rows, match):
    with pytest.raises(InputError, match=match) as error:
        pairs.records(with_sentences(tmp_path, rows), Notes())
    assert "\n" not in str(error.value)

"""Tables as other tools write them: foreign headers, other files, placeholders."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cxr_jax import config as configuration
from cxr_jax.data.notes import Notes
from cxr_jax.data.sources import pairs
from cxr_jax.errors import InputError
from tests.data import settings
from tests.data.settings import make_data

PLACEHOLDERS = ["nan", "None", "N/A", "[]", ".", "", "FINDINGS: IMPRESSION: nan"]


@pytest.fixture
def write(tmp_path):
    def to_file(text, name="pairs.csv", **data):
        (tmp_path / name).write_text(text, "utf-8")
        return make_data(tmp_path / "cache", csv=tmp_path / name, **data)

    return to_file


def texts(data):
    return [(r.image.name, r.findings, r.impression) for r in pairs.records(data, Notes())]


def notes(data):
    found = Notes()
    pairs.records(data, found)
    return [str(note) for note in found.all]


def refused(data):
    with pytest.raises(InputError) as error:
        settings.read(pairs, data)
    assert "\n" not in str(error.value)
    return str(error.value)


# Placeholders


@pytest.mark.parametrize("text", PLACEHOLDERS)
def test_a_placeholder_is_no_report(write, text):
    table = f"image,report\n0.png,Clear.\n1.png,{text}\n2.png,Normal.\n3.png,{text}\n"
    message = refused(write(table))
    assert (
        f"row 3: report {f'is {text!r}, a placeholder and no report' if text else 'is empty'} (so 1 more: 5)" in message
    )
    assert message.endswith("fill it in, leave the row out, or set data.placeholders=drop")
    data = write(table, placeholders="drop")
    assert texts(data) == [("0.png", "Clear.", ""), ("2.png", "Normal.", "")]
    assert notes(data) == [f"2 rows have no report, but nothing or a placeholder, and are dropped ({text!r})"]


def test_many_are_named_by_their_rows_up_to_ten(write):
    message = refused(write("image,report\n" + "".join(f"{i}.png,nan\n" for i in range(30))))
    assert (
        "row 2: report is 'nan', a placeholder and no report (so 29 more: 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, …)"
        in message
    )
    message = refused(write("image,report\n0.png,nan\n", placeholders="drop"))
    assert "none of its 1 rows has a report" in message


def test_the_place_of_a_row_does_not_change_when_others_are_dropped(write):
    data = write("image,report\n0.png,nan\n1.png,Clear.\n", placeholders="drop")
    assert pairs.records(data, Notes())[0].image_id == "0000001:1.png"


# Columns


@pytest.mark.parametrize("header", ["Image,REPORT,Patient_ID", " image , Report,patient id", "IMAGE,report,PatientID"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_the_header_may_be_written_otherwise(write, header, separator):
    data = write(f"{header}\n0.png,Clear.,P1\n".replace(",", separator))
    (record,) = pairs.records(data, Notes())
    assert (record.image.name, record.findings, record.patient_id) == ("0.png", "Clear.", "P1")


@pytest.mark.parametrize("header", ["image,report,Report", "image,report,image", "image,Study_ID,report,study id"])
def test_a_column_twice_is_refused(write, header):
    message = refused(write(header + "\n" + ",".join("x" * (header.count(",") + 1)) + "\n"))
    assert "row 1: column" in message
    assert "remove or rename one" in message


CHEXPERT = "Path,Report Impression,deid_patient_id\ntrain/p1/a.jpg,Clear.,P1\n/abs/b.jpg,Normal.,P2\n"


@pytest.mark.parametrize(
    "columns",
    [
        {"image": "Path", "impression": "Report Impression", "patient_id": "deid_patient_id"},
        {"Path": "image", "Report Impression": "impression", "deid_patient_id": "patient_id"},
        {"image": "path", "impression": "report_impression", "patient_id": "deid patient id"},
    ],
)
def test_foreign_headers_and_a_root(write, tmp_path, columns):
    data = write(CHEXPERT, columns=columns, root="/data/chexpert", section="impression")
    first, second = pairs.records(data, Notes())
    assert (str(first.image), first.findings, first.impression) == ("/data/chexpert/train/p1/a.jpg", "", "Clear.")
    assert (first.study_id, first.patient_id) == ("train/p1/a", "P1")
    assert str(second.image) == "/abs/b.jpg"
    assert str(pairs.records(data | {"root": ""}, Notes())[0].image) == f"{tmp_path}/train/p1/a.jpg"


def test_a_column_that_is_mapped_is_not_also_what_it_is_called(write):
    data = write("image,report,text\n0.png,12,Clear.\n", columns={"report": "text"})
    assert texts(data) == [("0.png", "Clear.", "")]
    data = write("image,report,Path\n0,Clear.,0.png\n", columns={"image": "Path", "study_id": "image"})
    assert pairs.records(data, Notes())[0].study_id == "0"


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"image": "Pfad"}, "has no column Pfad, only Path, Report Impression, deid_patient_id"),
        ({"picture": "Path"}, "'picture' is none of image, report"),
        ({"image": "Path", "Report Impression": "image"}, "names two columns for image"),
        ({}, "has no column image, only Path"),
        ({"image": "Path"}, "has no column report, only Path"),
    ],
)
def test_headers_that_do_not_fit(write, columns, message):
    assert message in refused(write(CHEXPERT, columns=columns))


@pytest.mark.parametrize(
    "given",
    [
        "image=Path,impression=Report Impression",
        "{'image': 'Path', 'impression': 'Report Impression'}",
        '{"image": "Path", "impression": "Report Impression"}',
    ],
)
def test_the_command_line_may_say_it_in_two_ways(given):
    config = configuration.load("configs/pairs.py", [f"data.columns={given}"])
    assert config["data"]["columns"] == {"image": "Path", "impression": "Report Impression"}


@pytest.mark.parametrize("given", ["image", "", "image=", "{1: 2}", "{'a.b': 'image'}", "('image',)"])
def test_what_names_no_columns_is_refused(given):
    with pytest.raises(InputError, match=r"data\.columns"):
        configuration.load("configs/pairs.py", [f"data.columns={given}"])


def test_the_settings_are_part_of_the_fingerprint(write):
    table = "image,report,text\n0.png,Clear.,Normal.\n"
    assert len({pairs.describe(write(table, **data)).name for data in ({}, {"columns": {"report": "text"}})}) == 2
    # Without placeholders it is the same set, and with some there is only one that can be stored.
    assert pairs.describe(write(table)).name == pairs.describe(write(table, placeholders="drop")).name


# Other files

ROWS = [
    {"image": "0.png", "report": "Clear.\u2028Normal.", "patient_id": 7, "labels": ["Edema", "Mass"]},
    {"image": "1.png", "report": "Fine.", "patient_id": None, "labels": []},
]


@pytest.mark.parametrize("name", ["pairs.jsonl", "pairs.json", "pairs.parquet"])
def test_json_and_parquet(tmp_path, name):
    if name.endswith("parquet"):
        pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / name)
    else:
        lines = "\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS)
        (tmp_path / name).write_text(lines if name.endswith("l") else json.dumps(ROWS), "utf-8")
    data = make_data(tmp_path / "cache", csv=tmp_path / name)
    first, second = pairs.records(data, Notes())
    assert (first.image_id, first.findings) == ("0000000:0.png", "Clear.\u2028Normal.")
    assert (first.patient_id, first.labels) == ("7", ("Edema", "Mass"))
    assert (second.patient_id, second.labels) == ("study:1", ())


def test_a_table_of_floats_names_the_same_patients(tmp_path):
    rows = [{"image": f"{i}.png", "report": "Clear.", "patient_id": [7.0, float("nan")][i]} for i in range(2)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "pairs.parquet")
    first, second = pairs.records(make_data(tmp_path / "cache", csv=tmp_path / "pairs.parquet"), Notes())
    assert (first.patient_id, second.patient_id) == ("7", "study:1")


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_a_report_may_be_a_list_of_sentences(tmp_path, suffix):
    file = tmp_path / f"pairs.{suffix}"
    rows = [{"image": "0.png", "report": ["Lungs are clear.", "No effusion."]}]
    if suffix == "jsonl":
        file.write_text(json.dumps(rows[0]))
    else:
        pq.write_table(pa.Table.from_pylist(rows), file)
    (record,) = pairs.records(make_data(tmp_path / "cache", csv=file), Notes())
    assert record.findings.split() == ["Lungs", "are", "clear.", "No", "effusion."]


def test_other_cells_are_no_lists(tmp_path):
    (tmp_path / "pairs.jsonl").write_text(json.dumps({"image": ["a.png", "b.png"], "report": "Clear."}))
    message = refused(make_data(tmp_path / "cache", csv=tmp_path / "pairs.jsonl"))
    assert message.endswith("row 1: image holds list ['a.png', 'b.png']; wanted is text or a number")


@pytest.mark.parametrize(
    ("report", "findings", "impression"),
    [
        ("FINDINGS: No PE. IMPRESSION: TB.", "No PE.", "TB."),
        ("FINDINGS: Clear lungs. IMPRESION: Normal.", "Clear lungs.", "Normal."),
        (r"FINDINGS:\nClear lungs.\nIMPRESSION:\nNormal.", "Clear lungs.", "Normal."),
        ("Findings:: Clear lungs. Impression:: Normal.", "Clear lungs.", "Normal."),
        ("<b>FINDINGS:</b> Clear lungs.<br/><b>IMPRESSION:</b> Normal.", "Clear lungs.", "Normal."),
        ("<p>Findings: Clear lungs.</p><p>Impression: Normal.</p>", "Clear lungs.", "Normal."),
        ("## Findings\nClear lungs.\n\n## Impression\nNormal.", "Clear lungs.", "Normal."),
        ("[FINDINGS] Clear lungs.\n[IMPRESSION] Normal.", "Clear lungs.", "Normal."),
        ("FINDINGS - Clear lungs.\nIMPRESSION \u2013 Normal.", "Clear lungs.", "Normal."),
        ("INDICATION: cough.\n\nCOMPARISON: none.\n\nThe lungs are clear.", "The lungs are clear.", ""),
    ],
)
def test_headings_as_programs_and_people_write_them(tmp_path, report, findings, impression):
    file = tmp_path / "pairs.jsonl"
    file.write_text(json.dumps({"image": "0.png", "report": report}))
    ((_, *parts),) = texts(make_data(tmp_path / "cache", csv=file))
    assert [" ".join(part.split()) for part in parts] == [findings, impression]


def test_columns_of_their_own_may_begin_with_their_heading(write):
    data = write("image,findings,impression\n0.png,FINDINGS: Clear lungs.,IMPRESSION: Normal.\n")
    assert texts(data) == [("0.png", "Clear lungs.", "Normal.")]

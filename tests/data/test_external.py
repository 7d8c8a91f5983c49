import json

import numpy as np
import pytest

from cxr_jax.data.column_maps import read_column_map
from cxr_jax.data.external import read_external
from cxr_jax.data.label_values import BLANK, DOUBT, NO, YES
from cxr_jax.data.notes import Notes
from cxr_jax.errors import InputError


@pytest.fixture
def read(tmp_path):
    def read(table, columns="{}", view="frontal", name="table.csv"):
        (tmp_path / name).write_text(table, "utf-8")
        notes = Notes()
        found = read_external(tmp_path / name, read_column_map(columns), None, "findings", view, notes)
        return found, [str(note) for note in notes.all]

    return read


def test_our_own_columns(read):
    found, notes = read(
        "image,report,patient_id,study_id,labels\n"
        "a.png,Clear lungs.,p1,s1,\n"
        "b.png,FINDINGS: Edema. IMPRESSION: Bad.,p2,s 2,Edema|Mass\n"
        "c.png,,p2,s 2,Edema\n"
        "d.png,nan,p3,,Mass\n"
    )
    assert found.names == ("Edema", "Mass")
    assert found.values.tolist() == [[NO, NO], [YES, YES], [YES, NO], [NO, YES]]
    assert found.reports == ["Clear lungs.", "Edema.", "Edema.", ""]  # c has its study's, d none
    assert [(r.study_id, r.patient_id) for r in found.records] == [
        ("s1", "p1"), ("s 2", "p2"), ("s 2", "p2"), ("d", "p3")
    ]  # fmt: skip
    assert not notes
    part = found.take([2, 0])
    assert [r.image_id for r in part.records] == ["c.png", "a.png"]
    assert part.values.tolist() == [[YES, NO], [NO, NO]]


def test_columns_of_values_are_found_without_a_map_and_said(read):
    found, notes = read("image,Edema,Age,Mass,Sex\na.png,1.0,61,,M\nb.png,-1.0,7,0.0,F\nc.png,,30,1,F\n")
    assert found.names == ("Edema", "Mass")
    assert found.values.tolist() == [[YES, BLANK], [DOUBT, NO], [BLANK, YES]]
    assert notes == ["columns are taken for labels, each cell being 1, 0, -1 or blank: Edema, Mass"]


def test_json_lines_and_rows_of_one_image(read):
    rows = [
        {"image": "a.png", "labels": ["Edema", "Mass"], "report": "One."},
        {"image": "a.png", "labels": [], "report": "Two."},
        {"image": "b.png", "labels": None, "report": None},
    ]
    found, notes = read("\n".join(map(json.dumps, rows)), name="t.jsonl")
    assert found.reports == ["One.", ""]
    assert found.values.tolist() == [[YES, YES], [NO, NO]]
    assert any("several rows with different reports" in note for note in notes)


def test_labels_that_are_left_out(read):
    columns = "{labels: Finding, normal: [Normal], leave_out: [todo], separator: ','}"
    found, notes = read('image,Finding\na.png,"Edema, Mass"\nb.png,normal\nc.png,TODO\nd.png,\n', columns)
    assert found.values.tolist() == [[YES, YES], [NO, NO], [BLANK, BLANK]]
    assert notes == ["1 images have a label of leave_out (todo), and are left out ('c.png')"]


def test_views_that_the_run_was_not_trained_on(read):
    table = "image,labels,view\na.png,Mass,PA\nb.png,,lateral\nc.png,Mass,odd\n"
    assert [r.image_id for r in read(table)[0].records] == ["a.png", "c.png"]
    assert [r.image_id for r in read(table, view="lateral")[0].records] == ["b.png", "c.png"]
    assert len(read(table, view="all")[0]) == 3
    with pytest.raises(InputError, match="none of its 1 images is left"):
        read("image,labels,view\nb.png,,lateral\n")


@pytest.mark.parametrize(
    ("table", "columns", "says"),
    [
        ("image,labels\n", "{}", r"table\.csv: has no rows"),
        ("image,labels\n,Mass\n", "{}", "row 2: image is empty"),
        ("image,Edema\na.png,2\n", "{values: [Edema]}", "row 2, column Edema: '2' is unknown; write 1, 0, -1"),
        ("image,image\na.png,2\n", "{}", "column 'image' comes twice"),
    ],
)
def test_bad_tables(read, table, columns, says):
    with pytest.raises(InputError, match=says):
        read(table, columns)


def test_values_have_a_column_a_label_even_where_there_is_none(read):
    found, _ = read("image,report\na.png,Clear.\n")
    assert found.values.shape == (1, 0)
    assert found.values.dtype == np.int8


def test_names_of_several_cases_are_one_label(read):
    found, notes = read("image,labels\na.png,Pneumonia\nb.png,pneumonia|Mass\nc.png,PNEUMONIA\nd.png,\n")
    assert found.names == ("Mass", "Pneumonia")
    assert found.values.tolist() == [[NO, YES], [YES, YES], [NO, YES], [NO, NO]]
    assert [record.labels for record in found.records] == [("Pneumonia",), ("Mass", "Pneumonia"), ("Pneumonia",), ()]
    assert notes == [
        "1 labels are written in several cases, each of them is taken for one "
        "('Pneumonia' and 'pneumonia' and 'PNEUMONIA')"
    ]


def test_a_label_of_two_columns_is_refused(read):
    with pytest.raises(InputError, match="columns Edema and edema are one label, but for case; remove one"):
        read("image,Edema,edema\na.png,1,0\nb.png,0,1\n")
    with pytest.raises(InputError, match="label Edema has a column, and stands among the names of another"):
        read("image,Edema,labels\na.png,1,edema\n", "{values: [Edema], labels: labels}")


def test_an_image_is_one_however_its_path_is_written(read, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "b.png").write_text("")
    found, notes = read("image,labels\na.png,Mass\n./a.png,Edema\nin\\b.png,Mass\nin//b.png,\n./c.png,\n")
    assert [record.image_id for record in found.records] == ["a.png", "in/b.png", "c.png"]
    assert [record.study_id for record in found.records] == ["a", "in/b", "c"]
    assert found.records[1].image == tmp_path / "in" / "b.png"
    assert found.values.tolist() == [[YES, YES], [NO, YES], [NO, NO]]
    assert notes == [
        "2 images are named in several ways, each is taken for one "
        "('a.png' and './a.png', 'in\\\\b.png' and 'in//b.png')"
    ]

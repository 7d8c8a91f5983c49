"""Labels of another tool: both layouts, CheXbert's own output, and one line for each fault."""

import csv

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxr_jax.errors import InputError
from cxr_jax.labels.csv_files import read_labels, read_statuses

NAMES = ["Cardiomegaly", "Lung Opacity", "No Finding"]


@pytest.fixture
def write(tmp_path):
    def to_file(text, encoding="utf-8"):
        file = tmp_path / "labels.csv"
        file.write_bytes(text.encode(encoding))
        return file

    return to_file


def test_wide(write):
    file = write(
        "Reports,study_id,Edema,Fracture,Support Devices,\n"
        '"Heart normal, no edema",b,0,0.0,,9\n'
        "Edema,a,1,-1.0,u,\n"
        "another study,c,1.0,-1,U ,\n"
    )
    assert read_labels(file, ["a", "b"]) == [{"Edema", "Fracture", "Support Devices"}, set()]
    assert read_labels(file, ["b", "b", "c"]) == [set(), set(), {"Edema", "Fracture", "Support Devices"}]


@pytest.mark.parametrize(
    "text",
    [
        "study_id,label\nb,\na,Edema\na,Fracture\n",
        "study_id,labels\na,Edema|Fracture\nb,\n",
        "labels,study_id\nFracture| Edema ,a\n,b\n",
    ],
)
def test_long(write, text):
    assert read_labels(write(text), ["a", "b"]) == [{"Edema", "Fracture"}, set()]


def test_without_ids_rows_are_taken_in_order(write):
    """As CheXbert writes them: the report, then a column an observation."""
    file = write('Report Impression,Edema,Pneumonia\n"No edema.\nNormal.",0.0,\nPneumonia?,,-1.0\n', "utf-8-sig")
    assert read_labels(file, ["x", "y"]) == [set(), {"Pneumonia"}]
    assert read_labels(file, ["y", "x"]) == [set(), {"Pneumonia"}]


def test_ids_are_matched_in_any_form(write):
    assert read_labels(write("study_id,Edema\n7.0,1\n008,0\n"), ["7", "8"]) == [{"Edema"}, set()]
    for layout in ("study_id,Edema\n7,1\n7.0,0\n", "study_id,label\n7,Edema\n07,\n", "study_id,labels\n7,a\n007,b\n"):
        with pytest.raises(InputError, match=r"0?7(\.0)? comes a second time, written 7 before; keep one row of it"):
            read_labels(write(layout), ["7"])


@given(st.lists(st.frozensets(st.sampled_from(NAMES)), min_size=1, max_size=8), st.randoms())
def test_what_is_written_is_read(tmp_path_factory, labels, random):
    ids = [f"s{i}" for i in range(len(labels))]
    table = [[study, *("1" if name in of_study else random.choice(["", "0", "0.0"]) for name in NAMES)]
             for study, of_study in zip(ids, labels, strict=True)]  # fmt: skip
    shuffled = random.sample(table, len(table))
    pairs = list(zip(ids, labels, strict=True))
    long = [[study, name] for study, of_study in pairs for name in (of_study or [""])]
    listed = [[study, "|".join(of_study)] for study, of_study in pairs]
    layouts = {
        "wide": [["study_id", *NAMES], *shuffled],
        "ordered": [NAMES, *(row[1:] for row in table)],
        "long": [["study_id", "label"], *random.sample(long, len(long))],
        "listed": [["study_id", "labels"], *listed],
    }
    for name, rows in layouts.items():
        file = tmp_path_factory.getbasetemp() / f"{name}.csv"
        with file.open("w", newline="") as stream:
            csv.writer(stream).writerows(rows)
        assert read_labels(file, ids) == labels, name


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("study_id,Edema\na,1\n", "column study_id: 1 of 2 studies are missing .b first"),
        ("study_id,label\na,Edema\n", "column study_id: 1 of 2 studies are missing .b first"),
        ("study_id,Edema\na,1\nb,0\na,1\n", "row 4, column study_id: a comes a second time"),
        ("study_id,labels\na,Edema\nb,\na,Fracture\n", "row 4, column study_id: a comes a second time"),
        ("study_id,label\na,Edema\nb,\na,Edema\n", "row 4: a has 'Edema' a second time"),
        ("study_id,Edema\na,1\nb,yes\n", "row 3, column Edema: 'yes' is unknown; write 1"),
        ("study_id,Edema\na,2\nb,1\n", "row 2, column Edema: '2' is unknown"),
        ("study_id,Edema\n,1\nb,1\n", "row 2, column study_id: is blank"),
        ("study_id,Edema\na,1\nb,1,0\n", "row 3: has 3 cells for 2 columns"),
        ("study_id,Edema,Edema\na,1,1\nb,0,1\n", "column 'Edema' comes twice"),
        ("study_id,Reports\na,clear\nb,clear\n", "names no label"),
        ("Edema\n1\n0\n1\n", "has 3 rows without a column study_id for 2 studies"),
        ("study_id,Edema\n", "holds no row below its header"),
        ("", "holds no row below its header"),
        ('study_id,Edema\na,"1\n', "cannot be read as CSV"),
    ],
)
def test_faults_are_one_line(write, text, words):
    with pytest.raises(InputError, match=words) as error:
        read_labels(write(text), ["a", "b"])
    assert "\n" not in str(error.value)
    assert "labels.csv" in str(error.value)


def test_unreadable_files_are_named(tmp_path, write):
    latin = write("study_id,Edema\na,é\n", "latin-1")
    for file, fault in ((tmp_path / "absent.csv", "no such file"), (latin, "cannot be read as CSV")):
        with pytest.raises(InputError, match=f"{file.name}: {fault}"):
            read_labels(file, ["a"])


def test_doubt_is_told_from_what_is_there(write):
    file = write("study_id,Edema,Fracture\na,-1,1\nb,u,0\nc,,\n")
    assert read_statuses(file, ["a", "b", "c"]) == [
        {"Edema": "uncertain", "Fracture": "positive"},
        {"Edema": "uncertain"},
        {},
    ]
    assert read_labels(file, ["b"]) == [{"Edema"}]

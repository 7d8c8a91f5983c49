"""What is to be embedded: tables of every kind, folders, text files; and what each refuses."""

import json
import os

import pytest

from cxr_jax.data.inputs import read_inputs
from cxr_jax.data.notes import Notes
from cxr_jax.errors import InputError


def read(file, columns=None):
    notes = Notes()
    return read_inputs(file, "findings", columns or {}, None, notes), [str(note) for note in notes.all]


@pytest.mark.parametrize(
    ("content", "columns", "message"),
    [
        ("a,b\n1,2\n", {}, "has no column image or report, only a, b"),
        ("image,report\n", {}, "has no rows"),
        ("image,report\n,nan\n", {}, "none of its 1 rows has an image or a report"),
        ("Path\na.png\n", {"image": "path to it"}, "has no column path to it, only Path"),
        ("Path\na.png\n", {"picture": "Path"}, "'picture' is none of image, report"),
        ("image,Image\na,b\n", {}, "are both image"),
    ],
)
def test_bad_tables(tmp_path, content, columns, message):
    (tmp_path / "t.csv").write_text(content)
    with pytest.raises(InputError) as error:
        read(tmp_path / "t.csv", columns)
    assert message in str(error.value)


def test_columns_that_travel_and_those_that_do_not(tmp_path):
    lines = [
        {"image": "a.png", "box": {"x": 1}, "age": 61.0, "about": "x", "note": "n" * 300, "labels": ["Edema", "Mass"]},
        {"image": "b.png", "age": None},
    ]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, lines)))
    inputs, notes = read(tmp_path / "t.jsonl")
    assert inputs.columns == {
        "image": ["a.png", "b.png"], "labels": ["Edema|Mass", ""], "age": ["61.0", ""], "table_about": ["x", ""],
    }  # fmt: skip
    assert inputs.images == [tmp_path / "a.png", tmp_path / "b.png"]
    assert notes == [
        "1 columns hold more than text and numbers, and are left out ('box')",
        "1 columns are called as the file's own, and are stored under another name ('about' as 'table_about')",
        "1 columns have cells of more than 200 characters, and are left out ('note')",
    ]


def test_names_of_the_files_own_columns_are_given_others(tmp_path):
    (tmp_path / "t.csv").write_text("report,image_embedding,table_about,about\nClear.,1,2,3\n")
    inputs, notes = read(tmp_path / "t.csv")
    assert inputs.columns == {"table_image_embedding": ["1"], "table_about": ["2"], "table_table_about": ["3"]}
    assert "('image_embedding' as 'table_image_embedding', 'about' as 'table_table_about')" in notes[0]


def test_a_text_file_that_is_none(tmp_path):
    for content, message in ((b"\x81\x00\xff\xfe\x03" * 9, "cannot be read as text"), (b"\n \n", "holds no line")):
        (tmp_path / "t.txt").write_bytes(content)
        with pytest.raises(InputError, match=message):
            read(tmp_path / "t.txt")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no image in this folder"):
        read(tmp_path / "empty")


def test_the_digest_changes_with_each_cell_text_and_image(tmp_path):
    lines = [
        {"image": "a.png", "report": "Clear lungs.", "age": "61"},
        {"image": "b.png", "report": "A mass.", "age": "7"},
    ]
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"x")

    def digest(*changes):
        changed = [line | change for line, change in zip(lines, changes or ({}, {}), strict=True)]
        (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, changed)))
        return read(tmp_path / "t.jsonl")[0].digest()

    first = digest()
    assert digest() == first
    for changes in (({}, {"age": "8"}), ({"report": "Clear lung."}, {}), ({"image": "b.png"}, {}), ({"image": ""}, {})):
        assert digest(*changes) != first
    os.utime(tmp_path / "b.png", ns=(0, 1))
    assert digest() != first
    (tmp_path / "b.png").unlink()  # which is found when it is its turn
    assert digest() != first


def test_a_folders_images_and_a_texts_lines(tmp_path):
    (tmp_path / "a study").mkdir()
    for name in ("b.png", "a study/1.JPG", "a study/notes.txt"):
        (tmp_path / name).write_bytes(b"x")
    inputs, _ = read(tmp_path)
    assert inputs.columns == {"image": ["a study/1.JPG", "b.png"]}
    assert inputs.images == [tmp_path / "a study/1.JPG", tmp_path / "b.png"]
    assert inputs.texts is None
    (tmp_path / "t.txt").write_bytes("One.\r\n\r\nTwo: é.\r\n".encode("utf-16"))
    inputs, _ = read(tmp_path / "t.txt")
    assert (inputs.columns, inputs.texts, inputs.images) == ({"line": ["1", "3"]}, ["One.", "Two: é."], None)

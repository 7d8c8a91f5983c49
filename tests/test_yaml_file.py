"""What is common to the YAML files of labels; their own forms are tested where they are read."""

import pytest

from cxr_jax.errors import InputError
from cxr_jax.yaml_file import label_of, read_mapping, texts_of


def test_a_mapping_is_read_as_it_is_written(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text("b: [1]\na: &x {y: z}\nc: *x\n")
    assert read_mapping(file, "things", "a: b") == {"b": [1], "a": {"y": "z"}, "c": {"y": "z"}}
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match=r"a.yaml: cannot be read .* give a file of things"):
        read_mapping(file, "things", "a: b")
    file.write_text("[]")
    with pytest.raises(InputError, match="holds no mapping of things; write lines such as a: b"):
        read_mapping(file, "things", "a: b")


def test_labels_and_texts():
    assert label_of(" a b ", "f") == "a b"
    assert texts_of([" a  b ", "c"], "f") == ("a b", "c")
    for key in (None, True, 1, " "):
        with pytest.raises(InputError, match=r"f: label .* is no text"):
            label_of(key, "f")


def test_a_mapping_as_it_stands_in_a_command(tmp_path):
    (tmp_path / "a.yaml").write_text("image: Path\nvalues: [Edema]\n")
    wanted = {"image": "Path", "values": ["Edema"]}
    assert read_mapping(str(tmp_path / "a.yaml"), "columns", "x") == wanted
    assert read_mapping(" {image: Path, values: [Edema]}", "columns", "x") == wanted
    assert read_mapping("{}", "columns", "x") == {}
    for given, says in (("{a: 1, A: 2}", "A is there twice"), ("{a: [1}", "line 1: not YAML of columns")):
        with pytest.raises(InputError, match=says):
            read_mapping(given, "columns", "x")

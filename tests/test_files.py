import json
from pathlib import Path

import numpy as np
import pytest

from cxr_jax.files import whole, write_json, write_lines, write_text


def test_files_are_written_whole_or_not_at_all(tmp_path):
    file = tmp_path / "a.json"
    write_json(file, {"ü": [1, 2]})
    assert json.loads(file.read_text(encoding="utf-8")) == {"ü": [1, 2]}
    with pytest.raises(TypeError):
        write_json(file, {"a": object()})
    with pytest.raises(UnicodeEncodeError):
        write_text(file, "\ud800")
    assert json.loads(file.read_text(encoding="utf-8")) == {"ü": [1, 2]}
    assert list(tmp_path.iterdir()) == [file]


def test_json_has_no_word_for_nan(tmp_path):
    file = tmp_path / "a.json"
    write_json(file, {"a": float("nan"), "b": [1.5, (float("inf"), np.float64("nan"))], "c": {"d": 2}})
    assert json.loads(file.read_text(), parse_constant=pytest.fail) == {
        "a": None,
        "b": [1.5, [None, None]],
        "c": {"d": 2},
    }
    write_lines(file, [{"a": float("nan")}, {"a": "ü"}])
    assert file.read_text(encoding="utf-8") == '{"a": null}\n{"a": "ü"}\n'


def test_until_the_end_the_old_file_is_there(tmp_path):
    file = tmp_path / "a"
    write_text(file, "old")
    with whole(file) as part:
        part.write_text("new")
        assert file.read_text() == "old"
    assert file.read_text() == "new"
    assert list(tmp_path.iterdir()) == [file]


def test_two_writers_of_one_file_do_not_meet(tmp_path):
    file = tmp_path / "a"
    with whole(file) as one, whole(file) as other:
        assert one != other
        one.write_text("one")
        other.write_text("other")
    assert file.read_text() == "one"  # who is through last


def test_a_folder_may_be_written_too(tmp_path):
    with whole(tmp_path / "folder") as part:
        part.mkdir()
        (part / "file").touch()
    assert [Path(file).name for file in (tmp_path / "folder").iterdir()] == ["file"]


def test_a_folder_that_fails_halfway_does_not_appear(tmp_path):
    def half():
        with whole(tmp_path / "folder") as part:
            part.mkdir()
            (part / "file").touch()
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        half()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_takes_another_ones_place(tmp_path):
    def write(name, fault=False):
        with whole(tmp_path / "folder") as part:
            part.mkdir()
            (part / name).touch()
            if fault:
                raise RuntimeError("power cut")

    write("old")
    with pytest.raises(RuntimeError, match="power cut"):
        write("broken", fault=True)
    assert [file.name for file in (tmp_path / "folder").iterdir()] == ["old"]
    write("new")
    assert [file.name for file in (tmp_path / "folder").iterdir()] == ["new"]
    assert [file.name for file in tmp_path.iterdir()] == ["folder"]

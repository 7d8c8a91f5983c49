import json

import pytest

from cxr_jax.data.json_objects import name_of, read_values
from cxr_jax.errors import InputError

ODD = "a\u2028b\u2029c\u0085d\x0be"


@pytest.fixture
def write(tmp_path):
    def to_file(text, encoding="utf-8"):
        (tmp_path / "x.jsonl").write_bytes(text.encode(encoding))
        return tmp_path / "x.jsonl"

    return to_file


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\n\n"])
def test_only_a_line_feed_ends_a_line(write, encoding, end):
    lines = [{"text": ODD}, {"text": "2"}]
    file = write(end.join(json.dumps(line, ensure_ascii=False).replace("\x0b", "\\u000b") for line in lines), encoding)
    assert [value for _, value in read_values(file, "")] == lines
    assert read_values(file, "")[0][0] == "line 1"


def test_a_list_and_an_object(write):
    assert read_values(write("\ufeff [1,\n {}]\n"), "") == [("entry 1", 1), ("entry 2", {})]
    assert read_values(write('{"a": {"b": 1}}'), "") == {"a": {"b": 1}}
    assert read_values(write("\n"), "") == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1}\n{"a": 1', "line 2 is no JSON"),
        ('{"a": 1}\n{"b": 1, "b": 2}', "line 2: 'b' is there twice; keep one"),
        ('{"s1": {}, "s1": {}}', "'s1' is there twice; keep one"),
        ("study_id,prediction\n", "line 1 is no JSON"),
        ("[" * 100_000, "line 1 is no JSON"),
    ],
)
def test_faults(write, text, message):
    file = write(text)
    with pytest.raises(InputError) as error:
        read_values(file, "")
    assert message in str(error.value)
    assert str(file) in str(error.value)


def test_ids():
    given = [7, "7", 7.0, " s7 ", True, None, 7.5, "", [], float("nan"), float("inf")]
    assert [name_of(value) for value in given] == ["7", "7", "7", "s7", *[None] * 7]

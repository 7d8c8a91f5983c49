"""One table, in each of the files that people keep theirs in."""

import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cxr_jax.data.tables import open_table
from cxr_jax.errors import InputError

ROWS = [{"a": "1.png", "b": "Clear.", "n": 7}, {"a": "2.png", "b": "Größe\u2028x", "n": None}]
CELLS = [{"A": "1.png", "B": "Clear.", "N": "7"}, {"A": "2.png", "B": "Größe\u2028x", "N": ""}]
COLUMNS = {"A": "a", "B": "b", "N": "n"}


def write(folder, name, rows):
    file = folder / name
    if name.endswith(".parquet"):
        pq.write_table(pa.Table.from_pylist(rows), file)
    elif name.endswith(".json"):
        file.write_text(json.dumps(rows, indent=1), "utf-8")
    else:
        content = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
        file.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return file


@pytest.mark.parametrize("name", ["x.jsonl", "x.JSONL", "x.ndjson", "x.jsonl.gz", "x.json", "x.parquet"])
def test_rows(tmp_path, name):
    table = open_table(write(tmp_path, name, ROWS))
    assert table.columns == ["a", "b", "n"]
    assert [row.cells for row in table.rows(COLUMNS)] == CELLS
    assert [row.number for row in table.rows(COLUMNS)] == [1, 2]


def test_a_csv_has_the_same_face(tmp_path):
    (tmp_path / "x.csv").write_text("a,b,n\n1.png,Clear.,7\n2.png,Größe\u2028x,\n", "utf-8")
    table = open_table(tmp_path / "x.csv")
    assert [row.cells for row in table.rows(COLUMNS)] == CELLS
    assert table.first_row == 2


def test_numbers_and_lists_are_text_and_what_is_not_asked_for_may_be_anything(tmp_path):
    rows = [{"id": 7.0, "labels": ["Edema", "Nodule"], "image": {"bytes": b"x"}, "nan": float("nan")}]
    table = open_table(write(tmp_path, "x.parquet", rows))
    names = {name: name for name in ("id", "labels", "nan")}
    assert [row.cells for row in table.rows(names)] == [{"id": "7.0", "labels": "Edema|Nodule", "nan": ""}]
    with pytest.raises(InputError, match=r"x\.parquet row 1: image holds dict"):
        list(table.rows({"image": "image"}))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.parquet", b"PAR1", "cannot be read as Parquet"),
        ("x.parquet", b"", "cannot be read as Parquet"),
        ("x.jsonl", b'{"a": 1}\n[2]\n', "line 2 is list"),
        ("x.jsonl", b'{"a": 1}\n{"a": "\xff"}', "cannot be read"),
        ("x.jsonl", b'{"a": "\\ud800"}', "row 1: a holds str"),
        ("x.jsonl", b'{"a": "x\\u0000"}', "row 1: a holds str"),
        ("x.jsonl", b'{"a": true}', "row 1: a holds bool"),
    ],
)
def test_faults_are_one_line(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as error:
        list(open_table(tmp_path / name).rows({"a": "a"}))
    assert message in str(error.value)
    assert str(tmp_path / name) in str(error.value)
    assert "\n" not in str(error.value)

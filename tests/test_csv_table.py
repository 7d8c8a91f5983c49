"""Tables in every form that is read, and one line for each fault."""

import csv
import gzip
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxr_jax.csv_table import CsvTable
from cxr_jax.errors import InputError


@pytest.fixture
def write(tmp_path):
    def to_file(text, encoding="utf-8", name="table.csv"):
        content = text if isinstance(text, bytes) else text.encode(encoding)
        (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
        return tmp_path / name

    return to_file


def cells(file, **more):
    return [row.cells for row in CsvTable(file, **more)]


def refused(file, *required):
    """The complaint about a table: one line that names it."""
    with pytest.raises(InputError) as error:
        list(CsvTable(file, required))
    message = str(error.value)
    assert str(file) in message
    assert "\n" not in message
    return message


PLAIN = [{"id": "a", "text": "Größe, 1"}, {"id": "b", "text": ""}]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252"])
@pytest.mark.parametrize("name", ["table.csv", "table.csv.gz"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_every_form_is_read(write, encoding, name, delimiter, end):
    text = end.join([f" id {delimiter}text", f'a{delimiter}" Größe, 1 "', f"b{delimiter}", ""])
    table = CsvTable(write(text, encoding, name), required=("text", "id"), western=encoding == "cp1252")
    assert table.columns == ["id", "text"]
    assert [row.cells for row in table] == [row.cells for row in table] == PLAIN


@given(
    st.lists(
        # A NUL is refused, as another test has it.
        st.lists(
            st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5),
            min_size=2,
            max_size=2,
        ),
        max_size=6,
    ),
    st.sampled_from(",;\t"),
)
def test_what_a_writer_writes_is_read(tmp_path_factory, rows, delimiter):
    file = tmp_path_factory.getbasetemp() / "written.csv"
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter).writerows([["a", "b"], *rows])
    file.write_bytes(text.getvalue().encode())
    stripped = [{"a": a.strip(), "b": b.strip()} for a, b in rows]
    assert cells(file, blank_rows=True) == stripped
    assert cells(file) == [row for row in stripped if any(row.values())]


def test_delimiters_in_quotes_or_in_few_do_not_count(write):
    assert cells(write('"a;b;c",d\n1,2\n')) == [{"a;b;c": "1", "d": "2"}]
    assert cells(write("a;b, c;d\n1;2;3\n")) == [{"a": "1", "b, c": "2", "d": "3"}]
    assert cells(write("a\n1\n2;3\n")) == [{"a": "1"}, {"a": "2;3"}]


def test_excel_may_say_what_separates(write):
    table = CsvTable(write("sep=;\r\na, b;c\r\n1;2\r\n3\r\n"))
    assert table.columns == ["a, b", "c"]
    assert next(iter(table)).where == "row 3"
    assert "row 4: has 1 cell for 2 columns" in refused(table.file)


def test_a_mark_in_the_middle_of_the_header_is_no_part_of_a_name(write):
    assert CsvTable(write("\ufeff\ufeffimage,report\n")).columns == ["image", "report"]


def test_rows_are_numbered_as_a_spreadsheet_numbers_them(write):
    rows = list(CsvTable(write('a,b\n1,2\n\n"two\nlines","and\none more"\n,\n5,6\n7,8\n')))
    assert [row.number for row in rows] == [2, 4, 6, 7]
    assert [row.where for row in rows] == ["row 2", "row 4", "row 6 (line 8)", "row 7 (line 9)"]
    (row,) = CsvTable(write('"a\nb",c\n1,2\n'))
    assert row.where == "row 2 (line 3)"


def test_blank_rows_are_given_where_they_mean_something(write):
    file = write("a,b\n,\n\n1,2\n , \n")
    assert cells(file) == [{"a": "1", "b": "2"}]
    assert cells(file, blank_rows=True) == [{"a": "", "b": ""}, {"a": "1", "b": "2"}, {"a": "", "b": ""}]


def test_columns_without_a_name_are_left_out_and_blank_cells_too_many_are_no_fault(write):
    table = CsvTable(write("a,,b,\n1,x,2,,,\n3,y,4,z\n"))
    assert table.columns == ["a", "b"]
    assert [row.cells for row in table] == [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,c\n1,2\n", ": has no column b, only a, c; add or rename it"),
        ('"a\nx",c\n1,2\n', ": has no column b, only a x, c;"),
        ("", ": has no column b, only an empty line"),
        ("\na,b\n", ": has no column b, only an empty line"),
        ("b,a,b\n", " row 1: column 'b' comes twice; remove or rename one"),
        ("a,b\n1,2\n\n1,2,3\n", " row 4: has 3 cells for 2 columns"),
        ('a,b\n"1\n",2\n1\n', " row 3 (line 4): has 1 cell for 2 columns"),
        ('a,b\n1,2\n3,"4\n5,6\n', " row 3: cannot be read as CSV"),
        ('a,b\n1,2\n3,"4"5\n', " row 3: cannot be read as CSV"),
        ('a,b\n"1\n",2\n3,"' + 200_000 * "x", " row 3 (line 4): cannot be read as CSV"),
        ('a,"b\n1,2\n', " row 1: cannot be read as CSV"),
        (b"a,b\n\xff,2\n", ": cannot be read as CSV: damaged, or not a CSV in UTF-8"),
        ("a,b\n1,2\n".encode("utf-16")[:-1], ": cannot be read as CSV: damaged, or not a CSV in UTF-8"),
    ],
)
@pytest.mark.parametrize("name", ["table.csv", "table.csv.gz"])
def test_faults_are_one_line(write, text, message, name):
    file = write(text, name=name)
    assert refused(file, "b").startswith(f"{file}{message}")


def test_files_that_cannot_be_read_are_named(tmp_path, write):
    for file in (tmp_path / "absent.csv", tmp_path / "absent.csv.gz"):
        assert refused(file) == f"{file}: no such file; mend the path"
    assert refused(tmp_path) == f"{tmp_path}: is a folder; name the CSV in it"
    file = write("a,b\n1,2\n", name="table.csv.gz")
    whole = file.read_bytes()
    for content in (whole[:-4], whole[:12], b"a,b\n1,2\n", whole[:-6] + b"xxxxxx"):
        file.write_bytes(content)
        assert "cannot be read as CSV" in refused(file)


def test_a_nul_byte_is_refused_with_its_row(tmp_path):
    (tmp_path / "a.csv").write_text("a,b\n1,2\n3,x\0y\n")
    with pytest.raises(InputError, match=r"a\.csv row 3: holds a NUL byte"):
        list(CsvTable(tmp_path / "a.csv"))

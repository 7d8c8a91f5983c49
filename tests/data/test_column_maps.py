import pytest

from cxr_jax.data.column_maps import column_of, fitted, read_column_map
from cxr_jax.errors import InputError


def test_a_cell_is_what_a_pattern_finds_in_the_first_column_that_is_there(tmp_path):
    columns = read_column_map(
        "{image: [File, Path], patient_id: {column: Path, pattern: '(p[0-9]+)'}, labels: Findings}"
    )
    found = fitted(columns, tmp_path / "t.csv", ["Path", "findings", "View"])
    assert found.cells["image"].columns == found.cells["patient_id"].columns == ("Path",)
    assert found.cells["patient_id"].of("a/p12/x.png") == "p12"
    assert found.cells["patient_id"].of("a/x.png") == ""
    assert found.cells["labels"].columns == ("findings",)  # case does not matter
    assert found.cells["view"].columns == ("View",)  # not in the map, and called so
    assert column_of(columns.cells["image"], ["patient"]) is None


def test_labels_that_the_table_lacks_are_left_out(tmp_path):
    columns = read_column_map("{values: {Lung edema: Edema, Fracture: Fracture}, report: null}")
    found = fitted(columns, tmp_path / "t.csv", ["image", "report", "edema"])
    assert {label: cell.columns for label, cell in found.values.items()} == {"Lung edema": ("edema",)}
    assert "report" not in found.cells


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("{images: Path}", "has no key images; there are image, patient_id"),
        ("{image: 3}", "image: holds 3; write a column's name"),
        ("{image: {pattern: x}}", "image: holds .*write a column, or {column: …, pattern: …}"),
        ("{image: {column: Path, pattern: '(p'}}", r"image: pattern '\(p': .*; mend it"),
        ("{image: {column: Path, pattern: 'p'}}", "it has no group in brackets"),
        ("{values: Edema}", "values: holds 'Edema'; write a list of columns"),
        ("{values: [1]}", r"values: holds \[1\]; write a list of names"),
        ("{normal: none}", "normal: holds 'none'; write a list of names"),
        ("{separator: ''}", "separator: holds ''"),
        ("{prompts: [Edema]}", "prompts: holds"),
    ],
)
def test_what_is_no_map_is_refused(given, says):
    with pytest.raises(InputError, match=says):
        read_column_map(given)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("{}", "has no column image, only file, Edema; say which column is which by --columns"),
        ("{image: Path}", r"image: .*t\.csv has no column Path, only file, Edema"),
        ("{image: file, values: [Fracture, Mass]}", "has none of the label columns Fracture, Mass"),
        ("{image: file, labels: Findings}", "has none of the label columns Findings"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(tmp_path, given, says):
    with pytest.raises(InputError, match=says):
        fitted(read_column_map(given), tmp_path / "t.csv", ["file", "Edema"])

import pytest

from cxr_jax.errors import InputError
from cxr_jax.mappings import read_mapping


def test_a_file_and_what_stands_on_the_command_line_are_read_alike(tmp_path):
    (tmp_path / "a.yaml").write_text("image: Path\nvalues: [Edema]\n")
    assert read_mapping(str(tmp_path / "a.yaml"), "columns") == {"image": "Path", "values": ["Edema"]}
    assert read_mapping(" {image: Path, values: [Edema]}", "columns") == {"image": "Path", "values": ["Edema"]}
    assert read_mapping("{}", "columns") == {}


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("absent.yaml", r"absent\.yaml: cannot be read .* a YAML file of columns"),
        ("{a: 1, A: 2}", "A is there twice"),
        ("{a: [1}", "line 1: not YAML of columns"),
        ("{a: !!python/object:os.system x}", "not YAML"),
    ],
)
def test_what_is_none_is_refused_in_one_line(given, says):
    with pytest.raises(InputError, match=says):
        read_mapping(given, "columns")

import json
from collections import Counter

import pytest

from cxr_jax.data.sources.annotation import r2gen_split
from cxr_jax.errors import InputError


def entries(*studies):
    return [{"id": f"{study}_IM-0942", "report": "x", "image_path": []} for study in studies]


@pytest.fixture
def annotation(tmp_path):
    def write(value):
        (tmp_path / "annotation.json").write_text(value if isinstance(value, str) else json.dumps(value))
        return tmp_path / "annotation.json"

    return write


@pytest.mark.parametrize("key", ["test", "te\u00adst", "", "testing"])
def test_r2gen_takes_the_published_lists(annotation, key):
    file = annotation(
        {"train": entries("CXR1", "CXR2"), "val": entries("CXR3"), key: entries("CXR44"), "note": "no list"}
    )
    assert r2gen_split(file) == {"CXR1": "train", "CXR2": "train", "CXR3": "val", "CXR44": "test"}


@pytest.mark.parametrize(
    "value",
    [
        "{",
        "[]",
        "\ud800".encode("utf-8", "surrogatepass").decode("latin-1"),
        {"train": [], "val": []},
        {"train": [], "val": [], "a": [], "b": []},
        {"train": [], "val": {}, "test": []},
        {"train": [{"name": "CXR1"}], "val": [], "test": []},
        {"train": ["CXR1_IM-1"], "val": [], "test": []},
        {"train": [{"id": 3}], "val": [], "test": []},
        "[" * 100_000,
    ],
)
def test_other_annotations_are_refused(annotation, value):
    with pytest.raises(InputError, match=r"annotation\.json: .*(wanted|not JSON)") as error:
        r2gen_split(annotation(value))
    assert "\n" not in str(error.value)


def test_a_study_in_two_lists_is_refused(annotation):
    file = annotation({"train": entries("CXR1"), "val": entries("CXR2"), "test": entries("CXR1")})
    with pytest.raises(InputError, match="study CXR1 is in train and in test"):
        r2gen_split(file)


def test_an_id_twice_is_refused(annotation):
    file = annotation({"train": entries("CXR1", "CXR1"), "val": entries("CXR2"), "test": entries("CXR3")})
    with pytest.raises(InputError, match=r"train\[1\]: id CXR1_IM-0942 is also in train\[0\]; remove one"):
        r2gen_split(file)
    with pytest.raises(InputError, match="'val' is there twice"):
        r2gen_split(annotation('{"train": [], "val": [], "test": [], "val": []}'))


def test_the_published_split_of_the_real_reports(shared):
    split_of = r2gen_split(shared / "data" / "iu_xray" / "r2gen_annotation.json")
    assert Counter(split_of.values()) == {"train": 2069, "val": 296, "test": 590}

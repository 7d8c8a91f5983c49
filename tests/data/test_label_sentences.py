"""data.sentences: what can be read, and which sentences stand for which labels."""

import pytest

from cxr_jax.data.label_sentences import LabelSentences
from cxr_jax.errors import InputError

TEXT = """
Normal: ["The lungs  are clear.", Normal chest.]
Edema: [There is edema.]
fluid overload: [There is edema.]
"No": [Nothing.]
"""


def read(tmp_path, text):
    (tmp_path / "sentences.yaml").write_text(text)
    return LabelSentences(tmp_path / "sentences.yaml")


def test_sentences_of_labels(tmp_path):
    sentences = read(tmp_path, TEXT)
    assert sentences.of(["normal"]) == [("The lungs are clear.", "Normal chest.")]
    assert sentences.of([]) == []
    # In the file's order, whatever the labels'; what is said in the same words is said once.
    assert sentences.report(["EDEMA", "normal"]) == "The lungs are clear. There is edema."
    assert sentences.report(["fluid overload", "edema"]) == "There is edema."
    assert sentences.report(["no", "No"]) == "Nothing."
    with pytest.raises(InputError, match=r"sentences.yaml: has no sentences for the label 'Mass' \(for normal, edema"):
        sentences.of(["Edema", "Mass"])


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "holds no mapping"),
        ("- a", "holds no mapping"),
        ("a: b", "a: holds 'b'; write a list"),
        ("a: []", "write a list"),
        ("a: [1]", "1 is no text"),
        ("a: ['']", "is no text"),
        ("a: [x, X]", "twice"),
        ("a: [x]\nA: [y]", "A is there twice"),
        ("No: [x]", "label False is no text; put it in quotes"),
        ("a: [", "not YAML of labels and their sentences"),
        ("!!python/object/apply:os.system [ls]", "not YAML"),
    ],
)
def test_what_is_none(tmp_path, text, match):
    with pytest.raises(InputError, match=match) as error:
        read(tmp_path, text)
    assert "\n" not in str(error.value)
    assert "sentences.yaml" in str(error.value)


def test_no_file(tmp_path):
    with pytest.raises(InputError, match=r"nowhere.yaml: cannot be read"):
        LabelSentences(tmp_path / "nowhere.yaml")

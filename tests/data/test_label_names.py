import pytest

from cxr_jax.data.label_names import means_none, one_spelling
from cxr_jax.data.notes import Notes


def test_labels_are_spelt_as_the_first_of_them():
    notes = Notes()
    written = ["Pneumonia", "edema", "pneumonia", "Mass", "PNEUMONIA", "Edema", "edema"]
    assert one_spelling(written, notes) == {
        "Pneumonia": "Pneumonia", "pneumonia": "Pneumonia", "PNEUMONIA": "Pneumonia",
        "edema": "edema", "Edema": "edema", "Mass": "Mass",
    }  # fmt: skip
    assert [str(note) for note in notes.all] == [
        "2 labels are written in several cases, each of them is taken for one "
        "('Pneumonia' and 'pneumonia' and 'PNEUMONIA', 'edema' and 'Edema')"
    ]


@pytest.mark.parametrize("label", ["No Finding", "no finding", "No_Findings", "normal", "NORMAL", " Healthy ",
                                   "no-abnormality", "No acute abnormalities"])  # fmt: skip
def test_customary_words_for_nothing(label):
    assert means_none(label)


@pytest.mark.parametrize(
    "label", ["Pneumonia", "abnormal", "normal pressure hydrocephalus", "No Pneumonia", "", "nodule"]
)
def test_findings_are_no_such_words(label):
    assert not means_none(label)

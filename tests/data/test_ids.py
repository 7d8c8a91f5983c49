import pytest

from cxr_jax.data.ids import unify
from cxr_jax.data.notes import Notes
from cxr_jax.ids import key


@pytest.mark.parametrize(
    "forms",
    [
        ("123", "123.0", "00123", " 123 ", "1 23", "123.00", "\u00a0123", "\uff11\uff12\uff13"),
        ("P7", "p7", "P007", "P 7", "p 007", "P7\u200b"),
        ("CXR1_IM-0001", "cxr1_im-0001"),
        ("0", "00", "0.0"),
        ("123", "123,0", "123.", '="123"', "'123", "+123", "1.23E+02", "1,23E2", "\u0661\u0662\u0663"),
        ("1234", "1,234", "1.234"),
        ("1234567", "1,234,567", "1.234.567", "1.234567E+06"),
        ("100000", "1e+05", "1E5"),
        ("2020-01-01", "2020-01-01 00:00:00", "2020-01-01T00:00"),
    ],
)
def test_forms_of_one_id(forms):
    assert len(set(map(key, forms))) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [("123", "1230"), ("1.23", "123"), ("1e-05", "100000"), ("2020-01-01 00:00:01", "2020-01-01"), ("-5", "5"),
     ("P1", "Q1"), ("1.2.840.001", "1.2.840.1"), ("a01b2", "a1b2"), ("12-3", "123"), ("1.5", "15"),
     ("CXR1_IM-0001", "CXR1_IM-001")],
)  # fmt: skip
def test_ids_that_are_two(one, other):
    assert key(one) != key(other)


def test_a_column_has_one_spelling_each_and_says_so():
    notes = Notes()
    assert unify(["123", "007", "", "123.0", "7", "p1", "P1"], "patient_id", notes) == [
        "123", "007", "", "123", "007", "p1", "p1",
    ]  # fmt: skip
    (note,) = notes.all
    assert str(note) == (
        "3 of the ids in patient_id are written in several ways, each of them is taken for one "
        "('123' and '123.0', '007' and '7', 'p1' and 'P1')"
    )


def test_ids_in_good_order_stay_and_say_nothing():
    notes = Notes()
    names = ["007", "P1", "1.2.840.0", "s50414267", "7a", ""]
    assert unify(names, "study_id", notes) == names
    assert not notes.all


def test_a_column_of_floats_is_whole_again():
    notes = Notes()
    assert unify(["1.0", "2.0", "1.0"], "study_id", notes) == ["1", "2", "1"]
    assert str(notes.all[0]) == "2 of the ids in study_id end in .0, which is left out ('1.0', '2.0')"


def test_a_rounded_id_cannot_be_known():
    notes = Notes()
    unify(["5.04143E+07", "1"], "study_id", notes)
    assert "1 of the ids in study_id look like numbers that a spreadsheet rounded" in str(notes.all[0])

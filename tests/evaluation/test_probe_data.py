"""What probes learn from: labels of every layout, patients who stay together, splits and shares that hold all kinds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxr_jax.data.notes import Notes
from cxr_jax.errors import InputError
from cxr_jax.evaluation.probe_data import Labels, few, labels_of, one_row_an_image, patients_of, split_rows, spread


@pytest.mark.parametrize(
    ("uncertain", "present", "known"),
    [
        ("ignore", [[1, 0], [0, 0], [0, 1], [0, 0]], [[1, 1], [1, 1], [0, 1], [1, 1]]),
        ("positive", [[1, 0], [0, 0], [1, 1], [0, 0]], [[1, 1]] * 4),
        ("negative", [[1, 0], [0, 0], [0, 1], [0, 0]], [[1, 1]] * 4),
    ],
)
def test_columns_of_numbers(uncertain, present, known):
    columns = {"Edema": ["1.0", "0", "-1.0", ""], "Mass": ["", "0.0", " 1", "nan"], "age": ["61", "2", "3", "4"]}
    labels = labels_of(columns, ["Edema", "Mass"], uncertain, "t.csv", Notes())
    assert labels.names == ("Edema", "Mass")
    assert labels.present.astype(int).tolist() == present
    assert labels.known.astype(int).tolist() == known


def test_columns_of_names():
    columns = {"labels": ["Edema|Mass", "", "['Mass', 'a, b']", " Mass ", "nan"]}
    labels = labels_of(columns, ["labels"], "ignore", "t.csv", Notes())
    assert labels.names == ("Edema", "Mass", "a, b")
    assert labels.present.astype(int).tolist() == [[1, 1, 0], [0, 0, 0], [0, 1, 1], [0, 1, 0], [0, 0, 0]]
    assert labels.known.all()


@pytest.mark.parametrize(
    ("columns", "names", "message"),
    [
        ({"a": ["1"]}, ["labels"], "has no column labels, only a; name one by --label_column"),
        ({"labels": ["N/A", "none"]}, ["labels"], "column labels holds no label"),
        ({"a": ["x"], "b": ["x"]}, ["a", "b"], "label 'x' stands in two columns"),
    ],
)
def test_bad_labels(columns, names, message):
    with pytest.raises(InputError, match=message):
        labels_of(columns, names, "ignore", "t.csv", Notes())


def test_patients_by_their_ids_their_studies_or_the_rows():
    notes = Notes()
    columns = {"patient_id": ["7", "007", "7.0", "", ""], "study_id": ["s1", "s2", "s3", "s4", ""]}
    patients = patients_of(columns, notes)
    assert patients[0] == patients[1] == patients[2]
    assert patients[3:] == ["s4", "row 4"]
    assert any("each counts as a patient of its own" in str(note) for note in notes.all)
    with pytest.raises(InputError, match=r"image a\.png: is of patient p1 and of patient p2"):
        patients_of({"image": ["a.png", "a.png"], "patient_id": ["p1", "p2"]}, Notes())


def of_kinds(kinds):
    """Labels of rows that have the label of their kind, -1 for none."""
    present = np.array([[kind == label for label in range(4)] for kind in kinds], bool).reshape(-1, 4)
    return Labels(("a", "b", "c", "d"), present, np.ones_like(present))


@given(st.lists(st.tuples(st.integers(-1, 3), st.integers(1, 4)), min_size=30, max_size=80), st.integers(0, 3))
def test_no_patient_is_in_two_splits_and_each_kind_is_in_its_share(people, seed):
    patients = [f"p{number}" for number, (_, images) in enumerate(people) for _ in range(images)]
    kinds = [kind for kind, images in people for _ in range(images)]
    rows = split_rows({}, "auto", patients, of_kinds(kinds), seed, "t.csv")
    assert sorted(np.concatenate([*rows.values()]).tolist()) == list(range(len(patients)))
    of_split = {name: {patients[row] for row in part.tolist()} for name, part in rows.items()}
    assert not of_split["train"] & (of_split["val"] | of_split["test"])
    assert not of_split["val"] & of_split["test"]
    counts = {kind: sum(own == kind for own, _ in people) for kind in set(kinds)}
    for name, share in (("train", 0.7), ("val", 0.2), ("test", 0.1)):
        for kind, count in counts.items():
            there = sum(people[int(patient[1:])][0] == kind for patient in of_split[name])
            # Where the strata's ends fall between the splits' is left to rounding, one at either end.
            assert abs(there - share * count) <= len(counts) + 1


def test_the_column_split_is_held_against_the_patients():
    labels = of_kinds([0, 1, 0, 1])
    columns = {"split": ["Training", "train", "valid", "test"]}
    rows = split_rows(columns, "auto", ["p", "p", "q", "r"], labels, 0, "t.csv")
    assert {name: part.tolist() for name, part in rows.items()} == {"train": [0, 1], "val": [2], "test": [3]}
    with pytest.raises(InputError, match=r"t\.csv: patient q is in val and in test; keep a patient in one split"):
        split_rows(columns, "column", ["p", "p", "q", "q"], labels, 0, "t.csv")
    with pytest.raises(InputError, match="split is 'fold 1' in row 1; it is one of train, val, test"):
        split_rows({"split": ["fold 1"] * 4}, "auto", ["p", "p", "q", "q"], labels, 0, "t.csv")
    with pytest.raises(InputError, match="no row is in test"):
        split_rows({"split": ["train", "train", "val", "val"]}, "auto", ["p", "p", "q", "q"], labels, 0, "t.csv")
    with pytest.raises(InputError, match="has no column split"):
        split_rows({}, "column", ["p", "p", "q", "q"], labels, 0, "t.csv")


def test_few_shots_hold_each_kind_in_its_share_and_larger_ones_the_smaller():
    kinds = [number % 4 if number % 3 else -1 for number in range(600)]
    patients, rows = [f"p{number // 2}" for number in range(600)], np.arange(0, 600)
    labels = of_kinds(kinds)
    order = spread(patients, labels, rows, 0)
    shares = [few(order, patients, rows, share) for share in (0.01, 0.1, 1.0)]
    assert [len(part) for part in shares] == [6, 60, 600]
    assert set(shares[0].tolist()) <= set(shares[1].tolist())
    for label in range(4):
        assert abs(labels.present[shares[1], label].sum() - labels.present[:, label].sum() / 10) <= 4
    assert few(spread(patients, labels, rows, 1), patients, rows, 0.1).tolist() != shares[1].tolist()
    assert spread(patients, labels, rows, 0) == order


@pytest.mark.parametrize("cells", [["1", "0", "NA"], ["1.00", "0.00", ""], ["True", "False", "false"]])
def test_ones_and_zeros_as_programs_write_them(cells):
    found = labels_of({"Edema": cells}, ["Edema"], "ignore", "t.csv", Notes())
    assert found.names == ("Edema",)
    assert found.present[:, 0].tolist() == [True, False, False]
    assert found.known.all()


def test_ones_and_zeros_beside_names_are_refused():
    with pytest.raises(InputError, match=r"t.csv: column Edema holds 1 and 0, and 'mild'"):
        labels_of({"Edema": ["1", "0", "mild"]}, ["Edema"], "ignore", "t.csv", Notes())


def test_names_in_several_cases_are_one_label_and_normal_is_said_to_be_none():
    notes = Notes()
    columns = {"labels": ["Edema", "edema|Mass", "EDEMA", "normal", ""]}
    labels = labels_of(columns, ["labels"], "ignore", "t.csv", notes)
    assert labels.names == ("Edema", "Mass", "normal")
    assert labels.present.astype(int).tolist() == [[1, 0, 0], [1, 1, 0], [1, 0, 0], [0, 0, 1], [0, 0, 0]]
    said = [str(note) for note in notes.all]
    assert said == [
        "1 labels are written in several cases, each of them is taken for one ('Edema' and 'edema' and 'EDEMA')",
        "1 labels say that there is no finding, and are probed as the others are ('normal')",
    ]
    with pytest.raises(InputError, match="label 'edema' stands in two columns"):
        labels_of({"Edema": ["1", "0"], "b": ["edema", ""]}, ["Edema", "b"], "ignore", "t.csv", Notes())


def test_an_image_is_its_own_patient_where_nothing_else_is_said():
    notes = Notes()
    columns = {"image": ["a.png", "./a.png", "b.png", "b.png", "c.png", ""], "patient_id": ["", "", "", "p1", "p1", ""]}
    assert patients_of(columns, notes) == ["image a.png", "image a.png", "p1", "p1", "p1", "row 5"]
    assert [str(note) for note in notes.all] == [
        "2 images or rows name neither patient nor study: each counts as a patient of its own"
    ]


def test_rows_of_one_image_are_made_one():
    notes = Notes()
    columns = {"image": ["a.png", "b.png", "./a.png", "", ""]}
    present = np.array([[1, 0], [0, 0], [0, 1], [1, 0], [0, 0]], bool)
    known = np.array([[1, 1], [0, 1], [1, 1], [1, 1], [1, 1]], bool)
    rows, labels = one_row_an_image(columns, Labels(("x", "y"), present, known), notes)
    assert rows.tolist() == [0, 1, 3, 4]
    assert labels.present.astype(int).tolist() == [[1, 1], [0, 0], [1, 0], [0, 0]]
    assert labels.known.astype(int).tolist() == [[1, 1], [0, 1], [1, 1], [1, 1]]
    assert "1 images stand in several rows, which are made one" in str(notes.all[0])

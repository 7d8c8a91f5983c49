"""What a probe learns from: each row's labels and patient, and which split it is in."""

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Int

from cxr_jax.data import ids
from cxr_jax.data.image_files import plain_path
from cxr_jax.data.label_names import means_none, one_spelling
from cxr_jax.data.label_values import BLANK, NO, YES, truth_and_known, value_of
from cxr_jax.data.notes import Notes
from cxr_jax.data.placeholders import is_placeholder
from cxr_jax.data.sources.pairs import SPLIT_NAMES
from cxr_jax.data.sources.pairs_table import listed_names
from cxr_jax.data.splits import SHARES, SPLITS
from cxr_jax.errors import InputError

Columns = Mapping[str, Sequence[str]]


@dataclasses.dataclass(frozen=True)
class Labels:
    """Of n rows and L labels: whether each is there, and whether that is known."""

    names: tuple[str, ...]
    present: Bool[np.ndarray, "N L"]
    known: Bool[np.ndarray, "N L"]


def labels_of(columns: Columns, names: Sequence[str], uncertain: str, source: str, notes: Notes) -> Labels:
    """The labels in a table's columns.

    A column of 1, 0, -1 (or u) and blanks is a label, by the column's name. Any other holds names, one or, separated by
    |, several: each of them is a label, whatever its case. A blank says that there is none. The notes say which labels
    are written in several cases, and which are words for a study without findings.

    Args:
      columns: cells by name.
      names: of the columns to read.
      uncertain: one of `label_policies.UNCERTAIN`, what becomes of -1; "ignore" leaves the row out for that label.
      source: what messages call the table.

    Raises:
      InputError: there is no such column, or nothing in it.
    """
    present: dict[str, np.ndarray] = {}
    known: dict[str, np.ndarray] = {}
    for name in names:
        if name not in columns:
            raise InputError(f"{source}: has no column {name}, only {', '.join(columns)}; name one by --label_column")
        # As programs write truth, False may stand for a blank elsewhere.
        values = [value_of({"true": "1", "false": "0"}.get(cell.strip().lower(), cell)) for cell in columns[name]]
        if None not in values and set(values) != {BLANK}:
            truth = truth_and_known(np.array([values], np.int8).T, uncertain, blank="negative")
            present[name], known[name] = (column[:, 0] for column in truth)
            continue
        if {YES, NO} <= set(values):
            odd = columns[name][values.index(None)]
            raise InputError(
                f"{source}: column {name} holds 1 and 0, and {odd[:40]!r}; write 1, 0, -1 or nothing, or names alone"
            )
        written = [[one.strip() for one in listed_names(cell)] for cell in columns[name]]
        spelt = one_spelling((one for row in written for one in row if one and not is_placeholder(one)), notes)
        of_rows = [{spelt[one] for one in row if one in spelt} for row in written]
        for label in sorted(set(spelt.values())):
            if label.casefold() in map(str.casefold, present):
                raise InputError(f"{source}: label {label!r} stands in two columns; name one by --label_column")
            if means_none(label):
                notes.add("labels say that there is no finding, and are probed as the others are", repr(label))
            present[label] = np.array([label in row for row in of_rows])
            known[label] = np.ones(len(of_rows), bool)
    if not present:
        raise InputError(f"{source}: column {', '.join(names)} holds no label; name another by --label_column")
    return Labels(tuple(present), np.stack([*present.values()], axis=1), np.stack([*known.values()], axis=1))


def patients_of(columns: Columns, notes: Notes) -> list[str]:
    """Each row's patient: as patient_id has it, or else its study, or else its image, or else the row itself.

    Ids that programs wrote in several ways are one (`cxr_jax.data.ids.unify`). A row that names neither patient nor
    study has those of another row of its image.

    Raises:
      InputError: an image is of two patients.
    """
    count = len(next(iter(columns.values())))
    images = [plain_path(image) if image else "" for image in columns.get("image", [""] * count)]
    alone = [f"image {image}" if image else f"row {row}" for row, image in enumerate(images)]
    patients = list(alone)
    for column in ("study_id", "patient_id"):
        if column in columns:
            named = ids.unify([cell.strip() for cell in columns[column]], column, notes)
            patients = [name or before for name, before in zip(named, patients, strict=True)]
    of_image: dict[str, str] = {}
    for image, patient, itself in zip(images, patients, alone, strict=True):
        if image and patient != itself and of_image.setdefault(image, patient) != patient:
            raise InputError(
                f"image {image}: is of patient {of_image[image]} and of patient {patient}; leave one row of it out"
            )
    patients = [
        of_image.get(image, patient) if patient == itself else patient
        for image, patient, itself in zip(images, patients, alone, strict=True)
    ]
    if unnamed := len(set(patients) & set(alone)):
        notes.add("images or rows name neither patient nor study: each counts as a patient of its own", count=unnamed)
    return patients


def one_row_an_image(columns: Columns, labels: Labels, notes: Notes) -> tuple[Int[np.ndarray, " R"], Labels]:
    """The first row of each image, and their labels: one is there that any row of the image has.

    Rows that name no image stay as they are. The notes count the images of several rows.
    """
    first: dict[str, int] = {}
    home = np.arange(len(labels.present))
    for row, image in enumerate(columns.get("image", [])):
        if image:
            home[row] = first.setdefault(plain_path(image), row)
    rows, place, sizes = np.unique(home, return_inverse=True, return_counts=True)
    if several := int((sizes > 1).sum()):
        notes.add(
            "images stand in several rows, which are made one: a label is there that one of them has", count=several
        )
    present, known = (np.zeros((len(rows), len(labels.names)), bool) for _ in range(2))
    np.logical_or.at(present, place, labels.present & labels.known)
    np.logical_or.at(known, place, labels.known)
    return rows, Labels(labels.names, present, known)


def split_rows(
    columns: Columns, split: str, patients: Sequence[str], labels: Labels, seed: int, source: str
) -> dict[str, np.ndarray]:
    """The rows of train, val and test, int64 each; no patient is in two of them.

    Args:
      split: "column", "patient" (7:2:1 of the patients, each kind of label spread evenly), or "auto": the column where
        there is one.

    Raises:
      InputError: there is no such column, it holds another word, a patient is in two splits, or a split is empty.
    """
    by_column = split == "column" or (split == "auto" and "split" in columns)
    if by_column and "split" not in columns:
        raise InputError(f"{source}: has no column split; add it, or deal the patients by --split patient")
    if by_column:
        of_rows = [SPLIT_NAMES.get(cell.strip().lower(), cell.strip().lower()) for cell in columns["split"]]
        home: dict[str, str] = {}
        for row, (patient, name) in enumerate(zip(patients, of_rows, strict=True)):
            if name not in SPLITS:
                raise InputError(
                    f"{source}: split is {columns['split'][row]!r} in row {row + 1}; it is one of {', '.join(SPLITS)}"
                )
            if home.setdefault(patient, name) != name:
                raise InputError(
                    f"{source}: patient {patient} is in {home[patient]} and in {name}; keep a patient in one split, or "
                    "deal the patients anew by --split patient"
                )
    else:
        order = spread(patients, labels, np.arange(len(patients)), seed)
        ends = np.cumsum([*SHARES.values()]) / sum(SHARES.values())
        place = {patient: (number + 0.5) / len(order) for number, patient in enumerate(order)}
        of_rows = [SPLITS[int(np.searchsorted(ends, place[patient]))] for patient in patients]
    rows = {name: np.flatnonzero(np.array(of_rows) == name) for name in SPLITS}
    for name, of_split in rows.items():
        if not len(of_split):
            raise InputError(
                f"{source}: no row is in {name}; a probe learns on train, is chosen on val, scored on test"
            )
    return rows


def spread(patients: Sequence[str], labels: Labels, rows: Int[np.ndarray, " R"], seed: int) -> list[str]:
    """The patients of these rows in a seeded order of which any stretch has each kind of them in its share.

    A patient's kind is the rarest label of its rows.
    """
    own: dict[str, set[int]] = {}
    for row in rows.tolist():
        own.setdefault(patients[row], set()).update(np.flatnonzero(labels.present[row] & labels.known[row]).tolist())
    counts = Counter(label for of_patient in own.values() for label in of_patient)
    kinds: dict[int, list[str]] = {}
    for patient in sorted(own):
        kinds.setdefault(min(own[patient], key=lambda label: (counts[label], label), default=-1), []).append(patient)
    rng, places = np.random.default_rng([seed, 318]), []
    for kind in sorted(kinds):
        of_kind, shift = kinds[kind], rng.uniform()
        for number, one in enumerate(rng.permutation(len(of_kind)).tolist()):
            places.append(((number + shift) / len(of_kind), kind, of_kind[one]))
    return [patient for *_, patient in sorted(places)]


def few(order: Sequence[str], patients: Sequence[str], rows: np.ndarray, share: float) -> np.ndarray:
    """Those of the rows that are of the first patients in `order`, as many as make up a share of the rows."""
    of_patient: dict[str, list[int]] = {}
    for row in rows.tolist():
        of_patient.setdefault(patients[row], []).append(row)
    taken: list[int] = []
    for patient in order:
        if len(taken) >= share * len(rows):
            break
        taken += of_patient[patient]
    return np.sort(np.array(taken, np.int64))

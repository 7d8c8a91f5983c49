"""A set from elsewhere, to be scored: a table of images with labels, with reports, or both; or a folder of images."""

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np

from cxr_jax.csv_table import Row, listed
from cxr_jax.data import folders, ids
from cxr_jax.data.column_maps import CELLS, Cell, ColumnMap, fitted
from cxr_jax.data.image_files import ImageFiles, plain_path, without_suffix
from cxr_jax.data.label_names import one_spelling
from cxr_jax.data.label_values import YES, label_columns, of_image, values_of_row
from cxr_jax.data.notes import Notes
from cxr_jax.data.placeholders import is_placeholder
from cxr_jax.data.records import Record
from cxr_jax.data.reports import choose_section
from cxr_jax.data.sources.pairs import UNKNOWN_VIEW
from cxr_jax.data.sources.pairs_table import TEXTS, report_of
from cxr_jax.data.sources.published import one_report_a_study, studies_of_their_own
from cxr_jax.data.tables import open_table
from cxr_jax.data.views import view_of
from cxr_jax.errors import InputError


@dataclasses.dataclass(frozen=True)
class ExternalSet:
    """Its images in the table's order, a row each; `values` are of `label_values`, int8 (n, L), L of `names`."""

    file: Path
    columns: ColumnMap
    records: list[Record]  # `labels` are those that are there
    reports: list[str]  # of data.section; '' where there is none
    names: tuple[str, ...]
    values: np.ndarray

    def __len__(self) -> int:
        return len(self.records)

    def take(self, rows: Sequence[int] | np.ndarray) -> "ExternalSet":
        """Some of its images."""
        return dataclasses.replace(
            self,
            records=[self.records[i] for i in rows],
            reports=[self.reports[i] for i in rows],
            values=self.values[np.asarray(rows, np.int64)],
        )


def read_external(
    file: Path, columns: ColumnMap, images: Path | None, section: str, view: str, notes: Notes
) -> ExternalSet:
    """Reads a table, the rows of an image made one; no image is opened.

    Where the map says nothing of labels, and the table has no column of that name, those columns are labels whose every
    cell is 1, 0, -1 or blank.

    Args:
      images: the folder that paths start from, or that holds the images somewhere below it; the table's where None.
      section, view: the run's data.section and data.view, by which reports and images are chosen.

    Raises:
      InputError: the table cannot be read or lacks a column, a cell is not what it should be, or nothing is left.
    """
    columns, rows = _read(file, columns, notes)
    if not rows:
        raise InputError(f"{file}: has no rows; add one an image")
    said = [values_of_row(columns, row, file) for row in rows]
    stated = (*columns.values, *columns.masks)
    spelt = one_spelling((*stated, *(name for _, cell in said for name in sorted(cell or ()))), notes)
    said = [(of_columns, cell and {spelt[name] for name in cell}) for of_columns, cell in said]
    _refuse_twice(file, stated, {name for _, cell in said for name in cell or ()}, spelt)
    absent = {name.casefold() for name in columns.normal}
    out = {name.casefold() for name in columns.leave_out}
    names = sorted({name for _, cell in said for name in cell or () if name.casefold() not in absent | out})
    rows_of: dict[str, list[int]] = {}
    written: dict[str, dict[str, None]] = {}  # of each image, how it is named
    for number, row in enumerate(rows):
        image = columns.cells["image"].of(row.cells["image"])
        if not image or is_placeholder(image) or not Path(image).name:
            raise InputError(f"{file} {row.where}: image is empty or no file's name; fill it in or leave the row out")
        rows_of.setdefault(plain_path(image), []).append(number)
        written.setdefault(plain_path(image), {})[image] = None
    for names_of_one in written.values():
        if len(names_of_one) > 1:
            notes.add("images are named in several ways, each is taken for one", " and ".join(map(repr, names_of_one)))
    files = ImageFiles(images or (file if file.is_dir() else file.parent))
    unified = {
        key: ids.unify([_cell(columns, rows[numbers[0]], key) for numbers in rows_of.values()], key, notes)
        for key in ("patient_id", "study_id")
    }
    records, values = [], []
    for place, (image, numbers) in enumerate(rows_of.items()):
        if any(name.casefold() in out for number in numbers for name in said[number][1] or ()):
            notes.add(f"images have a label of leave_out ({listed(columns.leave_out)}), and are left out", repr(image))
            continue
        record = _record(columns, [rows[number] for number in numbers], image, notes)
        if record.view == {"frontal": "lateral", "lateral": "frontal"}.get(view, "-"):
            notes.add(f"images are {record.view}, and are left out, for the run's data.view is {view}", repr(image))
            continue
        by_reader: dict[str, list] = {}
        for number in numbers:
            by_reader.setdefault(_cell(columns, rows[number], "readers"), []).append(said[number])
        of_labels = of_image(by_reader, names)
        study = unified["study_id"][place] or without_suffix(image)
        records.append(
            dataclasses.replace(
                record,
                image=files.find(next(iter(written[image]))),
                study_id=study,
                patient_id=unified["patient_id"][place] or f"study:{study}",
                labels=tuple(label for label, value in of_labels.items() if value == YES),
            )
        )
        values.append([of_labels[label] for label in (*columns.values, *columns.masks, *names)])
    if not records:
        raise InputError(f"{file}: none of its {len(rows_of)} images is left; the lines above say why")
    records = one_report_a_study(_with_their_studys_report(studies_of_their_own(records, notes)), notes)
    reports = [choose_section(record.findings, record.impression, section) for record in records]
    labels = (*columns.values, *columns.masks, *names)
    return ExternalSet(
        file, columns, records, reports, labels, np.array(values, np.int8).reshape(len(records), len(labels))
    )


def _refuse_twice(file: Path, stated: Sequence[str], named: Collection[str], spelt: Mapping[str, str]) -> None:
    """A label that two columns speak of, for they may contradict each other."""
    first: dict[str, str] = {}
    for label in stated:
        if (other := first.setdefault(spelt[label], label)) != label:
            raise InputError(f"{file}: columns {other} and {label} are one label, but for case; remove one of them")
        if spelt[label] in named:
            raise InputError(
                f"{file}: label {label} has a column, and stands among the names of another; say by --columns which "
                "counts"
            )


def _read(file: Path, columns: ColumnMap, notes: Notes) -> tuple[ColumnMap, list[Row]]:
    """The map fitted to the table, and its rows: cells of CELLS under our names, those of labels under the table's."""
    if file.is_dir():
        files = folders.image_files(file)
        rows = [Row(i, i, {"image": str(image.relative_to(file))}) for i, image in enumerate(files, start=1)]
        columns = fitted(columns, file, ["image"])
        labels = {**columns.values, **columns.masks}
        cells = [*columns.cells, *(cell.columns[0] for cell in labels.values())]
        return columns, [row._replace(cells=dict.fromkeys(cells, row.cells["image"])) for row in rows]
    table = open_table(file)
    stated = bool(columns.values or columns.masks or "labels" in columns.cells)
    columns = fitted(columns, file, table.columns)
    wanted = {key: cell.columns[0] for key, cell in columns.cells.items()}
    if not stated and "labels" not in columns.cells:
        free = {name: name for name in table.columns if name not in wanted.values() and name not in CELLS}
        rows = list(table.rows(free | wanted))
        found = label_columns(rows, list(free), notes)
        if found:
            notes.add(f"columns are taken for labels, each cell being 1, 0, -1 or blank: {listed(found)}", count=0)
        return dataclasses.replace(columns, values={name: Cell((name,)) for name in found}), rows
    of_labels = {cell.columns[0]: cell.columns[0] for cell in (*columns.values.values(), *columns.masks.values())}
    return columns, list(table.rows(of_labels | wanted))


def _cell(columns: ColumnMap, row: Row, key: str) -> str:
    """A cell's value, '' where there is no such column or it holds a placeholder."""
    if key not in columns.cells:
        return ""
    value = columns.cells[key].of(row.cells[key])
    return "" if is_placeholder(value) else value


def _record(columns: ColumnMap, rows: Sequence[Row], image: str, notes: Notes) -> Record:
    """An image's record, its report by the first row that has one; files and ids are put in later."""
    found = []
    for row in rows:
        texts = report_of({key: columns.cells[key].of(row.cells[key]) for key in TEXTS if key in columns.cells})
        if any(texts):
            found.append(texts)
    if len(set(found)) > 1:
        notes.add("images stand in several rows with different reports: that of the first row stands", repr(image))
    view = _cell(columns, rows[0], "view")
    if view and not view_of(view):
        notes.add(UNKNOWN_VIEW, repr(view), check="views")
    return Record(image, Path(image), "", "", view_of(view), *(found[0] if found else ("", "")))


def _with_their_studys_report(records: Sequence[Record]) -> list[Record]:
    """The records, those without a report with that of another image of their study."""
    texts: dict[str, tuple[str, str]] = {}
    for record in records:
        if record.findings or record.impression:
            texts.setdefault(record.study_id, (record.findings, record.impression))
    filled = []
    for record in records:
        own = record.findings, record.impression
        findings, impression = own if any(own) else texts.get(record.study_id, own)
        filled.append(dataclasses.replace(record, findings=findings, impression=impression))
    return filled

"""The table of `pairs`: which of its columns is which, and what of its cells counts."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from cxr_jax.csv_table import Row, listed
from cxr_jax.data.label_sentences import LabelSentences
from cxr_jax.data.notes import Notes
from cxr_jax.data.placeholders import is_no_report, is_placeholder
from cxr_jax.data.sections import Report, cut_report, plain_text
from cxr_jax.data.tables import ObjectTable, PlainTable, open_table
from cxr_jax.errors import InputError

TEXTS = ("report", "findings", "impression")
COLUMNS = ("image", *TEXTS, "patient_id", "study_id", "view", "split", "labels")
SHOWN = 10  # rows that a message names
_QUOTED = re.compile(r"'((?:[^'\\]|\\.)*)'|\"((?:[^\"\\]|\\.)*)\"")


class PairsTable(NamedTuple):
    """A table's rows, their cells by our names (those of COLUMNS that it has), blank where they hold a placeholder.

    Each has `findings` and `impression`, whether the table has such columns or not.
    """

    columns: tuple[str, ...]
    rows: list[Row]
    labels: list[tuple[str, ...]]  # of each row, as they are written
    first_row: int  # the first row's number


def images_of(file: Path, data: Mapping[str, Any]) -> tuple[tuple[str, ...], list[str]]:
    """A look at the table: (those of COLUMNS that it has, what its rows name as images).

    Raises:
      InputError: the table cannot be read, lacks a column or has it twice.
    """
    table = open_table(file)
    columns = _columns(table, data)
    rows = table.rows({"image": columns["image"]})
    return tuple(columns), [row.cells["image"] for row in rows if not is_placeholder(row.cells["image"])]


def read_table(file: Path, data: Mapping[str, Any], notes: Notes) -> PairsTable:
    """The rows that have an image and a report; with data.sentences, an image and a label, and no report is read.

    Raises:
      InputError: the table cannot be read, lacks a column or has it twice, has no rows, or a row has no image; or it
        has no report, and data.placeholders is not "drop"; or data.sentences has none for a label.
    """
    table = open_table(file)
    columns = _columns(table, data)
    rows = list(table.rows(columns))
    if not rows:
        raise InputError(f"{file}: has no rows; add one a pair of image and report")
    if table.encoding == "cp1252":
        notes.add("is in no Unicode encoding, and is read as cp1252, that of Windows in Western Europe", count=0)
    rows = [row._replace(cells=_without_placeholders(row.cells, notes)) for row in rows]
    for row in rows:
        if not row.cells["image"]:
            raise InputError(f"{file} {row.where}: image is empty; fill it in or leave the row out")
        if not Path(row.cells["image"]).name:
            raise InputError(f"{file} {row.where}: image is {row.cells['image']!r}, which names no file; mend the path")
    if data["sentences"]:
        labels = _labels(rows, notes)
        rows, labels = _with_sentences(file, rows, labels, LabelSentences(data["sentences"]), notes)
    else:
        rows = _with_reports(file, rows, data["placeholders"], notes)
        labels = _labels(rows, notes)
    return PairsTable(tuple(columns), rows, labels, table.first_row)


def image_file(root: Path, name: str, notes: Notes) -> Path:
    """The file that a cell names, from `root` on where it is relative, its path without detours."""
    if "\\" in name and not (root / name).exists():
        notes.add("images' paths are written with \\, as Windows has them", repr(name))
        name = name.replace("\\", "/")
    return Path(os.path.normpath(root / name))


def _columns(table: PlainTable | ObjectTable, data: Mapping[str, Any]) -> dict[str, str]:
    """Our names to the table's: by data.columns, or where only case, blanks, "_" and "-" differ."""
    given, columns = data["columns"], dict[str, str]()
    for name, column in given.items():
        if name not in COLUMNS:
            # Written the other way round, {"Path": "image"}, there is no doubt either.
            name, column = column, name
        if name not in COLUMNS:
            raise InputError(
                f"data.columns = {dict(given)}: {column!r} is none of {', '.join(COLUMNS)}; write {{'image': 'Path'}}, "
                "ours first"
            )
        if name in columns:
            raise InputError(f"data.columns = {dict(given)}: names two columns for {name}; leave one out")
        there = [theirs for theirs in table.columns if theirs == column] or alike(table.columns, column)
        if len(there) != 1:
            raise InputError(
                f"data.columns = {dict(given)}: {table.file} has no column {column}, only {listed(table.columns)}; "
                "write it as the table does"
            )
        columns[name] = there[0]
    free = [column for column in table.columns if column not in columns.values()]
    for name in COLUMNS:
        if name in columns:
            continue
        there = alike(free, name)
        if len(there) > 1:
            raise InputError(
                f"{table.file} row 1: columns {there[0]!r} and {there[1]!r} are both {name}; remove or rename one"
            )
        if there:
            columns[name] = there[0]
    if data["sentences"]:
        columns = {name: column for name, column in columns.items() if name not in TEXTS}
        needed = ["image", "labels"]
    else:
        needed = ["image"] if set(TEXTS) & columns.keys() else ["image", "report"]
    for name in needed:
        if name not in columns:
            there_are = listed(table.columns) or "an empty line"
            raise InputError(
                f"{table.file}: has no column {name}, only {there_are}; add or rename it, or say which it is by "
                "data.columns"
            )
    return columns


def alike(columns: Sequence[str], name: str) -> list[str]:
    """Those of the columns that differ from a name in case, blanks, "_" and "-" at most."""
    return [column for column in columns if _plain(column) == _plain(name)]


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]", "", name).casefold()


def _without_placeholders(cells: Mapping[str, str], notes: Notes) -> dict[str, str]:
    """The cells, blank where they hold a placeholder; those of reports stay, to be refused by their words."""
    kept = dict(cells)
    for name, cell in cells.items():
        if name in ("image", "patient_id", "study_id", "view") and is_placeholder(cell):
            kept[name] = ""
            if name in ("patient_id", "study_id"):
                notes.add(f"cells of {name} hold a placeholder and count as blank", repr(cell), check="placeholders")
    return kept


def _with_reports(file: Path, rows: Sequence[Row], placeholders: str, notes: Notes) -> list[Row]:
    """The rows with a report, their cells of findings and impression filled."""
    kept, without = [], []
    for row in rows:
        texts = {name: plain_text(row.cells[name]) for name in TEXTS if name in row.cells}
        real = {name: "" if is_no_report(text) else text for name, text in texts.items()}
        findings, impression, cut = parts_of(real)
        if not findings and not impression:
            without.append((row, next(filter(None, texts.values()), "")))
            continue
        for name, text in texts.items():
            if text != real[name]:
                notes.add(f"cells of {name} hold a placeholder and count as blank", repr(text), check="placeholders")
        if cut:
            notes.add("reports have headings, by which data.section takes its part (FINDINGS:, IMPRESSION:)")
        kept.append(row._replace(cells=row.cells | {"findings": findings, "impression": impression}))
    if without and placeholders != "drop":
        row, text = without[0]
        what = f"is {text[:40]!r}, a placeholder and no report" if text else "is empty"
        more = ", ".join(str(other.number) for other, _ in without[1 : SHOWN + 1])
        others = f" (so {len(without) - 1} more: {more}{', …' if len(without) > SHOWN + 1 else ''})" if more else ""
        name = next((name for name in TEXTS if name in row.cells), "report")
        raise InputError(
            f"{file} {row.where}: {name} {what}{others}; fill it in, leave the row out, or set data.placeholders=drop"
        )
    for _, text in without:
        what = "rows have no report, but nothing or a placeholder, and are dropped"
        notes.add(what, repr(text), check="placeholders")
    if not kept:
        raise InputError(f"{file}: none of its {len(rows)} rows has a report; is it the right column?")
    return kept


def report_of(cells: Mapping[str, str]) -> tuple[str, str]:
    """(Findings, impression) of a row's cells by our names; '' for what is blank, absent or a placeholder."""
    texts = {name: plain_text(cells[name]) for name in TEXTS if name in cells}
    findings, impression, _ = parts_of({name: "" if is_no_report(text) else text for name, text in texts.items()})
    return findings, impression


def parts_of(texts: Mapping[str, str]) -> tuple[str, str, bool]:
    """(findings, impression, whether the report was cut): from columns of their own, or else from the report."""
    report, findings, impression = (texts.get(name, "") for name in TEXTS)
    if (own := cut_report(findings)) and own.findings:
        findings = own.findings
    if (own := cut_report(impression)) and own.impression:
        impression = own.impression
    if findings and impression:
        return findings, impression, False
    cut = cut_report(report)
    # Without headings a report is no part of what stands in columns of their own, but the whole of it.
    of_report = cut or Report("" if impression else report, "")
    return findings or of_report.findings, impression or of_report.impression, cut is not None


def _with_sentences(
    file: Path, rows: Sequence[Row], labels: Sequence[tuple[str, ...]], sentences: LabelSentences, notes: Notes
) -> tuple[list[Row], list[tuple[str, ...]]]:
    """The rows with a label, the sentences of theirs as their findings; and the labels of those."""
    kept = []
    for row, of_row in zip(rows, labels, strict=True):
        if of_row:
            texts = {"findings": sentences.report(of_row), "impression": ""}
            kept.append((row._replace(cells=row.cells | texts), of_row))
        else:
            notes.add("rows have no label, of which data.sentences makes a report, and are left out", row.where)
    if not kept:
        raise InputError(f"{file}: none of its {len(rows)} rows has a label; is it the right column?")
    return [row for row, _ in kept], [of_row for _, of_row in kept]


def _labels(rows: Sequence[Row], notes: Notes) -> list[tuple[str, ...]]:
    """Each row's labels, as they are written."""
    spellings: dict[str, dict[str, None]] = {}
    labels = []
    for row in rows:
        parts = [label.strip() for label in listed_names(row.cells.get("labels", ""))]
        kept = tuple(label for label in parts if label and not is_placeholder(label))
        for label in kept:
            spellings.setdefault(label.casefold(), {})[label] = None
            if "," in label or ";" in label:
                notes.add("labels hold , or ; which do not separate: | does", repr(label), check="label_forms")
        labels.append(kept)
    for forms in spellings.values():
        if len(forms) > 1:
            shown = " and ".join(map(repr, forms))
            notes.add("labels differ from another in case alone, and count as others", shown, check="label_forms")
    return labels


def listed_names(cell: str) -> list[str]:
    """The labels in a cell: separated by |, or as a program prints a list of them, "['Edema', 'Mass']"."""
    if cell.startswith("[") and cell.endswith("]"):
        return [single or double for single, double in _QUOTED.findall(cell)] or [cell.strip("[]")]
    return cell.split("|")

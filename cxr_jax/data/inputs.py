"""What is to be embedded: the rows of a table, the images of a folder, or the lines of a text file."""

import dataclasses
import hashlib
import os
import zlib
from collections.abc import Collection, Mapping
from pathlib import Path

import yaml

from cxr_jax.csv_table import Row, listed
from cxr_jax.data import folders
from cxr_jax.data.notes import Notes
from cxr_jax.data.placeholders import is_placeholder
from cxr_jax.data.reports import choose_section
from cxr_jax.data.sources.pairs_table import COLUMNS, TEXTS, alike, image_file, report_of
from cxr_jax.data.tables import ObjectTable, PlainTable, open_table
from cxr_jax.encodings import lines_of, read_text
from cxr_jax.errors import InputError

TEXT_SUFFIXES = (".txt", ".text")
NOT_OURS = ("about", "image_embedding", "text_embedding")  # what an embeddings file has beside its columns
LONGEST = 200  # characters of a cell that is an id, a label, a split; columns of longer ones are text


@dataclasses.dataclass(frozen=True)
class Inputs:
    """Rows to embed, in their order; a row's image or text is None where it has none.

    `columns`: {name: a cell a row}, all that says which row is which and what is known of it. `images` and `texts` are
    None where the source has no such thing at all.
    """

    source: Path
    columns: dict[str, list[str]]
    images: list[Path | None] | None = None
    texts: list[str | None] | None = None

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def digest(self) -> str:
        """What changes with every cell, text and image; images by path, size and time of change."""
        digest = hashlib.sha256(repr((sorted(self.columns.items()), self.texts)).encode(errors="surrogatepass"))
        for file in self.images or []:
            try:
                stat = os.stat(file) if file is not None else None
            except OSError:  # one that cannot be read is found when it is its turn
                stat = None
            digest.update(f"{file}\0{stat and (stat.st_size, stat.st_mtime_ns)}\0".encode(errors="surrogateescape"))
        return digest.hexdigest()[:16]


def read_inputs(given: Path, section: str, columns: Mapping[str, str], root: Path | None, notes: Notes) -> Inputs:
    """What a folder, a text file or a table holds to embed.

    Args:
      section: `data.section`, what of a report is read.
      columns: {ours: the table's}, where they differ in more than case, blanks, "_" and "-".
      root: what a table's relative paths start from; None for its folder.

    Raises:
      InputError: it cannot be read or holds nothing, or a table has neither images nor reports.
    """
    if given.is_dir():
        return _of_folder(given)
    if not given.exists():
        raise InputError(f"{given}: no such file or folder; mend the path")
    plain = given.with_suffix("") if given.suffix.lower() == ".gz" else given
    if plain.suffix.lower() in TEXT_SUFFIXES:
        return _of_lines(given)
    return _of_table(given, section, columns, given.parent if root is None else root, notes)


def _of_folder(folder: Path) -> Inputs:
    files: list[Path | None] = [*folders.image_files(folder)]
    if not files:
        raise InputError(f"{folder}: no image in this folder; name another")
    return Inputs(folder, {"image": [str(file.relative_to(folder)) for file in files if file]}, files)


def _of_lines(file: Path) -> Inputs:
    try:
        lines = lines_of(read_text(file, western=True)[0])
    except (EOFError, OSError, zlib.error, UnicodeError) as error:
        raise InputError(f"{file}: cannot be read as text in UTF-8 ({error}); save it as that") from error
    texts: dict[str, str | None] = {str(number): line for number, line in enumerate(lines, start=1) if line.strip()}
    if not texts:
        raise InputError(f"{file}: holds no line with a text; write one text a line")
    return Inputs(file, {"line": list(texts)}, texts=list(texts.values()))


def _of_table(file: Path, section: str, given: Mapping[str, str], root: Path, notes: Notes) -> Inputs:
    table = open_table(file)
    names = named_columns(table, given, notes)
    has_texts = [name for name in TEXTS if name in names]
    if "image" not in names and not has_texts:
        raise InputError(
            f"{file}: has no column image or report, only {listed(table.columns) or 'an empty line'}; say which it is, "
            "--columns '{image: Path}'"
        )
    rows = list(table.rows(names))
    if not rows:
        raise InputError(f"{file}: has no rows; add one an image or report")
    images = [_image(row, root, notes) for row in rows] if "image" in names else None
    texts = [_text(row, section, notes) for row in rows] if has_texts else None
    if not any(images or []) and not any(texts or []):
        raise InputError(f"{file}: none of its {len(rows)} rows has an image or a report; are they the right columns?")
    cells = {name: [row.cells[name] for row in rows] for name in names if name not in TEXTS}
    columns = {}
    for name, column in cells.items():
        if name not in COLUMNS and max(map(len, column)) > LONGEST:
            notes.add(f"columns have cells of more than {LONGEST} characters, and are left out", repr(name))
        else:
            columns[_free_name(name, cells, notes)] = column
    return Inputs(file, columns or {"row": [str(row.number) for row in rows]}, images, texts)


def _free_name(name: str, taken: Collection[str], notes: Notes) -> str:
    """What a column is called beside the file's own, which may have its name."""
    free = name
    while free in NOT_OURS or (free != name and free in taken):
        free = f"table_{free}"
    if free != name:
        notes.add("columns are called as the file's own, and are stored under another name", f"{name!r} as {free!r}")
    return free


def named_columns(table: PlainTable | ObjectTable, given: Mapping[str, str], notes: Notes) -> dict[str, str]:
    """Every column that can be read as text, ours under our names: {name: column}; the notes name the others."""
    names: dict[str, str] = {}
    for name, column in given.items():
        there = [theirs for theirs in table.columns if theirs == column] or alike(table.columns, column)
        if name not in COLUMNS:
            raise InputError(
                f"--columns: {name!r} is none of {', '.join(COLUMNS)}; write '{{image: Path}}', ours first"
            )
        if len(there) != 1:
            raise InputError(
                f"--columns: {table.file} has no column {column}, only {listed(table.columns)}; write it as the table "
                "does"
            )
        names[name] = there[0]
    for name in COLUMNS:
        there = [column for column in alike(table.columns, name) if column not in names.values()]
        if name not in names and len(there) > 1:
            raise InputError(
                f"{table.file} row 1: columns {there[0]!r} and {there[1]!r} are both {name}; remove or rename one"
            )
        if name not in names and there:
            names[name] = there[0]
    for column in table.columns:
        if column in (*names.values(), *names):
            continue
        if _is_text(table, column):
            names[column] = column
        else:
            notes.add("columns hold more than text and numbers, and are left out", repr(column))
    return names


def _is_text(table: PlainTable | ObjectTable, column: str) -> bool:
    """Whether a column is of cells; a JSON object may hold more objects, which are nothing to look an image up by."""
    if isinstance(table, PlainTable):
        return True
    try:
        return all(True for _ in table.rows({column: column}))
    except InputError:
        return False


def _image(row: Row, root: Path, notes: Notes) -> Path | None:
    cell = row.cells["image"]
    if not cell or is_placeholder(cell):
        notes.add("rows name no image", row.where)
        return None
    return image_file(root, cell, notes)


def _text(row: Row, section: str, notes: Notes) -> str | None:
    """What training would read of the row's report."""
    findings, impression = report_of(row.cells)
    if not findings and not impression:
        notes.add("rows have no report, but nothing or a placeholder", row.where)
        return None
    chosen = choose_section(findings, impression, section)
    if not chosen:
        notes.add(f"rows have no text for data.section={section}, the run's", row.where)
    return chosen or None


def given_columns(text: str) -> dict[str, str]:
    """`--columns`: {ours: the table's}, as YAML has it.

    Raises:
      InputError: it is not in that form.
    """
    try:
        mapping = yaml.safe_load(text) if text else {}
    except yaml.YAMLError:
        mapping = None
    if not isinstance(mapping, dict) or not all(isinstance(one, str) for pair in mapping.items() for one in pair):
        raise InputError(f"--columns {text!r}: is no list of columns; write '{{image: Path, patient_id: Patient ID}}'")
    return mapping

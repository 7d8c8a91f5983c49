"""Tables as people and programs save them: CSV, packed or not, as spreadsheets of several languages write it."""

import csv
import io
import zlib
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from cxr_jax.encodings import read_text
from cxr_jax.errors import InputError

DELIMITERS = ",;\t|"
SHOWN = 200  # characters of a header that a message repeats


class Row(NamedTuple):
    """A row below the header."""

    number: int  # as a spreadsheet counts: the header is row 1, and blank rows count
    line: int  # of the file, where it begins
    cells: dict[str, str]  # by column name, stripped; columns without a name are left out

    @property
    def where(self) -> str:
        """Its place, for messages: "row 5", or "row 5 (line 7)" where line breaks in quotes come before it."""
        return _where(self.number, self.line)


class CsvTable:
    """A CSV file: `columns` are its names, stripped; iterating gives its rows, and reads the file anew each time.

    In any of the encodings of `cxr_jax.encodings.decode`, `encoding` says in which; gzip-packed where the name ends in
    .gz. Cells are separated by comma, semicolon, tab or bar, whichever the header has most of; a first line "sep=;", as
    Excel writes it, says which. A row may have blank cells more than the header has columns, as spreadsheets write
    them; blank rows are skipped.

    Raises:
      InputError: naming the file, and the row where it is one's: it cannot be read, is not text in these encodings, a
        quote is wrong or never closed, two columns share a name, one of `required` is missing, or a row has too few
        cells or too many. Of the rows, when they are reached.
    """

    def __init__(self, file: Path, required: Sequence[str] = (), blank_rows: bool = False, western: bool = False):
        """Reads the header.

        Args:
          required: names of columns.
          blank_rows: gives rows of blank cells too, for tables whose rows mean something by their place. An empty line
            is never one.
          western: takes cp1252 too, for tables that people save; a release in it is a damaged one.
        """
        self.file, self.blank_rows, self.western, self.encoding = file, blank_rows, western, ""
        _, _, header = next(self._records(), (1, 1, []))
        self._header = [name.strip("\ufeff \t\r\n") for name in header]
        self.columns = [name for name in self._header if name]
        doubled = [name for name in self.columns if self.columns.count(name) > 1]
        if doubled:
            raise InputError(f"{file} row 1: column {listed(doubled[:1])!r} comes twice; remove or rename one")
        for name in required:
            if name not in self.columns:
                there = listed(self.columns) or "an empty line"
                raise InputError(f"{file}: has no column {name}, only {there}; add or rename it")

    def __iter__(self) -> Iterator[Row]:
        """The rows in their order."""
        width = len(self._header)
        places = [(place, name) for place, name in enumerate(self._header) if name]
        records = self._records()
        next(records, None)
        for number, line, record in records:
            cells = [cell.strip() for cell in record]
            if not cells or not (self.blank_rows or any(cells)):
                continue
            # Too few are refused although the rest could be blank: so ends a file that was cut off.
            if len(cells) < width or any(cells[width:]):
                count = f"{len(cells)} cell{'' if len(cells) == 1 else 's'} for {width} columns"
                raise InputError(
                    f"{self.file} {_where(number, line)}: has {count}; put what holds the separator in double quotes, "
                    "and give each column its cell"
                )
            yield Row(number, line, {name: cells[place] for place, name in places})

    def _records(self) -> Generator[tuple[int, int, list[str]], None, None]:
        """(Number, first line, cells) of every record, the header and empty lines too."""
        number, line = 1, 1
        try:
            text, self.encoding = read_text(self.file, self.western)
            declared, text = _declared_delimiter(text)
            # Strict: a quote that is never closed would swallow the rest of the file as one cell.
            reader = csv.reader(io.StringIO(text, newline=""), delimiter=declared or _delimiter(text), strict=True)
            start = 1 if declared else 0
            number, line = number + start, line + start
            for record in reader:
                if any("\0" in cell for cell in record):  # no file has such a name, and no report such a character
                    raise InputError(f"{self.file} {_where(number, line)}: holds a NUL byte; save the table anew")
                yield number, line, record
                number, line = number + 1, reader.line_num + 1 + start
        except csv.Error as error:
            raise _unreadable(f"{self.file} {_where(number, line)}", f"{error}; is a quote never closed?") from error
        except FileNotFoundError as error:
            raise InputError(f"{self.file}: no such file; mend the path") from error
        except IsADirectoryError as error:
            raise InputError(f"{self.file}: is a folder; name the CSV in it") from error
        except (EOFError, OSError, zlib.error, UnicodeError) as error:
            raise _unreadable(str(self.file), str(error)) from error


def _unreadable(where: str, reason: str) -> InputError:
    return InputError(
        f"{where}: cannot be read as CSV: damaged, or not a CSV in UTF-8 ({reason}); save it as one, or download it "
        "again"
    )


def _declared_delimiter(text: str) -> tuple[str, str]:
    """What Excel's first line "sep=;" says, and the text below it; nothing, and the text, where there is none."""
    first, _, rest = text.partition("\n")
    first = first.strip("\ufeff\r ")
    return (first[4], rest) if len(first) == 5 and first.lower().startswith("sep=") else ("", text)


def _delimiter(text: str) -> str:
    """Which of DELIMITERS the header has most of, outside quotes; a comma where it has none."""
    header = io.StringIO(text, newline="").readline()
    unquoted = "".join(header.split('"')[::2])
    return max(DELIMITERS, key=unquoted.count)


def _where(number: int, line: int) -> str:
    return f"row {number}" if number == line else f"row {number} (line {line})"


def listed(names: Sequence[str]) -> str:
    """Names on one line, for messages, cut where the line would be long."""
    line = " ".join(", ".join(names).split())
    return line if len(line) <= SHOWN else f"{line[:SHOWN]}…"

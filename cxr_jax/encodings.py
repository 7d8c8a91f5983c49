"""Text in whichever encoding it was saved in: by its mark, by its bytes, and never by a guess that could be wrong."""

import gzip
import re
from pathlib import Path

# UTF-32's little-endian mark begins as UTF-16's does.
MARKS = (
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe\0\0", "utf-32"),
    (b"\0\0\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
SAMPLE = 4096  # bytes that tell UTF-16 without a mark
# Sequences of several bytes that only UTF-8 has a reason to hold.
MULTIBYTE = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")
CONTROL = re.compile(r"[\0-\x08\x0e-\x19\x1b-\x1f\x7f]")
FOREIGN = 0.3  # of a text's letters: with more than that beyond ASCII it is no cp1252, but Cyrillic or Greek, say


def read_text(file: Path, western: bool = False) -> tuple[str, str]:
    """A file's text and its encoding, see `decode`; unpacked where the name ends in .gz.

    Raises:
      OSError, EOFError, zlib.error: it cannot be read or unpacked.
      UnicodeError: as `decode`.
    """
    if file.suffix.lower() == ".gz":
        with gzip.open(file) as packed:
            return decode(packed.read(), western)
    return decode(file.read_bytes(), western)


def lines_of(text: str) -> list[str]:
    """A text's lines, whatever system ended them; other separators of Unicode are part of a line."""
    lines = re.split(r"\r\n|\r|\n", text)
    return lines if lines[-1] else lines[:-1]


def decode(content: bytes, western: bool = False) -> tuple[str, str]:
    """The text and the encoding's name: UTF-8, UTF-16 and UTF-32 with their marks; without, UTF-8 or UTF-16.

    Args:
      western: takes cp1252, that of Windows in Western Europe, as well. It fits nearly any bytes, so it is taken only
        where they cannot be damaged UTF-8, most of the letters are ASCII and nothing is a control character.

    Raises:
      UnicodeError: none of them fits.
    """
    for mark, encoding in MARKS:
        if content.startswith(mark):
            return content.decode(encoding), encoding
    for first, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
        zeros, others = content[first:SAMPLE:2], content[1 - first : SAMPLE : 2]
        if zeros.count(0) > len(zeros) / 2 and not others.count(0):
            return content.decode(encoding), encoding
    try:
        return content.decode("utf-8"), "utf-8"
    except UnicodeDecodeError:
        text = _as_cp1252(content) if western else None
        if text is None:
            raise
        return text, "cp1252"


def _as_cp1252(content: bytes) -> str | None:
    high = sum(byte > 0x7F for byte in content)
    if 2 * sum(map(len, MULTIBYTE.findall(content))) > high or b"\xff" in content:
        return None
    try:
        text = content.decode("cp1252")
    except UnicodeDecodeError:
        return None
    letters = [character for character in text if character.isalpha()]
    foreign = sum(character > "\x7f" for character in letters)
    return None if CONTROL.search(text) or foreign > FOREIGN * len(letters) else text

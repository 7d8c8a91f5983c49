"""Ids of patients, studies and images as programs spoil them: 123.0 for 123, 7 for 007, p1 for P1, ="123" for 123."""

import re
import unicodedata

# A whole number that went through a table of floating-point numbers, also of a country that writes a comma.
FLOAT = re.compile(r"([+-]?\d+)[.,]0*")
# One that a spreadsheet rounded: several numbers may have become this one.
ROUNDED = re.compile(r"\d(?:[.,]\d+)?E\+?\d+", re.IGNORECASE)
_NUMBERED = re.compile(r"([^\W\d]*[\W_]*)0*([0-9]+)")
_THOUSANDS = re.compile(r"\d{1,3}(?:,\d{3})+|\d{1,3}(?:\.\d{3}){2,}|[1-9]\d{0,2}\.\d{3}")
_MIDNIGHT = re.compile(r"(\d{4}-\d\d-\d\d)[Tt]?00:00(?::00(?:\.0+)?)?")
_GUARDED = re.compile(r"=\"(.*)\"|'(.*)")  # how a spreadsheet is told that a number is text


def without_float(name: str) -> str:
    """An id without the ".0" that it got as a floating-point number, and without a spreadsheet's guard."""
    guarded = _GUARDED.fullmatch(name)
    if guarded:
        name = guarded[1] or guarded[2] or ""
    match = FLOAT.fullmatch(name)
    return match[1] if match else name


def key(name: str) -> str:
    """What two ids share that differ in ".0", leading zeros, case or blanks only, or in how a number is written.

    Zeros are leading in a number, and in one behind letters, "P007". Blanks are all that show nothing.
    """
    plain = unicodedata.normalize("NFKC", name)
    plain = "".join(character for character in plain if not character.isspace() and character.isprintable())
    plain = "".join(str(unicodedata.digit(character, character)) for character in plain)
    plain = without_float(plain.removeprefix("+")).casefold()
    if midnight := _MIDNIGHT.fullmatch(plain):
        plain = midnight[1]
    elif _THOUSANDS.fullmatch(plain):
        plain = re.sub("[.,]", "", plain)
    elif ROUNDED.fullmatch(plain) and len(plain) < 30:
        number = float(plain.replace(",", "."))
        plain = str(int(number)) if number.is_integer() and number < 1e300 else plain
    numbered = _NUMBERED.fullmatch(plain)
    return numbered[1] + numbered[2] if numbered else plain

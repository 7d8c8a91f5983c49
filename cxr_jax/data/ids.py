"""Ids of patients, studies and images as programs spoil them: 123.0 for 123, 7 for 007, p1 for P1, "P 1" for P1."""

import re
import unicodedata
from collections.abc import Sequence

from cxr_jax.data.notes import Notes

FORMS = "id_forms"  # the audit's row
# A whole number that went through a table of floating-point numbers.
FLOAT = re.compile(r"([+-]?\d+)\.0+")
NUMBERED = re.compile(r"([^\W\d]*[\W_]*)0*([0-9]+)")
# One that a spreadsheet rounded: several numbers may have become this one.
ROUNDED = re.compile(r"\d(?:[.,]\d+)?E\+?\d+", re.IGNORECASE)


def without_float(name: str) -> str:
    """An id without the ".0" that it got as a floating-point number."""
    match = FLOAT.fullmatch(name)
    return match[1] if match else name


def key(name: str) -> str:
    """What two ids share that differ in ".0", leading zeros, case or blanks only.

    Zeros are leading in a number, and in one behind letters, "P007". Blanks are all that show nothing.
    """
    plain = unicodedata.normalize("NFKC", name)
    plain = "".join(character for character in plain if not character.isspace() and character.isprintable())
    plain = without_float(plain).casefold()
    numbered = NUMBERED.fullmatch(plain)
    return numbered[1] + numbered[2] if numbered else plain


def unify(names: Sequence[str], column: str, notes: Notes) -> list[str]:
    """The ids of a column, those that `key` tells to be one written as the first of them; empty ones stay empty.

    The notes say how many are written in several ways, lost a ".0", or were rounded by a spreadsheet.
    """
    key_of = {name: key(name) for name in dict.fromkeys(names) if name}
    written: dict[str, list[str]] = {}
    for name, shared in key_of.items():
        written.setdefault(shared, []).append(name)
    for forms in written.values():
        first, *others = forms
        if others:
            shown = " and ".join(map(repr, (first, *others)))
            what = f"of the ids in {column} are written in several ways, each of them is taken for one"
            notes.add(what, shown, check=FORMS)
        elif without_float(first) != first:
            notes.add(f"of the ids in {column} end in .0, which is left out", repr(first), check=FORMS)
        if ROUNDED.fullmatch(first):
            notes.add(
                f"of the ids in {column} look like numbers that a spreadsheet rounded: several may have become one, "
                "export the column as text",
                repr(first),
                check=FORMS,
            )
    return [without_float(written[key_of[name]][0]) if name else "" for name in names]

"""A column of ids, those that programs wrote in several ways made one (`cxr_jax.ids`)."""

from collections.abc import Sequence

from cxr_jax.data.notes import Notes
from cxr_jax.ids import ROUNDED, key, without_float

FORMS = "id_forms"  # the audit's row


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

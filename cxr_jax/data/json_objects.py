"""Objects from JSON as programs write it: one a line, a list, or one object; in any encoding, with any separator in it.

Only "\\n" ends a line: U+2028, U+2029 and U+0085 stand inside strings, where str.splitlines would cut them.
"""

import json
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cxr_jax.encodings import read_text
from cxr_jax.errors import InputError

SUFFIXES = (".jsonl", ".ndjson", ".json")
Located = tuple[str, Any]  # where it stands ("line 3", "entry 3"), and what it is


class RepeatedKeyError(ValueError):
    """An object has a key twice, of which JSON's readers would keep the last; it says which."""


def read_values(file: Path, wanted: str) -> list[Located] | dict[str, Any]:
    """What a file holds: values with their places, from lines or from one list; or the one object that it is.

    Args:
      wanted: what to give instead, for messages: "a predictions.jsonl".

    Raises:
      InputError: it cannot be read, or is no JSON; it names the line.
    """
    try:
        text, _ = read_text(file)
    except (OSError, EOFError, zlib.error, UnicodeError) as error:
        raise InputError(f"{file}: cannot be read ({error}); give {wanted}") from error
    text = text.lstrip("\ufeff")
    whole = _whole(text, file)
    if isinstance(whole, dict):
        return whole
    if isinstance(whole, list):
        return [(f"entry {number}", value) for number, value in enumerate(whole, start=1)]
    values: list[Located] = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            values.append((f"line {number}", parse(line)))
        except RepeatedKeyError as error:
            raise InputError(f"{file}: line {number}: {error}; keep one of the two") from error
        except (ValueError, RecursionError) as error:
            raise InputError(f"{file}: line {number} is no JSON ({error}); write one object a line") from error
    return values


def parse(text: str | bytes) -> Any:
    """JSON, refusing what its readers pass over in silence: a key that an object has twice.

    Raises:
      ValueError: it is no JSON, or has such a key, which is named.
      RecursionError: it is too deep.
    """
    return json.loads(text, object_pairs_hook=_object)


def name_of(value: Any) -> str | None:
    """An id that is a string or a whole number, as text; None where it is neither.

    123.0, which a table of floating-point numbers made of 123, is 123 again.
    """
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    return str(value).strip() or None


def is_text(value: Any) -> bool:
    """Whether a value is a string that can be stored: no half of a character (a lone surrogate) is in it."""
    return isinstance(value, str) and value.encode(errors="ignore").decode() == value


def _whole(text: str, file: Path) -> Any:
    """The one value that a text is; None where it is not one, but lines perhaps."""
    if not text.lstrip().startswith(("[", "{")):
        return None
    try:
        return parse(text)
    except RepeatedKeyError as error:
        raise InputError(f"{file}: {error}; keep one of the two") from error
    except (ValueError, RecursionError):
        return None


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        raise RepeatedKeyError(f"{next(name for name in names if names.count(name) > 1)!r} is there twice")
    return fields

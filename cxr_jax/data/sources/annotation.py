"""R2Gen's annotation.json: an object of the lists train, val and test, whose entries hold an id and a report."""

from pathlib import Path
from typing import Any

from cxr_jax import ids
from cxr_jax.data import json_objects
from cxr_jax.data.splits import SPLITS
from cxr_jax.errors import InputError

Homes = dict[tuple[str, str], tuple[str, str]]


def read_lists(file: Path) -> tuple[dict[str, tuple[str, list[Any]]], list[str]]:
    """Split to (its key, its entries), and what to say of the file where another key had to stand for test.

    Raises:
      InputError: the file cannot be read, is not JSON, has a list twice, or does not hold the three.
    """
    try:
        table = json_objects.parse(file.read_bytes())
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror}); give R2Gen's annotation.json") from error
    except json_objects.RepeatedKeyError as error:
        raise InputError(f"{file}: {error}; keep one of the two") from error
    except (ValueError, RecursionError) as error:  # not JSON, or not UTF-8
        raise InputError(f"{file}: not JSON in UTF-8 ({error}); download it again") from error
    lists = {k: v for k, v in table.items() if isinstance(v, list)} if isinstance(table, dict) else {}
    strange = [key for key in lists if key not in SPLITS]
    keys = {split: split for split in SPLITS}
    notes = []
    # A copy that is passed round has the key of the test list mangled.
    if "test" not in lists and len(strange) == 1:
        keys["test"] = strange.pop()
        notes.append(f"has no list test; {keys['test']!r} is taken for it")
    missing = [split for split, key in keys.items() if key not in lists]
    if missing:
        raise InputError(f"{file}: has no list {missing[0]}; wanted is an object of the lists {', '.join(SPLITS)}")
    if strange:
        raise InputError(f"{file}: the list {strange[0]!r} is no split; wanted are {', '.join(SPLITS)}")
    return {split: (key, lists[key]) for split, key in keys.items()}, notes


def r2gen_split(annotation: Path) -> dict[str, str]:
    """Study id to "train", "val" or "test", as R2Gen's annotation.json lists them ("CXR2384_IM-0942" is study CXR2384).

    Raises:
      InputError: the file is not such an annotation, an id is there twice, or a study is in two splits.
    """
    lists, _ = read_lists(annotation)
    split_of: dict[str, str] = {}
    homes: Homes = {}
    for split, (key, entries) in lists.items():
        for number, entry in enumerate(entries):
            if not isinstance(entry, dict) or not isinstance(entry.get("id"), str):
                raise InputError(f"{annotation}: {key}[{number}]: has no id; wanted is an object with id and report")
            study = entry["id"].split("_")[0]
            if split_of.setdefault(study, split) != split:
                raise InputError(f"{annotation}: study {study} is in {split_of[study]} and in {split}; mend it")
            refuse_twice(homes, "id", entry["id"], f"{key}[{number}]", annotation)
    return split_of


def refuse_twice(homes: Homes, kind: str, name: str, where: str, file: Path) -> None:
    """Enters an entry's id or image; `homes` has the place of each so far, and how it is written there.

    Raises:
      InputError: it is there already; an id also where it is written otherwise (`cxr_jax.ids.key`).
    """
    place, written = homes.setdefault((kind, ids.key(name) if kind == "id" else name), (where, name))
    if (place, written) != (where, name):
        forms = "" if written == name else f" (written {written})"
        raise InputError(f"{file}: {where}: {kind} {name} is also in {place}{forms}; remove one of the two")

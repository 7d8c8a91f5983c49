"""Drawn radiographs with reports: the phantom's release, drawn where there is none yet, and read as Open-i's is."""

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cxr_jax.data import lock
from cxr_jax.data.notes import Notes
from cxr_jax.data.records import Record, SourceConfig
from cxr_jax.data.sources import openi
from cxr_jax.phantom.release import RELEASE_FILE, VERSION, write_release


def describe(data: Mapping[str, Any]) -> SourceConfig:
    """The release in data.path, or else below data.cache, of data.num_studies with data.seed.

    Raises:
      InputError: the folder holds another release or something else, or the split is not one of a release's.
    """
    folder = _folder(data)
    is_there = (folder / RELEASE_FILE).is_file()
    # One draws: another must not read what is half drawn.
    drawing = lock.hold(folder.with_name(f"{folder.name}.lock"), f"drawing {folder.name}")
    with contextlib.nullcontext() if is_there else drawing:
        write_release(folder, data["num_studies"], data["stored_size"], data["seed"])
    return openi.describe(_as_openi(data))


def records(data: Mapping[str, Any], notes: Notes) -> list[Record]:
    """As Open-i's."""
    return openi.records(_as_openi(data), notes)


def splits(data: Mapping[str, Any], records: list[Record]) -> dict[str, list[Record]]:
    """As Open-i's."""
    return openi.splits(_as_openi(data), records)


def _as_openi(data: Mapping[str, Any]) -> dict[str, Any]:
    # What was drawn is known by what it was drawn from: drawn again elsewhere, it is the same set.
    return {**data, "path": str(_folder(data)), "download": False, "fingerprint_by": "size"}


def _folder(data: Mapping[str, Any]) -> Path:
    if data["path"]:
        return Path(data["path"]).expanduser()
    # With the version: what an older program drew there is another release.
    size = f"{data['num_studies']}-{data['stored_size']}px-seed{data['seed']}"
    return Path(data["cache"]).expanduser() / f"phantom-v{VERSION}-{size}"

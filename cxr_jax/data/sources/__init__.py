"""A module for each data set: `cxr_jax.config.DATASETS` names it, `Source` says what it holds; nothing else is needed.

The other modules here are parts of those.
"""

import importlib
from collections.abc import Mapping
from typing import Any, Protocol, cast, runtime_checkable

from cxr_jax.config import DATASETS
from cxr_jax.data.notes import Notes
from cxr_jax.data.records import Record, SourceConfig


@runtime_checkable
class Source(Protocol):
    """The functions of a data set's module; `data` is the configuration's `data`, dotted keys without their `data.`.

    They are called in this order: `describe` whenever the set is wanted, the others once, while it is prepared. All
    three raise an InputError that names the file or key, says what is wrong and what to do.
    """

    def describe(self, data: Mapping[str, Any]) -> SourceConfig:
        """What the set is; checks what can be checked at once, and fetches or draws what is missing.

        Its name must change with everything that changes what is stored. It is called at each start: quick it shall be.
        """

    def records(self, data: Mapping[str, Any], notes: Notes) -> list[Record]:
        """Every image that has a report, in an order of its own that does not change; no image is opened.

        What is in doubt, left out or read otherwise than it is written goes to the notes, which are said on standard
        error and kept for the audit.
        """

    def splits(self, data: Mapping[str, Any], records: list[Record]) -> dict[str, list[Record]]:
        """The records in use under "train", "val" and "test", as published or as `cxr_jax.data.splits` deals them."""


def source_of(dataset: str) -> Source:
    """The module of a data set that DATASETS names, imported."""
    return cast(Source, importlib.import_module(DATASETS[dataset]))

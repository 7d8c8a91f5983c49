"""Data sets stored once, before training: found below `data.cache`, or built there, whole or not at all."""

import contextlib
import io
import itertools
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from cxr_jax.data.records import RecordBuilder
from cxr_jax.data.sources import source_of
from cxr_jax.data.splits import SPLITS
from cxr_jax.errors import InputError


def prepare(data: Mapping[str, Any]) -> RecordBuilder:
    """The stored set that a configuration's `data` names; a broken-off or refused build leaves nothing behind.

    Raises:
      InputError: the source is not what it should be, an image is missing or damaged, or the training or validation
        split is empty.
    """
    source = source_of(data["dataset"])
    config = source.describe(data)
    cache = Path(data["cache"]).expanduser()
    with _quiet():
        builder = RecordBuilder(config=config, data_dir=str(cache), file_format="array_record")
    if not Path(builder.data_path).is_dir():
        builder.splits = source.splits(data, source.records(data))
        for split in ("train", "val"):
            if not builder.splits.get(split):
                sizes = ", ".join(f"{name} {len(builder.splits.get(name, []))}" for name in SPLITS)
                raise InputError(
                    f"{config.source}: the {split} split is empty ({sizes}); add data or change data.split"
                )
        for record in itertools.chain.from_iterable(builder.splits.values()):
            if not record.image.is_file():  # before the first of ten thousand images is decoded
                raise InputError(f"{config.source}: {record.image}: no such image; mend the path or leave the row out")
        # TFDS draws bars of its own for every internal pass; the builder's count images.
        tfds.disable_progress_bar()
        with _quiet():
            builder.download_and_prepare()
    return builder


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """TFDS prints what it prepares, and warns of configurations that are not in a list."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)

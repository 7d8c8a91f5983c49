"""What every builder yields: one record an image, with its study's report, stored once as a TFDS array_record set."""

import contextlib
import dataclasses
import hashlib
import io
import itertools
import logging
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds
from tqdm import tqdm

from cxr_jax.data.images import ENCODERS, read_grey, shrink
from cxr_jax.errors import InputError

SPLITS = ("train", "val", "test")


@dataclasses.dataclass(frozen=True)
class Record:
    """One image and the report of its study."""

    image_id: str
    image: Path
    study_id: str
    patient_id: str
    view: str  # "frontal", "lateral" or "" where nothing says
    findings: str
    impression: str = ""
    indication: str = ""
    comparison: str = ""
    caption: str = ""
    labels: tuple[str, ...] = ()  # indexed by people
    terms: tuple[str, ...] = ()  # found by a program


@dataclasses.dataclass(kw_only=True)
class SourceConfig(tfds.core.BuilderConfig):
    """Where a builder reads from and how it splits; its name is the fingerprint of what comes of that.

    `cache` is where archives are unpacked, `annotation` the file of a published split, `section` the part of a report
    that a split compares.
    """

    source: str = ""
    split: str = "paper"
    seed: int = 0
    stored_size: int = 336
    stored_format: str = "png"
    cache: str = ""
    annotation: str = ""
    section: str = ""


class RecordBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """A TFDS builder of records. A subclass says how its source becomes records and splits."""

    # Goes up with the features below: a set that was stored with others is built again.
    VERSION = tfds.core.Version("1.1.0")
    BUILDER_CONFIGS: ClassVar[list[SourceConfig]] = []

    def records(self) -> dict[str, list[Record]]:
        """The records of each split, in the order in which the source has them."""
        raise TypeError(f"{type(self).__name__} must say how its source becomes records")

    def summary(self) -> list[str]:
        """Lines that say what the source holds, for the user to read while the set is prepared."""
        return []

    def _info(self) -> tfds.core.DatasetInfo:
        text = tfds.features.Text
        features = {
            "image": tfds.features.Image(shape=(None, None, 1), encoding_format=self.builder_config.stored_format),
            **{name: text() for name in ("image_id", "study_id", "patient_id", "view")},
            **{name: text() for name in ("findings", "impression", "indication")},
            **{name: text() for name in ("comparison", "caption")},
            **{name: tfds.features.Sequence(text()) for name in ("labels", "terms")},
        }
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager: Any) -> Mapping[str, Iterator[tuple[str, dict[str, Any]]]]:
        del dl_manager  # everything is on this machine's disk
        return {split: self._generate_examples(split, records) for split, records in self.records().items() if records}

    def _generate_examples(self, split: str, records: Iterable[Record]) -> Iterator[tuple[str, dict[str, Any]]]:
        encode = ENCODERS[self.builder_config.stored_format]
        for record in tqdm(records, desc=f"preparing {split}", unit="image", leave=False, disable=None):
            image = shrink(read_grey(record.image), self.builder_config.stored_size)
            fields = dataclasses.asdict(record) | {
                "image": io.BytesIO(encode(image)),
                "labels": list(record.labels),
                "terms": list(record.terms),
            }
            yield record.image_id, fields


def prepare(builder_class: type[RecordBuilder], config: SourceConfig, cache: Path) -> RecordBuilder:
    """Builds the set below `cache`, or finds it there; a broken-off or refused build leaves nothing behind.

    Raises:
      InputError: the source is not what it should be, an image is missing or damaged, or the training or validation
        split is empty.
    """
    with _quiet():
        builder = builder_class(config=config, data_dir=str(cache), file_format="array_record")
    if not Path(builder.data_path).is_dir():
        splits = builder.records()
        for split in ("train", "val"):
            if not splits.get(split):
                sizes = ", ".join(f"{name} {len(splits.get(name, []))}" for name in SPLITS)
                raise InputError(
                    f"{config.source}: the {split} split is empty ({sizes}); add data or change data.split"
                )
        for record in itertools.chain.from_iterable(splits.values()):
            if not record.image.is_file():  # before the first of ten thousand images is decoded
                raise InputError(f"{config.source}: {record.image}: no such image; mend the path or leave the row out")
        if lines := builder.summary():
            print("\n".join(lines), file=sys.stderr, flush=True)
        # TFDS draws bars of its own for every internal pass; ours, above, count images.
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


def fingerprint(*parts: Any, files: Iterable[Path] = ()) -> str:
    """A short name for what a data set is made of: settings, and the names and sizes of its files."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(repr(part).encode() + b"\0")
    for file in sorted(files):
        with contextlib.suppress(OSError):  # a missing file is the reader's to complain about
            digest.update(f"{file.name}:{os.stat(file).st_size}\0".encode())
    return digest.hexdigest()[:12]


def split_by_group(groups: Iterable[str], seed: int) -> dict[str, str]:
    """Each distinct group (study or patient) to "train", "val" or "test", 7:2:1, in a seeded order."""
    names = sorted(set(groups))
    order = np.random.default_rng([seed, 712]).permutation(len(names))
    first, second = round(0.7 * len(names)), round(0.9 * len(names))
    assigned = np.array(["train"] * first + ["val"] * (second - first) + ["test"] * (len(names) - second))
    return {names[i]: str(split) for i, split in zip(order, assigned, strict=True)}

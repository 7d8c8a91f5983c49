"""What every source yields: one record an image, with its study's report, stored once as a TFDS array_record set."""

import contextlib
import dataclasses
import hashlib
import io
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import tensorflow_datasets as tfds
from tqdm import tqdm

from cxr_jax.data.images import ENCODERS, read_grey, shrink

TEXTS = ("image_id", "study_id", "patient_id", "view", "findings", "impression")


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
    labels: tuple[str, ...] = ()  # indexed by people
    split: str = ""  # "train", "val" or "test" where the source publishes one; of no account where it is dealt anew


@dataclasses.dataclass(kw_only=True)
class SourceConfig(tfds.core.BuilderConfig):
    """What a data set is, before it is read.

    Its `name` is the fingerprint of all that it is made of, see `fingerprint`; `description` is what scores are
    reported under; `source` is the folder or file that messages name; `split` is the split in use.
    """

    source: str = ""
    split: str = ""
    stored_size: int = 336
    stored_format: str = "png"


class RecordBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """Stores records, which are put into `splits` before it prepares them; once stored, it needs none."""

    name = "records"
    # Goes up with the features below: a set that was stored with others is built again.
    VERSION = tfds.core.Version("1.2.0")
    BUILDER_CONFIGS: ClassVar[list[SourceConfig]] = []
    splits: Mapping[str, Sequence[Record]] = {}

    def _info(self) -> tfds.core.DatasetInfo:
        text = tfds.features.Text
        features = {
            "image": tfds.features.Image(shape=(None, None, 1), encoding_format=self.builder_config.stored_format),
            **{name: text() for name in TEXTS},
            "labels": tfds.features.Sequence(text()),
        }
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager: Any) -> Mapping[str, Iterator[tuple[str, dict[str, Any]]]]:
        del dl_manager  # everything is on this machine's disk
        return {split: self._generate_examples(split, records) for split, records in self.splits.items() if records}

    def _generate_examples(self, split: str, records: Iterable[Record]) -> Iterator[tuple[str, dict[str, Any]]]:
        encode = ENCODERS[self.builder_config.stored_format]
        for record in tqdm(records, desc=f"preparing {split}", unit="image", leave=False, disable=None):
            image = shrink(read_grey(record.image), self.builder_config.stored_size)
            fields = {name: getattr(record, name) for name in TEXTS}
            yield record.image_id, fields | {"image": io.BytesIO(encode(image)), "labels": list(record.labels)}


def fingerprint(*parts: Any, files: Iterable[Path] = ()) -> str:
    """A short name for what a data set is made of: settings, and the names and sizes of its files."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(repr(part).encode() + b"\0")
    for file in sorted(files):
        with contextlib.suppress(OSError):  # a missing file is the reader's to complain about
            digest.update(f"{file.name}:{os.stat(file).st_size}\0".encode())
    return digest.hexdigest()[:12]

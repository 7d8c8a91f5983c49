"""What every source yields: one record an image, with its study's report, stored once as a TFDS array_record set."""

import contextlib
import dataclasses
import hashlib
import io
import os
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from cxr_jax.data.encoders import Encoded, encode_file
from cxr_jax.data.notes import Note

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
    reported under; `source` is the folder or file that messages name; `split` is the split in use; `notes`, which are
    known of a set that is stored, say what of it was read otherwise than it is written.
    """

    source: str = ""
    split: str = ""
    notes: tuple[Note, ...] = ()
    stored_size: int = 336
    stored_format: str = "png"


class RecordBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """A stored set to TFDS: what is in a record, and, where Beam stores it, `splits`, which are put in before."""

    name = "records"
    # Goes up with the features below, with what lies beside them, and with what grey a file's pixels become: a set that
    # was stored otherwise is built again.
    VERSION = tfds.core.Version("1.5.0")
    BUILDER_CONFIGS: ClassVar[list[SourceConfig]] = []
    splits: Mapping[str, Sequence[Record]] = {}

    def _info(self) -> tfds.core.DatasetInfo:
        text = tfds.features.Text
        features = {
            "image": tfds.features.Image(shape=(None, None, 1), encoding_format=self.builder_config.stored_format),
            **{name: text() for name in TEXTS},
            "labels": tfds.features.Sequence(text()),
            "warnings": tfds.features.Sequence(text()),
        }
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager: Any) -> Mapping[str, Any]:
        del dl_manager  # everything is on this machine's disk
        return {split: self._generate_examples(records) for split, records in self.splits.items() if records}

    def _generate_examples(self, records: Sequence[Record]) -> Any:
        """A Beam transform: the records, and what `example` makes of each."""
        import apache_beam

        store = partial(_keyed_example, self.builder_config.stored_size, self.builder_config.stored_format)
        return apache_beam.Create(records) | apache_beam.Map(store)


def example(record: Record, encoded: Encoded) -> dict[str, Any]:
    """What is stored of a record, as RecordBuilder's features take it."""
    texts = {name: getattr(record, name) for name in TEXTS}
    lists = {"labels": list(record.labels), "warnings": list(encoded.warnings)}
    return texts | lists | {"image": io.BytesIO(encoded.image)}


def _keyed_example(stored_size: int, stored_format: str, record: Record) -> tuple[str, dict[str, Any]]:
    return record.image_id, example(record, encode_file(record.image, stored_size, stored_format))


def fingerprint(*parts: Any, files: Iterable[Path] = (), by: str = "mtime") -> str:
    """A short name for what a data set is made of: settings, and its files' names and what `by` says.

    Args:
      by: "mtime": sizes, and times of change in ns, which copies have to preserve; "content": every byte, which is
        read anew each time; "size": sizes alone, where what is in the files is known otherwise.
    """
    digest = hashlib.sha256()
    for part in parts:
        digest.update(repr(part).encode() + b"\0")
    for file in sorted(files):
        with contextlib.suppress(OSError):  # a missing file is the reader's to complain about
            digest.update(f"{file.name}:{_identity(file, by)}\0".encode())
    return digest.hexdigest()[:12]


def _identity(file: Path, by: str) -> str:
    if by == "content":
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    stat = os.stat(file)
    return f"{stat.st_size}:{stat.st_mtime_ns}" if by == "mtime" else str(stat.st_size)

"""A prepared set in the making: shards that are finished one by one, each whole or not there, and then put together.

What is in a shard, and the bytes that it is stored as, hang on its records alone: not on who wrote it, nor when, nor
with how many others. So two processes that write the same one do no harm.
"""

import contextlib
import hashlib
import itertools
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import tensorflow_datasets as tfds
from array_record.python import array_record_module
from tensorflow_datasets.core import example_serializer

from cxr_jax.data import side_files
from cxr_jax.data.encoders import Encoded, Unreadable
from cxr_jax.data.notes import Note
from cxr_jax.data.records import TEXTS, Record, RecordBuilder, example
from cxr_jax.errors import InputError

SHARD_IMAGES = 64  # or more, where a split would come to more than MAX_SHARDS: each is a file that stays open
MAX_SHARDS = 128
RECORDS = "records.array_record"
PART = ".part-"  # how the names of what is not finished begin


class Shard(NamedTuple):
    """Records of one split, ordered by image id, and the name that changes with whatever they are stored as."""

    split: str
    name: str
    records: Sequence[Record]


def plan(splits: Mapping[str, Sequence[Record]], builder: RecordBuilder, drop: bool = False) -> list[Shard]:
    """All shards of a set, in order; what a shard is stored as is known without opening an image.

    Args:
      drop: a missing image is one that cannot be read, and no error.

    Raises:
      InputError: an image is missing, or two have the same id.
    """
    config = builder.builder_config
    settings = f"{builder.version} {config.stored_size} {config.stored_format}"
    shards = []
    for split, records in splits.items():
        ordered = sorted(records, key=lambda record: record.image_id)
        for record, following in itertools.pairwise(ordered):
            if record.image_id == following.image_id:
                raise InputError(f"{config.source}: image id {record.image_id} comes twice in {split}; leave one out")
        size = max(SHARD_IMAGES, -(-len(ordered) // MAX_SHARDS))
        for start in range(0, len(ordered), size):
            part = ordered[start : start + size]
            digest = hashlib.sha256(f"{settings} {split}".encode())
            for record in part:
                digest.update(_identity(record, config.source, drop).encode())
            shards.append(Shard(split, f"{split}-{digest.hexdigest()[:16]}", part))
    return shards


def _identity(record: Record, source: str, drop: bool) -> str:
    file: tuple[int, ...] = ()
    try:
        stat = os.stat(record.image)
        file = stat.st_size, stat.st_mtime_ns
    except OSError as error:  # before the first of ten thousand images is decoded
        if not drop:
            raise InputError(f"{source}: {record.image}: no such image; mend the path or leave the row out") from error
    texts = [getattr(record, name) for name in TEXTS]
    return repr((texts, record.labels, str(record.image), *file))


def write(folder: Path, shard: Shard, encoded: Iterable[Encoded | Unreadable], builder: RecordBuilder) -> None:
    """Writes a shard into `folder`, where it appears, whole, under its name; of what is Unreadable only a row.

    Raises:
      InputError: the disk is full, or the folder cannot be written.
    """
    with _appearing(folder / shard.name, folder) as part:
        rows: list[dict[str, Any]] = []
        position = 0
        with _records(part / RECORDS) as records, open(part / side_files.THUMBNAILS, "wb") as thumbnails:
            for record, image in zip(shard.records, encoded, strict=True):
                if isinstance(image, Unreadable):
                    rows.append(side_files.unreadable_row(shard.split, record, image))
                    continue
                records.write(_serialized(builder, example(record, image)))
                rows.append(side_files.row(shard.split, position, record, image, thumbnails.tell()))
                thumbnails.write(image.thumbnail)
                position += 1
        side_files.write_rows(part / side_files.ROWS, rows)


def _serialized(builder: RecordBuilder, fields: Mapping[str, Any]) -> bytes:
    """As TFDS serialises them, but in one order: by itself the order of the fields changes from process to process."""
    features = builder.info.features
    serializer = example_serializer.ExampleSerializer(features.get_serialized_info())
    return serializer.get_tf_example(features.encode_example(fields)).SerializeToString(deterministic=True)


@contextlib.contextmanager
def _records(file: Path) -> Iterator[Any]:
    """A writer of records, with OSError for what array_record raises where it cannot write."""
    try:
        writer = array_record_module.ArrayRecordWriter(str(file), "group_size:1")
        yield writer
        writer.close()
    except RuntimeError as error:
        raise OSError(str(error).partition(";")[0]) from error


def publish(folder: Path, shards: Sequence[Shard], builder: RecordBuilder, notes: Iterable[Note]) -> None:
    """Puts finished shards together as the builder's set, which appears whole; TFDS reads it.

    Raises:
      InputError: no image could be read, the disk is full, or the folder cannot be written.
    """
    lengths_of = {shard.name: len(side_files.stored(side_files.read_rows(folder / shard.name))) for shard in shards}
    if not any(lengths_of.values()):
        raise InputError(f"{builder.builder_config.source}: not one image can be read; mend the paths or the files")
    with _appearing(Path(builder.data_path), folder) as part:
        infos = []
        for split in dict.fromkeys(shard.split for shard in shards):
            own = [shard for shard in shards if shard.split == split and lengths_of[shard.name]]
            template = tfds.core.ShardedFileTemplate(
                data_dir=part, dataset_name=builder.name, split=split, filetype_suffix="array_record"
            )
            num_bytes = 0
            for index, shard in enumerate(own):
                file = folder / shard.name / RECORDS
                num_bytes += file.stat().st_size
                _link(file, Path(template.sharded_filepath(shard_index=index, num_shards=len(own))))
            lengths = [lengths_of[shard.name] for shard in own]
            infos.append(
                tfds.core.SplitInfo(name=split, shard_lengths=lengths, num_bytes=num_bytes, filename_template=template)
            )
        side_files.join([folder / shard.name for shard in shards], part)
        side_files.write_notes(part, notes)
        builder.info.set_splits(tfds.core.SplitDict(infos))
        builder.info.write_to_directory(part)


def _link(file: Path, name: Path) -> None:
    """The same file under another name; a copy where the file system has no such links."""
    try:
        os.link(file, name)
    except OSError:
        shutil.copyfile(file, name)


@contextlib.contextmanager
def _appearing(folder: Path, scratch: Path) -> Iterator[Path]:
    """A new folder in `scratch` to write into, which then is `folder`; or goes, where another made that meanwhile."""
    part = scratch / f"{PART}{folder.name}-{uuid.uuid4().hex}"
    try:
        part.mkdir()
        yield part
        for file in part.iterdir():
            _sync(file)
        _sync(part)
        folder.parent.mkdir(parents=True, exist_ok=True)
        part.rename(folder)
        _sync(folder.parent)
    except OSError as error:
        if not folder.is_dir():
            reason = error.strerror or str(error)
            raise InputError(
                f"{folder.parent}: cannot be written ({reason}); make room, or change data.cache"
            ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _sync(path: Path) -> None:
    """Until it is on the disk: after a power cut, a name must not be there without what it names."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sweep(folder: Path, shards: Sequence[Shard]) -> None:
    """Deletes what a broken-off preparation left: parts, and shards of records that have changed since."""
    wanted = {shard.name for shard in shards}
    for path in folder.iterdir():
        if path.name not in wanted:
            shutil.rmtree(path, ignore_errors=True)

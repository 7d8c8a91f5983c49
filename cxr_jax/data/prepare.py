"""Data sets stored once, before training: found below `data.cache`, or built there; what is half done is never seen."""

import contextlib
import io
import itertools
import logging
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tqdm import tqdm

from cxr_jax.data import beam, images, lock, shards, side_files
from cxr_jax.data.encoders import MIN_IMAGES, Encoded, Unreadable, cores, encode_files
from cxr_jax.data.notes import Note, Notes
from cxr_jax.data.notes import say as say_notes
from cxr_jax.data.records import Record, RecordBuilder, SourceConfig, fingerprint
from cxr_jax.data.sources import Source, source_of
from cxr_jax.data.splits import SPLITS
from cxr_jax.errors import InputError

# What says which set it is, without a look at its files: a broken-off preparation is found again by it.
DEFINING_KEYS = ("dataset", "path", "csv", "annotation", "split", "seed", "section", "num_studies", "stored_size",
                 "stored_format", "fingerprint_by")  # fmt: skip
LINE_SECONDS = 30


def prepare(
    data: Mapping[str, Any],
    workers: int | None = None,
    say: Callable[[str], None] | None = None,
    beam_runner: str = "",
) -> RecordBuilder:
    """The stored set that a configuration's `data` names, read by TFDS; beside its records lie `side_files`.

    What is missing is built, and a broken-off build gone on with: of what it had finished nothing is done again. Any
    number of processes may ask for the same set; one builds it while the others wait.

    Args:
      workers: processes that read and encode images; all cores where None.
      say: is told how far it is, where no progress bar is seen, and at the end how long it took. Where None, all that
        is said is printed: how many images of a set that was built were read with a warning.
      beam_runner: builds by Beam, on this runner, instead.

    Raises:
      InputError: the source is not what it should be, an image is missing or damaged (but where `data.unreadable` is
        "drop", which Beam cannot), the training or validation split is empty, or the set cannot be written.
    """
    drop = data["unreadable"] == "drop"
    if beam_runner:
        beam.check(beam_runner)
        if drop:
            raise InputError("data.unreadable=drop: is not for Beam; leave --beam_runner out, or the images")
    builder = _find_or_build(data, workers, say, beam_runner, drop)
    _refuse_unreadable(builder, drop)
    return builder


def _refuse_unreadable(builder: RecordBuilder, drop: bool) -> None:
    """A set that was stored by who drops what cannot be read is found by who does not."""
    table = side_files.read_rows(Path(builder.data_path), ("split", "image_id", "unreadable"))
    reasons = [reason for of_split in side_files.unreadable(table).values() for reason in of_split.values()]
    if not reasons:
        return
    source = builder.builder_config.source
    if not drop:
        raise InputError(
            f"{source}: {len(reasons):,} images cannot be read ({reasons[0]}); or set data.unreadable=drop"
        )
    say_notes(source, [Note("images cannot be read, and are left out", len(reasons), tuple(reasons[:1]))])


def _find_or_build(
    data: Mapping[str, Any], workers: int | None, say: Callable[[str], None] | None, beam_runner: str, drop: bool
) -> RecordBuilder:
    source = source_of(data["dataset"])
    config = source.describe(data)
    cache = Path(data["cache_local"] or data["cache"]).expanduser()
    unfinished = cache / "unfinished" / fingerprint(*(data.get(key) for key in DEFINING_KEYS))
    builder = _builder(config, cache)
    if is_whole(builder) and not unfinished.exists():
        return builder
    try:
        with lock.hold(unfinished.with_suffix(".lock"), "preparing this data set") as alone:
            if not is_whole(builder):
                notes = Notes()
                splits = _splits(source, config, data, notes)
                if beam_runner:
                    with _quiet():
                        target = Path(builder.data_path)
                        beam.build(_builder(config, unfinished), splits, notes.all, beam_runner, target)
                else:
                    tell = say or (lambda line: None)
                    _build(builder, splits, notes.all, unfinished, alone, workers or cores(), tell, drop)
                summary = side_files.warning_summary(side_files.read_rows(Path(builder.data_path)))
                if summary and say is None:
                    print(f"{config.source}: {summary}", flush=True)
            shutil.rmtree(unfinished, ignore_errors=True)
    except (OSError, InputError) as error:
        # It may be there all the same: what is left over of its making cannot be deleted by whoever may only read it,
        # and without locks another may have been through first, and cleared away what was needed here.
        if not is_whole(builder):
            if isinstance(error, InputError):
                raise
            reason = error.strerror or str(error)
            raise InputError(f"{cache}: cannot be written ({reason}); make room, or change data.cache") from error
    finally:
        with contextlib.suppress(OSError):  # where something is left in it, it stays
            unfinished.parent.rmdir()
    return _builder(config, cache)


def is_whole(builder: RecordBuilder) -> bool:
    """Whether the set is stored."""
    return Path(builder.data_path).is_dir()


def verify(builder: RecordBuilder) -> int:
    """Reads all that is stored and holds it against the table beside it; how many images that were.

    Raises:
      InputError: something is missing, damaged or in another place than the table says.
    """
    folder = Path(builder.data_path)
    count = 0
    table = side_files.read_rows(folder)
    for split, source, rows, thumbnails in side_files.by_split(builder, table):

        def look(row: Mapping[str, Any], source: Any = source, thumbnails: Any = thumbnails) -> str:
            try:
                fields = source[row["position"]]
                shape = images.decode(fields["image"]).shape
                images.decode(thumbnails[row["position"]])
            except Exception as error:  # whatever damaged bytes make the readers raise
                return " ".join(str(error).split()) or type(error).__name__
            same = fields["image_id"].decode() == row["image_id"] and shape == (row["height"], row["width"])
            return "" if same else "another image is in its place"

        if len(source) != len(rows):
            raise InputError(
                f"{folder}: {split} has {len(source)} records and {len(rows)} rows; delete it, and prepare it again"
            )
        with ThreadPoolExecutor(cores()) as threads:
            bar = tqdm(threads.map(look, rows), desc=f"verifying {split}", total=len(rows), leave=False, disable=None)
            for row, fault in zip(rows, bar, strict=True):
                if fault:
                    raise InputError(
                        f"{folder}: {split} image {row['image_id']}: {fault}; delete that folder, and prepare it again"
                    )
        count += len(rows)
    return count


def _builder(config: SourceConfig, cache: Path) -> RecordBuilder:
    with _quiet():
        return RecordBuilder(config=config, data_dir=str(cache), file_format="array_record")


def _splits(source: Source, config: SourceConfig, data: Mapping[str, Any], notes: Notes) -> dict[str, Sequence[Record]]:
    records = source.records(data, notes)
    say_notes(config.source, notes.all)
    splits = source.splits(data, records)
    for split in ("train", "val"):
        if not splits.get(split):
            sizes = ", ".join(f"{name} {len(splits.get(name, []))}" for name in SPLITS)
            raise InputError(f"{config.source}: the {split} split is empty ({sizes}); add data or change data.split")
    return {name: records for name, records in splits.items() if records}


def _build(
    builder: RecordBuilder,
    splits: Mapping[str, Sequence[Record]],
    notes: Sequence[Note],
    folder: Path,
    alone: bool,
    workers: int,
    say: Callable[[str], None],
    drop: bool,
) -> None:
    """Stores the set by way of `folder`, where finished shards outlast whatever breaks it off."""
    planned = shards.plan(splits, builder, drop)
    folder.mkdir(exist_ok=True)
    if alone:
        shards.sweep(folder, planned)
    missing = [shard for shard in planned if not (folder / shard.name).is_dir()]
    total, count = (sum(len(shard.records) for shard in part) for part in (planned, missing))
    workers = max(1, min(workers, count // MIN_IMAGES))
    start = time.monotonic()
    paths = [record.image for shard in missing for record in shard.records]
    config = builder.builder_config
    with encode_files(paths, config.stored_size, config.stored_format, workers) as encoded:
        counted = _counted(encoded if drop else _readable(encoded), total - count, total, say)
        for shard in missing:
            shards.write(folder, shard, itertools.islice(counted, len(shard.records)), builder)
    seconds = time.monotonic() - start
    with _quiet():
        shards.publish(folder, planned, builder, notes)
    kept = f", {total - count:,} were there" if count < total else ""
    say(f"{count:,} images in {seconds:.1f} s{kept}: {count / max(seconds, 1e-9):.1f} images/s, {workers} at a time")


def _readable(encoded: Iterable[Encoded | Unreadable]) -> Iterator[Encoded]:
    for image in encoded:
        if isinstance(image, Unreadable):
            raise InputError(image.reason)
        yield image


def _counted(
    encoded: Iterable[Encoded | Unreadable], kept: int, total: int, say: Callable[[str], None]
) -> Iterator[Encoded | Unreadable]:
    """Passes them on, under a progress bar on a terminal, with a line now and then elsewhere."""
    start = said = time.monotonic()
    bar = tqdm(encoded, desc="preparing", unit="image", initial=kept, total=total, leave=False, disable=None)
    for done, image in enumerate(bar, 1):
        yield image
        now = time.monotonic()
        if bar.disable and now - said > LINE_SECONDS:
            said = now
            say(f"{kept + done:,} of {total:,} images, {done / (now - start):.1f} images/s")


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

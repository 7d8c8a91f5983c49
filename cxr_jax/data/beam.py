"""A set stored by Apache Beam, TFDS's own way, on the workers of a cluster; the order of its records is TFDS's."""

import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from cxr_jax.data import images, side_files
from cxr_jax.data.encoders import Encoded, cores
from cxr_jax.data.notes import Note
from cxr_jax.data.records import Record, RecordBuilder
from cxr_jax.errors import InputError


def check(runner: str) -> None:
    """Whether there is such a runner.

    Raises:
      InputError: Beam is not installed, or has none of that name.
    """
    try:
        import apache_beam
    except ImportError as error:
        raise InputError(f'--beam_runner {runner}: needs Apache Beam; pip install "cxr_jax[beam]"') from error
    try:
        apache_beam.runners.create_runner(runner)
    except (ValueError, ImportError, AttributeError) as error:
        raise InputError(f"--beam_runner {runner}: Beam has no such runner ({error}); try DirectRunner") from error


def build(
    builder: RecordBuilder,
    splits: Mapping[str, Sequence[Record]],
    notes: Iterable[Note],
    runner: str,
    target: Path,
) -> None:
    """Stores `splits` by `builder`, writes what lies beside its records, and moves it all to `target`, whole.

    Nothing of a broken-off run is kept.

    Args:
      builder: of a folder of its own, from which nothing is read before.
      runner: a Beam runner's name.

    Raises:
      InputError: an image cannot be read.
    """
    import apache_beam

    folder = Path(builder.data_path)
    shutil.rmtree(folder, ignore_errors=True)
    builder.splits = splits
    try:
        # Without flags, for Beam would take the command line's for its own.
        options = apache_beam.options.pipeline_options.PipelineOptions([])
        tfds.disable_progress_bar()
        builder.download_and_prepare(
            download_config=tfds.download.DownloadConfig(beam_runner=runner, beam_options=options)
        )
    except Exception as error:  # Beam wraps what a worker raises, and keeps its text
        if isinstance(error, InputError) or "InputError" in repr(error):
            raise InputError(str(error).splitlines()[0].partition(" [while running")[0]) from error
        raise
    with open(folder / side_files.THUMBNAILS, "wb") as thumbnails:
        rows = [row for split, records in splits.items() for row in _rows(builder, split, records, thumbnails)]
    side_files.write_rows(folder / side_files.ROWS, rows)
    side_files.write_notes(folder, notes)
    target.parent.mkdir(parents=True, exist_ok=True)
    folder.rename(target)


def _rows(builder: RecordBuilder, split: str, records: Sequence[Record], thumbnails: Any) -> Iterator[dict[str, Any]]:
    """The rows of a split, its records read once, in the order of their ids; writes the thumbnails on the way."""
    source = builder.as_data_source(split, decoders={"image": tfds.decode.SkipDecoding()})
    position_of = {source[position]["image_id"].decode(): position for position in range(len(source))}
    ordered = sorted(records, key=lambda record: record.image_id)

    def encoded(record: Record) -> Encoded:
        fields = source[position_of[record.image_id]]
        image = images.decode(fields["image"])
        warnings = tuple(warning.decode() for warning in fields["warnings"])
        height, width = image.shape
        return Encoded(fields["image"], images.thumbnail(image), height, width, warnings)

    with ThreadPoolExecutor(cores()) as threads:
        for record, image in zip(ordered, threads.map(encoded, ordered), strict=True):
            yield side_files.row(split, position_of[record.image_id], record, image, thumbnails.tell())
            thumbnails.write(image.thumbnail)

"""From a prepared data set to batches, through Grain: what is in a split, in which order, and how it is decoded."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import grain
import numpy as np
import tensorflow_datasets as tfds

from cxr_jax.data import images, reports
from cxr_jax.data.prepare import prepare
from cxr_jax.data.records import RecordBuilder, SourceConfig
from cxr_jax.data.splits import SPLITS
from cxr_jax.errors import InputError
from cxr_jax.types import Batch


@dataclasses.dataclass(frozen=True)
class Split:
    """One split: its texts and ids in memory, its images still encoded on disk; row i is the same example in all."""

    name: str
    source: Sequence[Mapping[str, Any]]  # of the whole split; `record` says where row i lies in it
    record: np.ndarray
    image_ids: list[str]
    study_ids: list[str]
    patient_ids: list[str]
    reports: list[str]
    labels: list[frozenset[str]]
    normal: list[bool]  # whether the source says so; no label may also mean that nobody looked
    group_ids: np.ndarray

    def __len__(self) -> int:
        return len(self.reports)

    def take(self, rows: np.ndarray) -> "Split":
        """The split of these rows only, in their order."""
        columns: dict[str, Any] = {}
        for field in dataclasses.fields(self):
            if field.name not in ("name", "source"):
                column = getattr(self, field.name)
                columns[field.name] = column[rows] if isinstance(column, np.ndarray) else [column[row] for row in rows]
        return dataclasses.replace(self, **columns)

    def encoded_image(self, row: int) -> bytes:
        """The stored image of a row, encoded."""
        return self.source[int(self.record[row])]["image"]


def load_splits(config: Mapping[str, Any]) -> tuple[dict[str, Split], SourceConfig]:
    """Prepares the data set that `config.data` names, or finds it prepared; (the splits that hold rows, the source).

    The source's `name` is the data's fingerprint, its `description` what scores are reported under.

    Group ids are shared over the splits.

    Raises:
      InputError: the data is not what it should be, or no training or validation row has the chosen section and view.
    """
    data = config["data"]
    builder = prepare(data)
    splits = {name: _read_split(builder, name, data) for name in SPLITS if name in builder.info.splits}
    for name in ("train", "val"):
        if not len(splits[name]):
            raise InputError(
                f"{builder.builder_config.source}: the {name} split has no row with data.section={data['section']} and "
                f"data.view={data['view']}; choose others"
            )
    return _share_group_ids({name: split for name, split in splits.items() if len(split)}), builder.builder_config


def train_batches(
    split: Split,
    tokens: tuple[np.ndarray, np.ndarray],
    config: Mapping[str, Any],
    shard: tuple[int, int] = (0, 1),
) -> grain.DatasetIterator:
    """Endless shuffled batches; an epoch's last, incomplete batch is dropped. The iterator's state can be got and set.

    Args:
      tokens: `tokens.tokenize`'s result for the split.
      shard: (index, count) of this process; each of `count` yields its own part of every global batch.

    Raises:
      InputError: a batch is larger than the data.
    """
    index, count = shard
    local_batch = config["batch_size"] // count
    if len(split) // count < local_batch:
        raise InputError(
            f"batch_size = {config['batch_size']} is larger than the training split ({len(split)} pairs); lower it"
        )
    size, augmented = config["image_size"], config["data"]["augment"]

    def load(row: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        stored = images.decode(split.encoded_image(row))
        image = images.augment(stored, size, rng) if augmented else images.fit_square(stored, size)
        return _example(split, tokens, row, image)

    # Equal parts: else one process would begin the next epoch, with rows that another has yet to read in this one.
    whole = len(split) // count * count
    dataset = grain.MapDataset.range(len(split)).seed(config["seed"]).shuffle()[index:whole:count].random_map(load)
    # Batched within the epoch: no batch ever holds the same example twice, which the loss would take for a negative.
    dataset = dataset.batch(local_batch, drop_remainder=True).repeat()
    threads = config["data"]["num_threads"]
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=4 * threads)
    return iter(dataset.to_iter_dataset(options))


def eval_batches(
    split: Split, tokens: tuple[np.ndarray, np.ndarray], batch_size: int, image_size: int, num_threads: int = 2
) -> Iterator[Batch]:
    """Every row once, in order; the last batch is filled up with copies of weight 0."""

    def load(row: int) -> dict[str, np.ndarray]:
        image = images.fit_square(images.decode(split.encoded_image(row)), image_size)
        return _example(split, tokens, row, image)

    dataset = grain.MapDataset.range(len(split)).map(load).batch(batch_size)
    options = grain.ReadOptions(num_threads=num_threads, prefetch_buffer_size=4 * num_threads)
    for batch in dataset.to_iter_dataset(options):
        yield pad_batch(batch, batch_size)


def pad_batch(batch: Mapping[str, np.ndarray], size: int) -> Batch:
    """Fills a batch up to `size` with copies of its last row, of weight 0."""
    missing = size - len(batch["weight"])
    padded = {k: np.concatenate([v, np.repeat(v[-1:], missing, axis=0)]) for k, v in batch.items()}
    padded["weight"][size - missing :] = 0
    return Batch(**padded)  # type: ignore[typeddict-item]


def _example(split: Split, tokens: tuple[np.ndarray, np.ndarray], row: int, image: np.ndarray) -> dict[str, np.ndarray]:
    return {
        "image": image[:, :, None],
        "token_ids": tokens[0][row],
        "token_mask": tokens[1][row],
        "group_id": split.group_ids[row],
        "weight": np.float32(1),
    }


def _read_split(builder: RecordBuilder, name: str, data: Mapping[str, Any]) -> Split:
    """Reads all but the pixels of a split, and keeps the rows that have the section and the view asked for."""
    source = builder.as_data_source(name, decoders={"image": tfds.decode.SkipDecoding()})
    order: list[int] = []
    columns: list[tuple[Any, ...]] = []
    for index in range(len(source)):
        fields = source[index]
        text = {k: v.decode() for k, v in fields.items() if isinstance(v, bytes) and k != "image"}
        report = reports.choose_section(text["findings"], text["impression"], data["section"])
        lateral = text["view"] == "lateral"
        if report and {"frontal": not lateral, "lateral": lateral}.get(data["view"], True):
            order.append(index)
            terms = [label.decode() for label in fields["labels"]]
            findings, is_normal = reports.finding_labels(terms), reports.says_normal(terms)
            columns.append((text["image_id"], text["study_id"], text["patient_id"], report, findings, is_normal))
    # TFDS stores in a hashed order; by id, rows come in the same order whatever wrote them.
    by_id = sorted(range(len(order)), key=lambda i: columns[i][0])
    image_ids, study_ids, patient_ids, texts, labels, normal = (
        [columns[i][field] for i in by_id] for field in range(6)
    )
    record = np.array([order[i] for i in by_id], np.int64)
    groups = np.zeros(len(by_id), np.int32)
    return Split(name, source, record, image_ids, study_ids, patient_ids, texts, labels, normal, groups)


def _share_group_ids(splits: Mapping[str, Split]) -> dict[str, Split]:
    numbers = reports.group_ids([report for split in splits.values() for report in split.reports])
    ends = np.cumsum([len(split) for split in splits.values()])
    parts = np.split(numbers, ends[:-1])
    return {n: dataclasses.replace(s, group_ids=g) for (n, s), g in zip(splits.items(), parts, strict=True)}

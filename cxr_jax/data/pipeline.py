"""From a prepared data set to batches, through Grain: what is in a split, in which order, and how it is decoded."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import grain
import numpy as np

from cxr_jax.data import images, reports, side_files
from cxr_jax.data.length_buckets import ByLength, LengthBuckets, cut
from cxr_jax.data.prepare import prepare
from cxr_jax.data.records import SourceConfig
from cxr_jax.data.sampling import Sampler, Share
from cxr_jax.data.splits import SPLITS
from cxr_jax.data.tokens import TextFeatures, Tokens
from cxr_jax.errors import InputError
from cxr_jax.labels.indicators import indicators
from cxr_jax.labels.rules import OBSERVATIONS, rule_labels
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
    views: list[str]  # "frontal", "lateral" or "" where nothing says
    reports: list[str]
    sections: list[tuple[str, str]]  # findings and impression, of which `reports` is what data.section asks for
    terms: list[tuple[str, ...]]  # the labels as they are written
    labels: list[frozenset[str]]
    normal: list[bool]  # whether the source says so; no label may also mean that nobody looked
    group_ids: np.ndarray
    thumbnails: Sequence[bytes] | None = None  # of the whole split, as `source`; where None, they are made
    # By image id, of the images that were read with one: see `grey.Picture`.
    warnings: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)
    # By image id, why those that are left out for it cannot be read.
    unreadable: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.reports)

    def take(self, rows: np.ndarray) -> "Split":
        """The split of these rows only, in their order."""
        columns: dict[str, Any] = {}
        for field in dataclasses.fields(self):
            if field.name not in ("name", "source", "thumbnails", "warnings", "unreadable"):
                column = getattr(self, field.name)
                columns[field.name] = column[rows] if isinstance(column, np.ndarray) else [column[row] for row in rows]
        return dataclasses.replace(self, **columns)

    def encoded_image(self, row: int) -> bytes:
        """The stored image of a row, encoded."""
        return self.source[int(self.record[row])]["image"]

    def thumbnail(self, row: int) -> bytes:
        """A row's image as a small JPEG, see `images.thumbnail`."""
        if self.thumbnails is None:
            return images.thumbnail(images.decode(self.encoded_image(row)))
        return self.thumbnails[int(self.record[row])]


def load_splits(config: Mapping[str, Any]) -> tuple[dict[str, Split], SourceConfig]:
    """Prepares the data set that `config.data` names, or finds it prepared; (the splits that hold rows, the source).

    The source's `name` is the data's fingerprint, its `description` what scores are reported under.

    Group ids are shared over the splits.

    Raises:
      InputError: the data is not what it should be, or no training or validation row has the chosen section and view.
    """
    data = config["data"]
    builder = prepare(data)
    table = side_files.read_rows(Path(builder.data_path))
    unreadable = side_files.unreadable(table)
    parts = {
        part[0]: dataclasses.replace(_read_split(*part, data), unreadable=unreadable.get(part[0], {}))
        for part in side_files.by_split(builder, table)
    }
    splits = {name: parts[name] for name in SPLITS if name in parts}
    for name in ("train", "val"):
        if name not in splits or not len(splits[name]):
            raise InputError(
                f"{builder.builder_config.source}: the {name} split has no row with data.section={data['section']} and "
                f"data.view={data['view']}; choose others"
            )
    source = dataclasses.replace(builder.builder_config, notes=side_files.read_notes(Path(builder.data_path)))
    return _share_group_ids({name: split for name, split in splits.items() if len(split)}), source


def train_batches(
    split: Split,
    texts: Tokens | TextFeatures,
    config: Mapping[str, Any],
    shard: tuple[int, int] = (0, 1),
    augment_text: Callable[[int, np.random.Generator], Mapping[str, np.ndarray]] | None = None,
    buckets: LengthBuckets | None = None,
) -> grain.DatasetIterator:
    """Endless shuffled batches; an epoch's last, incomplete batch is dropped. The iterator's state can be got and set.

    Order and augmentation hang on the seed alone: the processes' parts, put together, are what one process would get,
    and a state that was got on one number of processes can be set on another.

    Args:
      texts: of the split; under the names that they have there they stand in the batch.
      shard: (index, count) of this process; each of `count` yields its own rows of every global batch, in their order.
      augment_text: what of a row's example is drawn anew, see `text_augmentation.TextAugmentation`.
      buckets: how texts that are tokens, and not drawn anew, are padded. Rows are then sorted within the batch, and a
        batch that fits has its tokens as a tuple of parts, see `length_buckets.cut`. None, or a single bucket: as they
        are.

    Raises:
      InputError: a batch is larger than the data, or cannot be shared equally.
    """
    index, count = shard
    order = training_order(split, config, count)
    size, augmented = config["image_size"], config["data"]["augment"]
    identity = identities(split, config["loss"]["positives"])

    def load(row: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        stored = images.decode(split.encoded_image(row))
        image = images.augment(stored, size, rng) if augmented else images.fit_square(stored, size)
        example = _example(texts, identity, row, image)
        return example if augment_text is None else example | dict(augment_text(row, rng))

    # [:] takes all, but its node counts in the seed that random_map derives: without it every run's images change.
    dataset = order[:].random_map(load)
    # Batched within the epoch: no batch ever holds the same example twice, which the loss would take for a negative.
    local = config["batch_size"] // count
    if buckets is None or len(buckets.lengths) == 1:
        dataset = Share(dataset, config["batch_size"], index, count).batch(local, drop_remainder=True).repeat()
    else:
        assert isinstance(texts, Tokens)
        lengths = texts.token_mask.sum(axis=1)
        dataset = ByLength(dataset, order, lengths, buckets, config["batch_size"], index, count)
        shape = buckets.lengths, buckets.shares // count
        dataset = dataset.batch(local, drop_remainder=True).repeat().map(lambda batch: cut(batch, *shape))
    threads = config["data"]["num_threads"]
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=4 * threads)
    return iter(dataset.to_iter_dataset(options))


def training_order(split: Split, config: Mapping[str, Any], count: int = 1) -> grain.MapDataset:
    """The rows of a split in the order that training goes through them, epoch after epoch.

    Raises:
      InputError: a batch is larger than an epoch, or cannot be shared equally by `count` processes.
    """
    if config["batch_size"] % count:
        raise InputError(
            f"batch_size = {config['batch_size']} cannot be shared by {count} processes; use a multiple of that"
        )
    if config["data"]["sampler"] == "shuffle" and not config["data"]["one_view"]:
        order = grain.MapDataset.range(len(split)).seed(config["seed"]).shuffle()
    else:
        order = Sampler(split.group_ids, split.study_ids, config).seed(config["seed"])
    if len(order) < config["batch_size"]:
        raise InputError(
            f"batch_size = {config['batch_size']} is larger than the training split ({len(order)} "
            f"{'studies' if config['data']['one_view'] else 'pairs'}); lower it"
        )
    return order


def identities(split: Split, positives: str) -> dict[str, np.ndarray]:
    """What tells who belongs together, a row an example: group_id and study_id, int32 (n,), labels, uint8 (n, K).

    The labels are those of `labels.rules`, uncertain ones too; K is 0 unless `positives` (loss.positives) is "soft".
    """
    studies = np.unique(np.asarray(split.study_ids), return_inverse=True)[1].astype(np.int32)
    columns = label_columns(positives)
    labels = indicators(rule_labels(split.reports), columns) if columns else np.zeros((len(split), 0))
    return {"group_id": split.group_ids, "study_id": studies, "labels": labels.astype(np.uint8)}


def label_columns(positives: str) -> Sequence[str]:
    """Of a batch's `labels`, under a loss.positives."""
    return OBSERVATIONS if positives == "soft" else ()


def eval_batches(
    split: Split, tokens: Tokens, batch_size: int, image_size: int, num_threads: int = 2
) -> Iterator[Batch]:
    """Every row once, in order; the last batch is filled up with copies of weight 0. No loss is asked for labels."""
    identity = identities(split, "pair")

    def load(row: int) -> dict[str, np.ndarray]:
        image = images.fit_square(images.decode(split.encoded_image(row)), image_size)
        return _example(tokens, identity, row, image)

    dataset = grain.MapDataset.range(len(split)).map(load).batch(batch_size)
    options = grain.ReadOptions(num_threads=num_threads, prefetch_buffer_size=4 * num_threads)
    for batch in dataset.to_iter_dataset(options):
        yield pad_batch(batch, batch_size)


def pad_batch(batch: Mapping[str, np.ndarray], size: int) -> Batch:
    """Fills a batch up to `size` with copies of its last row, of weight 0."""
    padded = {name: filled(rows, size) for name, rows in batch.items()}
    padded["weight"][len(batch["weight"]) :] = 0
    return Batch(**padded)  # type: ignore[typeddict-item]


def filled(rows: np.ndarray, size: int) -> np.ndarray:
    """The rows, and copies of the last one up to a size."""
    return np.concatenate([rows, np.repeat(rows[-1:], size - len(rows), axis=0)])


def _example(
    texts: Tokens | TextFeatures, identity: Mapping[str, np.ndarray], row: int, image: np.ndarray
) -> dict[str, np.ndarray]:
    own = {name: rows[row] for name, rows in (*texts._asdict().items(), *identity.items())}
    return {"image": image[:, :, None], **own, "row": np.int32(row), "weight": np.float32(1)}


def _read_split(
    name: str,
    source: Any,
    rows: Sequence[Mapping[str, Any]],
    thumbnails: Sequence[bytes],
    data: Mapping[str, Any],
) -> Split:
    """The rows of a split that have the section and the view asked for, ordered by image id."""
    kept, texts = [], []
    for row in rows:
        report = reports.choose_section(row["findings"], row["impression"], data["section"])
        lateral = row["view"] == "lateral"
        if report and {"frontal": not lateral, "lateral": lateral}.get(data["view"], True):
            kept.append(row)
            texts.append(report)
    return Split(
        name=name,
        source=source,
        record=np.array([row["position"] for row in kept], np.int64),
        image_ids=[row["image_id"] for row in kept],
        study_ids=[row["study_id"] for row in kept],
        patient_ids=[row["patient_id"] for row in kept],
        views=[row["view"] for row in kept],
        reports=texts,
        sections=[(row["findings"], row["impression"]) for row in kept],
        terms=[tuple(row["labels"]) for row in kept],
        labels=[reports.finding_labels(row["labels"]) for row in kept],
        normal=[reports.says_normal(row["labels"]) for row in kept],
        group_ids=np.zeros(len(kept), np.int32),
        thumbnails=thumbnails,
        warnings={row["image_id"]: row["warnings"] for row in kept if row["warnings"]},
    )


def _share_group_ids(splits: Mapping[str, Split]) -> dict[str, Split]:
    numbers = reports.group_ids([report for split in splits.values() for report in split.reports])
    ends = np.cumsum([len(split) for split in splits.values()])
    parts = np.split(numbers, ends[:-1])
    return {n: dataclasses.replace(s, group_ids=g) for (n, s), g in zip(splits.items(), parts, strict=True)}

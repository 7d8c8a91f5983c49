import dataclasses
import itertools
import json
import subprocess
import sys

import grain
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxr_jax.data import images, pipeline, reports
from cxr_jax.data.tokens import learn_wordpiece, tokenize
from cxr_jax.errors import InputError
from cxr_jax.labels.rules import OBSERVATIONS
from cxr_jax.phantom import release as phantom
from tests.data.settings import SIDE, make_config

SPLITS = {"train": 14, "val": 5, "test": 3}
FIRST = {"train": 0, "val": 14, "test": 19}


def write_pairs(folder, rows):
    """A CSV of (image name, report, split, view), the image flat and as bright as ten times its row."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["image,report,split,view"]
    for number, (report, split, view) in enumerate(rows):
        (folder / f"{number}.png").write_bytes(images.encode_png(np.full((SIDE, SIDE), 10 * number, np.uint8)))
        lines.append(f"{number}.png,{report},{split},{view}")
    (folder / "pairs.csv").write_text("\n".join(lines))
    return folder / "pairs.csv"


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    names = [name for name, count in SPLITS.items() for _ in range(count)]
    rows = [(f"number {number} of these", name, "lateral" if number % 3 else "PA") for number, name in enumerate(names)]
    rows[2] = ("Number 16: of these!", *rows[2][1:])  # the report of a validation row, spelt otherwise
    return write_pairs(tmp_path_factory.mktemp("pairs") / "source", rows)


@pytest.fixture(scope="module")
def config(table):
    return make_config(table, table.parent.parent / "cache")


@pytest.fixture(scope="module")
def splits(config):
    return pipeline.load_splits(config)[0]


@pytest.fixture(scope="module")
def tokens(splits):
    tokenizer = learn_wordpiece(splits["train"].reports)
    return {name: tokenize(tokenizer, split.reports, 12) for name, split in splits.items()}


def brightness(batch):
    return (batch["image"].reshape(len(batch["image"]), -1).mean(axis=1) / 10).tolist()


def rows_of(batch, split):
    """Which rows of the split a batch holds: in the training split, no two share a report."""
    row_of = {group: row for row, group in enumerate(split.group_ids.tolist())}
    return [row_of[group] for group in batch["group_id"].tolist()]


# Splits


def test_a_split_holds_what_its_rows_say(splits):
    assert {name: len(split) for name, split in splits.items()} == SPLITS
    for name, split in splits.items():
        for row in range(len(split)):
            number = FIRST[name] + row
            assert split.image_ids[row] == f"{number:07d}:{number}.png"
            assert split.study_ids[row] == str(number)
            assert split.patient_ids[row] == f"study:{number}"
            assert str(16 if number == 2 else number) in split.reports[row]
            assert np.all(images.decode(split.encoded_image(row)) == 10 * number)


def test_a_row_has_the_thumbnail_of_its_image(splits):
    for split in splits.values():
        for row in range(len(split)):
            assert split.thumbnail(row) == images.thumbnail(images.decode(split.encoded_image(row)))
    part = splits["train"].take(np.array([5, 0]))
    assert part.thumbnail(1) == splits["train"].thumbnail(0)
    made = dataclasses.replace(part, thumbnails=None)
    assert [made.thumbnail(row) for row in range(2)] == [part.thumbnail(row) for row in range(2)]


def test_a_prepared_set_is_loaded_without_its_records_or_pixels(config, splits):
    code = (  # by itself, for the tests' type checks look into whatever is passed
        "import sys; from cxr_jax.data import images, pipeline\n"
        "from tensorflow_datasets.core.data_sources.array_record import ArrayRecordDataSource\n"
        "ArrayRecordDataSource.__getitem__ = images.decode = None\n"
        "splits = pipeline.load_splits(eval(sys.argv[1]))[0]\n"
        "print({name: len(split.reports) for name, split in splits.items()})"
    )
    run = subprocess.run([sys.executable, "-c", code, repr(config)], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == str(SPLITS)


def test_group_ids_are_shared_over_the_splits(splits):
    ids = {name: split.group_ids for name, split in splits.items()}
    assert ids["train"][2] == ids["val"][2]
    everything = np.concatenate(list(ids.values()))
    assert len(set(everything)) == len(everything) - 1


def test_the_fingerprint_is_the_data_sets(config, table):
    first = pipeline.load_splits(config)[1].name
    assert pipeline.load_splits(config | {"batch_size": 2})[1].name == first
    assert pipeline.load_splits(make_config(table, config["data"]["cache"], stored_size=8))[1].name != first


def test_take_keeps_rows_together(splits):
    whole, rows = splits["train"], np.array([5, 0, 3])
    part = whole.take(rows)
    assert (part.name, len(part)) == ("train", 3)
    for name in ("image_ids", "study_ids", "patient_ids", "reports", "labels", "normal", "group_ids", "record"):
        assert list(getattr(part, name)) == [getattr(whole, name)[row] for row in rows]
    assert [part.encoded_image(i) for i in range(3)] == [whole.encoded_image(int(row)) for row in rows]


@pytest.mark.parametrize(("view", "expected"), [("frontal", 8), ("lateral", 14), ("all", 22), ("mean", 22)])
def test_view(config, view, expected):
    chosen, _ = pipeline.load_splits(config | {"data": config["data"] | {"view": view}})
    assert sum(map(len, chosen.values())) == expected
    for name, split in chosen.items():
        for row in range(len(split)):
            number = int(split.study_ids[row])
            assert FIRST[name] <= number < FIRST[name] + SPLITS[name]
            assert view in ("all", "mean") or (number % 3 == 0) == (view == "frontal")
            assert images.decode(split.encoded_image(row))[0, 0] == 10 * number


def test_a_view_that_nothing_has_is_refused(tmp_path):
    table = write_pairs(tmp_path, [("one", "train", "PA"), ("two", "val", "L"), ("three", "test", "PA")])
    with pytest.raises(
        InputError, match=r"the val split has no row with data\.section=findings and data\.view=frontal"
    ):
        pipeline.load_splits(make_config(table, tmp_path / "cache", view="frontal"))


def test_a_test_split_that_a_view_empties_is_left_out(tmp_path):
    table = write_pairs(tmp_path, [("one", "train", "PA"), ("two", "val", "PA"), ("three", "test", "L")])
    splits, _ = pipeline.load_splits(make_config(table, tmp_path / "cache", view="frontal"))
    assert list(splits) == ["train", "val"]


def test_sections_of_a_drawn_release(tmp_path):
    folder = phantom.write_release(tmp_path / "drawn", 10, 64, seed=0, workers=1)
    make = lambda section: make_config(  # noqa: E731
        "", tmp_path / "cache", dataset="openi", path=str(folder), split="paper", section=section, view="frontal"
    )
    texts = {
        section: {
            study: report
            for split in pipeline.load_splits(make(section))[0].values()
            for study, report in zip(split.study_ids, split.reports, strict=True)
        }
        for section in ("findings", "impression", "both")
    }
    assert len(texts["both"]) == 10
    for study in texts["both"]:
        _, report = phantom.study_findings_and_report(0, int(study.removeprefix("CXR")))
        assert texts["findings"][study] == report.findings
        assert texts["impression"][study] == report.impression
        assert texts["both"][study] == f"{report.findings} {report.impression}"
    for file in (folder / "ecgen-radiology").glob("*.xml"):
        file.write_text(file.read_text().replace('Label="IMPRESSION"', 'Label="OTHER"'))
    with pytest.raises(InputError, match=r"no row with data\.section=impression"):
        pipeline.load_splits(make("impression"))


def test_a_releases_split_reaches_the_source(tmp_path):
    folder = phantom.write_release(tmp_path / "drawn", 12, 32, seed=0, workers=1)
    lists = {"train": range(1, 9), "val": range(9, 11), "Test ": range(11, 13)}
    text = json.dumps({name: [{"id": f"CXR{n}_IM-0001"} for n in numbers] for name, numbers in lists.items()})
    (tmp_path / "lists.json").write_text(text)
    sources = {}
    for name in ("paper", "r2gen", "strict"):
        config = make_config(
            "",
            tmp_path / "cache",
            dataset="openi",
            path=str(folder),
            split=name,
            annotation=str(tmp_path / "lists.json"),
            stored_size=32,
        )
        splits, sources[name] = pipeline.load_splits(config)
        assert sources[name].split == name
        if name == "r2gen":
            assert {n: set(s.study_ids) for n, s in splits.items()} == {
                "train": {f"CXR{n}" for n in range(1, 9)},
                "val": {"CXR9", "CXR10"},
                "test": {"CXR11", "CXR12"},
            }
    assert len({source.name for source in sources.values()}) == 3


def test_a_phantom_is_drawn_where_there_is_none(tmp_path):
    config = make_config("", tmp_path, dataset="phantom", split="paper", stored_size=32, view="frontal")
    splits, _ = pipeline.load_splits(config)
    assert {name: len(split) for name, split in splits.items()} == {"train": 7, "val": 2, "test": 1}
    for split in splits.values():
        for study, labels in zip(split.study_ids, split.labels, strict=True):
            _, report = phantom.study_findings_and_report(0, int(study.removeprefix("CXR")))
            assert labels == reports.finding_labels(report.tags)


def test_openi_without_a_path_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"data\.path is not set"):
        pipeline.load_splits(make_config("", tmp_path, dataset="openi", split="paper"))


# Training batches


def epoch(batches, count):
    return [next(batches) for _ in range(count)]


def test_rows_carry_their_image_tokens_and_group(splits, tokens, config):
    split = splits["train"]
    for batch in epoch(pipeline.train_batches(split, tokens["train"], config), 7):
        assert batch["image"].shape == (4, SIDE, SIDE, 1)
        assert batch["image"].dtype == np.uint8
        rows = rows_of(batch, split)
        assert brightness(batch) == rows == batch["row"].tolist()
        np.testing.assert_array_equal(batch["token_ids"], tokens["train"][0][rows])
        np.testing.assert_array_equal(batch["token_mask"], tokens["train"][1][rows])
        assert batch["weight"].tolist() == [1] * 4


def test_each_epoch_is_another_order_of_every_row(splits, tokens, config):
    batches = pipeline.train_batches(splits["train"], tokens["train"], config | {"batch_size": 7})
    orders = [[row for batch in epoch(batches, 2) for row in brightness(batch)] for _ in range(4)]
    assert all(sorted(order) == list(range(14)) for order in orders)
    assert len({tuple(order) for order in [*orders, range(14)]}) == 5


def test_another_seed_is_another_order(splits, tokens, config):
    first, again, other = (
        brightness(next(pipeline.train_batches(splits["train"], tokens["train"], config | {"seed": seed})))
        for seed in (0, 0, 1)
    )
    assert first == again != other


def test_the_number_of_threads_changes_nothing(splits, tokens, config):
    runs = [
        epoch(pipeline.train_batches(splits["train"], tokens["train"], with_augmentation(config, threads)), 5)
        for threads in (1, 4)
    ]
    for one, four in zip(*runs, strict=True):
        assert_same(one, four)


@given(batch_size=st.integers(1, 14), count=st.integers(1, 3))
@settings(max_examples=8)
def test_no_global_batch_holds_a_row_twice(splits, tokens, config, batch_size, count):
    if batch_size % count:
        batch_size = count * max(1, batch_size // count)
    if len(splits["train"]) // count < batch_size // count:
        return
    shards = [
        pipeline.train_batches(splits["train"], tokens["train"], config | {"batch_size": batch_size}, (index, count))
        for index in range(count)
    ]
    for parts in itertools.islice(zip(*shards, strict=True), 2 * 14 // batch_size + 3):
        rows = [row for part in parts for row in brightness(part)]
        assert len(rows) == len(set(rows)) == batch_size


def joined(parts):
    """One batch of the processes' parts."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def test_one_process_gets_what_it_always_got(splits, tokens, config):
    """Grain's own nodes in the order that runs were made with: another would change what a seed means."""

    def load(row, rng):
        return images.augment(images.decode(splits["train"].encoded_image(row)), SIDE, rng)[:, :, None]

    reference = grain.MapDataset.range(14).seed(0).shuffle()[0:14:1].random_map(load)
    reference = reference.batch(4, drop_remainder=True).repeat()
    for step, batch in enumerate(
        epoch(pipeline.train_batches(splits["train"], tokens["train"], with_augmentation(config)), 8)
    ):
        np.testing.assert_array_equal(batch["image"], reference[step])


@pytest.mark.parametrize("count", [2, 4])
def test_processes_share_each_batch_of_one(splits, tokens, config, count):
    """Rows and pixels, over the ends of epochs (14 rows: two of each are left over)."""
    config = with_augmentation(config)
    whole = pipeline.train_batches(splits["train"], tokens["train"], config)
    parts = [pipeline.train_batches(splits["train"], tokens["train"], config, (i, count)) for i in range(count)]
    for _ in range(8):
        assert_same(joined([next(part) for part in parts]), next(whole))


@pytest.mark.parametrize("done", [1, 3, 7])
def test_a_state_can_be_set_on_another_number_of_processes(splits, tokens, config, done):
    config = with_augmentation(config)
    make = lambda *shard: pipeline.train_batches(splits["train"], tokens["train"], config, shard)  # noqa: E731
    first = make(0, 1)
    epoch(first, done)
    state = json.loads(json.dumps(first.get_state()))
    expected = epoch(first, 5)
    for count in (2, 4):
        parts = [make(index, count) for index in range(count)]
        for part in parts:
            part.set_state(state)
        for batch in expected:
            assert_same(joined([next(part) for part in parts]), batch)
        back = make(0, 1)
        back.set_state(parts[-1].get_state())
        assert_same(next(back), next(make_at(make(0, 1), done + 5)))


def make_at(batches, step):
    epoch(batches, step)
    return batches


def test_a_batch_that_processes_cannot_share_is_refused(splits, tokens, config):
    with pytest.raises(InputError, match="batch_size = 4 cannot be shared by 3 processes"):
        pipeline.train_batches(splits["train"], tokens["train"], config, (0, 3))


def test_a_batch_larger_than_the_data_is_refused(splits, tokens, config):
    pipeline.train_batches(splits["train"], tokens["train"], config | {"batch_size": 14})
    with pytest.raises(InputError, match=r"batch_size = 15 is larger than the training split \(14 pairs\)"):
        pipeline.train_batches(splits["train"], tokens["train"], config | {"batch_size": 15})
    with pytest.raises(InputError, match="batch_size = 16 is larger"):
        pipeline.train_batches(splits["train"], tokens["train"], config | {"batch_size": 16}, (0, 2))


# Samplers, texts drawn anew, and who belongs together


def with_twins(split, config, **data):
    """Rows 2 k and 2 k + 1 are images of one study, and k and 13 - k have equal reports."""
    studies, rows = [f"study{row // 2}" for row in range(len(split))], np.arange(len(split))
    groups = np.minimum(rows, len(split) - 1 - rows).astype(np.int32)
    config = config | {"data": config["data"] | data}
    return dataclasses.replace(split, study_ids=studies, group_ids=groups), config


SAMPLERS = [{"sampler": "unique_groups"}, {"one_view": True}, {"sampler": "unique_groups", "one_view": True}]


@pytest.mark.parametrize("sampler", SAMPLERS, ids=str)
def test_samplers_are_shared_by_processes_and_resumed(splits, tokens, config, sampler):
    split, config = with_twins(splits["train"], with_augmentation(config), **sampler)
    make = lambda *shard: pipeline.train_batches(split, tokens["train"], config, shard)  # noqa: E731
    whole = make(0, 1)
    before = epoch(whole, 5)
    state = json.loads(json.dumps(whole.get_state()))
    parts = [make(index, 2) for index in range(2)]
    for batch in before:
        assert_same(joined([next(part) for part in parts]), batch)
        if "sampler" in sampler and "one_view" not in sampler:
            assert len(set(batch["group_id"].tolist())) == 4
        if "one_view" in sampler:
            assert len(set(batch["study_id"].tolist())) == 4
    for part in parts:
        part.set_state(state)
    for batch in epoch(whole, 3):
        assert_same(joined([next(part) for part in parts]), batch)
    if "one_view" in sampler:  # an epoch of 7 studies is one batch
        with pytest.raises(InputError, match=r"batch_size = 8 is larger than the training split \(7 studies\)"):
            pipeline.train_batches(split, tokens["train"], config | {"batch_size": 8})


def test_examples_say_who_belongs_together(splits, tokens, config):
    split, config = with_twins(splits["train"], config)
    split = dataclasses.replace(split, reports=["There is a large effusion.", "No effusion."] * 7)
    batch = next(pipeline.train_batches(split, tokens["train"], config))
    np.testing.assert_array_equal(batch["study_id"], batch["row"] // 2)
    np.testing.assert_array_equal(batch["group_id"], np.minimum(batch["row"], 13 - batch["row"]))
    assert batch["labels"].shape == (4, 0)
    batch = next(pipeline.train_batches(split, tokens["train"], config | {"loss": {"positives": "soft"}}))
    effusion, healthy = (OBSERVATIONS.index(name) for name in ("Pleural Effusion", "No Finding"))
    expected = np.zeros((4, len(OBSERVATIONS)), np.uint8)
    expected[np.arange(4), np.where(batch["row"] % 2, healthy, effusion)] = 1
    np.testing.assert_array_equal(batch["labels"], expected)


def test_texts_are_drawn_anew_and_images_stay_as_they_were(splits, tokens, config):
    def augment_text(row, rng):
        drawn = np.full(12, rng.integers(1, 9), np.int32)
        return {"token_ids": drawn, "token_mask": drawn, "group_id": np.int32(100 + row)}

    config = with_augmentation(config)
    plain, drawn, again = (
        epoch(pipeline.train_batches(splits["train"], tokens["train"], config, augment_text=augment), 8)
        for augment in (None, augment_text, augment_text)
    )
    for one, other, same in zip(plain, drawn, again, strict=True):
        assert_same(other, same)
        np.testing.assert_array_equal(one["image"], other["image"])
        np.testing.assert_array_equal(other["group_id"], 100 + other["row"])
        assert not np.array_equal(one["token_ids"], other["token_ids"])
    assert len({int(batch["token_ids"][0, 0]) for batch in drawn}) > 1


# The iterator's state


def with_augmentation(config, threads=2):
    return config | {"data": config["data"] | {"augment": True, "num_threads": threads}}


def assert_same(one, other):
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)


@pytest.mark.parametrize("done", [0, 2, 3, 5, 10])
def test_a_restored_iterator_goes_on_bit_for_bit(splits, tokens, config, done):
    make = lambda: pipeline.train_batches(splits["train"], tokens["train"], with_augmentation(config))  # noqa: E731
    first, resumed = make(), make()
    epoch(first, done)
    state = json.loads(json.dumps(first.get_state()))  # as a checkpoint keeps it
    resumed.set_state(state)
    for one, other in zip(epoch(first, 5), epoch(resumed, 5), strict=True):
        assert_same(one, other)


def test_augmentation_differs_from_epoch_to_epoch(splits, tokens, config):
    batches = pipeline.train_batches(splits["train"], tokens["train"], with_augmentation(config | {"batch_size": 14}))
    first, second = (
        batch["image"][np.argsort(rows_of(batch, splits["train"]))].reshape(14, -1).astype(int)
        for batch in epoch(batches, 2)
    )
    # Row 0 is black, and may stay so.
    assert np.all(np.abs(first - second).max(axis=1)[1:] > 0)


# Evaluation batches


@pytest.mark.parametrize("batch_size", [1, 4, 7, 14, 20])
def test_eval_batches_give_every_row_once_in_order(splits, tokens, batch_size):
    batches = list(pipeline.eval_batches(splits["train"], tokens["train"], batch_size, SIDE))
    assert len(batches) == -(-14 // batch_size)
    assert all(len(value) == batch_size for batch in batches for value in batch.values())
    weights = np.concatenate([batch["weight"] for batch in batches])
    rows = [row for batch in batches for row in rows_of(batch, splits["train"])]
    assert weights.tolist() == [1] * 14 + [0] * (len(weights) - 14)
    assert rows[:14] == list(range(14))
    for batch in batches:
        assert brightness(batch) == rows_of(batch, splits["train"])  # the padding repeats a real row
        np.testing.assert_array_equal(batch["token_ids"], tokens["train"][0][rows_of(batch, splits["train"])])


def test_images_of_other_sizes_are_fitted(splits, tokens):
    (batch,) = pipeline.eval_batches(splits["val"], tokens["val"], 5, 24)
    assert batch["image"].shape == (5, 24, 24, 1)


# What importing costs


def test_loading_data_starts_no_accelerator_and_no_tensorflow():
    # Grain itself imports jax where it is installed; what matters is that no backend takes a GPU's memory.
    code = (
        "import sys; from cxr_jax.data import pipeline; from jax._src import xla_bridge\n"
        "print(xla_bridge.backends_are_initialized(), [m for m in ('tensorflow', 'torch', 'flax') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False []"

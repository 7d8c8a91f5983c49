"""A data set is a module and an entry in DATASETS: nothing else knows of it."""

import inspect
import sys

import numpy as np
import pytest

from cxr_jax import config as configuration
from cxr_jax.data import images, pipeline
from cxr_jax.data.sources import Source, source_of
from cxr_jax.errors import InputError
from tests.data.settings import toy_source
from tests.tiny import tiny_config

COUNTS = {"train": 4, "val": 2, "test": 1}


@pytest.mark.parametrize("dataset", configuration.DATASETS)
def test_every_data_set_has_a_module_of_the_protocol(dataset):
    source = source_of(dataset)
    assert isinstance(source, Source)
    for name in ("describe", "records", "splits"):
        wanted = list(inspect.signature(getattr(Source, name)).parameters)
        assert ["self", *inspect.signature(getattr(source, name)).parameters] == wanted


@pytest.fixture
def folder(tmp_path):
    """Seven images, each as bright as its split has images."""
    folder = tmp_path / "toy"
    folder.mkdir()
    for split, count in COUNTS.items():
        for i in range(count):
            (folder / f"{split}{i}.png").write_bytes(images.encode_png(np.full((32, 32), count, np.uint8)))
    return folder


def test_a_toy_is_added(folder, tmp_path, monkeypatch):
    changes = ["data.dataset=toy", f"data.path={folder}", f"data.cache={tmp_path / 'cache'}"]
    with pytest.raises(InputError, match=r"data\.dataset = 'toy'; it is one of openi, pairs, phantom, r2gen, mimic"):
        tiny_config(*changes)

    toy = toy_source("toy_of_this_test", lambda path: {split: sorted(path.glob(f"{split}*")) for split in COUNTS})
    monkeypatch.setitem(sys.modules, "toy_of_this_test", toy)
    monkeypatch.setitem(configuration.DATASETS, "toy", "toy_of_this_test")
    assert "| toy]" in configuration.describe()
    config = tiny_config(*changes)
    splits, source = pipeline.load_splits(config)
    assert source.name == "toy-32-png"
    assert {name: len(split) for name, split in splits.items()} == COUNTS
    for name, split in splits.items():
        assert split.reports == [f"Report {name}{i}." for i in range(COUNTS[name])]
        assert all(np.all(images.decode(split.encoded_image(row)) == COUNTS[name]) for row in range(len(split)))
    with pytest.raises(InputError, match="it is one of openi, pairs, phantom, r2gen, mimic, toy"):
        tiny_config("data.dataset=tyo")

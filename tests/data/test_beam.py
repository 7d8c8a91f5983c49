"""Preparation by Apache Beam; all but the refusals skip where it is not installed (the extra `beam`)."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from cxr_jax.data import beam, images, pipeline
from cxr_jax.data.prepare import prepare, verify
from cxr_jax.errors import InputError
from tests.data.settings import make_config

needs_beam = pytest.mark.skipif(importlib.util.find_spec("apache_beam") is None, reason="apache-beam is not installed")


@pytest.fixture
def table(tmp_path):
    lines = ["image,report,split"]
    for number in range(9):
        (tmp_path / f"{number}.png").write_bytes(images.encode_png(np.full((20, 30), 9 * number, np.uint8)))
        lines.append(f"{number}.png,Report {number}.,{'val' if number > 6 else 'train'}")
    (tmp_path / "pairs.csv").write_text("\n".join(lines))
    return tmp_path / "pairs.csv"


@pytest.mark.skipif(importlib.util.find_spec("apache_beam") is not None, reason="apache-beam is installed")
def test_without_beam_it_says_how_to_get_it(table, tmp_path):
    with pytest.raises(InputError, match=r'DirectRunner: needs Apache Beam; pip install "cxr_jax\[beam\]"'):
        prepare(make_config(table, tmp_path / "cache")["data"], beam_runner="DirectRunner")
    assert not (tmp_path / "cache").exists()


@needs_beam
def test_an_unknown_runner_is_refused():
    with pytest.raises(InputError, match="--beam_runner Sprinter: Beam has no such runner"):
        beam.check("Sprinter")


@needs_beam
@pytest.mark.filterwarnings("default")
def test_what_beam_stores_is_what_is_stored_without(table, tmp_path):
    config, plain = make_config(table, tmp_path / "beam"), make_config(table, tmp_path / "plain")
    assert verify(prepare(config["data"], beam_runner="DirectRunner")) == 9
    assert [path.name for path in (tmp_path / "beam").iterdir()] == ["records"]
    for one, other in zip(*(pipeline.load_splits(c)[0].values() for c in (config, plain)), strict=True):
        assert one.image_ids == other.image_ids
        for row in range(len(one)):
            assert one.encoded_image(row) == other.encoded_image(row)
            assert one.thumbnail(row) == other.thumbnail(row)


@needs_beam
@pytest.mark.filterwarnings("default")
def test_a_bad_image_is_named(table, tmp_path):
    (table.parent / "8.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"8\.png: not an image"):
        prepare(make_config(table, tmp_path / "cache")["data"], beam_runner="DirectRunner")
    assert not list(Path(tmp_path / "cache").glob("records/*"))

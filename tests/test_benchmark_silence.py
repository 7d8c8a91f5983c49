"""scripts/benchmark_silence.py and its pictures, on a model that sees brightness."""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cxr_jax.data import images
from cxr_jax.errors import InputError
from cxr_jax.retrieval.abstention import Checks, Gauge, limits_of
from cxr_jax.retrieval.model import Model
from tests.retrieval.test_abstention import SCALE, embedded, index

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "scripts"))
import benchmark_silence  # noqa: E402
import other_pictures  # noqa: E402


class Pixels(Model):
    """An image's embedding is its pixels."""

    def __init__(self):
        self._pool, self._thresholds = index("train", 1, 80), None
        self.config = {"image_size": 32}
        gauge = Gauge(self._pool)
        self.checks = Checks(gauge, limits_of(index("val", 2, 60), self._pool, gauge, SCALE))

    scale = SCALE

    def encode_image(self, images, batch_size=32):
        return embedded(list(images))


@pytest.fixture(scope="module")
def results():
    model = Pixels()
    foreign = [np.tile(np.arange(60, dtype=np.uint8), (60, 1))] * 3
    return benchmark_silence.benchmark(model, index("val", 2, 60), index("test", 3, 12), foreign, 8)


@pytest.mark.slow
def test_what_is_no_chest_is_found_and_what_is_one_is_not(results):
    assert results["as it is"]["warned"] <= 0.25
    assert results["as it is"]["likeness"]["auroc"] == 0.5
    for kind in ("black", "white", "noise", "text page", "photograph", "upside down", "inverted", "foreign"):
        assert results[kind]["warned"] == 1, kind
        assert results[kind]["likeness"]["auroc"] > 0.95, kind
        assert results[kind]["all"]["auroc"] > 0.8, kind  # of 60 validation images some have the lowest rank as well
    assert results["foreign"]["n"] == 3


def test_the_table_has_a_row_a_kind(results):
    lines = benchmark_silence.table(results).splitlines()
    assert len(lines) == 2 + len(results)
    assert len({line.count("|") for line in lines}) == 1


def test_foreign_images_come_from_folders_and_tables(tmp_path):
    for number in range(5):
        Image.new("L", (9, 7), 40 * number).save(tmp_path / f"{number}.png")
    assert [p.shape for p in benchmark_silence.foreign_pictures(tmp_path, 3)] == [(7, 9)] * 3
    (tmp_path / "table.csv").write_text("image\n1.png\n2.png\n")
    assert [int(p.mean()) for p in benchmark_silence.foreign_pictures(tmp_path / "table.csv", 9)] == [40, 80]
    (tmp_path / "texts.txt").write_text("a\nb\n")
    with pytest.raises(InputError, match=r"--foreign .*: names no image"):
        benchmark_silence.foreign_pictures(tmp_path / "texts.txt", 3)


def test_other_pictures_are_written_to_be_looked_at(tmp_path):
    other_pictures.main(["--out", str(tmp_path / "others"), "--count", "2"])
    files = sorted((tmp_path / "others").iterdir())
    assert len(files) == 2 * len(other_pictures.KINDS)
    assert all(images.read(file).grey.shape == (256, 256) for file in files)
    varied = [name for name, make in other_pictures.KINDS.items() if name not in ("black", "white")]
    for name in varied:
        a, b = (other_pictures.KINDS[name](64, np.random.default_rng(seed)) for seed in (0, 1))
        assert a.dtype == np.uint8
        assert a.shape == (64, 64)
        assert (a != b).any(), name

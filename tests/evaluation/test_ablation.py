"""Runs beside each other, on indices whose answers are known."""

import numpy as np
import pytest

from cxr_jax.errors import InputError
from cxr_jax.evaluation.ablation import read_run, variants_of
from tests.evaluation.runs import make_run, metrics, parameters_of


def test_runs_that_differ_in_their_seed_are_one_variant(folders):
    good, bad = folders
    runs = [read_run(folder, "test") for folder in (good[0], bad[0], *good[1:], bad[1])]
    variants = variants_of(runs, parameters_of)
    assert [variant.name for variant in variants] == ["good0", "bad0"]
    assert [variant.changes for variant in variants] == ["", "image.spatial_attention=False"]
    for variant, members in zip(variants, (good, bad), strict=True):
        for name in ("bleu_4", "rouge_l", "finding_f1_macro"):
            expected = [metrics(folder)["scores"][name] for folder in members]
            np.testing.assert_allclose(variant.samples[name][:, 0], expected, atol=1e-12)
        recalls = [metrics(folder)["retrieval"]["image_to_text"]["recall@1"] for folder in members]
        np.testing.assert_allclose(variant.samples["recall@1"][:, 0], recalls, atol=1e-12)
    assert [variant.parameters for variant in variants] == [(99, 10), (100, 10)]


def test_what_cannot_be_compared_is_refused(folders, tmp_path):
    first = folders[0][0]
    others = {
        "different images": make_run(tmp_path / "fewer", count=50),
        "was scored by protocol paper": make_run(tmp_path / "protocol", protocol="paper"),
        "holds no run": tmp_path / "none",
    }
    unscored = make_run(tmp_path / "unscored")
    (unscored / "eval" / "test" / "metrics.json").unlink()
    for words, folder in (others | {"score the run: python -m cxr_jax.evaluate": unscored}).items():
        with pytest.raises(InputError, match=words) as error:
            variants_of([read_run(first, "test"), read_run(folder, "test")], parameters_of)
        assert "\n" not in str(error.value)

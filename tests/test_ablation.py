"""Runs beside each other, on indices whose answers are known; the script that trains them is run once, marked slow."""

import json
import subprocess
import sys

import numpy as np
import pytest

from cxr_jax import ablation
from cxr_jax.data import images
from cxr_jax.errors import InputError
from cxr_jax.evaluation import predictions as outside
from cxr_jax.retrieval.store import Row, SplitIndex
from cxr_jax.retrieve import evaluate_split
from cxr_jax.runtime.run_folder import RunFolder
from tests.tiny import TINY, tiny_resolved

THUMBNAIL = images.encode_jpeg(np.zeros((8, 8), np.uint8))


def split_of(name, count, first_study, noise, seed):
    """Studies of ten kinds; an image lies by its kind's report, as closely as `noise` lets it."""
    rng, kinds = np.random.default_rng([seed, first_study]), np.arange(count) % 10
    text = np.eye(16, dtype=np.float32)[kinds]
    image = text + noise * rng.normal(size=text.shape).astype(np.float32)
    image /= np.linalg.norm(image, axis=1, keepdims=True)
    rows = [
        Row(f"{name}{i}", f"s{first_study + i}", f"p{i}", f"there is finding number {k} of all .", (f"f{k}",), int(k))
        for i, k in enumerate(kinds)
    ]
    return SplitIndex(name, 7, rows, image, text, [THUMBNAIL] * count)


def make_run(folder, noise=0.1, seed=0, count=60, protocol="raw", **changes):
    config = tiny_resolved(f"seed={seed}", *(f"{k}={v}" for k, v in changes.items()))
    config["data"]["description"] = "made up"
    run = RunFolder(folder)
    run.start(config)
    for name, size, first in (("train", 40, 0), ("val", 20, 1000), ("test", count, 2000)):
        split_of(name, size, first, noise, seed).save(run.index)
    evaluate_split(folder, protocol=protocol)
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    good = [make_run(root / f"good{seed}", seed=seed) for seed in range(3)]
    bad = [make_run(root / f"bad{s}", 1.5, s, **{"image.spatial_attention": "false"}) for s in range(2)]
    return good, bad


def metrics(folder):
    return json.loads((folder / "eval" / "test" / "metrics.json").read_text())


def test_runs_that_differ_in_their_seed_are_one_variant(folders):
    good, bad = folders
    found = ablation.variants([ablation.read_run(f, "test") for f in (good[0], bad[0], *good[1:], bad[1])])
    assert [variant.name for variant in found] == ["good0", "bad0"]
    assert [variant.changes for variant in found] == ["", "image.spatial_attention=False"]
    for variant, members in zip(found, (good, bad), strict=True):
        for name in ("bleu_4", "rouge_l", "finding_f1_macro"):
            expected = [metrics(folder)["scores"][name] for folder in members]
            np.testing.assert_allclose(variant.samples[name][:, 0], expected, atol=1e-12)
        recalls = [metrics(folder)["retrieval"]["image_to_text"]["recall@1"] for folder in members]
        np.testing.assert_allclose(variant.samples["recall@1"][:, 0], recalls, atol=1e-12)
    assert found[0].parameters[0] > found[1].parameters[0] > 0  # the 7×7 convolution is gone
    assert all(trained < everything for everything, trained in (v.parameters for v in found))  # BERT is frozen


def test_the_tables_say_mean_spread_and_what_pays(folders):
    good, bad = folders
    found = ablation.variants([ablation.read_run(folder, "test") for folder in (*good, *bad)])
    columns, rows = ablation.table(found, ablation.read_run(good[0], "test").limits)
    by_name = {row[0]: row for row in rows}
    assert columns == ["", "good0", "bad0", "constant report", "random report", "ceiling"]
    floors = metrics(good[0])["floors"]
    assert by_name["BLEU-4"][3:5] == [f"{floors[f'{name}_report']['bleu_4']:.3f}" for name in ("constant", "random")]
    assert by_name["BLEU-4"][5] == f"{metrics(good[0])['ceiling']['bleu_4']:.3f}"
    assert by_name["R@1"][3:] == ["", "0.100", ""]  # ten reports, each six times
    assert by_name["seeds"][1:] == ["3", "2", "", "", ""]
    recalls = [metrics(f)["retrieval"]["image_to_text"]["recall@1"] for f in bad]
    assert by_name["R@1"][2] == f"{np.mean(recalls):.3f} ± {np.std(recalls, ddof=1):.3f}"
    _, rows = ablation.difference_table(found)
    by_name = {row[0]: row[1] for row in rows}
    for score in ("BLEU-4", "finding F1", "R@1"):
        assert by_name[score].endswith(") pays")
    sure = sum(cell.endswith(") pays") for cell in by_name.values())
    assert by_name["does good0 pay?"] == f"pays in {sure} of {len(rows) - 1}"
    swapped = ablation.variants([ablation.read_run(folder, "test") for folder in (*bad, *good)])
    _, rows = ablation.difference_table(swapped)
    by_name = {row[0]: row[1] for row in rows}
    assert by_name["R@1"].endswith(") costs")
    assert by_name["does bad0 pay?"] == f"costs in {sure} of {len(rows) - 1}"


def test_what_pays_in_some_scores_and_costs_in_others():
    assert ablation._summary(["pays", "", "costs", "pays"]) == "pays in 2 and costs in 1 of 4"


def test_two_single_runs_differ_as_a_comparison_says(folders):
    a, b = (ablation.read_run(side[0], "test") for side in folders)
    variants = ablation.variants([a, b])
    compared = outside.compare(a.lines, b.lines, "raw", a.train_reports)
    for name, expected in compared.items():
        gain = ablation._gain(*variants, name)
        assert gain["difference"] == pytest.approx(expected["difference"])
        assert gain["interval"] == pytest.approx(expected["interval"])


def test_equal_variants_are_not_said_to_differ(folders, tmp_path):
    other = make_run(tmp_path / "same", seed=0, **{"image.pooling": "mean"})
    found = ablation.variants([ablation.read_run(folder, "test") for folder in (folders[0][0], other)])
    _, rows = ablation.difference_table(found)
    assert rows[-1][1] == "not shown"
    assert {row[1] for row in rows[:-1]} == {"+0.000 (+0.000 to +0.000)"}


def test_command_prints_and_writes(folders, tmp_path, capsys):
    ablation.main([*(str(f) for f in (*folders[0], *folders[1])), "--out", str(tmp_path / "a.md")])
    text, written = capsys.readouterr().out, (tmp_path / "a.md").read_text()
    assert "made up, split by paper: test split, 60 images, protocol raw" in text
    assert "bad0: good0 with image.spatial_attention=False\n" in text
    assert "- bad0: good0 with image.spatial_attention=False\n" in written
    assert written.count("\n| ---") == 2


def test_what_cannot_be_compared_is_refused(folders, tmp_path, monkeypatch):
    first = str(folders[0][0])
    others = {
        "different images": make_run(tmp_path / "fewer", count=50),
        "was scored by protocol paper": make_run(tmp_path / "protocol", protocol="paper"),
        "holds no run": tmp_path / "none",
    }
    unscored = make_run(tmp_path / "unscored")
    (unscored / "eval" / "test" / "metrics.json").unlink()
    for words, folder in (others | {"score the run: python -m cxr_jax.retrieve": unscored}).items():
        with pytest.raises(InputError, match=words) as error:
            ablation.main([first, str(folder)])
        assert "\n" not in str(error.value)


@pytest.mark.slow
def test_script_trains_scores_goes_on_and_refuses_what_does_not_fit(tmp_path):
    keys = [f"--config.{override}" for override in (*TINY, f"data.cache={tmp_path / 'cache'}")]
    command = [sys.executable, "scripts/ablate.py", "--config", "configs/phantom.py", "--out", str(tmp_path / "runs")]
    command += ["--variants", "paper", "plain_densenet", "--seeds", "0", "1", *keys]
    first = subprocess.run(command, capture_output=True, text=True)
    assert first.returncode == 0, first.stderr
    table = first.stdout[first.stdout.rindex("drawn images") :]
    assert "paper minus" in table
    assert "plain_densenet" in table
    assert first.stdout.count("== ") == 4
    (tmp_path / "runs" / "plain_densenet" / "seed1" / "eval" / "test" / "metrics.json").unlink()
    again = subprocess.run(command, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("== ") == 1
    assert again.stdout[again.stdout.rindex("drawn images") :] == table
    other = subprocess.run([*command, "--config.batch_size=4"], capture_output=True, text=True)
    assert other.returncode == 2
    assert "batch_size: 8 → 4" in other.stderr

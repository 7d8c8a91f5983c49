"""The pointing game of a run of the phantom, with random weights: its pictures, its places, what it writes."""

import dataclasses
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cxr_jax.errors import InputError
from cxr_jax.evaluation.pointing_game import ALL, MEASURES, OTHER, measured
from cxr_jax.phantom.release import study_findings_and_report, write_release
from cxr_jax.phantom.reports import affirmed_kinds
from cxr_jax.recipes.regions import studies_of, trials_of
from cxr_jax.retrieval.model import Model
from cxr_jax.retrieval.regions import MAPS, OFFERED
from cxr_jax.retrieval.store import SplitIndex

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
import pointing_game


@pytest.fixture(scope="module")
def split(run):
    return SplitIndex.load(run.index, "val")  # CXR100 to CXR123


def config_of(bare, **data):
    return {**bare.config, "data": {**bare.config["data"], **data}}


def test_the_pictures_are_the_release_s_and_the_regions_of_what_they_show(bare, split, tmp_path):
    config = config_of(bare, stored_size=48, seed=2)
    rows = [dataclasses.replace(row, study_id=f"CXR{i + 1}") for i, row in enumerate(split.rows)]
    split = dataclasses.replace(split, rows=[row for row in rows for _ in range(2)])  # two images a study
    studies = list(studies_of({**config, "image_size": 48}, split, 5))
    assert len({study.study_id for study in studies}) == 5
    release = write_release(tmp_path / "release", 24, 48, seed=2, workers=1)
    for study in studies:
        number = int(study.study_id.removeprefix("CXR"))
        with Image.open(release / "NLMCXR_png" / f"CXR{number}_IM-{number:04d}-1001.png") as image:
            np.testing.assert_array_equal(study.square, np.asarray(image))
        assert set(study.findings) <= set(study_findings_and_report(2, number)[0])
        for finding, region, sentence in zip(study.findings, study.regions, study.sentences, strict=True):
            assert affirmed_kinds(sentence) == (finding.kind,)
            assert region.shape == (48, 48)
            assert 0 < region.mean() < 0.75
    fitted = list(studies_of(config, split, 5))  # what is stored larger than the model's image is fitted to it
    assert [study.square.shape for study in fitted] == [(32, 32)] * 5
    for small, large in zip(fitted, studies, strict=True):
        for one, other in zip(small.regions, large.regions, strict=True):
            assert one.mean() == pytest.approx(other.mean(), abs=0.05)


@pytest.mark.parametrize(
    ("data", "study_id", "says"), [({"dataset": "pairs"}, "CXR1", "data.dataset = pairs"), ({}, "s1", "study s1")]
)
def test_what_is_not_the_phantom_s_is_refused(bare, split, data, study_id, says):
    rows = [dataclasses.replace(row, study_id=study_id) for row in split.rows]
    with pytest.raises(InputError, match=says) as error:
        list(studies_of(config_of(bare, **data), dataclasses.replace(split, rows=rows), 3))
    assert "\n" not in str(error.value)


def test_each_finding_is_a_trial_and_its_other_is_the_study_before(bare, run, split):
    model = Model(bare.config, bare.variables, bare.tokenizer, SplitIndex.load(run.index, "train"))
    model._encode = bare._encode
    studies = list(studies_of(bare.config, split, 3))
    trials = trials_of(model, studies)
    assert [(t.study, t.finding) for t in trials] == [(s.study_id, f.kind) for s in studies for f in s.findings]
    maps = ("attention", *MAPS)
    shown = {"random", "centre", "usual place", *maps, *(OTHER.format(of) for of in maps)}
    assert all(trial.scores.keys() == shown for trial in trials)
    last, first = studies[-1], studies[0]
    (heat,) = model.regions.heat(last.square, first.sentences[:1], "similarity")
    assert trials[0].scores[OTHER.format("similarity")] == measured(heat, first.regions[0])
    (heat,) = model.regions.heat(first.square, first.sentences[:1], "similarity")
    assert trials[0].scores["similarity"] == measured(heat, first.regions[0])


def test_the_command_writes_tables_and_what_may_be_shown(bare, run, tmp_path, monkeypatch, capsys):
    root = Path(shutil.copytree(run.root, tmp_path / "run"))

    def load(folder):
        model = Model(bare.config, bare.variables, bare.tokenizer, SplitIndex.load(folder.index, "train"))
        model._encode = bare._encode
        return model

    monkeypatch.setattr(pointing_game, "load_run", load)
    pointing_game.main(["--workdir", str(root), "--split", "val", "--limit", "2"])
    printed = capsys.readouterr().out
    found = json.loads((root / "eval" / "val" / "pointing_game.json").read_text())
    assert found["studies"] == found["findings"][ALL]["studies"] == 2
    tables = (root / "eval" / "val" / "pointing_game.md").read_text()
    assert tables in printed
    assert all(f"| {measure} | studies |" in tables for measure in MEASURES)
    kept = json.loads((root / "index" / OFFERED).read_text())
    assert kept["shown"] == {}  # two studies tell nothing
    assert kept["checkpoint"] == SplitIndex.load(root / "index", "train").checkpoint
    with pytest.raises(InputError, match="--limit 0"):
        pointing_game.main(["--workdir", str(root), "--limit", "0"])

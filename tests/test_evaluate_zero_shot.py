"""`evaluate --zero_shot` and `--probes` on a tiny run: what they write agrees with the Python API and with counting."""

import json

import numpy as np
import pytest

import cxr_jax
from cxr_jax import evaluate
from cxr_jax.data import images, pipeline
from cxr_jax.errors import InputError
from cxr_jax.evaluation.zero_shot import SCORES
from cxr_jax.labels.perturbations import swap_sides
from cxr_jax.runtime.run_folder import RunFolder
from cxr_jax.train import train
from tests.evaluation.test_zero_shot import naive_auroc, naive_average_precision, naive_f1
from tests.tiny import tiny_config


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    # The same programs as test_train's, so that each is compiled once.
    return tiny_config(f"data.cache={tmp_path_factory.mktemp('cache')}", "data.augment=true", "text.dropout=0.2")


@pytest.fixture(scope="module")
def run(config, tmp_path_factory) -> RunFolder:
    return train(config, tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture(scope="module")
def splits(config):
    return pipeline.load_splits(config)[0]


@pytest.fixture
def questions(splits, tmp_path):
    """Any finding on the right; any on the left; and one that no study of test has."""
    every = sorted({label for split in splits.values() for labels in split.labels for label in labels})
    right, left = ([label for label in every if f"/{side}" in label] for side in ("right", "left"))
    absent = [label for label in every if not any(label in labels for labels in splits["test"].labels)]
    entries = {
        "On the right": {"positive": ["The right is abnormal."], "negative": ["All is normal."], "labels": right},
        "On the left": {"labels": left},
        absent[0].upper(): {},
    }
    (tmp_path / "labels.yaml").write_text(json.dumps(entries))  # JSON is YAML
    return tmp_path / "labels.yaml", {"On the right": set(right), "On the left": set(left)}, absent[0]


def test_what_is_written_agrees_with_the_api_and_with_counting(run, splits, questions, capsys):
    file, counts, absent = questions
    evaluate.main(["--workdir", str(run.root), "--zero_shot", str(file)])
    printed = capsys.readouterr().out
    written = run.evaluation("test") / "zero_shot.json"
    metrics = json.loads(written.read_text())
    test, val = splits["test"], splits["val"]
    model = cxr_jax.load(run.root)
    prompts = {name: (metrics["labels"][name]["positive"], metrics["labels"][name]["negative"]) for name in counts}
    chances = {
        split.name: model.zero_shot([images.decode(split.encoded_image(row)) for row in range(len(split))], prompts)
        for split in (test, val)
    }
    assert metrics["n"] == metrics["n_patients"] == len(test)
    temperature = {line["step"]: line["temperature"] for line in run.metrics() if "temperature" in line}
    assert 1 / metrics["scale"] == pytest.approx(temperature[metrics["step"]], rel=0.01)
    for name, own in counts.items():
        entry, chance = metrics["labels"][name], chances["test"][name]
        truth, val_truth = (np.array([bool(labels & own) for labels in split.labels]) for split in (test, val))
        assert chance.shape == (len(test),)
        assert chance.dtype == np.float32
        assert entry["n_positive"] == truth.sum() == round(entry["prevalence"] * len(test))
        assert entry["auroc"] == pytest.approx(naive_auroc(truth, chance))
        assert entry["average_precision"] == pytest.approx(naive_average_precision(truth, chance))
        assert entry["f1"] == pytest.approx(naive_f1(truth, chance >= entry["threshold"]))
        assert entry["f1_at_0.5"] == pytest.approx(naive_f1(truth, chance >= 0.5))
        best = max(naive_f1(val_truth, chances["val"][name] >= value) for value in chances["val"][name])
        assert naive_f1(val_truth, chances["val"][name] >= entry["threshold"]) == pytest.approx(best)
        assert entry["intervals"].keys() == entry["floors"].keys() == set(SCORES)
        assert all(low <= entry[score] <= high for score, (low, high) in entry["intervals"].items())
        assert f"\n{name} " in printed
    lacking = metrics["labels"][absent.upper()]
    assert (lacking["n_positive"], lacking["counts_as"]) == (0, [absent])
    assert "no positive in this split" in printed
    assert metrics["macro"]["n_labels"] == 2
    assert metrics["macro"]["auroc"] == pytest.approx(np.mean([metrics["labels"][name]["auroc"] for name in counts]))
    assert "\nmacro mean of 2 " in printed
    assert str(written) in printed


@pytest.fixture
def table(splits, tmp_path):
    """Another tool's labels of val and test: wide, shuffled, doubt among them, and a study of neither."""

    def write(studies=("val", "test")):
        ids = [study for name in studies for study in splits[name].study_ids]
        cells = {study: ("1", "-1", "0", "")[i % 4] for i, study in enumerate(dict.fromkeys(ids))}
        rows = [f"{cell},{study},some text" for study, cell in sorted(cells.items(), key=lambda each: each[1])]
        (tmp_path / "labels.csv").write_text("\n".join(["Edema,study_id,Reports", "1,elsewhere,", *rows]))
        (tmp_path / "edema.yaml").write_text("edema: {}")
        arguments = ["--zero_shot", str(tmp_path / "edema.yaml"), "--labels", str(tmp_path / "labels.csv")]
        return arguments, {study: cell in ("1", "-1") for study, cell in cells.items()}

    return write


def test_another_tools_labels_stand_in_for_the_datas_own(run, splits, table, capsys):
    arguments, has_edema = table()
    evaluate.main(["--workdir", str(run.root), *arguments])
    metrics = json.loads((run.evaluation("test") / "zero_shot.json").read_text())
    entry, test = metrics["labels"]["edema"], splits["test"]
    truth = np.array([has_edema[study] for study in test.study_ids])
    model = cxr_jax.load(run.root)
    prompts = {"edema": (entry["positive"], entry["negative"])}
    chance = model.zero_shot([images.decode(test.encoded_image(row)) for row in range(len(test))], prompts)["edema"]
    assert metrics["labels_from"] == arguments[-1]
    assert f"labels of {arguments[-1]}" in capsys.readouterr().out
    assert entry["counts_as"] == ["Edema"]
    assert entry["n_positive"] == truth.sum()
    assert entry["auroc"] == pytest.approx(naive_auroc(truth, chance))


def test_another_tools_labels_must_be_of_all_studies(run, table, monkeypatch):
    monkeypatch.setattr(cxr_jax, "load", lambda workdir: pytest.fail("loaded"))
    arguments, _ = table(["test"])  # thresholds are chosen on val
    with pytest.raises(InputError, match=r"labels\.csv: column study_id: .* studies are missing"):
        evaluate.main(["--workdir", str(run.root), *arguments])
    with pytest.raises(InputError, match=r"--labels: got 2 files; .* one with --zero_shot"):
        evaluate.main(["--workdir", str(run.root), *arguments, arguments[-1]])


def test_on_val_itself_it_says_so(run, questions, capsys):
    evaluate.main(["--workdir", str(run.root), "--zero_shot", str(questions[0]), "--split", "val"])
    assert "which is this split itself" in capsys.readouterr().out
    assert (run.evaluation("val") / "zero_shot.json").is_file()


def test_a_label_that_the_data_lack_is_refused(run, tmp_path):
    (tmp_path / "labels.yaml").write_text("Cardiomegali: {}")
    with pytest.raises(InputError, match=r"labels\.yaml: no image .* Cardiomegali \(near it: Cardiomegaly\)"):
        evaluate.main(["--workdir", str(run.root), "--zero_shot", str(tmp_path / "labels.yaml")])


def test_a_faulty_file_is_found_before_the_model_is_loaded(run, tmp_path, monkeypatch):
    monkeypatch.setattr(cxr_jax, "load", lambda workdir: pytest.fail("loaded"))
    (tmp_path / "labels.yaml").write_text("- Cardiomegaly")
    with pytest.raises(InputError, match="holds no mapping"):
        evaluate.main(["--workdir", str(run.root), "--zero_shot", str(tmp_path / "labels.yaml")])
    (tmp_path / "labels.yaml").write_text("Cardiomegaly: {}")
    with pytest.raises(InputError, match="holds no run"):
        evaluate.main(["--workdir", str(tmp_path), "--zero_shot", str(tmp_path / "labels.yaml")])


def test_the_apis_probabilities_of_opposite_questions_add_up_to_one(run):
    model = cxr_jax.load(run.root)
    grey = np.random.default_rng(0).integers(0, 256, (3, 40, 50), dtype=np.uint8)
    sides = ["There is an effusion."], ["There is no effusion."]
    chances = model.zero_shot(grey, {"yes": sides, "no": sides[::-1]})
    np.testing.assert_allclose(chances["yes"] + chances["no"], 1, atol=1e-6)
    assert model.zero_shot([], ["Edema"])["Edema"].shape == (0,)


def test_the_models_preferences_agree_with_the_api(run, splits, capsys):
    evaluate.main(["--workdir", str(run.root), "--probes"])
    printed = capsys.readouterr().out
    probes = json.loads((run.evaluation("test") / "probes.json").read_text())
    test, model = splits["test"], cxr_jax.load(run.root)
    embedded = model.encode_image([images.decode(test.encoded_image(row)) for row in range(len(test))])
    won = []
    for image, report in zip(embedded, test.reports, strict=True):
        if twin := swap_sides(report):
            true, other = model.encode_text([report, twin]) @ image
            won.append(0.5 if abs(true - other) <= 1e-6 else float(true > other))
    entry = probes["model"]["side_swapped"]
    assert (entry["n"], entry["without"]) == (len(won), len(test) - len(won))
    assert entry["accuracy"] == pytest.approx(np.mean(won), abs=1e-9)
    assert entry["interval"][0] <= entry["accuracy"] <= entry["interval"][1]
    assert probes["scores"]["sentences_shuffled"]["system"]["n"] == len(test)
    assert "sentences shuffled: the retrieved report" in printed
    assert "the true report preferred to its twin" in printed

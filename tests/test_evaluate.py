"""The command line of evaluation, on an index whose answer is known; --zero_shot has tests of its own."""

import json
import subprocess
import sys

import numpy as np
import pytest

from cxr_jax import config as configuration
from cxr_jax import evaluate, retrieve
from cxr_jax.data import images
from cxr_jax.errors import InputError
from cxr_jax.retrieval.rows import Row
from cxr_jax.retrieval.store import SplitIndex
from cxr_jax.runtime.run_folder import RunFolder


@pytest.fixture
def workdir(tmp_path, request, monkeypatch):
    monkeypatch.chdir(request.config.rootpath)
    config = configuration.load("configs/phantom.py", [f"data.cache={tmp_path / 'cache'}"])
    config["data"] |= {"description": "drawn", "split_used": "paper"}
    RunFolder(tmp_path / "run").start(config)
    return str(tmp_path / "run")


def random_split(name, count, seed, first_study):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(count, 16)).astype(np.float32)
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    texts = [f"the heart is of size {i % 5} . no effusion ." for i in range(count)]
    rows = [Row(f"{name}{i}", f"s{first_study + i}", f"p{i}", texts[i], ("Nodule",), i % 5) for i in range(count)]
    thumbnail = images.encode_jpeg(np.zeros((8, 8), np.uint8))
    return SplitIndex(name, 7, rows, z, z, [thumbnail] * count)


@pytest.mark.parametrize("command", [evaluate, retrieve])
def test_a_split_is_scored_and_shown(workdir, capsys, command):
    run = RunFolder(workdir)
    for number, (name, count) in enumerate({"train": 20, "val": 6, "test": 5}.items()):
        random_split(name, count, number, 100 * number).save(run.index)
    command.main(["--workdir", workdir, "--split", "test"])
    written = sorted(file.name for file in run.evaluation("test").iterdir())
    assert written == ["index.html", "metrics.json", "predictions.jsonl", "tables.md"]
    assert (run.evaluation("test") / "predictions.jsonl").read_text().count("\n") == 5
    text = capsys.readouterr().out
    assert "drawn, split by paper: test split, 5 images, protocol r2gen, pool of 20 training reports" in text
    assert str(run.evaluation("test") / "index.html") in text
    command.main(["--workdir", workdir, "--split", "val"])
    assert (run.evaluation("val") / "metrics.json").is_file()


def test_a_run_is_compared_with_another(workdir, tmp_path, capsys):
    run = RunFolder(workdir)
    for number, (name, count) in enumerate({"train": 20, "val": 6, "test": 5}.items()):
        random_split(name, count, number, 100 * number).save(run.index)
    with pytest.raises(InputError, match=r"predictions\.jsonl: is not there; score that run first"):
        evaluate.main(["--workdir", workdir, "--compare", workdir])
    evaluate.main(["--workdir", workdir])
    file = run.evaluation("test") / "predictions.jsonl"
    (tmp_path / "other.jsonl").write_text(file.read_text())
    for other in (workdir, str(tmp_path / "other.jsonl")):
        evaluate.main(["--workdir", workdir, "--compare", other])
        assert f"minus {other}\n" in capsys.readouterr().out
        comparison = json.loads((run.evaluation("test") / "metrics.json").read_text())["comparison"]
        assert comparison["with"] == other
        assert comparison["scores"]["bleu_1"] == {"difference": 0, "interval": [0, 0], "p": 1}


def test_another_systems_lines_are_scored_by_a_runs_index(workdir, tmp_path):
    run = RunFolder(workdir)
    for number, (name, count) in enumerate({"train": 20, "val": 6, "test": 5}.items()):
        random_split(name, count, number, 100 * number).save(run.index)
    evaluate.main(["--workdir", workdir])
    file = run.evaluation("test") / "predictions.jsonl"
    (tmp_path / "same.jsonl").write_text(file.read_text())
    evaluate.main(["--workdir", workdir, "--score", str(tmp_path / "same.jsonl")])
    own = json.loads((run.evaluation("test") / "metrics.json").read_text())
    other = json.loads((tmp_path / "same.metrics.json").read_text())
    own["scores"].pop("finding_f1_macro")
    assert other["scores"] == pytest.approx(own["scores"])
    assert other["floors"]["constant_report"]["bleu_4"] == own["floors"]["constant_report"]["bleu_4"]
    # A file that lies in a run needs no more to be found.
    evaluate.main(["--score", str(file)])
    inside = json.loads((run.evaluation("test") / "predictions.metrics.json").read_text())
    assert inside["scores"] == other["scores"]


def test_a_reader_that_has_enough_is_no_fault(tmp_path):
    """As `… | head -1` does: the pipe is closed before all is printed."""
    reports = [{"id": f"CXR{i}", "report": f"Report number {i}."} for i in range(6)]
    (tmp_path / "a.json").write_text(json.dumps({"train": reports[:2], "val": reports[2:4], "test": reports[4:]}))
    command = [sys.executable, "-u", "-m", "cxr_jax.evaluate", "--annotation", str(tmp_path / "a.json")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 141


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--workdir: is missing"),
        (["--workdir", "x", "--split", "train"], "--split"),
        (["--workdir", "x", "--top_k", "0"], "--top_k 0: must be at least 1"),
        (["--workdir", "x", "--image", "a.png"], "--image"),
        (["--workdir", "x", "--labels", "a.csv"], "--labels: got 1 files"),
        (["--workdir", "x", "--uncertain", "maybe"], "--uncertain"),
        (["--workdir", "x", "--scores", "chrf"], "--scores chrf: is no NAME=FILE"),
        (["--workdir", "x", "--higher_is_better", "no"], "--higher_is_better: goes with --scores"),
        (["--workdir", "x", "--probes", "--compare", "y"], "--probes and --compare: do not go together"),
        (["--workdir", "x", "--probes", "--scores", "a=b"], "--probes and --scores: do not go together"),
        (["--workdir", "x", "--zero_shot", "y", "--texts", "z"], "--zero_shot and --texts: do not go together"),
        (["--probes"], "--workdir: is missing"),
    ],
)
def test_arguments_that_cannot_be_understood(arguments, message):
    with pytest.raises(InputError, match=message) as error:
        evaluate.main(arguments)
    assert "\n" not in str(error.value)


def test_help_explains_every_use(capsys):
    with pytest.raises(SystemExit) as stop:
        evaluate.main(["--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    for word in ("--split", "--protocol", "--compare DIR|FILE", "--score", "--annotation", "--zero_shot", "--labels"):
        assert word in text
    for word in ("--uncertain", "--texts OUT", "--scores NAME=FILE.csv", "--higher_is_better", "--probes"):
        assert word in text


def test_doubt_is_scored_by_the_policy_that_is_asked_for(workdir, capsys):
    run = RunFolder(workdir)
    for number, (name, count) in enumerate({"train": 20, "val": 6, "test": 5}.items()):
        random_split(name, count, number, 100 * number).save(run.index)
    evaluate.main(["--workdir", workdir, "--uncertain", "ignore"])
    metrics = json.loads((run.evaluation("test") / "metrics.json").read_text())
    named = {name for name in metrics["scores"] if "[" in name}
    assert {name.partition("[")[2] for name in named} == {"uncertain=ignore,blank=negative]"}
    assert named <= metrics["intervals"].keys() & metrics["ceiling"].keys() & metrics["floors"]["random_report"].keys()
    assert "rule F1, uncertain=ignore, blank=negative" in capsys.readouterr().out
    assert "prior_share" in metrics["scores"].keys() - metrics["skill"].keys()


def test_the_scores_of_r2gens_split_are_probed(tmp_path, capsys):
    texts = ["Left effusion. No edema.", "Right nodule. The heart is enlarged.", "Clear lungs."]
    entries = [{"id": f"CXR{i}", "report": texts[i % 3]} for i in range(12)]
    (tmp_path / "a.json").write_text(json.dumps({"train": entries[:4], "val": entries[4:6], "test": entries[6:]}))
    evaluate.main(["--annotation", str(tmp_path / "a.json"), "--protocol", "raw", "--probes"])
    text = capsys.readouterr().out
    assert "side swapped: the true report" in text
    assert "negation flipped: the true report" in text
    assert "the retrieved report" not in text

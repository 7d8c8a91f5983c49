"""What a user gets wrong, at the commands themselves: one line that says what to mend, before anything slow begins."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import safetensors.numpy

from cxr_jax import config as configuration
from cxr_jax import retrieve, train
from cxr_jax.data import images
from cxr_jax.errors import run_command
from cxr_jax.retrieval import model
from cxr_jax.training import start

ROOT = Path(__file__).parents[1]
CONFIG = str(ROOT / "configs" / "pairs.py")
SPLITS = ["train"] * 6 + ["val"] * 2 + ["test"] * 2


@pytest.fixture
def table(tmp_path):
    """Ten pairs in good order."""
    folder = tmp_path / "data"
    folder.mkdir()
    for number in range(10):
        image = np.full((40, 40), 20 * number, np.uint8)
        (folder / f"{number}.png").write_bytes(images.encode_png(image))
    rows = [f"{number}.png,Report {number}.,{split}" for number, split in enumerate(SPLITS)]
    (folder / "pairs.csv").write_text("\n".join(["image,report,split", *rows]) + "\n")
    return folder / "pairs.csv"


def train_arguments(table, *more, config=CONFIG):
    return [
        "--config", config, "--workdir", str(table.parents[1] / "run"),
        f"--config.data.csv={table}", f"--config.data.cache={table.parents[1] / 'cache'}",
        "--config.text.pretrained=", "--config.batch_size=4", *more,
    ]  # fmt: skip


@pytest.fixture
def complaint(monkeypatch, capsys):
    """Runs a command that must fail at once, and returns the one line that it prints."""
    monkeypatch.setattr(train, "make_recipe", lambda *_: pytest.fail("a model was built"))
    monkeypatch.setattr(model, "build_model", lambda *_: pytest.fail("a model was built"))
    # Process-wide, and conftest's stays in use.
    monkeypatch.setattr(train.parallel, "cache_compilations", lambda folder: None)

    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1)}

    def run(command, arguments):
        with pytest.raises(SystemExit) as stop:
            run_command(lambda: command(arguments))
        assert stop.value.code == 2
        return one_line(capsys.readouterr().err)

    yield run
    for number, handler in handlers.items():  # a command ignores them once it is done; the tests go on
        signal.signal(number, handler)


def one_line(stderr):
    assert stderr.startswith("error: ")
    assert stderr.endswith("\n")
    assert stderr.count("\n") == 1
    assert "\r" not in stderr
    assert "Traceback" not in stderr
    return stderr


def test_good_input_reaches_the_model(table, monkeypatch):
    # Else every test below could pass for another reason than its own.
    class ReachedError(Exception):
        pass

    def reached(*_):
        raise ReachedError

    monkeypatch.setattr(train, "make_recipe", reached)
    monkeypatch.setattr(train.parallel, "cache_compilations", lambda folder: None)
    with pytest.raises(ReachedError):
        train.main(train_arguments(table))


# Configuration and arguments


def test_a_configuration_without_a_key(table, tmp_path, complaint):
    text = f"from cxr_jax import config\n\ndef get_config():\n    c = config.read({CONFIG!r})\n    del c.batch_size\n"
    (tmp_path / "mine.py").write_text(text + "    return c\n")
    line = complaint(train.main, train_arguments(table, config=str(tmp_path / "mine.py")))
    assert "mine.py: key batch_size is missing" in line


def test_a_configuration_that_is_not_there(table, complaint):
    assert "nowhere.py: no such configuration file" in complaint(
        train.main, train_arguments(table, config="nowhere.py")
    )
    assert "no variant 'frozen'" in complaint(train.main, train_arguments(table, config=f"{CONFIG}:frozen"))


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--batch_size=4", "--batch_size=4: no such argument"),
        ("--confg.batch_size=4", "--confg.batch_size=4: no such argument"),
        ("stray", "stray: no such argument"),
        ("--max_hours=long", "--max_hours: invalid float value: 'long'"),
        ("--distributed=on", "--distributed on: no launcher says how many tasks"),
        ("--distributed=maybe", "--distributed: invalid choice: 'maybe'"),
        ("--config.batchsize=4", "there is no key batchsize; did you mean batch_size?"),
        ("--config.batch_size=four", "--config.batch_size=four: not of type int"),
        ("--config.batch_size", "--config.batch_size: has no value"),
        ("--config.data.split=paper", "data.split = paper"),
        ("--config.data.split=r2gen", "data.split = r2gen"),
        ("--config.data.split=strict", "data.split = strict"),
        ("--config.data.xxxx=hide", "it is one of keep, drop"),
        ("--config.data.csv=", "data.csv = ''"),
        ("--config.data.dataset=openi", "data.path is not set"),
        ("--config.data.dataset=r2gen", "data.path = '': lacks annotation.json"),
        ("--config.data.dataset=mimic", "data.path = '': there is no folder files"),
        ("--config.text.bert={'hidden': 3}", "text.bert: there is no field hidden"),
        ("--config.text.bert={'max_position_embeddings': 40}", "passes BERT's 40 positions"),
        ("--config.text.pretrained=/no/bert/here", "text.pretrained = /no/bert/here: there is no such folder"),
        ("--config.image.pretrained=/no/weights", "image.pretrained = /no/weights: there is no such folder"),
        ("--config.image.pretrained=/no/x.pth", "image.pretrained = /no/x.pth: there is no such file"),
        ("--config.image.pretrained=timm/no-such", "image.pretrained = timm/no-such: is not on this machine"),
        ("--config.image.pretrained_except=('(',)", "image.pretrained_except holds '(', no regular expression"),
        ("--config.text.pretrained_except='x'", "text.pretrained_except='x': not of type tuple"),
        ("--config.text.pretrained=nobody/has-this", "text.pretrained = nobody/has-this"),
    ],
)
def test_arguments(table, complaint, argument, message):
    assert message in complaint(train.main, train_arguments(table, argument))


def test_an_old_layout_of_overrides(table, complaint):
    assert "there is no key image" in complaint(train.main, train_arguments(table, "--config.image", "3"))


# Data


def change(table, old, new):
    text = table.read_text()
    assert old in text
    table.write_text(text.replace(old, new))


def test_a_table_without_a_column(table, complaint):
    change(table, "image,report", "image,text")
    assert f"{table}: has no column report, only image, text, split" in complaint(train.main, train_arguments(table))


def test_a_table_that_is_not_there(table, complaint):
    table.unlink()
    assert f"'{table}': no such file" in complaint(train.main, train_arguments(table))


def test_an_empty_report(table, complaint):
    change(table, "Report 4.", " ")
    assert f"{table} row 6: report is empty" in complaint(train.main, train_arguments(table))


def test_a_missing_image(table, complaint):
    (table.parent / "4.png").unlink()
    assert f"{table.parent / '4.png'}: no such image" in complaint(train.main, train_arguments(table))


def test_a_truncated_image(table, complaint):
    file = table.parent / "4.png"
    file.write_bytes(file.read_bytes()[:60])
    assert f"{file}: damaged image" in complaint(train.main, train_arguments(table))


def test_an_empty_training_split(table, complaint):
    change(table, ",train", ",test")
    line = complaint(train.main, train_arguments(table))
    assert f"{table}: the train split is empty (train 0, val 2, test 8)" in line


def test_a_batch_larger_than_the_data(table, complaint):
    line = complaint(train.main, train_arguments(table, "--config.batch_size=8"))
    assert "batch_size = 8 is larger than the training split (6 pairs)" in line


def test_a_batch_that_the_devices_cannot_share(table, complaint):
    line = complaint(train.main, train_arguments(table, "--config.batch_size=6"))
    assert "batch_size = 6 cannot be shared by 4 devices" in line


def test_a_release_that_is_none(tmp_path, complaint):
    arguments = ["--config", str(ROOT / "configs" / "base.py"), "--workdir", str(tmp_path / "run")]
    line = complaint(train.main, [*arguments, f"--config.data.path={tmp_path}", "--config.text.pretrained="])
    assert f"data.path = {tmp_path}: there is no folder ecgen-radiology" in line
    assert "nor NLMCXR_reports.tgz nor NLMCXR_png.tgz; download" in line
    assert "https://openi.nlm.nih.gov/faq" in line


def test_an_archive_that_is_cut_short(tmp_path, complaint):
    (tmp_path / "NLMCXR_png").mkdir()
    (tmp_path / "NLMCXR_reports.tgz").write_bytes(b"\x1f\x8b\x08\x00")
    arguments = ["--config", str(ROOT / "configs" / "base.py"), "--workdir", str(tmp_path / "run")]
    arguments += [f"--config.data.path={tmp_path}", f"--config.data.cache={tmp_path / 'cache'}"]
    line = complaint(train.main, [*arguments, "--config.text.pretrained="])
    assert f"{tmp_path / 'NLMCXR_reports.tgz'}: damaged or cut short" in line


# Pretrained weights


def test_weights_that_do_not_fit(table, tmp_path, shared, complaint, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr(train.parallel, "cache_compilations", lambda folder: None)
    # Making a model's weights takes half a minute; these stand in for BERT's.
    state = SimpleNamespace(params={"text": {"bert": {"embeddings": {"embedding": np.ones((3, 2))}}}})
    monkeypatch.setattr(start, "init_state", lambda *_: state)
    monkeypatch.setattr(train.parallel, "pmap", lambda *_: pytest.fail("a step was made"))
    folder = tmp_path / "bert"
    folder.mkdir()
    for file in (shared / "data" / "biobert_tokenizer").iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    fields = {"model_type": "bert", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    (folder / "config.json").write_text(json.dumps(fields | {"vocab_size": 28996, "intermediate_size": 16}))
    safetensors.numpy.save_file({"a.weight": np.ones(3, np.float32)}, folder / "model.safetensors")
    small = ["--config.image.block_sizes=(1,)", "--config.image.growth_rate=2", "--config.image_size=32"]
    line = complaint(train.main, train_arguments(table, *small, f"--config.text.pretrained={folder}"))
    assert f"{folder}/model.safetensors: weights do not fit the model" in line


def test_densenet_weights_that_do_not_fit_are_refused_before_data_is_read(table, tmp_path, complaint):
    weights = ROOT / "tests" / "weights" / "torchvision.safetensors"
    arguments = train_arguments(table.with_name("gone.csv"), f"--config.image.pretrained={weights}")
    line = complaint(train.main, arguments)
    assert "torchvision.safetensors: its DenseNet has image.block_sizes = (2, 1)" in line


def test_a_tokenizer_of_another_bert(table, tmp_path, complaint):
    folder = tmp_path / "bert"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "bert", "vocab_size": 6}')
    (folder / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nreport\n##s\n##t\n")
    line = complaint(train.main, train_arguments(table, f"--config.text.pretrained={folder}"))
    assert "its tokenizer counts to 7 and its weights know 6 words" in line


def test_beginning_with_what_is_no_model(table, tmp_path, complaint):
    finished_run(tmp_path / "broken_off")
    (tmp_path / "file").touch()
    for name, message in (
        (tmp_path / "nowhere", "holds no run (no config.json); python -m cxr_jax.train makes one"),
        (tmp_path / "file", "holds no run (no config.json)"),
        (tmp_path / "broken_off", "the run is not finished; go on with it by its training command, or name another"),
        ("own/er", "own/er: there is no such folder, and the hub cannot be reached"),
    ):
        line = complaint(train.main, train_arguments(table, f"--config.init_from={name}"))
        assert f"init_from = {name}: {message}" in line
    assert not (tmp_path / "run").exists()


def test_a_run_cannot_be_given_another_beginning(table, tmp_path, complaint):
    finished_run(tmp_path / "run")
    line = complaint(train.main, train_arguments(table, f"--config.init_from={tmp_path / 'theirs'}"))
    assert f"init_from: → {tmp_path / 'theirs'}" in line


# A run's folder


def finished_run(folder, **changes):
    """A folder that looks like a run's, of configs/pairs.py."""
    config = configuration.load(CONFIG) | changes
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "checkpoints").mkdir()
    return folder


def test_a_workdir_of_another_configuration(table, tmp_path, complaint):
    finished_run(tmp_path / "run", embed_dim=7)
    line = complaint(train.main, train_arguments(table))
    assert f"--workdir {tmp_path / 'run'}: was made with another configuration" in line
    assert "embed_dim: 7 → 256" in line
    assert not (tmp_path / "run" / "tokenizer").exists()


def test_a_workdir_that_is_a_file(table, tmp_path, complaint):
    (tmp_path / "run").touch()
    assert f"--workdir {tmp_path / 'run'}: cannot be made" in complaint(train.main, train_arguments(table))
    assert "holds no run" in complaint(retrieve.main, ["--workdir", str(tmp_path / "run")])


def test_a_damaged_configuration_of_a_run(table, tmp_path, complaint):
    run = finished_run(tmp_path / "run")
    for text in ("{", "{}", "[]", '{"data": 3}'):
        (run / "config.json").write_text(text)
        for command, arguments in ((train.main, train_arguments(table)), (retrieve.main, ["--workdir", str(run)])):
            assert f"{run / 'config.json'}: " in complaint(command, arguments)


def test_retrieving_without_a_run(tmp_path, complaint):
    for more in ([], ["--text", "effusion"], ["--image", "x.png"]):
        line = complaint(retrieve.main, ["--workdir", str(tmp_path), *more])
        assert f"--workdir {tmp_path}: holds no run (no config.json); python -m cxr_jax.train makes one" in line


def test_retrieving_from_an_unfinished_run(tmp_path, complaint):
    run = finished_run(tmp_path / "run")
    for more in ([], ["--text", "effusion"]):
        assert "there is no split" in complaint(retrieve.main, ["--workdir", str(run), *more])


def test_retrieving_for_an_empty_folder(tmp_path, complaint):
    run = finished_run(tmp_path / "run")
    (tmp_path / "images").mkdir()
    line = complaint(retrieve.main, ["--workdir", str(run), "--image", str(tmp_path / "images")])
    assert f"{tmp_path / 'images'}: no image in this folder" in line


# The same, as a user starts them


@pytest.mark.parametrize("case", ["truncated image", "no run"])
def test_as_a_process(table, tmp_path, case):
    if case == "truncated image":
        (table.parent / "9.png").write_bytes(b"\x89PNG\r\n")
        command, message = ["cxr_jax.train", *train_arguments(table)], f"{table.parent / '9.png'}: "
    else:
        command, message = ["cxr_jax.retrieve", "--workdir", str(tmp_path)], "holds no run"
    result = subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, env=os.environ, capture_output=True, text=True, check=False
    )
    assert result.returncode == 2
    assert message in one_line(result.stderr)
    assert result.stdout == ""

import json

import pytest
from PIL import Image

from cxr_jax import config as configuration
from cxr_jax.errors import InputError
from cxr_jax.runtime.files import write_json, write_text
from cxr_jax.runtime.run_folder import RunFolder


@pytest.fixture
def config():
    resolved = configuration.load("configs/phantom.py")
    resolved["data"]["fingerprint"] = "abc"
    return resolved


@pytest.fixture(autouse=True)
def at_the_repository(monkeypatch, request):
    monkeypatch.chdir(request.config.rootpath)


def test_a_new_run_keeps_its_configuration(tmp_path, config):
    run = RunFolder(tmp_path / "runs" / "new")
    run.start(config)
    assert run.load_config() == json.loads(json.dumps(config))
    run.start(config)
    assert not list(run.root.glob("*.part"))


def test_another_configuration_is_refused_by_the_names_of_its_keys(tmp_path, config):
    run = RunFolder(tmp_path)
    run.start(config)
    other = config | {"batch_size": 7, "data": config["data"] | {"fingerprint": "xyz", "cache": "elsewhere"}}
    with pytest.raises(InputError) as error:
        run.start(other)
    message = str(error.value)
    assert str(tmp_path) in message
    assert f"batch_size: {config['batch_size']} → 7; data.fingerprint: abc → xyz" in message
    assert "cache" not in message
    run.start(config | {"log_every": 1})
    assert run.load_config()["log_every"] == config["log_every"]


def test_a_workdir_that_is_a_file_is_refused(tmp_path, config):
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(InputError, match=f"--workdir {path}: cannot be made"):
            RunFolder(path).start(config)
        with pytest.raises(InputError, match=f"--workdir {path}: holds no run"):
            RunFolder(path).load_config()


def test_a_folder_without_a_run_is_refused(tmp_path):
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(InputError, match=f"--workdir {path}: holds no run"):
            RunFolder(path).load_config()


@pytest.mark.parametrize("text", ["", "{", '{"seed": 0,', "[]", "{}", "3", '{"seed": 0, "data": 1}', "\xff"])
def test_a_damaged_configuration_is_refused(tmp_path, config, text):
    run = RunFolder(tmp_path)
    run.config_file.write_bytes(text.encode("latin-1"))
    for use in (run.load_config, lambda: run.start(config)):
        with pytest.raises(InputError, match=r"config\.json: .*restore it from a copy") as error:
            use()
        assert "\n" not in str(error.value)


def test_a_home_folder_is_expanded(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert RunFolder("~/run").root == tmp_path / "run"


# Metrics


def test_metrics_are_a_line_each(tmp_path):
    run = RunFolder(tmp_path)
    assert run.metrics() == []
    run.log(1, loss=2.5)
    run.log(2, loss=2.25, val_loss=float("nan"))
    assert run.metrics_file.read_text().count("\n") == 2
    first, second = run.metrics()
    assert first == {"step": 1, "loss": 2.5}
    assert second["step"] == 2


def test_a_line_that_a_crash_cut_short_is_left_out(tmp_path):
    run = RunFolder(tmp_path)
    for step in (1, 2, 3):
        run.log(step, loss=1.5)
    run.metrics_file.write_text(run.metrics_file.read_text()[:-12])
    assert [line["step"] for line in run.metrics()] == [1, 2]
    run.forget_after(2)
    run.log(3, loss=0.5)
    assert run.metrics() == [{"step": 1, "loss": 1.5}, {"step": 2, "loss": 1.5}, {"step": 3, "loss": 0.5}]


def test_a_resumed_run_forgets_what_it_will_write_again(tmp_path):
    run = RunFolder(tmp_path)
    for step in (10, 20, 30):
        run.log(step, loss=1.0)
    run.log(20, val_loss=2.0)
    run.forget_after(20)
    assert run.metrics() == [{"step": 10, "loss": 1.0}, {"step": 20, "loss": 1.0}, {"step": 20, "val_loss": 2.0}]
    run.forget_after(0)
    assert run.metrics() == []


def dark_share(file):
    grey = Image.open(file).convert("L")
    return sum(grey.histogram()[:200]) / (grey.width * grey.height)


def test_curves_are_drawn(tmp_path):
    run = RunFolder(tmp_path)
    run.draw_curves()
    empty = dark_share(run.curves_file)
    for step in range(1, 60):
        run.log(step, loss=5 / step, temperature=0.07, learning_rate=1e-3)
    run.log(30, val_loss=1.0, **{"val_recall@1": 0.1, "val_recall@5": 0.3, "val_recall@10": 0.5})
    run.draw_curves()
    with Image.open(run.curves_file) as image:
        assert image.width > 2 * image.height > 400
    assert dark_share(run.curves_file) > 1.2 * empty


def test_files_are_written_whole_or_not_at_all(tmp_path):
    file = tmp_path / "a.json"
    write_json(file, {"ü": [1, 2]})
    assert json.loads(file.read_text(encoding="utf-8")) == {"ü": [1, 2]}
    with pytest.raises(TypeError):
        write_json(file, {"a": object()})
    with pytest.raises(UnicodeEncodeError):
        write_text(file, "\ud800")
    assert json.loads(file.read_text(encoding="utf-8")) == {"ü": [1, 2]}

import json

import pytest

from cxr_jax import config as configuration
from cxr_jax.errors import InputError
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
    assert sorted(file.name for file in run.root.iterdir()) == ["config.json", "history.jsonl"]


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
    assert run.load_config() == json.loads(json.dumps(config))
    assert len(history(run)) == 1


def history(run):
    return [json.loads(line) for line in run.history_file.read_text().splitlines()]


def test_what_may_change_is_kept_and_recorded(tmp_path, config):
    run = RunFolder(tmp_path)
    run.start(config, processes=1)
    run.start(config, processes=2)
    changed = config | {
        "num_steps": 7,
        "eval_every": 3,
        "log_every": 1,
        "data": config["data"] | {"cache": "elsewhere"},
    }
    run.start(changed, processes=2)
    assert run.load_config() == json.loads(json.dumps(changed))
    run.start(changed, processes=2)
    first, second, third, fourth = history(run)
    assert (first["changed"], second["changed"], fourth["changed"]) == ({}, {}, {})
    assert third["changed"] == {
        "num_steps": [config["num_steps"], 7],
        "eval_every": [config["eval_every"], 3],
        "log_every": [config["log_every"], 1],
        "data.cache": [config["data"]["cache"], "elsewhere"],
    }
    assert [line["processes"] for line in history(run)] == [1, 2, 2, 2]
    assert all(line["time"][:2] == "20" for line in history(run))


def test_what_is_not_known_yet_can_be_passed_over(tmp_path, config):
    run = RunFolder(tmp_path)
    run.start(config)
    unresolved = configuration.load("configs/phantom.py")
    with pytest.raises(InputError, match=r"data\.fingerprint: abc → None"):
        run.check(unresolved)
    run.check(unresolved, but=("data.fingerprint",))
    with pytest.raises(InputError, match="batch_size"):
        run.check(unresolved | {"batch_size": 7}, but=("data.fingerprint",))
    RunFolder(tmp_path / "none").check(unresolved)  # without a run nothing is in the way
    assert not (tmp_path / "none").exists()


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


def test_a_run_of_before_a_key_did_what_the_key_says(tmp_path, config):
    run, old = RunFolder(tmp_path), json.loads(json.dumps(config))
    for name in configuration.YOUNGER_KEYS:
        room, _, key = name.rpartition(".")
        (old[room] if room else old).pop(key)
    del old["loss"]
    run.config_file.write_text(json.dumps(old))
    assert run.load_config() == json.loads(json.dumps(config))
    run.check(config)
    with pytest.raises(InputError, match=r"loss\.positives: pair → group"):
        run.check(config | {"loss": config["loss"] | {"positives": "group"}})


def test_a_home_folder_is_expanded(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert RunFolder("~/run").root == tmp_path / "run"


def test_metrics_are_read_from_the_folder(tmp_path):
    run = RunFolder(tmp_path)
    assert run.metrics() == []
    run.metrics_file.write_text('{"step": 1, "loss": 2.5}\n{"step": 2, "lo')
    assert run.metrics() == [{"step": 1, "loss": 2.5}]

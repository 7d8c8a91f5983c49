"""The command line of the audit."""

import json
import subprocess
import sys

from tests.tiny import tiny_config


def test_command_writes_a_table_a_page_and_figures(tmp_path):
    config = tiny_config(f"data.cache={tmp_path}")
    changes = [f"--config.data.{key}={config['data'][key]}" for key in ("num_studies", "stored_size", "cache")]
    command = [sys.executable, "-m", "cxr_jax.audit", "--config", "configs/phantom.py", "--out", tmp_path / "audit"]
    run = subprocess.run([*command, *changes], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert "What training has already seen" in run.stdout
    result = json.loads((tmp_path / "audit" / "audit.json").read_text())
    assert sum(row["studies"] for row in result["splits"].values()) <= config["data"]["num_studies"]
    assert result["leaks"]["test"]["studies"] == 0
    assert 0 < result["splits"]["train"]["normal"] < 1
    page = (tmp_path / "audit" / "index.html").read_text()
    assert "drawn images, not patients" in page
    assert "<script" not in page

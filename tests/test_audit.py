"""The command line of the audit."""

import json
import subprocess
import sys

import numpy as np
import pytest

from cxr_jax.data import images
from cxr_jax.phantom.drawing import draw_study
from tests.data.test_dicom import saved
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


@pytest.mark.slow
def test_every_warning_comes_to_the_preparation_and_to_the_audit(tmp_path):
    rng = np.random.default_rng(0)
    lines = ["image,report,split"]
    for number in range(8):
        values = rng.integers(0, 4096, (40, 30), dtype=np.uint16)
        window = dict(WindowCenter=0, WindowWidth=1) if number < 3 else {}
        saved(tmp_path, values, f"{number}.dcm", bits=12, **window)
        lines.append(f"{number}.dcm,Report {number}.,{('train', 'train', 'val', 'test')[number % 4]}")
    lines += ["0.dcm,nan,train", "1.dcm,N/A,train"]
    (tmp_path / "pairs.csv").write_text("\n".join(lines))
    keys = {"csv": tmp_path / "pairs.csv", "cache": tmp_path / "cache", "stored_size": 32, "placeholders": "drop"}
    changes = ["--config", "configs/pairs.py", *(f"--config.data.{key}={value}" for key, value in keys.items())]
    command = [sys.executable, "-m", "cxr_jax.prepare", *changes]
    summary = "3 of 8 images were read with a warning (window left out 3); python -m cxr_jax.audit lists them"
    for _ in range(2):  # as it is prepared, and when it is there
        run = subprocess.run(command, capture_output=True, text=True)
        assert run.returncode == 0, run.stderr
        assert f"\n{summary}\n" in f"\n{run.stdout}"
    command = [sys.executable, "-m", "cxr_jax.audit", "--out", tmp_path / "audit", *changes]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert "0000000:0.dcm (centre 0, width 1 leaves nearly one grey" in run.stdout
    result = json.loads((tmp_path / "audit" / "audit.json").read_text())
    what = "rows have no report, but nothing or a placeholder, and are dropped"
    note = {"what": what, "count": 2, "examples": ["'nan'", "'N/A'"], "check": "placeholders"}
    assert result["source_notes"] == [note]
    assert f"2         {what}" in run.stdout
    result = result["image_warnings"]
    assert [result[name]["images"] for name in ("train", "val", "test")] == [2, 1, 0]
    assert [image for image, _ in result["train"]["listed"]] == ["0000000:0.dcm", "0000001:1.dcm"]
    assert "0000002:2.dcm" in (tmp_path / "audit" / "index.html").read_text()


@pytest.mark.slow
def test_what_training_refuses_the_audit_counts_and_fails_on_where_that_is_asked_for(tmp_path):
    frontal, _ = draw_study((), [4, 1], 64)
    lines = ["image,report,split"]
    for number in range(8):
        image = 255 - frontal if number == 1 else frontal
        (tmp_path / f"{number}.png").write_bytes(images.encode_png(image) if number != 2 else b"no image")
        lines.append(f"{number}.png,The lungs are clear.,{('train', 'train', 'val', 'test')[number % 4]}")
    lines += ["0.png,nan,train", "gone.png,Clear.,train"]
    (tmp_path / "pairs.csv").write_text("\n".join(lines))
    changes = ["--config", "configs/pairs.py", f"--config.data.csv={tmp_path / 'pairs.csv'}"]
    changes += [
        f"--config.data.cache={tmp_path / 'cache'}",
        "--config.text.pretrained=",
        "--config.data.stored_size=64",
    ]
    command = [sys.executable, "-m", "cxr_jax.audit", "--out", tmp_path / "audit", *changes]
    gate = ["--fail_on", "unreadable_images", "inverted_images>1", "placeholders>0", "near_copies>100%"]
    run = subprocess.run([*command, *gate], capture_output=True, text=True)
    assert run.returncode == 2
    last = run.stderr.splitlines()[-1]
    assert "--fail_on unreadable_images: 2, placeholders: 1; " in last
    checks = json.loads((tmp_path / "audit" / "audit.json").read_text())["checks"]
    counts = {name: check["count"] for name, check in checks.items()}
    assert counts["unreadable_images"] == 2
    assert counts["inverted_images"] == counts["placeholders"] == 1
    assert counts["cut_reports"] == 0
    assert checks["unreadable_images"]["examples"] == ["0000009:gone.png", "0000002:2.png"]
    assert subprocess.run(command, capture_output=True).returncode == 0
    train = [sys.executable, "-m", "cxr_jax.prepare", *changes, "--config.data.placeholders=drop"]
    run = subprocess.run(train, capture_output=True, text=True)
    assert run.returncode == 2
    assert "2 images cannot be read" in run.stderr.splitlines()[-1]

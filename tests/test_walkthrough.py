"""The notebook: its cells run as they stand, on a smaller scale, and what it shows of a run is free of errors."""

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cxr_jax.phantom.__main__ import main as draw

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "docs" / "walkthrough.ipynb"
FINDINGS = ("normal", "bacterial pneumonia", "viral pneumonia", "pneumonia")


def cells() -> list[dict]:
    return [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"]


def source(**parameters: str) -> str:
    """All code, one after the other, with other parameters."""
    code = "\n\n".join("".join(cell["source"]) for cell in cells())
    for name, value in parameters.items():
        code, times = re.subn(rf"^{name} = [^#\n]*", f"{name} = {value}  ", code, flags=re.MULTILINE)
        assert times == 1
    return code


def test_the_outputs_are_of_a_whole_run_without_an_error():
    counts = [cell["execution_count"] for cell in cells()]
    assert counts == list(range(1, len(counts) + 1))
    outputs = [output for cell in cells() for output in cell["outputs"]]
    assert {output["output_type"] for output in outputs} <= {"stream", "display_data", "execute_result"}
    assert not [output for output in outputs if output.get("name") == "stderr"]
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 4
    assert not re.search(r"/(home|root|tmp|work|Users)/", NOTEBOOK.read_text())


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_its_cells_run_one_after_the_other(tmp_path):
    draw(["--out", str(tmp_path / "real"), "--studies", "60", "--seed", "3"])
    pictures = sorted((tmp_path / "real").glob("NLMCXR_png/*-1001.png"))
    with (tmp_path / "real" / "table.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["image", "patient_id", "finding"])
        for number, picture in enumerate(pictures):
            table.writerow([f"NLMCXR_png/{picture.name}", f"p{number}", FINDINGS[number % len(FINDINGS)]])
    run, real = str(tmp_path / "run"), str(tmp_path / "real" / "table.csv")
    code = source(**{"STUDIES, STEPS": "120, 2", "RUN": repr(run), "REAL": repr(real)})
    environment = {**os.environ, "MPLBACKEND": "Agg", "PYTHONPATH": str(ROOT), "XLA_FLAGS": ""}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "recall@10" in done.stdout
    assert "black: ''\n    doubted: " in done.stdout
    assert "radiographs are doubted by the model of real ones" in done.stdout
    assert (tmp_path / "run-real" / "eval" / "test" / "zero_shot.json").is_file()

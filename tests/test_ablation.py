"""The command line that holds runs beside each other; the script that trains them is run once, marked slow."""

import subprocess
import sys

import pytest

from cxr_jax import ablation
from cxr_jax.ablation import parameters_of
from cxr_jax.errors import InputError
from tests.evaluation.runs import make_run
from tests.tiny import TINY, tiny_resolved


def test_command_prints_and_writes(tmp_path, capsys):
    good, bad = make_run(tmp_path / "good0"), make_run(tmp_path / "bad0", 1.5, **{"image.spatial_attention": "false"})
    capsys.readouterr()
    ablation.main([str(good), str(bad), "--out", str(tmp_path / "a.md")])
    text, written = capsys.readouterr().out, (tmp_path / "a.md").read_text()
    assert "made up, split by paper: test split, 60 images, protocol raw" in text
    assert "bad0: good0 with image.spatial_attention=False\n" in text
    assert "- bad0: good0 with image.spatial_attention=False\n" in written
    assert written.count("\n| ---") == 2


def test_parameters_are_those_of_the_configurations_model():
    whole, plain = (parameters_of(tiny_resolved(*more)) for more in ((), ("image.spatial_attention=false",)))
    assert whole[0] > plain[0] > 0  # the 7×7 convolution is gone
    assert all(0 < trained < everything for everything, trained in (whole, plain))  # BERT is frozen


def test_what_cannot_be_compared_is_one_line(tmp_path):
    with pytest.raises(InputError, match="holds no run") as error:
        ablation.main([str(tmp_path)])
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

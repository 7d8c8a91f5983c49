"""Eight devices do what one does, in float32 and in bfloat16: minutes, for a process of eight devices compiles anew."""

import json

import pytest

from tests.runtime.launch import start, wait


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_step_on_eight_devices_is_that_on_one(dtype):
    (ended,) = wait([start(["tests.training.eight_devices", dtype])], 600)
    assert ended.code == 0, ended.err
    off = json.loads(ended.out)
    assert off["devices_agree"]
    if dtype == "float32":
        assert max(off[name] for name in ("loss", "gradient", "worst_leaf", "statistics")) < 1e-4, off
    else:  # another order of summing may cost what the type costs, and no more
        assert max(off["loss"], off["statistics"]) < 1e-3, off
        assert off["gradient"] < 0.5 * off["of_the_dtype"], off

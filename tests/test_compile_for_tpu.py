"""scripts/compile_for_tpu.py, as far as it goes without libtpu: what a program sends, bounds, refusals."""

import argparse
import importlib.util
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from tests.tiny import tiny_resolved

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "scripts"))
import compile_for_tpu  # noqa: E402
import hlo_text  # noqa: E402


def test_collectives_are_those_of_the_program():
    def step(x, y):
        gathered = lax.all_gather(x, "devices", tiled=True)
        return gathered.sum() + lax.psum(y.sum(axis=0), "devices"), lax.psum((x * 2).astype(jnp.bfloat16), "devices")

    arguments = np.ones((4, 3, 8), np.float32), np.ones((4, 5, 7), np.float32)
    found = hlo_text.collectives(jax.pmap(step, axis_name="devices").lower(*arguments).compile().as_text())
    sent = {(row["op"], tuple(row["shape"])) for row in found}
    assert {("all-gather", (12, 8)), ("all-reduce", (3, 8)), ("all-reduce", (7,))} <= sent
    assert found[0] == {"op": "all-gather", "dtype": "f32", "shape": [12, 8], "bytes": 384, "count": 1}
    assert [row["bytes"] for row in found] == sorted((row["bytes"] for row in found), reverse=True)


def test_a_program_of_one_device_sends_nothing():
    assert hlo_text.collectives(jax.jit(jnp.sin).lower(np.ones(3, np.float32)).compile().as_text()) == []


def test_of_asynchronous_collectives_what_they_yield_counts():
    """As XLA:TPU writes them."""
    hlo = """
      %ags = (f32[64,256]{1,0:T(8,128)}, f32[256,256]{1,0:T(8,128)}) all-gather-start(%x), dimensions={0}
      %agd = f32[256,256]{1,0:T(8,128)} all-gather-done(%ags)
      %ars = (f32[128]{0:T(128)}, bf16[]{:T(256)S(1)}) all-reduce-start(%a, %b), to_apply=%sum
      %again = f32[128]{0:T(128)} all-reduce(%c), to_apply=%sum
      %unlike = f32[9]{0} fusion(%again), calls=%all-reduce
      %many = (f32[7]{0:T(128)}, /*index=5*/f32[7]{0:T(128)S(1)}) all-reduce(%d, %e), channel_id=3, to_apply=%sum
      %part = f32[64]{0} reduce-scatter(%f), channel_id=4, dimensions={0}
%async_collective_fusion.7 (p: f32[256]) -> f32[64] {
  %part.again = f32[64]{0} reduce-scatter(%p), channel_id=4, dimensions={0}
}
    """
    rows = [(row["op"], row["dtype"], row["shape"], row["count"]) for row in hlo_text.collectives(hlo)]
    assert rows == [
        ("all-gather", "f32", [256, 256], 1), ("all-reduce", "f32", [128], 2), ("reduce-scatter", "f32", [64], 1),
        ("all-reduce", "f32", [7], 2), ("all-reduce", "bf16", [], 1),
    ]  # fmt: skip


@pytest.mark.slow
def test_the_step_of_four_devices_gathers_embeddings_and_nothing_larger():
    """The real step on virtual CPU devices, lowered as for a TPU's chips."""
    config = tiny_resolved()
    program = compile_for_tpu.lower(config, jax.devices()[:4]).compile()
    gathered = [row for row in hlo_text.collectives(program.as_text()) if row["op"] == "all-gather"]
    assert gathered
    assert max(row["bytes"] for row in gathered) == 8 * config["embed_dim"] * 4
    measured = compile_for_tpu.measure(compile_for_tpu.lower(config, jax.devices()[:1]), compile_for_tpu.CHIPS["v5e"])
    assert measured["fits"]
    assert measured["flops"] > 0
    assert measured["memory_bytes"] > 0
    assert measured["collectives"] == []


def test_memory_traffic_is_what_leaves_the_core():
    """Sides are padded to the tile in the layout's order; the core's own memory, S(1), is free; an update is a part."""
    hlo = """
%fused (p: f32[4]) -> f32[4] {
  %not_counted = f32[1024]{0:T(1024)} add(%p, %p)
}

ENTRY %main (x: bf16[16,8,32]) -> bf16[16,8,32] {
  %x = bf16[16,8,32]{2,0,1:T(8,128)(2,1)} parameter(0)
  %near = bf16[16,8,32]{2,0,1:T(8,128)(2,1)S(1)} fusion(%x), kind=kLoop, calls=%fused
  %both = (f32[32]{0:T(128)S(1)}, bf16[16,8,32]{2,0,1:T(8,128)(2,1)}) fusion(%near, %x), kind=kOutput, calls=%fused
  %far = bf16[16,8,32]{2,0,1:T(8,128)(2,1)} get-tuple-element(%both), index=1
  %cut = bf16[16,8,8]{2,0,1:T(8,128)(2,1)} slice(%far), slice={[0:16], [0:8], [0:8]}
  %wide = bf16[16,8,256]{2,0,1:T(8,128)(2,1)} broadcast(%zero), dimensions={}
  ROOT %dynamic_update_slice.3 = bf16[16,8,256]{2,0,1:T(8,128)(2,1)} dynamic-update-slice(%wide, %cut, %zero)
}
"""
    tile = 8 * 16 * 128 * 2  # 8, 16 and 32 padded to 128 numbers of two bytes
    assert hlo_text.memory_traffic(hlo) == tile * (1 + 2 + 2 + 2 + 2)


def test_a_loops_body_counts_as_often_as_it_runs():
    """Two passes, of one read and one write each, beside what is read and written once."""
    hlo = """
%body.1 (p: (s32[], f32[8,128])) -> (s32[], f32[8,128]) {
  %p = (s32[], f32[8,128]{1,0:T(8,128)}) parameter(0)
  %old = f32[8,128]{1,0:T(8,128)} get-tuple-element(%p), index=1
  %new = f32[8,128]{1,0:T(8,128)} negate(%old)
  ROOT %both = (s32[], f32[8,128]{1,0:T(8,128)}) tuple(%p, %new)
}

ENTRY %main (x: f32[8,128]) -> f32[8,128] {
  %x = f32[8,128]{1,0:T(8,128)} parameter(0)
  %start = (s32[], f32[8,128]{1,0:T(8,128)}) tuple(%zero, %x)
  %loop = (s32[], f32[8,128]{1,0:T(8,128)}) while(%start), condition=%less, body=%body.1
  %end = f32[8,128]{1,0:T(8,128)} get-tuple-element(%loop), index=1
  ROOT %sine = f32[8,128]{1,0:T(8,128)} sine(%end)
}
"""
    assert hlo_text.memory_traffic(hlo, 2) == 4096 * (2 * 2 + 2)


def test_bounds():
    chip = compile_for_tpu.chip_of("v5e:2x2")
    assert compile_for_tpu.bounds(chip, flops=1.97e12, moved=81.9e9) == {"arithmetic": 10.0, "memory": 100.0}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--topology", "v9:2x2"], "--topology v9:2x2: no such topology; give KIND:SHAPE as v5e:2x2"),
        (["--topology", "v5e"], "--topology v5e: no such topology"),
        (["--chips", "4", "--batch", "6"], "--batch 6 cannot be shared by 4 chips; use a multiple"),
        (["--config.remit=none"], "there is no key remit; did you mean remat?"),
        (["--chips", "3"], "--chips: invalid choice"),
        ([], "XLA:TPU is missing; pip install -c constraints.txt libtpu (no TPU is needed)"),
    ],
    ids=["kind", "shape", "share", "key", "chips", "libtpu"],
)
def test_refusals_are_one_line(arguments, message):
    if not arguments and importlib.util.find_spec("libtpu"):
        pytest.skip("libtpu is installed")
    done = subprocess.run(
        [sys.executable, "scripts/compile_for_tpu.py", *arguments], cwd=ROOT, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert message in line


def test_micro_batch_goes_through_the_configuration():
    arguments = argparse.Namespace(config="configs/base.py", batch=8, remat="layers", micro_batch=4)
    config = compile_for_tpu.configuration_of(arguments, [])
    assert (config["batch_size"], config["remat"], config["micro_batch"]) == (8, "layers", 4)

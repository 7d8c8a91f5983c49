"""Devices and rows: what one process does with its four devices, and which rows each of several would take."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxr_jax.errors import InputError
from cxr_jax.runtime import parallel, processes


@given(rows=st.integers(1, 60), count=st.integers(1, 7))
def test_the_processes_rows_are_all_rows_once_and_in_order(rows, count):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(processes, "count", lambda: count)
        shares = []
        for index in range(count):
            patch.setattr(processes, "index", lambda index=index: index)
            shares.append(parallel.own_rows(rows))
    assert len({len(share) for share in shares}) == 1  # else the processes' programs would differ
    assert len(shares[0]) < rows / count + 1
    np.testing.assert_array_equal(np.concatenate(shares)[:rows], np.arange(rows))
    assert np.concatenate(shares).max() < rows


def test_alone_all_rows_are_ones_own():
    rows = np.arange(6).reshape(3, 2)
    np.testing.assert_array_equal(parallel.own_rows(3), [0, 1, 2])
    assert parallel.gather_rows(rows, 3) is rows


def test_gathered_rows_are_without_what_was_filled_up(monkeypatch):
    monkeypatch.setattr(processes, "count", lambda: 2)
    others = types.SimpleNamespace(process_allgather=lambda rows, tiled: np.concatenate([rows, rows + 10]))
    monkeypatch.setattr(parallel, "multihost_utils", others)
    np.testing.assert_array_equal(parallel.gather_rows(np.arange(2), 3), [0, 1, 10])


def test_alone_one_agrees_with_oneself_at_once():
    agree = parallel.Agreement()
    assert [agree(number) for number in (0, 2, 1, 0)] == [0, 2, 1, 0]


def test_processes_agree_on_the_greatest_a_step_late(monkeypatch):
    monkeypatch.setattr(processes, "count", lambda: 2)
    theirs = iter([0, 2, 0, 1])
    other = parallel.pmap_locally(lambda mine, other: jnp.maximum(mine, other), in_axes=(0, None))
    monkeypatch.setattr(parallel, "_greatest", lambda: lambda mine: other(mine, np.int32(next(theirs))))
    agree = parallel.Agreement()
    assert [agree(number) for number in (1, 0, 0, 0)] == [0, 1, 2, 0]


def test_the_reduction_is_over_all_devices():
    numbers = np.array([0, 2, 1, 0], np.int32)
    np.testing.assert_array_equal(jax.device_get(parallel._greatest()(numbers)), [2, 2, 2, 2])


# State and batches


def test_replicate_and_unreplicate():
    tree = {"a": np.arange(3, dtype=np.float32), "b": [np.int32(4)]}
    replicated = parallel.replicate(tree)
    assert {x.shape for x in jax.tree.leaves(replicated)} == {(4, 3), (4,)}
    assert all(len(x.addressable_shards) == 4 for x in jax.tree.leaves(replicated))
    back = parallel.unreplicate(replicated)
    jax.tree.map(np.testing.assert_array_equal, back, tree)
    assert all(isinstance(x, np.ndarray) for x in jax.tree.leaves(back))  # and not NumPy's scalars
    # A copy: what it is of may be given to the next step.
    for array in jax.tree.leaves(replicated):
        array.delete()
    jax.tree.map(np.testing.assert_array_equal, back, tree)


def test_shard_and_unshard():
    batch = {"image": np.arange(24).reshape(8, 3), "row": np.arange(8)}
    sharded = parallel.shard(batch)
    assert sharded["image"].shape == (4, 2, 3)
    np.testing.assert_array_equal(sharded["row"][1], [2, 3])
    jax.tree.map(np.testing.assert_array_equal, parallel.unshard(sharded), batch)


def test_a_compiled_program_computes_what_its_function_does():
    function = parallel.pmap_locally(lambda scale, x: scale * jax.lax.psum(x, parallel.AXIS), in_axes=(None, 0))
    scale, x = np.float32(2), np.arange(8, dtype=np.float32).reshape(4, 2)
    call, program = parallel.compiled(function, scale, x)
    np.testing.assert_array_equal(call(scale, x), function(scale, x))
    np.testing.assert_array_equal(call(scale, x)[0], 2 * x.sum(axis=0))
    assert program.cost_analysis()["flops"] > 0


def test_a_batch_that_the_devices_cannot_share():
    parallel.check_batch_size(8)
    parallel.check_batch_size(24, micro_batch=3)
    with pytest.raises(
        InputError, match=r"micro_batch = 4 does not divide a device's 6 pairs \(batch_size = 24 over 4"
    ):
        parallel.check_batch_size(24, micro_batch=4)
    with pytest.raises(InputError, match="batch_size = 6 cannot be shared by 4 devices; use a multiple"):
        parallel.check_batch_size(6)


# What the devices are


@pytest.mark.parametrize(
    ("kind", "flops"),
    [("cpu", 0), ("NVIDIA H100 80GB HBM3", 989e12), ("TPU v5 lite", 197e12), ("TPU v5p", 459e12), ("TPU v5", 459e12)],
)
def test_the_peak_is_of_all_devices(monkeypatch, kind, flops):
    monkeypatch.setattr(jax, "devices", lambda: [types.SimpleNamespace(device_kind=kind)])
    assert parallel.peak_flops() == 4 * flops


@pytest.mark.parametrize(("stats", "peak"), [(None, 0), ({}, 0), ({"peak_bytes_in_use": 7}, 7)])
def test_peak_memory_where_the_device_tells(monkeypatch, stats, peak):
    device = types.SimpleNamespace(memory_stats=lambda: stats)
    monkeypatch.setattr(jax, "local_devices", lambda: [device])
    assert parallel.peak_memory() == peak

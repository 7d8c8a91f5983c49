"""One program on many devices, by pmap: the only file that knows how many devices there are.

State is replicated, batches are sharded over a leading device axis, and inside a step AXIS names that axis.
"""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils

from cxr_jax.errors import InputError
from cxr_jax.runtime import processes

AXIS = "devices"
# Floating-point operations a second of one device at its best, in bfloat16 without sparsity, as its maker states them.
PEAK_FLOPS = {
    "NVIDIA A100": 312e12, "NVIDIA H100": 989e12, "NVIDIA H200": 989e12, "TPU v4": 275e12, "TPU v5 lite": 197e12,
    "TPU v5p": 459e12, "TPU v5": 459e12, "TPU v6 lite": 918e12,
}  # fmt: skip


def cache_compilations(folder: Path) -> None:
    """Keeps compiled programs in a folder: the second start of the same model is short."""
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 2)


def describe() -> str:
    """How many devices, and what they are."""
    return f"{jax.device_count()} {jax.devices()[0].device_kind}"


def peak_flops() -> float:
    """Of all devices together, 0 where PEAK_FLOPS does not know them."""
    kind = jax.devices()[0].device_kind
    known = [flops for name, flops in PEAK_FLOPS.items() if kind.startswith(name)]
    return known[0] * jax.device_count() if known else 0.0


def peak_memory() -> int:
    """The most bytes that this process's first device has held, 0 where it does not say."""
    return int((jax.local_devices()[0].memory_stats() or {}).get("peak_bytes_in_use", 0))


def num_devices() -> int:
    """Devices of all processes."""
    return jax.device_count()


def num_local_devices() -> int:
    """Devices of this process."""
    return jax.local_device_count()


def check_batch_size(batch_size: int, micro_batch: int = 0) -> None:
    """Refuses a global batch that the devices cannot share evenly, or whose shares are not so many micro-batches.

    Raises:
      InputError: naming the count of devices.
    """
    count = jax.device_count()
    if batch_size % count:
        raise InputError(f"batch_size = {batch_size} cannot be shared by {count} devices; use a multiple")
    if micro_batch and batch_size // count % micro_batch:
        raise InputError(
            f"micro_batch = {micro_batch} does not divide a device's {batch_size // count} pairs (batch_size = "
            f"{batch_size} over {count} devices); use a divisor, or 0"
        )


def pmap(function: Callable[..., Any], in_axes: Any = 0, donate: tuple[int, ...] = ()) -> Any:
    """`jax.pmap` along AXIS, over all devices of all processes, which must all call it."""
    return jax.pmap(function, axis_name=AXIS, in_axes=in_axes, donate_argnums=donate)


def pmap_locally(function: Callable[..., Any], in_axes: Any = 0) -> Any:
    """`jax.pmap` over this process's devices alone: what needs nothing of the others need not wait for them."""
    return jax.pmap(function, axis_name=AXIS, in_axes=in_axes, devices=jax.local_devices())


def compiled(pmapped: Any, *args: Any) -> tuple[Any, Any]:
    """(What to call with such arguments, its `jax.stages.Compiled`), compiled now and not at the first call.

    Compiled for several processes, a pmapped function takes no process's own arrays: there it is called as it was, and
    finds its program in the cache of `cache_compilations`.
    """
    program = pmapped.lower(*args).compile()
    return (program if processes.count() == 1 else pmapped), program


def replicate(tree: Any) -> Any:
    """One copy on each local device, under a new leading axis."""
    count = jax.local_device_count()
    return pmap_locally(lambda _, x: x, in_axes=(0, None))(jnp.arange(count), tree)


def unreplicate(tree: Any) -> Any:
    """The first device's copy, as NumPy arrays."""
    # Not x[0]: that is a computation of all devices, which can wait for each other on a machine with too few threads.
    # np.array copies, for the buffer may be donated to the next step while a checkpoint of it is being written.
    return jax.tree.map(lambda x: np.array(x.addressable_shards[0].data)[0, ...], tree)


def shard(batch: Any) -> Any:
    """(local batch, …) → (local devices, batch per device, …)."""
    count = jax.local_device_count()
    return jax.tree.map(lambda x: np.reshape(x, (count, x.shape[0] // count, *x.shape[1:])), batch)


def unshard(tree: Any) -> Any:
    """(local devices, batch per device, …) → (local batch, …), as NumPy arrays."""
    return jax.tree.map(lambda x: np.reshape(x, (x.shape[0] * x.shape[1], *x.shape[2:])), jax.device_get(tree))


def from_primary(tree: Any) -> Any:
    """The primary process's arrays, in every process; the others' need only have their shapes and types."""
    return tree if processes.count() == 1 else jax.tree.map(np.asarray, multihost_utils.broadcast_one_to_all(tree))


def own_rows(count: int) -> np.ndarray:
    """Which of `count` rows this process takes on, as many in every process: a run of them, the last filled up."""
    share = -(-count // processes.count())
    return np.minimum(processes.index() * share + np.arange(share), count - 1)


def gather_rows(rows: np.ndarray, count: int) -> np.ndarray:
    """The `count` rows of which every process has its `own_rows`, in every process."""
    if processes.count() == 1:
        return rows
    return np.asarray(multihost_utils.process_allgather(rows, tiled=True))[:count]


class Agreement:
    """What processes agree on after a step: the greatest of their numbers, a step late, so that none is waited for."""

    def __init__(self) -> None:
        self._pending: Any = None

    def __call__(self, number: int) -> int:
        """The numbers' greatest at the call before; alone, this one at once."""
        if processes.count() == 1:
            return number
        before, self._pending = self._pending, _greatest()(np.full(num_local_devices(), number, np.int32))
        return 0 if before is None else int(unreplicate(before))


@functools.cache
def _greatest() -> Any:
    return pmap(lambda x: jax.lax.pmax(x, AXIS))

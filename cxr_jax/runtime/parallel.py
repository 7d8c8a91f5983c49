"""One program on many devices, by pmap: the only file that knows how many devices and processes there are.

State is replicated, batches are sharded over a leading device axis, and inside a step AXIS names that axis.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cxr_jax.errors import InputError

AXIS = "devices"


def start() -> None:
    """Joins the processes of a cluster job, where a launcher has set the variables that say so.

    JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID; under Slurm and on Cloud TPU pods jax finds out by
    itself once CXR_DISTRIBUTED=1 is set.
    """
    if "JAX_COORDINATOR_ADDRESS" in os.environ:
        jax.distributed.initialize(
            num_processes=int(os.environ["JAX_NUM_PROCESSES"]), process_id=int(os.environ["JAX_PROCESS_ID"])
        )
    elif os.environ.get("CXR_DISTRIBUTED") == "1":
        jax.distributed.initialize()


def cache_compilations(folder: Path) -> None:
    """Keeps compiled programs in a folder: the second start of the same model is short."""
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 2)


def process() -> tuple[int, int]:
    """(index, count) of this process."""
    return jax.process_index(), jax.process_count()


def describe() -> str:
    """How many devices, and what they are."""
    return f"{jax.device_count()} {jax.devices()[0].device_kind}"


def num_local_devices() -> int:
    """Devices of this process."""
    return jax.local_device_count()


def check_batch_size(batch_size: int) -> None:
    """Refuses a global batch that the devices cannot share evenly.

    Raises:
      InputError: naming the count of devices.
    """
    if batch_size % jax.device_count():
        raise InputError(f"batch_size = {batch_size} cannot be shared by {jax.device_count()} devices; use a multiple")


def pmap(function: Callable[..., Any], in_axes: Any = 0, donate: tuple[int, ...] = ()) -> Callable[..., Any]:
    """`jax.pmap` along AXIS."""
    return jax.pmap(function, axis_name=AXIS, in_axes=in_axes, donate_argnums=donate)


def replicate(tree: Any) -> Any:
    """One copy on each local device, under a new leading axis."""
    count = jax.local_device_count()
    return jax.pmap(lambda _, x: x, in_axes=(0, None), axis_name=AXIS)(jnp.arange(count), tree)


def unreplicate(tree: Any) -> Any:
    """The first device's copy, as NumPy arrays."""
    # Not x[0]: that is a computation of all devices, which can wait for each other on a machine with too few threads.
    # np.array copies, for the buffer may be donated to the next step while a checkpoint of it is being written.
    return jax.tree.map(lambda x: np.array(x.addressable_shards[0].data)[0], tree)


def shard(batch: Any) -> Any:
    """(local batch, …) → (local devices, batch per device, …)."""
    count = jax.local_device_count()
    return jax.tree.map(lambda x: np.reshape(x, (count, x.shape[0] // count, *x.shape[1:])), batch)


def unshard(tree: Any) -> Any:
    """(local devices, batch per device, …) → (local batch, …), as NumPy arrays."""
    return jax.tree.map(lambda x: np.reshape(x, (x.shape[0] * x.shape[1], *x.shape[2:])), jax.device_get(tree))

"""Four virtual CPU devices, shape checks (see addopts), no network, and a compilation cache between runs."""

import gc
import os
import tempfile
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
# XLA aborts the process where a virtual device is awaited for 40 s, as happens on two cores that others use as well.
os.environ["XLA_FLAGS"] = " ".join(
    [os.environ.get("XLA_FLAGS", "")]
    + [
        f"--xla_cpu_collective_{timeout}_seconds=1200"
        for timeout in ("timeout", "call_warn_stuck_timeout", "call_terminate_timeout")
    ]
)

import jax
import pytest
from absl import flags
from hypothesis import settings

# Before the first array: the device count cannot change afterwards. (XLA_FLAGS would reach child processes too.)
jax.config.update("jax_platforms", os.environ["JAX_PLATFORMS"])
jax.config.update("jax_num_cpu_devices", 4)
# One computation at a time: four devices that wait for each other in two of them could take all threads of two cores.
jax.config.update("jax_cpu_enable_async_dispatch", False)
jax.config.update("jax_numpy_rank_promotion", "raise")
# These models are tiny: compiling takes longer than running.
jax.config.update("jax_disable_most_optimizations", True)
jax.config.update("jax_compilation_cache_dir", str(Path(tempfile.gettempdir()) / f"cxr_jax_test_cache_{os.getuid()}"))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)

# Grain's worker processes read absl flags.
flags.FLAGS.mark_as_parsed()

# The same examples in every run, and no time limit an example: the first one compiles.
settings.register_profile("cxr_jax", deadline=None, max_examples=25, derandomize=True, database=None)
settings.load_profile("cxr_jax")


@pytest.fixture(autouse=True)
def few_programs():
    """Lets go of compiled programs before they use up what memory maps Linux gives a process (vm.max_map_count).

    A run's programs take some 5,000 of 65,530, and XLA ends in a segmentation fault where there are none left.
    """
    yield
    maps = Path("/proc/self/maps")
    if maps.exists() and maps.read_bytes().count(b"\n") > 20_000:
        jax.clear_caches()
        gc.collect()


@pytest.fixture
def key():
    return jax.random.key(0)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of shared test data: $CXR_SHARED, or `shared` beside the repository."""
    path = Path(os.environ.get("CXR_SHARED", Path(__file__).parents[2] / "shared"))
    if not path.is_dir():
        pytest.skip(f"no shared data at {path}; set CXR_SHARED to its folder")
    return path

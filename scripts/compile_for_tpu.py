#!/usr/bin/env python3
"""The real train step, compiled for a TPU that is not there: operations, memory traffic and memory, by XLA:TPU itself.

    pip install -c constraints.txt -e . libtpu        # Python 3.12; any CPU
    python scripts/compile_for_tpu.py --topology v5e:2x2 --batch 64 [--chips 4] [--remat layers] [--micro_batch 64]
        [--config configs/base.py] [--config.key=value ...] [--hlo FILE]

Prints one JSON line. `flops`, `bytes`, `temp_gib` and `args_gib` are of one chip; `bound_ms` is how long its arithmetic
and its memory would need for them at the chip's peaks. `bytes` is XLA's count, which has in it what never leaves the
core's own fast memory; `memory_bytes` is what the chip's memory carries, counted in the compiled text. XLA counts a
loop's body once: with micro-batches its two counts are multiplied by how many there are. `collectives` is what the
program sends between chips, the largest first; `batch` is shared by them. What does not fit the chip is not compiled
to the end: `fits` is false, `refusal` says why.
"""

import argparse
import importlib.util
import json
import os
import re
import time
from pathlib import Path
from typing import Any, NamedTuple

from hlo_text import collectives, memory_traffic

from cxr_jax.errors import ArgumentParser, InputError, run_command

BIOBERT_WORDS = 28996


class Chip(NamedTuple):
    """One chip's arithmetic in bfloat16 (FLOP/s), its memory's bandwidth (bytes/s) and size (bytes)."""

    flops: float
    bandwidth: float
    memory: float


# As their maker states them (cloud.google.com/tpu/docs: system architecture).
CHIPS = {
    "v4": Chip(275e12, 1.228e12, 32 * 2**30),
    "v5e": Chip(197e12, 0.819e12, 16 * 2**30),
    "v5p": Chip(459e12, 2.765e12, 95 * 2**30),
    "v6e": Chip(918e12, 1.640e12, 32 * 2**30),
}


def chip_of(topology: str) -> Chip:
    """What is known of the chips of a topology such as v5e:2x2.

    Raises:
      InputError: nothing is.
    """
    kind, _, shape = topology.partition(":")
    if kind not in CHIPS or not re.fullmatch(r"\d+(x\d+)+", shape):
        raise InputError(f"--topology {topology}: no such topology; give KIND:SHAPE as v5e:2x2, of {', '.join(CHIPS)}")
    return CHIPS[kind]


def bounds(chip: Chip, flops: float, moved: float) -> dict[str, float]:
    """Milliseconds that the chip needs at the least: for its arithmetic alone, and for its memory's traffic alone."""
    return {"arithmetic": round(1e3 * flops / chip.flops, 2), "memory": round(1e3 * moved / chip.bandwidth, 2)}


def devices_of(topology: str, count: int) -> list[Any]:
    """The first `count` chips of a topology, described by libtpu.

    Raises:
      InputError: libtpu is not installed, does not know the topology, or it has fewer chips.
    """
    if importlib.util.find_spec("libtpu") is None:
        raise InputError("XLA:TPU is missing; pip install -c constraints.txt libtpu (no TPU is needed)")
    from jax.experimental import topologies

    try:
        devices = topologies.get_topology_desc(topology, platform="tpu").devices
    except Exception as error:  # whatever libtpu raises
        first = str(error).splitlines()[0]
        raise InputError(f"--topology {topology}: libtpu refuses it: {first}") from error
    if count > len(devices):
        raise InputError(f"--chips {count}: {topology} has {len(devices)}")
    return list(devices[:count])


def lower(config: dict[str, Any], devices: list[Any]) -> Any:
    """`make_train_step`'s program for these devices: as `cxr_jax.train` runs it, one batch shared by all of them."""
    import jax
    import numpy as np
    from jax.sharding import Mesh, NamedSharding, PartitionSpec

    from cxr_jax.runtime.parallel import AXIS
    from cxr_jax.training.start import empty_batch
    from cxr_jax.training.step import make_recipe, make_train_step, state_shapes

    axis = AXIS if len(devices) > 1 else None
    mesh = Mesh(np.array(devices), (AXIS,))
    replicated, sharded = PartitionSpec(), PartitionSpec(AXIS)
    recipe = make_recipe(config, axis)
    step = make_train_step(recipe, axis, config["nan"] == "skip")
    if axis:
        specs = {"in_specs": (replicated, sharded, replicated), "out_specs": replicated}
        step = jax.shard_map(step, mesh=mesh, **specs, check_vma=False)  # as pmap: what is sent, the step says

    def placed(tree: Any, spec: Any) -> Any:
        sharding = NamedSharding(mesh, spec)
        return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), tree)

    batch = empty_batch(config, config["batch_size"])
    key = jax.eval_shape(lambda: jax.random.key(0))
    arguments = placed(state_shapes(recipe, config), replicated), placed(batch, sharded), placed(key, replicated)
    return jax.jit(step, donate_argnums=0).lower(*arguments)


def configuration_of(arguments: argparse.Namespace, rest: list[str]) -> dict[str, Any]:
    """The configuration file's, with the command line's changes and BioBERT's sizes where it would be fetched."""
    from cxr_jax import config as configuration
    from cxr_jax.weights.bert import complete_bert_config

    changes = [*configuration.overrides(rest), f"batch_size={arguments.batch}"]
    changes += [f"remat={arguments.remat}"] if arguments.remat else []
    changes += [f"micro_batch={arguments.micro_batch}"] if arguments.micro_batch else []
    config = configuration.load(arguments.config, changes)
    config["text"]["bert"] = complete_bert_config({"vocab_size": BIOBERT_WORDS, **config["text"]["bert"]})
    return config


def main() -> None:
    parser = ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--topology", default="v5e:2x2", help="KIND:SHAPE; %(default)s where not given")
    parser.add_argument("--chips", type=int, choices=(1, 4), default=1, help="how many of its chips take part")
    parser.add_argument("--batch", type=int, default=64, help="pairs a step, over all chips together")
    parser.add_argument("--remat", choices=("none", "layers", "blocks"), help="the configuration's where not given")
    parser.add_argument("--micro_batch", type=int, help="the configuration's where not given")
    parser.add_argument("--config", default="configs/base.py", help="and --config.key=value, as training takes them")
    parser.add_argument("--hlo", type=Path, metavar="FILE", help="write the compiled program's text there")
    arguments, rest = parser.parse_known_args()
    chip = chip_of(arguments.topology)
    if arguments.batch % arguments.chips:
        raise InputError(f"--batch {arguments.batch} cannot be shared by {arguments.chips} chips; use a multiple")
    # Before jax is imported: arrays are the CPU's, and libtpu looks for no TPU.
    os.environ |= {"JAX_PLATFORMS": "cpu", "TPU_SKIP_MDS_QUERY": "1", "TPU_WORKER_HOSTNAMES": "localhost"}
    os.environ["ALLOW_MULTIPLE_LIBTPU_LOAD"] = "1"  # nothing to lock: several of these may run side by side
    from cxr_jax.training.step import micro_batches

    config = configuration_of(arguments, rest)
    devices = devices_of(arguments.topology, arguments.chips)
    lowered = lower(config, devices)
    passes = micro_batches(config["micro_batch"], config["batch_size"] // arguments.chips)
    result = {
        "topology": arguments.topology,
        "chips": arguments.chips,
        "batch": config["batch_size"],
        "micro_batch": config["micro_batch"],
        "remat": config["remat"],
        "compute_dtype": config["compute_dtype"],
    }
    print(json.dumps(result | measure(lowered, chip, passes, arguments.hlo)))


def measure(lowered: Any, chip: Chip, passes: int = 1, hlo: Path | None = None) -> dict[str, Any]:
    """Compiles a program and says what it costs one chip, whose loop runs so many times."""
    import jax

    start = time.perf_counter()
    try:
        compiled = lowered.compile()
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        return {"fits": False, "refusal": " ".join(str(error).split())[:300]}
    seconds, text = round(time.perf_counter() - start, 1), compiled.as_text()
    if hlo:
        hlo.write_text(text, "utf-8")
    cost, memory = compiled.cost_analysis() or {}, compiled.memory_analysis()
    flops, moved = (passes * float(cost.get(name, 0)) for name in ("flops", "bytes accessed"))
    temporary, given = memory.temp_size_in_bytes, memory.argument_size_in_bytes
    made = memory.output_size_in_bytes - memory.alias_size_in_bytes + memory.generated_code_size_in_bytes
    carried = memory_traffic(text, passes)
    return {
        "flops": flops,
        "bytes": moved,
        "memory_bytes": carried,
        "temp_gib": round(temporary / 2**30, 3),
        "args_gib": round(given / 2**30, 3),
        "fits": temporary + given + made <= chip.memory,
        "bound_ms": bounds(chip, flops, moved),
        "memory_bytes_ms": bounds(chip, flops, carried)["memory"],
        "compile_s": seconds,
        "collectives": collectives(text),
    }


if __name__ == "__main__":
    run_command(main)

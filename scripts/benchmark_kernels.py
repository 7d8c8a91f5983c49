#!/usr/bin/env python3
"""Each kernel that is written by hand against XLA's own, forward and backward, at DenseNet121's sizes for 312 px.

    python scripts/benchmark_kernels.py [--batch 64] [--dtype bfloat16] [--rounds 5]

Prints a Markdown table: milliseconds of each, their ratio (below 1 ours is faster), and by how much their results and
their gradients differ, relative to the greatest. The two take turns; the median of the rounds counts.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from cxr_jax.models.densenet import GreyConv, PointwiseConv, max_pool_3x3
from cxr_jax.models.vision import DepthwiseConv

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Kernel(NamedTuple):
    """Two ways to one result: functions of (parameters, x), and what they are called with."""

    name: str
    ours: Callable[[Any, jax.Array], jax.Array]
    xla: Callable[[Any, jax.Array], jax.Array]
    parameters: Any
    x: jax.Array


def kernels(batch: int, dtype: jnp.dtype) -> list[Kernel]:
    """Every hand-made kernel at the sizes that cost most."""
    key = jax.random.key(0)
    found = []

    def normal(*shape: int) -> jax.Array:
        return jax.random.normal(key, shape, jnp.float32).astype(dtype)

    for side, channels, features in ((78, 256, 128), (39, 512, 128), (19, 1024, 128), (9, 1024, 128)):
        x, ours = normal(batch, side, side, channels), PointwiseConv(features, dtype)
        conv = nn.Conv(features, (1, 1), use_bias=False, dtype=dtype)
        found.append(Kernel(f"1x1, {side}², {channels} → {features}", ours.apply, conv.apply, ours.init(key, x[:1]), x))
    pool = partial(nn.max_pool, window_shape=(3, 3), strides=(2, 2), padding=((1, 1), (1, 1)))
    found.append(
        Kernel(
            "3x3 maxima, 156², 64", lambda _, x: max_pool_3x3(x), lambda _, x: pool(x), {}, normal(batch, 156, 156, 64)
        )
    )
    for size in (3, 5):
        x, depthwise = normal(batch, 9, 9, 1024), DepthwiseConv(size, dtype)
        conv = nn.Conv(1024, (size, size), padding=size // 2, feature_group_count=1024, dtype=dtype)
        found.append(
            Kernel(f"depth-wise {size}x{size}, 9², 1024", depthwise.apply, conv.apply, depthwise.init(key, x[:1]), x)
        )
    grey, stem = jax.random.uniform(key, (batch, 312, 312, 1)), GreyConv(64, MEAN, STD, dtype)

    def in_colour(parameters: Any, grey: jax.Array) -> jax.Array:
        colour = ((grey - jnp.asarray(MEAN)) / jnp.asarray(STD)).astype(dtype)
        kernel = parameters["params"]["kernel"].astype(dtype)
        numbers = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(colour, kernel, (2, 2), ((3, 3), (3, 3)), dimension_numbers=numbers)

    found.append(Kernel("7x7 stem on grey, 312² → 64", stem.apply, in_colour, stem.init(key, grey[:1]), grey))
    return found


def measure(kernel: Kernel, rounds: int, repeats: int) -> str:
    """A row of the table."""
    cotangent = jnp.ones_like(kernel.xla(kernel.parameters, kernel.x))

    def both_ways(function: Callable) -> Callable:
        def run(parameters, x, cotangent):
            y, pull = jax.vjp(function, parameters, x)
            return y, pull(cotangent)

        return jax.jit(run)

    forward = {name: jax.jit(getattr(kernel, name)) for name in ("ours", "xla")}
    whole = {name: both_ways(getattr(kernel, name)) for name in ("ours", "xla")}
    results = {name: whole[name](kernel.parameters, kernel.x, cotangent) for name in whole}
    differences = jax.tree.map(relative_difference, results["ours"], results["xla"])
    cells = [kernel.name]
    for calls, given in ((forward, (kernel.parameters, kernel.x)), (whole, (kernel.parameters, kernel.x, cotangent))):
        times: dict[str, list[float]] = {"ours": [], "xla": []}
        for _ in range(rounds):
            for name, call in calls.items():
                times[name].append(seconds(call, given, repeats))
        ours, xla = (statistics.median(times[name]) * 1e3 for name in ("ours", "xla"))
        cells += [f"{ours:.3f}", f"{xla:.3f}", f"{ours / xla:.2f}"]
    worst = [max((float(leaf) for leaf in jax.tree.leaves(part)), default=0.0) for part in differences]
    return f"| {' | '.join([*cells, *(f'{part:.1e}' for part in worst)])} |"


def seconds(call: Callable, given: tuple, repeats: int) -> float:
    """Of one call, on average over several that are queued behind each other."""
    jax.block_until_ready(call(*given))
    start = time.perf_counter()
    for _ in range(repeats):
        result = call(*given)
    jax.block_until_ready(result)
    return (time.perf_counter() - start) / repeats


def relative_difference(a: jax.Array, b: jax.Array) -> jax.Array:
    a, b = a.astype(jnp.float32), b.astype(jnp.float32)
    return jnp.max(jnp.abs(a - b)) / jnp.maximum(jnp.max(jnp.abs(b)), 1e-30)


def main() -> None:
    accelerated = jax.default_backend() != "cpu"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=64 if accelerated else 4)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="bfloat16" if accelerated else "float32")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=20 if accelerated else 2)
    arguments = parser.parse_args()
    print(f"{jax.devices()[0].device_kind}, jax {jax.__version__}, batch {arguments.batch}, {arguments.dtype}\n")
    columns = ["", "ours ms", "XLA ms", "ratio", "and back: ours", "XLA", "ratio", "results differ", "gradients"]
    print(f"| {' | '.join(columns)} |\n{'| --- ' * len(columns)}|")
    for kernel in kernels(arguments.batch, jnp.dtype(arguments.dtype)):
        print(measure(kernel, arguments.rounds, arguments.repeats), flush=True)


if __name__ == "__main__":
    main()

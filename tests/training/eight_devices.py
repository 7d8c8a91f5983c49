"""A step on eight virtual devices beside the same on one: python -m tests.training.eight_devices DTYPE.

Prints, as JSON, how far loss, gradient, BatchNorm's statistics and each leaf of the gradient are off, relative to their
norms; and how far this DTYPE's gradient is off from float32's.
"""

import json
import sys

import jax
import numpy as np
import optax

from cxr_jax.training.step import init_state, make_recipe, make_train_step
from tests.tiny import tiny_batch, tiny_resolved
from tests.training.test_step import NO_DROPOUT, gradient, sgd

DEVICES = 8


def norm(tree) -> float:
    return float(optax.tree.norm(jax.tree.map(lambda x: np.asarray(x, np.float64), tree)))


def distance(tree, expected) -> float:
    """Relative to the norm of what is expected."""
    return norm(jax.tree.map(lambda a, b: np.asarray(a, np.float64) - b, tree, expected)) / norm(expected)


def main() -> None:
    jax.config.update("jax_num_cpu_devices", DEVICES)
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    jax.config.update("jax_disable_most_optimizations", True)
    batch, key = tiny_batch(32), jax.random.key(0)
    # Of noise the pooled features are nearly equal, and their differences nearly lost in bfloat16.
    batch["image"] = np.kron(batch["image"][:, :4, :4], np.ones((1, 8, 8, 1), np.uint8))
    shards = jax.tree.map(lambda x: x.reshape(DEVICES, len(x) // DEVICES, *x.shape[1:]), batch)

    def alone(dtype):
        config = tiny_resolved(NO_DROPOUT, f"compute_dtype={dtype}")
        recipe = sgd(make_recipe(config))
        state = jax.device_get(init_state(recipe, config))
        after, metrics = jax.device_get(jax.jit(make_train_step(recipe))(state, batch, key))
        return config, state, after, metrics

    config, state, one, one_metrics = alone(sys.argv[1])
    recipe = sgd(make_recipe(config, axis_name="devices"))
    step = jax.pmap(make_train_step(recipe, "devices"), axis_name="devices", in_axes=(None, 0, None))
    eight, eight_metrics = jax.device_get(step(state, shards, key))
    same = all((x == x[:1]).all() for x in jax.tree.leaves(eight))
    eight = jax.tree.map(lambda x: x[0], eight)
    expected, computed = gradient(state, one), gradient(state, eight)
    exact = gradient(state, alone("float32")[2])
    whole = norm(expected)
    leaves = [
        norm(a - b) / max(norm(b), 1e-2 * whole)
        for a, b in zip(jax.tree.leaves(computed), jax.tree.leaves(expected), strict=True)
    ]
    off = {
        "loss": abs(float(eight_metrics["loss"][0] / one_metrics["loss"]) - 1),
        "gradient": distance(computed, expected),
        "worst_leaf": max(leaves),
        "statistics": distance(eight.batch_stats, one.batch_stats),
        "of_the_dtype": distance(expected, exact),
        "devices_agree": same,
    }
    print(json.dumps(off))


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Our full-size train step and a PyTorch peer's, in turn, on the machine at hand: pairs a second, and their ratio.

    python scripts/benchmark.py                                   ours alone
    python scripts/benchmark.py --peer ../shared/peer/torch_peer.py [--peer_python PYTHON] [--compile]

The peer is a script that takes --batch --image --tokens --steps --bert-layers and prints one JSON line with step_s,
first_step_s, pairs_per_s and peak_device_mib. Each side runs in a process of its own, so that neither holds the other's
memory; they take turns `--rounds` times, and the best round of each counts. Only the peer needs torch. Where the
card's peaks are known, the shares of them that our step reaches are counted by XLA's own analysis: "mfu" of its
arithmetic in bfloat16, without sparsity, by the program before it is compiled, and "bandwidth_share" of its memory's.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time

# FLOP/s in bfloat16 and bytes/s, as their makers state them.
PEAKS = {
    "H200": (989e12, 4.8e12),
    "H100": (989e12, 3.35e12),
    "A100": (312e12, 2.0e12),
    "TPU v5 lite": (197e12, 0.819e12),
}


def shares_of_peak(device: str, flops: float, bytes_accessed: float, seconds: float) -> dict[str, float | None]:
    """What share of the device's arithmetic and of its memory's bandwidth a program used; None where unknown."""
    known = [peaks for name, peaks in PEAKS.items() if name in device]
    if not known or not flops:
        return {"mfu": None, "bandwidth_share": None}
    (most_flops, most_bytes), *_ = known
    return {
        "mfu": round(flops / seconds / most_flops, 4),
        "bandwidth_share": round(bytes_accessed / seconds / most_bytes, 4),
    }


def measure_ours(arguments: argparse.Namespace) -> dict:
    """One round of ours, in this process: the paper's model, random weights, one device, synthetic batch."""
    import jax
    import numpy as np

    from cxr_jax import config as configuration
    from cxr_jax.training.start import empty_batch
    from cxr_jax.training.step import init_state, make_recipe, make_train_step
    from cxr_jax.weights.bert import complete_bert_config

    accelerated = jax.devices()[0].platform != "cpu"
    config = configuration.load("configs/base.py")
    config |= {
        "image_size": arguments.image,
        "compute_dtype": arguments.dtype or ("bfloat16" if accelerated else "float32"),
    }
    config["text"]["bert"] = complete_bert_config({"vocab_size": 28996, "num_hidden_layers": arguments.bert_layers})
    rng = np.random.default_rng(0)
    tokens = (arguments.batch, arguments.tokens)
    batch = empty_batch(config, arguments.batch) | {
        "image": rng.integers(0, 256, (arguments.batch, arguments.image, arguments.image, 1), dtype=np.uint8),
        "token_ids": rng.integers(1000, 28000, tokens, dtype=np.int32),
        "token_mask": np.ones(tokens, np.int32),
    }
    batch = jax.device_put(batch)
    recipe, key = make_recipe(config), jax.random.key(0)
    state = init_state(recipe, config)
    start = time.perf_counter()
    lowered = jax.jit(make_train_step(recipe), donate_argnums=0).lower(state, batch, key)
    train_step = lowered.compile()
    compile_time = time.perf_counter() - start
    cost, memory = train_step.cost_analysis() or {}, train_step.memory_analysis()

    def run():
        nonlocal state
        state, metrics = train_step(state, batch, key)
        jax.block_until_ready(metrics)

    first, step = timed(run, arguments.steps)
    stats = jax.devices()[0].memory_stats() or {}
    variables = {"params": state.params, "batch_stats": state.batch_stats}
    device = jax.devices()[0].device_kind
    # Operations before compilation: what a GPU's libraries compute is not counted in a compiled program.
    flops = float((lowered.cost_analysis() or {}).get("flops", 0))
    moved = float(cost.get("bytes accessed", 0))
    result = {
        "peer": f"cxr_jax on jax {jax.__version__}, {config['compute_dtype']}",
        "device": device,
        "batch": arguments.batch,
        "compile_s": round(compile_time, 2),
        "first_step_s": round(first, 3),
        "step_s": round(step, 5),
        "pairs_per_s": round(arguments.batch / step, 2),
        "flops": flops,
        "bytes": moved,
        **shares_of_peak(device, flops, moved, step),
        "peak_device_mib": stats.get("peak_bytes_in_use", 0) // 2**20 or None,
        "temporary_mib": getattr(memory, "temp_size_in_bytes", 0) // 2**20,
    }
    print(json.dumps(result), file=sys.stderr, flush=True)  # encoding is compiled next, which takes minutes on a GPU
    for name, inputs in (("images", {"image": batch["image"]}), ("reports", tokens_of(batch))):
        encode = jax.jit(recipe.model.apply)
        _, seconds = timed(lambda: jax.block_until_ready(encode(variables, **inputs)), arguments.steps)  # noqa: B023
        result[f"{name}_per_s"] = round(arguments.batch / seconds, 2)
    return result | {"peak_host_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024}


def tokens_of(batch: dict) -> dict:
    """The text tower's part of a batch."""
    return {name: batch[name] for name in ("token_ids", "token_mask")}


def timed(function, count: int) -> tuple[float, float]:
    """Seconds of the first call, compilation included, and the median of `count` more."""
    start = time.perf_counter()
    function()
    first, times = time.perf_counter() - start, []
    for _ in range(count):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return first, statistics.median(times)


def run_json(command: list[str]) -> dict:
    """Runs a command; the JSON in the last line of its output, with the process's peak memory beside it."""
    wrapper = (
        "import resource, subprocess, sys; r = subprocess.run(sys.argv[1:]).returncode; "
        "print('\\n' + str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024)); sys.exit(r)"
    )
    done = subprocess.run([sys.executable, "-c", wrapper, *command], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"error: {' '.join(command)} failed:\n{done.stderr.strip()}")
    *_, result, _, peak = done.stdout.rstrip().splitlines()
    return {"peak_host_mib": int(peak)} | json.loads(result)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (
        ("batch", 64),
        ("image", 312),
        ("tokens", 128),
        ("bert_layers", 12),
        ("steps", 20),
        ("rounds", 2),
    ):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--peer", metavar="FILE", help="the PyTorch peer's script")
    parser.add_argument("--peer_python", default=sys.executable, metavar="PYTHON", help="the Python that has torch")
    parser.add_argument("--compile", action="store_true", help="let the peer use torch.compile")
    parser.add_argument(
        "--dtype", choices=("float32", "bfloat16"), help="ours; bfloat16 on an accelerator, else float32"
    )
    parser.add_argument("--only_ours", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.only_ours:
        print(json.dumps(measure_ours(arguments)))
        return

    shared = [("batch",) * 2, ("image",) * 2, ("tokens",) * 2, ("steps",) * 2]
    size_flags = [word for flag, name in shared for word in (f"--{flag}", str(getattr(arguments, name)))]
    layers = str(arguments.bert_layers)
    ours = [sys.executable, __file__, "--only_ours", *size_flags, "--bert_layers", layers]
    ours += ["--dtype", arguments.dtype] if arguments.dtype else []
    commands = {"ours": ours}
    if arguments.peer:
        peer = [arguments.peer_python, arguments.peer, *size_flags, "--bert-layers", layers]
        commands["peer"] = peer + (["--compile"] if arguments.compile else [])
    best: dict[str, dict] = {}
    for _ in range(arguments.rounds):
        for side, command in commands.items():
            result = run_json(command)
            print(f"{side}: {json.dumps(result)}", flush=True)
            if side not in best or result["step_s"] < best[side]["step_s"]:
                best[side] = result
    if arguments.peer:
        ratio = best["ours"]["pairs_per_s"] / best["peer"]["pairs_per_s"]
        what = f"batch {arguments.batch}, {arguments.image} px, {arguments.tokens} tokens"
        print(f"ours / peer: {ratio:.2f} in pairs/s, {what}")


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Images a second of `python -m cxr_jax.embed`'s stream, beside its parts: the forward pass, and reading alone.

    python scripts/benchmark_embed.py --data FOLDER                   the paper's image tower, 312 px, random weights
    python scripts/benchmark_embed.py --data FOLDER --workdir RUN     a run's

The forward pass is compiled before and fed one batch that lies on the host already; the stream reads files and yields
embeddings; reading is the stream's threads without a model. The three take turns, and the best of `--rounds` counts.
"""

import argparse
import itertools
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import numpy as np

import cxr_jax
from cxr_jax import config as configuration
from cxr_jax.data.encoders import cores, in_order
from cxr_jax.data.folders import image_files
from cxr_jax.errors import ArgumentParser, InputError, run_command
from cxr_jax.models.dual_encoder import build_model, init_variables
from cxr_jax.retrieval.model import Model
from cxr_jax.retrieval.streaming import StreamingEncoder, collect
from cxr_jax.runtime import parallel
from cxr_jax.weights.bert import complete_bert_config


def paper_model(dtype: str) -> Model:
    """configs/base.py's image tower beside a text tower that is never asked."""
    config = configuration.load("configs/base.py")
    bert = {"vocab_size": 100, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config["text"]["bert"] = complete_bert_config(bert)
    config["compute_dtype"] = dtype
    variables = init_variables(build_model(config), jax.random.key(0), config["image_size"])
    no_tokenizer: Any = None
    return Model(config, variables, no_tokenizer, None)


def rate(function: Callable[[], Any], images: int) -> float:
    """Images a second of one call."""
    start = time.perf_counter()
    function()
    return images / (time.perf_counter() - start)


def main() -> None:
    parser = ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, metavar="FOLDER", help="images of any size and format")
    parser.add_argument("--workdir", default="", metavar="RUN", help="a run's folder, an export's, or one on the hub")
    parser.add_argument("--batch", type=int, default=0, help="images at a time, over all devices (32 on each)")
    parser.add_argument("--batches", type=int, default=8, help="a round (8)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dtype", default="", choices=("", "float32", "bfloat16"), help="of the paper's model")
    arguments = parser.parse_args()
    accelerated = jax.devices()[0].platform != "cpu"
    default = "bfloat16" if accelerated else "float32"
    model = cxr_jax.load(arguments.workdir) if arguments.workdir else paper_model(arguments.dtype or default)
    encoder = StreamingEncoder(model, arguments.batch)
    count, side = arguments.batches * encoder.batch_size, model.config["image_size"]
    found = image_files(Path(arguments.data))
    if not found:
        raise InputError(f"--data {arguments.data}: no image in this folder")
    files = list(itertools.islice(itertools.cycle(found), count))
    pixels = np.random.default_rng(0).integers(0, 256, (encoder.batch_size, side, side, 1), dtype=np.uint8)

    def forward() -> None:
        outputs = [
            encoder._encoders.image(encoder._variables, parallel.shard(pixels)) for _ in range(arguments.batches)
        ]
        jax.block_until_ready(outputs)

    def stream() -> None:
        collect(encoder.images(files))

    def read() -> None:
        with ThreadPoolExecutor(cores()) as threads:
            for _ in in_order(threads, encoder._square, files, 2 * encoder.batch_size):
                pass

    kinds = {"forward pass": forward, "stream": stream, "reading": read}
    forward()  # compiles
    what = f"{side} px, {model.config['compute_dtype']}, batch {encoder.batch_size}, {count} images a round"
    print(f"{parallel.describe()}, {cores()} cores; {what}")
    best = dict.fromkeys(kinds, 0.0)
    for _ in range(arguments.rounds):
        for name, function in kinds.items():
            best[name] = max(best[name], rate(function, count))
    for name, fastest in best.items():
        print(f"{name:>12}: {fastest:8.1f} images/s, {fastest / best['forward pass']:.2f} of the forward pass")


if __name__ == "__main__":
    run_command(main)

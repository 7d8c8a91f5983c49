#!/usr/bin/env python3
"""How far bfloat16 is from float32 on the machine at hand: embeddings, loss and gradient of the paper's model.

    python scripts/benchmark_precision.py [--batch 16] [--image 312] [--bert_layers 12]

Random weights, a synthetic batch, no dropout; float32 with products in full precision. Prints a JSON line.
"""

import argparse
import json
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax

from cxr_jax import config as configuration
from cxr_jax.models.dual_encoder import build_model, init_variables
from cxr_jax.training.losses import contrastive_loss
from cxr_jax.weights.bert import complete_bert_config


def loss_of_vision(model, variables, images, tokens, vision):
    """The loss of a training step without dropout, given the image tower's parameters; and both embeddings."""
    out, _ = model.apply(
        {**variables, "params": {**variables["params"], "vision": vision}},
        images,
        tokens,
        np.ones_like(tokens),
        train=True,
        rngs={"dropout": jax.random.key(1)},
        mutable=["batch_stats"],
    )
    embeddings = out["image_embedding"], out["text_embedding"]
    return contrastive_loss(embeddings[1], embeddings[0], out["scale"]), embeddings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("batch", 16), ("image", 312), ("tokens", 128), ("bert_layers", 12)):
        parser.add_argument(f"--{name}", type=int, default=default)
    arguments = parser.parse_args()
    config = configuration.load("configs/base.py") | {"image_size": arguments.image}
    config["text"]["bert"] = complete_bert_config({"vocab_size": 28996, "num_hidden_layers": arguments.bert_layers})
    config["text"]["dropout"] = 0.0
    rng = np.random.default_rng(0)
    shape = (arguments.batch, arguments.tokens)
    images = rng.integers(0, 256, (arguments.batch, arguments.image, arguments.image, 1), dtype=np.uint8)
    tokens = rng.integers(1000, 28000, shape, dtype=np.int32)
    models = {dtype: build_model(config | {"compute_dtype": dtype}) for dtype in ("float32", "bfloat16")}
    variables = jax.jit(lambda key: init_variables(models["float32"], key, arguments.image))(jax.random.key(0))
    results = {}
    for dtype, model in models.items():
        loss = partial(loss_of_vision, model, variables, images, tokens)
        with jax.default_matmul_precision("highest" if dtype == "float32" else None):
            results[dtype] = jax.jit(jax.value_and_grad(loss, has_aux=True))(variables["params"]["vision"])
    (loss, embeddings), gradient = results["float32"]
    (rounded_loss, rounded_embeddings), rounded = results["bfloat16"]
    cosines = [jnp.sum(a * b, axis=1).min() for a, b in zip(embeddings, rounded_embeddings, strict=True)]
    difference = optax.tree.norm(optax.tree.sub(rounded, gradient)) / optax.tree.norm(gradient)
    print(
        json.dumps(
            {
                "device": jax.devices()[0].device_kind,
                "batch": arguments.batch,
                "loss_float32": round(float(loss), 5),
                "loss_bfloat16": round(float(rounded_loss), 5),
                "least_cosine_of_images": round(float(cosines[0]), 5),
                "least_cosine_of_reports": round(float(cosines[1]), 5),
                "image_tower_gradient_differs": round(float(difference), 4),
            }
        )
    )


if __name__ == "__main__":
    main()

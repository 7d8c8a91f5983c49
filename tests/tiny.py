"""A tiny configuration, model and batch that several tests share."""

import numpy as np

from cxr_jax import config as configuration
from cxr_jax.weights.bert import complete_bert_config

TINY = (
    "num_steps=6",
    "batch_size=8",
    "image_size=32",
    "embed_dim=16",
    "log_every=1",
    "eval_every=3",
    "data.num_studies=48",
    "data.stored_size=32",
    "image.block_sizes=(1, 1)",
    "image.growth_rate=4",
    "image.multi_scale_width=8",
    "text.bert={'hidden_size': 16, 'num_hidden_layers': 1, 'num_attention_heads': 2, 'intermediate_size': 32}",
    "text.max_tokens=24",
    "text.frozen=true",
    "text.num_prompts=4",
    "optim.warmup_steps=2",
)


def tiny_config(*overrides: str):
    """configs/phantom.py, shrunk until a step takes milliseconds."""
    return configuration.load("configs/phantom.py", [*TINY, *overrides])


def tiny_resolved(*overrides: str) -> dict:
    """The same, as a run resolves it."""
    config = tiny_config(*overrides)
    config["text"]["bert"] = complete_bert_config({**config["text"]["bert"], "vocab_size": 50})
    return config


def tiny_batch(size: int = 8, seed: int = 0) -> dict[str, np.ndarray]:
    """Random pixels and tokens in the shape of a batch."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(3, 24, size)
    return {
        "image": rng.integers(0, 256, (size, 32, 32, 1), dtype=np.uint8),
        "token_ids": rng.integers(0, 50, (size, 24), dtype=np.int32),
        "token_mask": (np.arange(24) < lengths[:, None]).astype(np.int32),
        "group_id": np.arange(size, dtype=np.int32),
        "study_id": np.arange(size, dtype=np.int32),
        "labels": np.zeros((size, 0), np.uint8),
        "weight": np.ones(size, np.float32),
    }

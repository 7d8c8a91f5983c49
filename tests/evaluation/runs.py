"""Scored runs whose answers are known, without a model."""

import json

import numpy as np

from cxr_jax.data import images
from cxr_jax.recipes.split import evaluate_split
from cxr_jax.retrieval.rows import Row
from cxr_jax.retrieval.store import SplitIndex
from cxr_jax.runtime.run_folder import RunFolder
from tests.tiny import tiny_resolved

THUMBNAIL = images.encode_jpeg(np.zeros((8, 8), np.uint8))


def split_of(name, count, first_study, noise, seed):
    """Studies of ten kinds; an image lies by its kind's report, as closely as `noise` lets it."""
    rng, kinds = np.random.default_rng([seed, first_study]), np.arange(count) % 10
    text = np.eye(16, dtype=np.float32)[kinds]
    image = text + noise * rng.normal(size=text.shape).astype(np.float32)
    image /= np.linalg.norm(image, axis=1, keepdims=True)
    rows = [
        Row(f"{name}{i}", f"s{first_study + i}", f"p{i}", f"there is finding number {k} of all .", (f"f{k}",), int(k))
        for i, k in enumerate(kinds)
    ]
    return SplitIndex(name, 7, rows, image, text, [THUMBNAIL] * count)


def make_run(folder, noise=0.1, seed=0, count=60, protocol="raw", **changes):
    config = tiny_resolved(f"seed={seed}", *(f"{k}={v}" for k, v in changes.items()))
    config["data"] |= {"description": "made up", "split_used": "paper"}
    run = RunFolder(folder)
    run.start(config)
    for name, size, first in (("train", 40, 0), ("val", 20, 1000), ("test", count, 2000)):
        split_of(name, size, first, noise, seed).save(run.index)
    evaluate_split(folder, protocol=protocol)
    return folder


def metrics(folder):
    return json.loads((folder / "eval" / "test" / "metrics.json").read_text())


def parameters_of(config):
    """Stands for the command line's, which builds the model."""
    return 100 - config["image"]["spatial_attention"], 10

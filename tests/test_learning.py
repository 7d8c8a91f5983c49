"""Whether the system learns: minutes, so out of the default run."""

import math

import pytest

from cxr_jax.train import train
from tests.tiny import tiny_config


@pytest.mark.slow
def test_drawn_findings_are_learnt(tmp_path):
    """A small model, a few minutes: on unseen drawn studies it does better than a blind model, whose loss is log N."""
    config = tiny_config(
        f"data.cache={tmp_path}",
        "data.num_studies=600",
        "data.augment=true",  # without it 418 pairs are learnt by heart: validation ended at 4.12
        "data.stored_size=64",
        "image_size=64",
        "batch_size=32",
        "num_steps=240",
        "eval_every=80",
        "embed_dim=64",
        "image.block_sizes=(3, 4, 4)",
        "image.growth_rate=8",
        "text.bert={'hidden_size': 64, 'num_hidden_layers': 1, 'num_attention_heads': 4, 'intermediate_size': 128, "
        "'hidden_dropout_prob': 0.0, 'attention_probs_dropout_prob': 0.0}",
        "text.max_tokens=80",
        "text.frozen=false",
        "optim.warmup_steps=20",
    )
    run = train(config, tmp_path / "run")
    validations = [line["val_loss"] for line in run.metrics() if "val_loss" in line]
    assert validations[-1] < math.log(config["batch_size"]) - 0.15
    assert validations == sorted(validations, reverse=True)

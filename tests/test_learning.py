"""Whether the system learns: minutes, so out of the default run."""

import pytest

from cxr_jax.train import train
from tests.tiny import tiny_config


@pytest.mark.slow
def test_drawn_findings_are_learnt(tmp_path):
    """A small model, a few minutes: recall on unseen drawn studies well above chance, and the loss on them falls."""
    config = tiny_config(
        f"data.cache={tmp_path}",
        "data.num_studies=600",
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
    validations = [line for line in run.metrics() if "val_loss" in line]
    chance = 10 / 120
    assert validations[-1]["val_recall@10"] > 2 * chance
    assert validations[-1]["val_loss"] < validations[0]["val_loss"] - 0.1

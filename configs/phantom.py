"""Drawn radiographs and small towers: minutes on a 2-core CPU, nothing to download.

    python -m cxr_jax.train --config configs/phantom.py --workdir runs/phantom

It takes base.py's variants: `configs/phantom.py:unscaled_prompts`.
"""

from pathlib import Path

from ml_collections import ConfigDict

from cxr_jax import config as configuration

BASE = Path(__file__).with_name("base.py")


def get_config(variant: str = "") -> ConfigDict:
    config = configuration.read(BASE)
    config.num_steps = 1600
    config.batch_size = 32
    config.image_size = 96
    config.compute_dtype = "float32"
    config.log_every = 20
    config.eval_every = 400

    config.data.dataset = "phantom"
    config.data.num_studies = 8000
    config.data.stored_size = 96
    config.data.section = "both"  # the impression says again, in other words, what a small BERT has to learn
    config.data.augment = False  # in so few steps, seeing the same drawing again teaches more
    config.data.num_threads = 2

    config.image.block_sizes = (3, 5, 6)  # three blocks: at 96 px the map is still 6 × 6, fine enough for a nodule
    config.image.growth_rate = 12
    config.image.multi_scale_width = 64

    config.text.pretrained = ""
    config.text.bert = ConfigDict(
        {
            "hidden_size": 128,
            "num_hidden_layers": 1,
            "num_attention_heads": 4,
            "intermediate_size": 256,
            "max_position_embeddings": 128,
            "hidden_dropout_prob": 0.0,
            "attention_probs_dropout_prob": 0.0,
        }
    )
    # Nothing pretrained is at hand, so this small BERT is trained from scratch, but where its freezing is the variant.
    config.text.frozen = variant == "frozen_bert"
    config.text.num_prompts = 8
    config.text.max_tokens = 72

    config.optim.learning_rate = 1e-3
    config.optim.warmup_steps = 20
    config.optim.b2 = 0.999

    config.update_from_flattened_dict(configuration.variant_changes(BASE, variant))
    config.optim.bert_learning_rate = 0.0  # its BERT is not fine-tuned: nothing is pretrained
    return config

"""Drawn radiographs and small towers: minutes on a 2-core CPU, nothing to download.

    python -m cxr_jax.train --config configs/phantom.py --workdir runs/phantom

It takes base.py's variants: `configs/phantom.py:unscaled_prompts`.
"""

from pathlib import Path

from ml_collections import ConfigDict

from cxr_jax import config as configuration


def get_config(variant: str = "") -> ConfigDict:
    config = configuration.read(Path(__file__).with_name("base.py"), variant)
    config.num_steps = 600
    config.image_size = 128
    config.compute_dtype = "float32"
    config.log_every = 10
    config.eval_every = 100

    config.data.dataset = "phantom"
    config.data.num_studies = 3000
    config.data.stored_size = 128
    config.data.num_threads = 2

    config.image.block_sizes = (3, 4, 6, 4)
    config.image.growth_rate = 12
    config.image.multi_scale_width = 64

    config.text.pretrained = ""
    config.text.bert = ConfigDict(
        {
            "hidden_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "intermediate_size": 256,
            "max_position_embeddings": 160,
        }
    )
    config.text.max_tokens = 96

    config.optim.learning_rate = 2e-3
    config.optim.warmup_steps = 50
    return config

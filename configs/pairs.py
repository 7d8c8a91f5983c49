"""Your own images and reports, from a CSV with the columns image and report.

    python -m cxr_jax.train --config configs/pairs.py --workdir runs/mine --config.data.csv=/data/pairs.csv

Further columns, each optional: patient_id, study_id, view, split, labels. `--config.text.pretrained` names a BERT's
folder or its name on the hub.
"""

from pathlib import Path

from ml_collections import ConfigDict

from cxr_jax import config as configuration

BASE = Path(__file__).with_name("base.py")


def get_config(variant: str = "") -> ConfigDict:
    config = configuration.read(BASE)
    config.num_steps = 60
    config.batch_size = 32
    config.image_size = 128
    config.compute_dtype = "float32"
    config.log_every = 10
    config.eval_every = 10

    config.data.dataset = "pairs"
    config.data.split = "auto"
    config.data.stored_size = 256
    config.data.num_threads = 2

    # Small, for a few hundred images on a CPU; with more of both take base.py's DenseNet121.
    config.image.block_sizes = (3, 4, 6, 4)
    config.image.growth_rate = 16

    config.text.max_tokens = 64
    config.text.num_prompts = 8

    config.optim.learning_rate = 2e-4  # a few hundred pairs are soon learnt by heart
    config.optim.warmup_steps = 10

    config.update_from_flattened_dict(configuration.variant_changes(BASE, variant))
    return config

"""The paper: IU X-ray, DenseNet121, BioBERT, 312 px.

    python -m cxr_jax.train --config configs/base.py --workdir runs/iu_xray --config.data.path=/data/iu_xray

A variant follows a colon: `configs/base.py:frozen_bert`. They are the ablations of the paper's Table 3 and section V,
and other objectives.
"unstated" marks what the paper does not say and this file had to choose.
"""

from ml_collections import ConfigDict

from cxr_jax.errors import InputError

VARIANTS = {
    "": {},
    "plain_densenet": {
        "image.multi_scale": False,
        "image.channel_attention": False,
        "image.spatial_attention": False,
        "image.pooling": "mean",
    },
    "no_multi_scale": {"image.multi_scale": False},
    "no_channel_attention": {"image.channel_attention": False},
    "no_spatial_attention": {"image.spatial_attention": False},
    "mean_pooling": {"image.pooling": "mean"},
    "frozen_bert": {"text.num_prompts": 0},
    "finetune_bert": {"text.num_prompts": 0, "text.frozen": False, "optim.bert_learning_rate": 2e-5},  # rate: unstated
    "unscaled_prompts": {"text.scaled_prompts": False},
    # Not the paper's: what equal reports need not be (docs/training.md).
    "group_positives": {"loss.positives": "group"},
    "soft_positives": {"loss.positives": "soft"},
    "sigmoid": {"loss.kind": "sigmoid", "loss.positives": "group", "temperature": 0.1},
    "unique_groups": {"data.sampler": "unique_groups"},
}


def get_config(variant: str = "") -> ConfigDict:
    if variant not in VARIANTS:
        raise InputError(f"configs/base.py: no variant {variant!r}; there are {', '.join(filter(None, VARIANTS))}")
    config = ConfigDict()
    config.seed = 0  # unstated
    config.init_from = ""
    config.init_except = ()
    config.num_steps = 10_000  # unstated
    config.batch_size = 64  # unstated
    config.micro_batch = 0
    config.image_size = 312  # section IV
    config.embed_dim = 256  # the width of Eq. (12)'s output
    config.temperature = 0.07  # unstated; learnt
    config.compute_dtype = "bfloat16"  # unstated
    config.remat = "none"

    config.loss = ConfigDict()
    config.loss.kind = "softmax"  # Eq. (14)
    config.loss.positives = "pair"  # Eq. (15)
    config.loss.target_temperature = 0.1
    config.loss.bias = -10.0

    config.log_every = 50
    config.eval_every = 500
    config.checkpoint_every = 0
    config.checkpoint_minutes = 15.0
    config.nan = "stop"
    config.profile_steps = ""
    config.tensorboard = False
    config.wandb = ""

    config.data = ConfigDict()
    config.data.dataset = "openi"
    config.data.path = ""
    config.data.download = False
    config.data.csv = ""
    config.data.columns = ConfigDict()
    config.data.sentences = ""
    config.data.sentences = ""
    config.data.root = ""
    config.data.placeholders = "refuse"
    config.data.unreadable = "refuse"
    config.data.split = "auto"  # of openi: section IV's 7:2:1, `paper`
    config.data.seed = 0  # unstated
    config.data.annotation = ""
    config.data.section = "findings"  # unstated
    config.data.xxxx = "keep"  # unstated
    config.data.view = "frontal"  # unstated
    config.data.stored_size = 336
    config.data.stored_format = "png"
    config.data.cache = "~/.cache/cxr_jax"
    config.data.cache_local = ""
    config.data.fingerprint_by = "mtime"
    config.data.augment = True  # unstated
    config.data.augment_text = ()
    config.data.sampler = "shuffle"  # unstated
    config.data.one_view = False  # unstated
    config.data.num_threads = 8
    config.data.num_studies = 3955  # of a drawn release of the same size

    config.draft = ConfigDict()
    config.draft.method = "top1"  # section IV: the nearest report

    config.image = ConfigDict()
    config.image.block_sizes = (6, 12, 24, 16)  # DenseNet121
    config.image.growth_rate = 32
    config.image.pretrained = ""  # unstated
    config.image.pretrained_except = ()
    config.image.multi_scale = True
    config.image.multi_scale_width = 128  # Eq. (9)
    config.image.channel_attention = True
    config.image.spatial_attention = True
    config.image.pooling = "adaptive"
    config.image.mean = (0.485, 0.456, 0.406)  # ImageNet's
    config.image.std = (0.229, 0.224, 0.225)
    config.image.frozen = False
    config.image.frozen_batch_norm = False

    config.text = ConfigDict()
    config.text.pretrained = "dmis-lab/biobert-v1.1"  # section III
    config.text.pretrained_except = ()
    config.text.bert = ConfigDict()
    config.text.frozen = True
    config.text.frozen_tower = False
    config.text.max_tokens = 128  # unstated
    config.text.length_buckets = 1
    config.text.num_prompts = 16  # section III
    config.text.scaled_prompts = True  # Eq. (3)
    config.text.pooling = "mean"
    config.text.projection_layers = 2  # K is unstated
    config.text.dropout = 0.1

    config.optim = ConfigDict()
    config.optim.learning_rate = 3e-4  # unstated, as all below
    config.optim.image_rate = 1.0
    config.optim.text_rate = 1.0
    config.optim.layer_decay = 1.0
    config.optim.bert_learning_rate = 0.0
    config.optim.warmup_steps = 500
    config.optim.weight_decay = 0.05
    config.optim.b2 = 0.98
    config.optim.clip_norm = 1.0

    config.update_from_flattened_dict(VARIANTS[variant])
    return config

"""What is trained and how: labels, schedule, optimiser."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.tree_util import DictKey

TRAIN, FROZEN = "train", "frozen"


def parameter_labels(params: Any, freeze_bert: bool) -> Any:
    """TRAIN or FROZEN for every leaf: all of BERT's own weights are frozen, or nothing is."""

    def label(path: tuple[Any, ...], _: Any) -> str:
        return FROZEN if freeze_bert and path[:2] == (DictKey("text"), DictKey("bert")) else TRAIN

    return jax.tree_util.tree_map_with_path(label, params)


def learning_rate_schedule(peak: float, warmup_steps: int, num_steps: int) -> optax.Schedule:
    """Linear from 0 to `peak`, then a cosine that ends at 0 with the last step."""
    warmup_steps = min(warmup_steps, num_steps // 2)
    return optax.warmup_cosine_decay_schedule(0.0, peak, warmup_steps, max(num_steps, warmup_steps + 1), end_value=0.0)


def make_optimizer(
    labels: Any, schedule: optax.Schedule, weight_decay: float, b2: float, clip_norm: float
) -> optax.GradientTransformation:
    """AdamW for what is trained, nothing for what is frozen.

    The gradient is clipped inside the train branch: outside, its norm would be the frozen weights' too, and they would
    have to be differentiated for it. Decay takes matrices and kernels only: neither biases, norms, nor the temperature.
    """
    adamw = optax.adamw(
        schedule, b2=b2, weight_decay=weight_decay, mask=lambda p: jax.tree.map(lambda x: jnp.ndim(x) > 1, p)
    )
    train = optax.chain(optax.clip_by_global_norm(clip_norm), adamw)
    return optax.multi_transform({TRAIN: train, FROZEN: optax.set_to_zero()}, labels)

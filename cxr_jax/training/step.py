"""One step of training, pure and per device, and the state that it changes."""

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any
from zlib import crc32

import flax
import jax
import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, Int

from cxr_jax.models.dual_encoder import MAX_LOG_SCALE, DualEncoder, build_model, init_variables, variable_shapes
from cxr_jax.training.losses import Identity, Objective, contrastive_loss, identity_of, loss_floor, make_objective
from cxr_jax.training.optim import FROZEN, TRAIN, labels_of, learning_rate_schedule, make_optimizer, rate_factors
from cxr_jax.types import Batch, Scalar

Metrics = dict[str, Array]
# Of a batch, what the model takes; texts as tokens, or as h of Eq. (5) where training leaves that as it is.
MODEL_INPUTS = ("image", "token_ids", "token_mask", "text_features")


@flax.struct.dataclass
class TrainState:
    """All that a step changes. The leaves are arrays, or their shapes and types where only those are wanted."""

    step: Any
    params: Any
    batch_stats: Any
    opt_state: Any


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What a resolved configuration stands for, apart from the numbers that training changes."""

    model: DualEncoder
    objective: Objective
    labels: Any  # TRAIN or FROZEN for every parameter
    schedule: optax.Schedule
    optimizer: optax.GradientTransformation
    micro_batch: int = 0  # pairs that a device embeds at a time; 0: its whole share of the batch


def make_recipe(config: Mapping[str, Any], axis_name: str | None = None) -> Recipe:
    """Model, labels, schedule and optimiser of a resolved configuration."""
    model, optim = build_model(config, axis_name), config["optim"]
    shapes = variable_shapes(model, config["image_size"])
    labels = labels_of(shapes["params"], config)
    bert_rate = optim["bert_learning_rate"] / optim["learning_rate"]
    factors = rate_factors(shapes["params"], optim["image_rate"], optim["text_rate"], optim["layer_decay"], bert_rate)
    schedule = learning_rate_schedule(optim["learning_rate"], optim["warmup_steps"], config["num_steps"])
    optimizer = make_optimizer(labels, schedule, optim["weight_decay"], optim["b2"], optim["clip_norm"], factors)
    return Recipe(model, make_objective(config), labels, schedule, optimizer, config["micro_batch"])


def init_state(recipe: Recipe, config: Mapping[str, Any]) -> TrainState:
    """The state before the first step, with random weights from `config.seed`."""
    key = stream(jax.random.key(config["seed"]), "init")
    # Compiled as one: op by op it takes many times as long.
    variables = jax.jit(lambda key: init_variables(recipe.model, key, config["image_size"]))(key)
    params = variables["params"]
    return TrainState(jnp.int32(0), params, variables["batch_stats"], recipe.optimizer.init(params))


def state_shapes(recipe: Recipe, config: Mapping[str, Any]) -> TrainState:
    """`init_state`'s shapes and types, without computing it."""
    return jax.eval_shape(lambda: init_state(recipe, config))


def count_parameters(recipe: Recipe, params: Any) -> tuple[int, int]:
    """(All, trained) numbers in the parameters, arrays or shapes."""
    leaves = list(zip(jax.tree.leaves(params), jax.tree.leaves(recipe.labels), strict=True))
    return sum(x.size for x, _ in leaves), sum(x.size for x, label in leaves if label == TRAIN)


def parameters_by_part(recipe: Recipe, params: Any) -> dict[str, tuple[int, int]]:
    """(All, trained) numbers of each part of each tower, `vision/densenet`, and of all together."""
    counts: dict[str, tuple[int, int]] = {}
    for (path, x), label in zip(
        jax.tree_util.tree_leaves_with_path(params), jax.tree.leaves(recipe.labels), strict=True
    ):
        part = "/".join(str(key.key) for key in path[:2])
        every, trained = counts.get(part, (0, 0))
        counts[part] = every + x.size, trained + (x.size if label == TRAIN else 0)
    return counts | {"all": count_parameters(recipe, params)}


def stream(key: Array, name: str) -> Array:
    """The named random stream of a root key."""
    return jax.random.fold_in(key, crc32(name.encode()))


def step_inputs(batch: Mapping[str, Any]) -> dict[str, Any]:
    """Of a batch, what the step takes."""
    return {name: batch[name] for name in (*MODEL_INPUTS, *Identity._fields) if name in batch}


def make_train_step(
    recipe: Recipe, axis_name: str | None = None, skip_nan: bool = False
) -> Callable[[TrainState, Batch, Array], tuple[TrainState, Metrics]]:
    """The step (state, this device's batch, root key) → (state, metrics).

    Metrics, float32 each: loss, loss_floor (see `losses.loss_floor`), temperature, learning_rate, gradient_norm and
    update_norm (of what is trained), equal_reports (the share of the global batch's reports that stand in it more than
    once). Where the loss or the gradient's norm is not finite, `skip_nan` leaves the update out: nothing but the step's
    number changes.

    With an `axis_name`, embeddings are gathered over the devices, so that N devices compute the loss of one global
    batch, and gradients are averaged over them; with None the same code runs on one device, under jit.
    Frozen leaves are not differentiated, and pass through bit by bit.

    With `recipe.micro_batch` the embeddings are computed so many at a time, and again in the backward pass, the loss
    being over all of them (gradient caching, Gao et al. 2021): memory does not grow with the batch. BatchNorm then
    takes each micro-batch's statistics, over all devices; its running ones become their mean.
    """
    labels = recipe.labels

    def train_step(state: TrainState, batch: Batch, key: Array) -> tuple[TrainState, Metrics]:
        dropout_key = jax.random.fold_in(stream(key, "dropout"), state.step)
        if axis_name is not None:
            dropout_key = jax.random.fold_in(dropout_key, lax.axis_index(axis_name))

        def loss_fn(params: Any) -> tuple[Array, tuple[Any, Metrics]]:
            # For frozen leaves no gradient is computed; through them it still reaches the prompts.
            params = jax.tree.map(lambda x, label: lax.stop_gradient(x) if label == FROZEN else x, params, labels)
            variables = {"params": params, "batch_stats": state.batch_stats}
            out, batch_stats = embed_pairs(recipe, variables, batch, dropout_key)
            z_t, z_v, identity = out["text_embedding"], out["image_embedding"], identity_of(batch)
            all_z_t, all_z_v, everyone, first_row = z_t, z_v, identity, jnp.int32(0)
            if axis_name is not None:
                gather = partial(lax.all_gather, axis_name=axis_name, tiled=True)
                all_z_t, all_z_v, everyone = jax.tree.map(gather, (z_t, z_v, identity))
                first_row = lax.axis_index(axis_name) * z_t.shape[0]
            places, of = (all_z_t, all_z_v, first_row), (recipe.objective, identity, everyone)
            loss = contrastive_loss(z_t, z_v, out["scale"], *places, *of, bias=out.get("bias", 0.0))
            metrics = {
                "loss": loss,
                "loss_floor": loss_floor(*of, first_row),
                "temperature": 1 / out["scale"],
                "equal_reports": share_of_equals(everyone.group_id),
            }
            return loss, (batch_stats, metrics)

        grads, (batch_stats, metrics) = jax.grad(loss_fn, has_aux=True)(state.params)
        if axis_name is not None:
            grads, metrics = lax.pmean((grads, metrics), axis_name)
        updates, opt_state = recipe.optimizer.update(grads, state.opt_state, state.params)
        # Not apply_updates on all: −0.0 + 0.0 is 0.0, and frozen weights stay as they are to the bit.
        params = jax.tree.map(lambda x, u, label: x + u if label == TRAIN else x, state.params, updates, labels)
        params = {**params, "log_scale": jnp.minimum(params["log_scale"], MAX_LOG_SCALE)}
        trained = jax.tree.map(lambda g, label: g if label == TRAIN else None, grads, labels)
        metrics |= {
            "learning_rate": recipe.schedule(state.step),
            "gradient_norm": optax.tree.norm(trained),
            "update_norm": optax.tree.norm(updates),
        }
        updated = TrainState(state.step + 1, params, batch_stats, opt_state)
        if skip_nan:
            finite = jnp.isfinite(metrics["loss"]) & jnp.isfinite(metrics["gradient_norm"])
            kept = dataclasses.replace(state, step=state.step + 1)
            updated = jax.tree.map(partial(jnp.where, finite), updated, kept)
        return updated, metrics

    return train_step


def embed_pairs(
    recipe: Recipe, variables: Any, batch: Mapping[str, Any], dropout_key: Array
) -> tuple[dict[str, Array], Any]:
    """(The two embeddings of this device's pairs with scale and bias, BatchNorm's running statistics after them)."""

    def embed(inputs: Mapping[str, Array], key: Array) -> tuple[dict[str, Array], Any]:
        given: dict[str, Any] = {**inputs, "rngs": {"dropout": key}, "mutable": ["batch_stats"]}
        out, updated = recipe.model.apply(variables, train=True, **given)
        kept = {name: out[name] for name in ("text_embedding", "image_embedding", "scale", "bias") if name in out}
        return kept, updated["batch_stats"]

    inputs = jax.tree.map(jnp.asarray, {name: batch[name] for name in MODEL_INPUTS if name in batch})
    count = micro_batches(recipe.micro_batch, len(inputs["image"]))
    if count == 1:
        return embed(inputs, dropout_key)
    parts = jax.tree.map(lambda x: x.reshape(count, len(x) // count, *x.shape[1:]), inputs)
    keys = jax.random.split(dropout_key, count)
    out, batch_stats = lax.map(jax.checkpoint(lambda of: embed(*of), prevent_cse=False), (parts, keys))
    joined = {name: x.reshape(-1, *x.shape[2:]) if x.ndim > 1 else x[0] for name, x in out.items()}
    # So that the mean of equals, of a frozen BatchNorm's, is the same to the bit.
    return joined, jax.tree.map(lambda x: x[0] + (x - x[:1]).mean(axis=0), batch_stats)


def micro_batches(micro_batch: int, pairs: int) -> int:
    """In how many parts a device embeds its pairs: of `micro_batch` each, where that is not 0."""
    return pairs // (micro_batch or pairs)


def share_of_equals(groups: Int[Array, " N"]) -> Scalar:
    """The share of `groups` that occur more than once."""
    ordered = jnp.sort(groups)
    same = ordered[1:] == ordered[:-1]
    false = jnp.zeros(1, bool)
    return jnp.mean(jnp.concatenate([false, same]) | jnp.concatenate([same, false]), dtype=jnp.float32)

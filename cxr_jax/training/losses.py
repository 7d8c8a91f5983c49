"""The objective: Eq. (13)-(15), CLIP's symmetric softmax loss (InfoNCE in both directions), and what it is generalised
to: targets that know who belongs together, and SigLIP's sigmoid loss. Arrays in, numbers out."""

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int, UInt8

from cxr_jax.models.dual_encoder import l2_normalize
from cxr_jax.types import Scalar

BLOCK_CELLS = 1 << 24  # of the B × N similarities, as many as are computed at a time: 64 MiB


@dataclasses.dataclass(frozen=True)
class Objective:
    """What is minimised; the defaults are the paper's.

    Attributes:
      kind: "softmax", Eq. (14); or "sigmoid", SigLIP's: every pair of the batch is a question of its own.
      positives: "pair": a report belongs to its own image alone; "group": to the images of all equal reports and of its
        study; "soft": to those, and the less to others the less their reports' labels overlap.
      target_temperature: of "soft": an overlap (Jaccard's) of o > 0 weighs exp((o − 1) / target_temperature) beside a
        joint positive's 1, one of 0 nothing.
    """

    kind: str = "softmax"
    positives: str = "pair"
    target_temperature: float = 0.1


PAPER = Objective()


class Identity(NamedTuple):
    """What says which pairs belong together, a row a pair: numbers of equal reports and of studies, and labels.

    `labels`: 1 where a report has the label; no column at all unless the positives are "soft".
    """

    group_id: Int[Array, " N"]
    study_id: Int[Array, " N"]
    labels: UInt8[Array, "N K"]


def identity_of(batch: Mapping[str, Any]) -> Identity:
    """That of a batch."""
    return Identity(*(jnp.asarray(batch[name]) for name in Identity._fields))


def make_objective(config: Mapping[str, Any]) -> Objective:
    """Of a resolved configuration."""
    loss = config["loss"]
    return Objective(loss["kind"], loss["positives"], loss["target_temperature"])


def cosine_similarity(z_t: Float[Array, "M E"], z_v: Float[Array, "N E"]) -> Float[Array, "M N"]:
    """Eq. (13): z_tⁱ · z_vʲ / (‖z_tⁱ‖ ‖z_vʲ‖), for every report i and image j; or the other way round.

    The product runs in full float32 (TPUs would otherwise round its factors to bfloat16).
    """
    return jnp.einsum("me,ne->mn", l2_normalize(z_t), l2_normalize(z_v), precision=lax.Precision.HIGHEST)


def matching_log_probability(similarity: Float[Array, "M N"], scale: Scalar) -> Float[Array, "M N"]:
    """Eq. (14): log softmax(similarity / τ), over a report's images or over an image's reports; scale = 1/τ."""
    return jax.nn.log_softmax(scale * similarity, axis=1)


def contrastive_loss(
    z_t: Float[Array, "B E"],
    z_v: Float[Array, "B E"],
    scale: Scalar,
    all_z_t: Float[Array, "N E"] | None = None,
    all_z_v: Float[Array, "N E"] | None = None,
    first_row: int | Array = 0,
    objective: Objective = PAPER,
    identity: Identity | None = None,
    all_identity: Identity | None = None,
    bias: Scalar | float = 0.0,
) -> Scalar:
    """Eq. (15): −1/(2B) Σᵢ (log p(v_i | t_i) + log p(t_i | v_i)), or with other targets y: Σⱼ yᵢⱼ log p(v_j | t_i).

    On several devices z_t and z_v are this device's rows, `all_z_t` and `all_z_v` the embeddings gathered from all of
    them, and `first_row` the place of this device's first row there: every anchor meets all N candidates, and the mean
    of the devices' losses is the loss of the one global batch.

    It is computed in blocks of at most BLOCK_CELLS similarities, in the backward pass too.

    Args:
      identity, all_identity: of these rows and of all; needed unless the positives are pairs.
      bias: SigLIP's b, which the sigmoid loss needs: −1/B Σᵢⱼ (yᵢⱼ log σ(lᵢⱼ) + (1 − yᵢⱼ) log σ(−lᵢⱼ)), l = s/τ + b.
    """
    all_z_t = z_t if all_z_t is None else all_z_t
    all_z_v = z_v if all_z_v is None else all_z_v
    all_identity = identity if all_identity is None else all_identity
    places = first_row + jnp.arange(z_t.shape[0])

    def of_rows(anchors: Array, place: Array, own: Identity | None, candidates: Array) -> Array:
        similarity = cosine_similarity(anchors, candidates)
        y = target_weights(objective, place, candidates.shape[0], own, all_identity)
        if objective.kind == "softmax":
            y = y / y.sum(axis=1, keepdims=True)
            return -jnp.sum(y * matching_log_probability(similarity, scale), axis=1)
        logits = scale * similarity + bias
        return -jnp.sum(y * jax.nn.log_sigmoid(logits) + (1 - y) * jax.nn.log_sigmoid(-logits), axis=1)

    by_report = _in_blocks(partial(of_rows, candidates=all_z_v), all_z_v.shape[0], z_t, places, identity)
    if objective.kind == "sigmoid":  # which has no direction: all cells have been counted
        return jnp.mean(by_report)
    by_image = _in_blocks(partial(of_rows, candidates=all_z_t), all_z_t.shape[0], z_v, places, identity)
    return 0.5 * jnp.mean(by_report + by_image)


def loss_floor(
    objective: Objective, identity: Identity, all_identity: Identity | None = None, first_row: int | Array = 0
) -> Scalar:
    """What `contrastive_loss` of these rows cannot fall below, for equal reports have equal embeddings.

    The entropy of the targets; where the positives are pairs, that of equal chances for all that have an equal report.
    """
    all_identity = identity if all_identity is None else all_identity
    count = all_identity.group_id.shape[0]

    def of_rows(place: Array, own: Identity) -> Array:
        if objective.positives == "pair":
            y = _equal(own.group_id, all_identity.group_id).astype(jnp.float32)
            y = y / y.sum(axis=1, keepdims=True)
        else:
            y = target_weights(objective, place, count, own, all_identity)
        if objective.kind == "softmax":
            y = y / y.sum(axis=1, keepdims=True)
            return jnp.sum(jax.scipy.special.entr(y), axis=1)
        return jnp.sum(jax.scipy.special.entr(y) + jax.scipy.special.entr(1 - y), axis=1)

    places = first_row + jnp.arange(identity.group_id.shape[0])
    return jnp.mean(_in_blocks(of_rows, count, places, identity))


def target_weights(
    objective: Objective,
    place: Int[Array, " M"],
    count: int,
    own: Identity | None = None,
    candidates: Identity | None = None,
) -> Float[Array, "M N"]:
    """How far each of `count` candidates belongs to an anchor, 0 to 1, whose own partner is candidate `place`."""
    if objective.positives == "pair":
        return _equal(place, jnp.arange(count)).astype(jnp.float32)
    assert own is not None
    assert candidates is not None
    joint = _equal(own.group_id, candidates.group_id) | _equal(own.study_id, candidates.study_id)
    if objective.positives == "group":
        return joint.astype(jnp.float32)
    a, b = own.labels.astype(jnp.float32), candidates.labels.astype(jnp.float32)
    shared = a @ b.T
    overlap = shared / jnp.maximum(a.sum(axis=1)[:, None] + b.sum(axis=1)[None, :] - shared, 1)
    soft = jnp.where(shared > 0, jnp.exp((overlap - 1) / objective.target_temperature), 0)
    return jnp.where(joint, 1.0, soft)


def _equal(a: Int[Array, " M"], b: Int[Array, " N"]) -> Array:
    return a[:, None] == b[None, :]


def _in_blocks(of_rows: Callable[..., Array], count: int, *rows: Any) -> Float[Array, " B"]:
    """`of_rows(*rows)`, so many rows at a time that they have at most BLOCK_CELLS cells with `count` candidates.

    In the backward pass each block is computed again.
    """
    total = jax.tree.leaves(rows)[0].shape[0]
    size = max(1, BLOCK_CELLS // count)
    if total <= size:
        return of_rows(*rows)
    blocks = -(-total // size)
    missing = blocks * size - total

    def blocked(x: Array) -> Array:  # the last is filled up by its last row, which is cut off again
        return jnp.concatenate([x, jnp.repeat(x[-1:], missing, axis=0)]).reshape(blocks, size, *x.shape[1:])

    parts = lax.map(jax.checkpoint(lambda part: of_rows(*part), prevent_cse=False), jax.tree.map(blocked, rows))
    return parts.reshape(-1)[:total]

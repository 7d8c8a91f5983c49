"""The objective, Eq. (13)-(15): CLIP's symmetric softmax loss (InfoNCE in both directions). Arrays in, numbers out."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from cxr_jax.models.dual_encoder import l2_normalize
from cxr_jax.types import Scalar


def cosine_similarity(z_t: Float[Array, "M E"], z_v: Float[Array, "N E"]) -> Float[Array, "M N"]:
    """Eq. (13): z_tⁱ · z_vʲ / (‖z_tⁱ‖ ‖z_vʲ‖), for every report i and image j.

    The product runs in full float32 (TPUs would otherwise round its factors to bfloat16).
    """
    return jnp.einsum("me,ne->mn", l2_normalize(z_t), l2_normalize(z_v), precision=jax.lax.Precision.HIGHEST)


def matching_log_probability(similarity: Float[Array, "M N"], scale: Scalar, axis: int) -> Float[Array, "M N"]:
    """Eq. (14): log softmax(similarity / τ) over images (axis 1) or over reports (axis 0); scale = 1/τ."""
    return jax.nn.log_softmax(scale * similarity, axis=axis)


def contrastive_loss(
    z_t: Float[Array, "B E"],
    z_v: Float[Array, "B E"],
    scale: Scalar,
    all_z_t: Float[Array, "N E"] | None = None,
    all_z_v: Float[Array, "N E"] | None = None,
    first_row: int | Array = 0,
) -> Scalar:
    """Eq. (15): −1/(2B) Σᵢ (log p(v_i | t_i) + log p(t_i | v_i)).

    On several devices z_t and z_v are this device's rows, `all_z_t` and `all_z_v` the embeddings gathered from all of
    them, and `first_row` the place of this device's first row there: every anchor meets all N candidates, and the mean
    of the devices' losses is the loss of the one global batch.
    """
    all_z_t = z_t if all_z_t is None else all_z_t
    all_z_v = z_v if all_z_v is None else all_z_v
    rows = jnp.arange(z_t.shape[0])
    images_per_report = matching_log_probability(cosine_similarity(z_t, all_z_v), scale, axis=1)
    reports_per_image = matching_log_probability(cosine_similarity(all_z_t, z_v), scale, axis=0)
    log_p = images_per_report[rows, first_row + rows] + reports_per_image[first_row + rows, rows]
    return -0.5 * jnp.mean(log_p)

"""The text tower, Eq. (1)-(7): BERT under scaled soft prompts, pooling, projection layers."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int
from transformers import BertConfig
from transformers.models.bert.modeling_flax_bert import FlaxBertModule

from cxr_jax.types import TokenIds, TokenMask


def masked_mean(x: Float[Array, "B L D"], mask: TokenMask) -> Float[Array, "B D"]:
    """Eq. (5): the mean of the vectors whose mask is 1."""
    m = jnp.asarray(mask)[:, :, None].astype(x.dtype)
    return (x * m).sum(axis=1) / jnp.maximum(m.sum(axis=1), 1)


def has_fixed_features(text: Mapping[str, Any]) -> bool:
    """Whether training leaves h of Eq. (5) as it is: the whole tower is frozen, or BERT is, there are no prompts, and
    there is nothing to learn in its pooling.

    Args:
      text: the configuration's `text`.
    """
    still = text["frozen"] and not text["num_prompts"] and text["pooling"] == "mean"
    return bool(text["frozen_tower"] or still)


class SoftPrompts(nn.Module):
    """Eq. (2) and (3): `num_prompts` learnt vectors P, each scaled by how well it suits the report.

    α(x) = P · softmax((W_q mean(E)) (W_k P_i)ᵀ / √d), so that the weights average 1. W_q starts at zero: training
    begins as plain prompt tuning (α = 1). `scaled=False` stays there, the paper's ablation.
    """

    num_prompts: int = 16
    scaled: bool = True
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self, E: Float[Array, "B L D"], mask: TokenMask
    ) -> tuple[Float[Array, "B P D"], Float[Array, "B P"] | None]:
        """Word embeddings E to this report's prompts α(x) ⊙ P, and α(x) itself (None where not scaled)."""
        d = E.shape[-1]
        P = self.param("prompts", nn.initializers.truncated_normal(0.02), (self.num_prompts, d)).astype(self.dtype)
        if not self.scaled:
            return jnp.broadcast_to(P, (E.shape[0], *P.shape)), None
        q = nn.Dense(d, use_bias=False, kernel_init=nn.initializers.zeros, dtype=self.dtype, name="W_q")
        k = nn.Dense(d, use_bias=False, dtype=self.dtype, name="W_k")
        scores = q(masked_mean(E, mask)) @ k(P).T / d**0.5
        alpha = self.num_prompts * nn.softmax(scores.astype(jnp.float32), axis=-1).astype(self.dtype)
        return alpha[:, :, None] * P[None, :, :], alpha


class AttentionPooling(nn.Module):
    """Eq. (5) as the paper's words have it: the mean weighted by softmax(u · h / √d) over prompts and real tokens."""

    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, H: Float[Array, "B L D"], mask: TokenMask) -> Float[Array, "B D"]:
        """(B, L, D) → (B, D). u starts at zero, so training begins at the masked mean."""
        u = nn.Dense(1, use_bias=False, kernel_init=nn.initializers.zeros, dtype=self.dtype, name="u")
        scores = u(H)[:, :, 0].astype(jnp.float32) / H.shape[-1] ** 0.5
        a = nn.softmax(jnp.where(jnp.asarray(mask) > 0, scores, -1e9), axis=-1).astype(self.dtype)
        return jnp.einsum("bl,bld->bd", a, H)


class ProjectionLayer(nn.Module):
    """Eq. (6) and (7): LayerNorm(Dropout(GELU(W h + b) + h))."""

    dropout: float = 0.1
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, h: Float[Array, "B D"], train: bool = False) -> Float[Array, "B D"]:
        """(B, D) → (B, D). The exact GELU, and torch's LayerNorm epsilon."""
        y = nn.gelu(nn.Dense(h.shape[-1], dtype=self.dtype, name="dense")(h), approximate=False) + h
        y = nn.Dropout(self.dropout, deterministic=not train)(y)
        return nn.LayerNorm(epsilon=1e-5, dtype=self.dtype, name="norm")(y)


class TextEncoder(nn.Module):
    """Eq. (1)-(7) and a bias-free head to the shared space.

    Attributes:
      bert: BERT's own configuration; its hidden size is d of the paper.
      num_prompts: 0 leaves the prompts out. Prompts and tokens together may not pass BERT's positions.
      scaled_prompts: Eq. (3); False is the ablation "prompts without scaling".
      pooling: "mean" (the formula of Eq. 5) or "attention" (its words).
      bert_dropout: BERT's own dropout while training; off where BERT is frozen.
      remat: unless "none", BERT's layers keep their inputs alone and are computed again in the backward pass.
    """

    bert: BertConfig
    num_prompts: int = 16
    scaled_prompts: bool = True
    pooling: str = "mean"
    projection_layers: int = 2
    dropout: float = 0.1
    bert_dropout: bool = False
    embed_dim: int = 256
    dtype: DTypeLike = jnp.float32
    remat: str = "none"

    def setup(self) -> None:
        """The parts, under the names that their parameters have."""
        # FlaxBertModule's own name for its parameters, so that a pretrained tree fits as it is.
        self.bert_module = FlaxBertModule(
            self.bert,
            jnp.dtype(self.dtype),
            add_pooling_layer=False,
            gradient_checkpointing=self.remat != "none",
            name="bert",
        )
        if self.num_prompts:
            self.soft_prompts = SoftPrompts(self.num_prompts, self.scaled_prompts, self.dtype)
        if self.pooling == "attention":
            self.attention_pooling = AttentionPooling(self.dtype)
        self.projections = [ProjectionLayer(self.dropout, self.dtype) for _ in range(self.projection_layers)]
        self.head = nn.Dense(self.embed_dim, use_bias=False, dtype=self.dtype)

    def __call__(
        self, token_ids: TokenIds, token_mask: TokenMask, train: bool = False
    ) -> tuple[Float[Array, "B E"], dict[str, Array]]:
        """Tokens to embeddings, not yet normalised; `prompt_scale`, α(x) of Eq. (3), beside them (B, P)."""
        h, out = self.pool(token_ids, token_mask, train)
        return self.project(h, train), out

    def pool(
        self, token_ids: TokenIds, token_mask: TokenMask, train: bool = False
    ) -> tuple[Float[Array, "B D"], dict[str, Array]]:
        """Eq. (1)-(5): tokens to h, BERT's vectors pooled."""
        E = self.bert_module.embeddings.word_embeddings(token_ids)
        H, mask, out = self.contextualize(E, token_mask, train)
        return self.attention_pooling(H, mask) if self.pooling == "attention" else masked_mean(H, mask), out

    def project(self, h: Float[Array, "B D"], train: bool = False) -> Float[Array, "B E"]:
        """Eq. (6), (7) and the head: h to embeddings, not yet normalised."""
        h = h.astype(self.dtype)
        for projection in self.projections:
            h = projection(h, train)
        return self.head(h)

    def contextualize(
        self, E: Float[Array, "B L D"], token_mask: TokenMask, train: bool = False
    ) -> tuple[Float[Array, "B M D"], Int[Array, "B M"] | Bool[Array, "B M"], dict[str, Array]]:
        """Eq. (1), (2) and (4): BERT's encoder over [α ⊙ P; E], M = P + L.

        The prompts enter as word embeddings: position, type embedding and LayerNorm follow over prompts and tokens
        alike, and the prompts are never masked. With no prompts this equals FlaxBertModel's last hidden state.
        """
        out: dict[str, Array] = {}
        mask = jnp.asarray(token_mask)
        if self.num_prompts:
            prompts, alpha = self.soft_prompts(E, mask)
            E = jnp.concatenate([prompts, E], axis=1)
            mask = jnp.concatenate([jnp.ones(prompts.shape[:2], mask.dtype), mask], axis=1)
            if alpha is not None:
                out["prompt_scale"] = alpha
        embeddings, deterministic = self.bert_module.embeddings, not (train and self.bert_dropout)
        if E.shape[1] > self.bert.max_position_embeddings:
            # XLA would silently clamp the look-up and repeat the last position.
            raise ValueError(
                f"{self.num_prompts} prompts and {token_mask.shape[1]} tokens pass BERT's "
                f"{self.bert.max_position_embeddings} positions; cut the reports"
            )
        positions = jnp.arange(E.shape[1])[None, :]
        H = E + embeddings.token_type_embeddings(jnp.zeros_like(positions)) + embeddings.position_embeddings(positions)
        H = embeddings.dropout(embeddings.LayerNorm(H), deterministic=deterministic)
        H = self.bert_module.encoder(H, mask, head_mask=None, deterministic=deterministic)[0]
        return H, mask, out

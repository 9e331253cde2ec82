"""Causal self-attention over a KV cache, with grouped queries and an optional window.

Shapes: T tokens of this call, S slots of the cache, ``kv_heads * group`` query heads.
"""

import jax
from flax import nnx
from jax import lax
from jax import numpy as jnp

from models.cache import LayerCache
from models.config import TransformerConfig
from models.linear import Linear
from models.norm import RMSNorm
from models.rotary import rotate

MASKED_LOGIT = -1e30
"""Logit of a masked slot: finite, and its softmax is exactly zero in float32."""


class Attention(nnx.Module):
    """Projects, appends keys and values to the cache, attends, and projects back."""

    def __init__(self, config: TransformerConfig, *, window: int | None, key: jax.Array) -> None:
        self.window = window
        self.num_heads = config.num_heads
        self.num_kv_heads = config.num_kv_heads
        self.head_size = config.head_size
        hidden, dtype = config.hidden_size, config.param_dtype
        bias = config.qkv_bias
        query_key, key_key, value_key, out_key = jax.random.split(key, 4)
        self.query = Linear(hidden, config.query_size, use_bias=bias, param_dtype=dtype, key=query_key)
        self.key = Linear(hidden, config.kv_size, use_bias=bias, param_dtype=dtype, key=key_key)
        self.value = Linear(hidden, config.kv_size, use_bias=bias, param_dtype=dtype, key=value_key)
        self.out = Linear(config.query_size, hidden, use_bias=config.out_bias, param_dtype=dtype, key=out_key)
        self.query_norm = _head_norm(config)
        self.key_norm = _head_norm(config)

    def project(self, x: jax.Array, angles: jax.Array | None) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Returns queries, keys and values, normalised and rotated as the model asks.

        Args:
            x: [batch, T, hidden_size].
            angles: float32[batch, T, head_size / 2], or None without rotary positions.

        Returns:
            [batch, T, num_heads, head_size], and twice [batch, T, num_kv_heads, head_size].
        """
        batch, length, _ = x.shape
        query = self.query(x).reshape(batch, length, self.num_heads, self.head_size)
        key = self.key(x).reshape(batch, length, self.num_kv_heads, self.head_size)
        value = self.value(x).reshape(batch, length, self.num_kv_heads, self.head_size)
        if self.query_norm is not None and self.key_norm is not None:
            query, key = self.query_norm(query), self.key_norm(key)
        if angles is not None:
            query, key = rotate(query, angles), rotate(key, angles)
        return query, key, value

    def __call__(
        self, x: jax.Array, cache: LayerCache, positions: jax.Array, angles: jax.Array | None
    ) -> tuple[jax.Array, LayerCache]:
        """Attends from the T new tokens to the slots of the cache up to their own, or the last ``window`` of these.

        Args:
            x: [batch, T, hidden_size].
            cache: Keys and values [batch, num_kv_heads, S, head_size].
            positions: int32[batch, T], contiguous in each row.
            angles: float32[batch, T, head_size / 2], or None without rotary positions.

        Returns:
            [batch, T, hidden_size], and the cache with the new keys and values.
        """
        batch, length, _ = x.shape
        query, key, value = self.project(x, angles)
        keys = _append(cache["key"], key, positions)
        values = _append(cache["value"], value, positions)
        group = self.num_heads // self.num_kv_heads
        grouped = query.reshape(batch, length, self.num_kv_heads, group, self.head_size)
        attended = _attend(grouped.transpose(0, 2, 3, 1, 4), keys, values, positions, self.window)
        merged = attended.transpose(0, 3, 1, 2, 4).reshape(batch, length, self.num_heads * self.head_size)
        return self.out(merged), {"key": keys, "value": values}


def _head_norm(config: TransformerConfig) -> RMSNorm | None:
    if not config.qk_norm:
        return None
    return RMSNorm(config.head_size, eps=config.norm_eps, param_dtype=config.param_dtype)


def _append(cache: jax.Array, new: jax.Array, positions: jax.Array) -> jax.Array:
    """Writes [batch, T, kv_heads, head_size] at ``positions[:, 0]`` of [batch, kv_heads, S, head_size]."""
    rows = new.astype(cache.dtype).transpose(0, 2, 1, 3)
    write = jax.vmap(lambda row, update, start: lax.dynamic_update_slice(row, update, (0, start, 0)))
    return write(cache, rows, positions[:, 0])


def _attend(
    query: jax.Array, keys: jax.Array, values: jax.Array, positions: jax.Array, window: int | None
) -> jax.Array:
    """Attends [batch, kv_heads, group, T, head_size] to two caches [batch, kv_heads, S, head_size]."""
    dtype = jnp.promote_types(query.dtype, keys.dtype)
    logits = jnp.einsum(
        "bkgtd,bksd->bkgts", query.astype(dtype), keys.astype(dtype), preferred_element_type=jnp.float32
    )
    logits = logits * query.shape[-1] ** -0.5
    slots, last = jnp.arange(keys.shape[2]), positions[:, None, None, :, None]
    visible = slots <= last
    if window is not None:
        visible &= slots > last - window
    weights = jax.nn.softmax(jnp.where(visible, logits, MASKED_LOGIT), axis=-1)
    attended = jnp.einsum(
        "bkgts,bksd->bkgtd", weights.astype(dtype), values.astype(dtype), preferred_element_type=jnp.float32
    )
    return attended.astype(query.dtype)

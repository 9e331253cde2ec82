"""The KV cache: one dictionary of two arrays per layer."""

import jax
from jax import numpy as jnp

from models.config import TransformerConfig

LayerCache = dict[str, jax.Array]
"""``key`` and ``value`` of one layer, each [batch, num_kv_heads, max_len, head_size]."""


def empty_cache(
    config: TransformerConfig, batch_size: int, max_len: int, dtype: jax.typing.DTypeLike | None = None
) -> list[LayerCache]:
    """Returns a cache of zeros for every layer.

    Args:
        config: Gives layers, heads, head size and the default dtype.
        batch_size: Rows.
        max_len: Slots per row, in tokens.
        dtype: Dtype of keys and values; ``config.kv_dtype`` by default.
    """
    shape = (batch_size, config.num_kv_heads, max_len, config.head_size)
    cache_dtype = jnp.dtype(config.kv_dtype if dtype is None else dtype)
    return [
        {"key": jnp.zeros(shape, cache_dtype), "value": jnp.zeros(shape, cache_dtype)}
        for _ in range(config.num_layers)
    ]

"""A GPU's share of a decode attention: its rows and KV heads, cut out of what the model computes.

Letters as in :mod:`runtime.attention_parts`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax import numpy as jnp

from partitioner.ir.layout import to_layout
from partitioner.ir.op import Attention, AxisRole
from partitioner.shares import Share
from runtime.attention_parts import cache_part, new_part, query_part, slopes_part

_OUTPUT: tuple[AxisRole, ...] = ("batch", "kv_head", "group", "head_size")


def attend_function(attention: Attention, share: Share, num_rows: int) -> Callable[..., Any]:
    """Returns ``attend(query, new_key, new_value, key_cache, value_cache, lengths)`` for a share.

    It takes q, k and v of all rows and heads in the model's axes, the share's own caches ``[rows, K, T, D]`` and the tokens
    that every row of the run has cached, int32; it returns the share's output, float32 ``[rows, K * G, D]``, and the caches
    with the new token. Scores and sums are float32.
    """

    def attend(
        query: jax.Array,
        new_key: jax.Array,
        new_value: jax.Array,
        key_cache: jax.Array,
        value_cache: jax.Array,
        lengths: jax.Array,
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        own = lengths[slice(*share.rows)]
        keys, values = (
            _append(cache, new_part(new, attention, share, num_rows), own)
            for cache, new in ((key_cache, new_key), (value_cache, new_value))
        )
        rows, kv_heads, max_len, head_size = keys.shape
        queries = query_part(query, attention, share, num_rows).reshape(rows, kv_heads, -1, head_size)
        products = jnp.einsum("bkgd,bktd->bkgt", queries, keys, preferred_element_type=jnp.float32)
        distance = own[:, None] - jnp.arange(max_len)
        valid = distance >= 0
        if attention.window is not None:
            valid &= distance < attention.window
        scores = _scores(products, distance, attention, share)
        weights = jax.nn.softmax(jnp.where(valid[:, None, None], scores, -jnp.inf), axis=-1)
        rounded = weights.astype(jnp.result_type(queries, values))
        output = jnp.einsum("bkgt,bktd->bkgd", rounded, values, preferred_element_type=jnp.float32)
        return output.reshape(rows, -1, head_size), keys, values

    return attend


def store_function(attention: Attention, share: Share, num_rows: int) -> Callable[..., jax.Array]:
    """Returns ``store(cache, fresh, own)``, which puts what a prefill made of a share into its cache.

    ``own``, int32 ``[num_rows]``, is the share's row of each row of the prefill's run; one beyond the share is left out.

    Args:
        attention: As the prefill has it.
        share: Whose KV heads are taken.
        num_rows: Rows of the prefill's run.
    """

    def store(cache: jax.Array, fresh: jax.Array, own: jax.Array) -> jax.Array:
        part = cache_part(fresh, attention, slice(None), share, num_rows)
        return cache.at[own, :, : part.shape[2]].set(part.astype(cache.dtype), mode="drop")

    return store


def merge_function(attention: Attention, shares: Sequence[Share], dtype: Any) -> Callable[..., jax.Array]:
    """Returns ``merge(whole, *parts)``, which puts an attention's output into the model's axes.

    It takes float32 ``[rows, K, G, D]``, valid wherever no share has a part, and outputs ``[rows, K * G, D]``, one per share.
    """

    def merge(whole: jax.Array, *parts: jax.Array) -> jax.Array:
        merged = whole.astype(dtype)
        for share, part in zip(shares, parts, strict=True):
            cut = part.reshape(share.num_rows, share.num_kv_heads, *merged.shape[2:]).astype(dtype)
            merged = jax.lax.dynamic_update_slice(merged, cut, (share.rows[0], share.kv_heads[0], 0, 0))
        return to_layout(merged, _OUTPUT, attention.output_layout)

    return merge


def _scores(products: jax.Array, distance: jax.Array, attention: Attention, share: Share) -> jax.Array:
    """Returns scaled products ``[rows, K, G, T]`` with soft cap and bias; tokens lie ``[rows, T]`` behind the new one."""
    scores = products * attention.scale
    if attention.soft_cap is not None:
        scores = attention.soft_cap * jnp.tanh(scores / attention.soft_cap)
    slopes = slopes_part(attention, share)
    if slopes is None:
        return scores
    by_head = jnp.asarray(slopes, jnp.float32).reshape(products.shape[1:3])
    return scores - by_head[None, :, :, None] * distance[:, None, None].astype(jnp.float32)


def _append(cache: jax.Array, new: jax.Array, lengths: jax.Array) -> jax.Array:
    """Puts one token per row, ``[rows, K, D]``, behind the first ``lengths`` of a cache ``[rows, K, T, D]``."""

    def append_row(row: jax.Array, token: jax.Array, length: jax.Array) -> jax.Array:
        return jax.lax.dynamic_update_slice_in_dim(row, token[:, None].astype(row.dtype), length, axis=1)

    return jax.vmap(append_row)(cache, new, lengths)

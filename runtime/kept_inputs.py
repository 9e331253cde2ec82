"""Caches that keep the inputs of layers: ``[rows, tokens, width]`` on processors, halves in heads on drives.

A drive stores K and V by heads. The first half of an input's width passes for the K of some heads there, the second one for
their V.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from partitioner.ir.op import Attention
from partitioner.shares import Share

Pair = tuple[np.ndarray, np.ndarray]


def _append(cache: jax.Array, rows: jax.Array, lengths: jax.Array) -> jax.Array:
    def append_row(row: jax.Array, new: jax.Array, length: jax.Array) -> jax.Array:
        return jax.lax.dynamic_update_slice_in_dim(row, new, length, 0)

    return jax.vmap(append_row)(cache, rows.astype(cache.dtype), lengths)


append_input = jax.jit(_append, donate_argnums=0)
"""``append_input(cache, rows, lengths)`` puts ``rows[i]`` behind the first ``lengths[i]`` tokens of row i; reuses the cache."""


def halves(rows: np.ndarray, attention: Attention, taken: slice | np.ndarray, share: Share) -> Pair:
    """Returns the halves of a share of inputs, each ``[rows, heads, tokens, head_size]``.

    Args:
        rows: ``[rows, tokens, width]``.
        attention: Tells as how many heads a row counts.
        taken: The rows wanted.
        share: Whose heads.
    """
    wanted = rows[taken]
    parted = wanted.reshape(*wanted.shape[:2], 2, attention.num_kv_heads, attention.head_size)
    first, second = (
        np.ascontiguousarray(parted[:, :, half, slice(*share.kv_heads)].transpose(0, 2, 1, 3))
        for half in range(2)
    )
    return first, second


def merge_halves(parts: Sequence[tuple[Share, Pair]], attention: Attention, num_rows: int) -> Any:
    """Returns ``[rows, tokens, width]`` from the halves of all shares, each ``[rows, heads, tokens, head_size]``."""
    tokens, dtype = parts[0][1][0].shape[2], parts[0][1][0].dtype
    whole = np.zeros((num_rows, tokens, 2, attention.num_kv_heads, attention.head_size), dtype)
    for share, pair in parts:
        for half, part in enumerate(pair):
            whole[slice(*share.rows), :, half, slice(*share.kv_heads)] = part.transpose(0, 2, 1, 3)
    return whole.reshape(num_rows, tokens, -1)

"""Cuts what an attention reads and makes into the parts of devices, and puts parts together again.

What cuts takes arrays of numpy and of JAX alike. Drives know one axis order; models have their own.
Letters: ``B`` rows, ``K`` KV heads, ``G`` query heads per KV head, ``T`` tokens, ``D`` head size; a part has the rows and KV
heads of a share.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from partitioner.ir.layout import from_layout, to_layout
from partitioner.ir.op import Attention, AxisRole
from partitioner.shares import Share

_QUERY: tuple[AxisRole, ...] = ("batch", "kv_head", "group", "head_size")
_NEW: tuple[AxisRole, ...] = ("batch", "kv_head", "head_size")
_CACHE: tuple[AxisRole, ...] = ("batch", "kv_head", "token", "head_size")


def query_part(array: Any, attention: Attention, share: Share, num_rows: int) -> Any:
    """Returns a share's queries, ``[rows, K * G, D]``."""
    part = _cut(from_layout(array, attention.query_layout, _QUERY, _sizes(attention, num_rows)), share)
    rows, kv_heads, group, size = part.shape
    return part.reshape(rows, kv_heads * group, size)


def put_output(whole: np.ndarray, part: np.ndarray, share: Share) -> None:
    """Writes a share's output, ``[rows, K * G, D]``, to its place in that of all rows and heads, ``[B, K, G, D]``."""
    cut = part.reshape(share.num_rows, share.num_kv_heads, *whole.shape[2:])
    whole[slice(*share.rows), slice(*share.kv_heads)] = cut


def new_part(array: Any, attention: Attention, share: Share, num_rows: int) -> Any:
    """Returns a share's new keys or values, ``[rows, K, D]``."""
    return _cut(from_layout(array, attention.new_layout, _NEW, _sizes(attention, num_rows)), share)


def cache_part(
    array: Any, attention: Attention, rows: slice | np.ndarray, share: Share, num_rows: int
) -> Any:
    """Returns ``rows`` of a cache and a share's KV heads, ``[rows, K, T, D]``."""
    tokens = array.shape[attention.cache_layout.index(("token",))]
    whole = from_layout(array, attention.cache_layout, _CACHE, _sizes(attention, num_rows, tokens))
    return whole[:, slice(*share.kv_heads)][rows]


def slopes_part(attention: Attention, share: Share) -> tuple[float, ...] | None:
    """Returns the slopes of a share's query heads; None for no bias by distance."""
    group = attention.group_size
    first, stop = share.kv_heads
    return None if attention.slopes is None else attention.slopes[first * group : stop * group]


def merge_caches(
    parts: Iterable[tuple[Share, np.ndarray]], attention: Attention, num_rows: int
) -> np.ndarray:
    """Returns a K or V cache in the model's axes from parts ``[rows, K, T, D]``."""
    given = list(parts)
    share, first = given[0]
    if (share.num_rows, share.num_kv_heads) == (num_rows, attention.num_kv_heads):
        return to_layout(first, _CACHE, attention.cache_layout)
    shape = (num_rows, attention.num_kv_heads, *first.shape[2:])
    merged = np.zeros(shape, first.dtype)
    for share, part in given:
        merged[slice(*share.rows), slice(*share.kv_heads)] = part
    return to_layout(merged, _CACHE, attention.cache_layout)


def _cut(array: Any, share: Share) -> Any:
    return array[slice(*share.rows), slice(*share.kv_heads)]


def _sizes(attention: Attention, num_rows: int, num_tokens: int = 1) -> dict[AxisRole, int]:
    return {
        "batch": num_rows,
        "kv_head": attention.num_kv_heads,
        "group": attention.group_size,
        "head_size": attention.head_size,
        "token": num_tokens,
    }

"""What cost models are told about a share of an attention."""

from __future__ import annotations

from typing import TypedDict

from partitioner.ir.op import Attention
from partitioner.jaxpr import itemsize
from partitioner.shares import Share


class SharePart(TypedDict):
    """Holds the sizes that every cost of an attention asks for, by the names that they have there."""

    batch: int
    kv_heads: int
    group_size: int
    head_size: int
    kv_bytes_per_element: int


def share_part(attention: Attention, share: Share) -> SharePart:
    """Returns the sizes of a share."""
    return {
        "batch": share.num_rows,
        "kv_heads": share.num_kv_heads,
        "group_size": attention.group_size,
        "head_size": attention.head_size,
        "kv_bytes_per_element": itemsize(attention.cache_dtype),
    }

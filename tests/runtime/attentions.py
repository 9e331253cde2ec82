"""A description of an attention without a model around it."""

from typing import Any

from partitioner.ir.op import Attention

NUM_KV_HEADS, GROUP, HEAD_SIZE = 4, 2, 8


def attention(cache_dtype: str = "float32") -> Attention:
    """4 KV heads of 8 elements with 2 query heads each, in axes of a usual model."""
    none: Any = None
    return Attention(
        layer=0,
        key_cache="key",
        value_cache="value",
        num_heads=NUM_KV_HEADS * GROUP,
        num_kv_heads=NUM_KV_HEADS,
        head_size=HEAD_SIZE,
        scale=HEAD_SIZE**-0.5,
        cache_dtype=cache_dtype,
        query=none,
        new_key=none,
        new_value=none,
        output=none,
        query_layout=(("batch",), (), ("kv_head", "group"), ("head_size",)),
        new_layout=(("batch",), (), ("kv_head",), ("head_size",)),
        cache_layout=(("batch",), ("token",), ("kv_head",), ("head_size",)),
        output_layout=(("batch",), (), ("kv_head", "group", "head_size")),
    )

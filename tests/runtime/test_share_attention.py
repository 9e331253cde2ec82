"""Shares of an attention on a GPU, put together, against the whole one in float64."""

import dataclasses
from typing import Any

import jax
import ml_dtypes
import numpy as np
import pytest
from jax import numpy as jnp

from partitioner.ir.op import Attention
from partitioner.shares import Share
from runtime.attention_parts import put_output
from runtime.share_attention import attend_function, merge_function, store_function
from tests.runtime.attentions import GROUP, HEAD_SIZE, NUM_KV_HEADS, attention
from tests.runtime.csd.reference import attention as reference

ROWS, MAX_LEN = 4, 20
DTYPES = {"float16": np.float16, "bfloat16": ml_dtypes.bfloat16, "float32": np.float32}
TOLERANCE = {"float16": 2e-3, "bfloat16": 2e-2, "float32": 1e-5}
SLOPES = tuple(2.0 ** -(h + 1) for h in range(NUM_KV_HEADS * GROUP))
CUTS = {
    "whole": [((0, 4), (0, 4))],
    "rows": [((0, 1), (0, 4)), ((1, 4), (0, 4))],
    "heads": [((0, 4), (0, 3)), ((0, 4), (3, 4))],
    "rectangles": [((0, 3), (0, 4)), ((3, 4), (0, 1)), ((3, 4), (1, 4))],
}


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("compute", ["same", "float32"])
def test_shares_make_up_the_whole(cut: str, dtype: str, compute: str) -> None:
    assert_shares_make_up_the_whole(cut, dtype, compute, attention(dtype))


@pytest.mark.parametrize("cut", ["heads", "rectangles"])
@pytest.mark.parametrize(
    "rule",
    [{"soft_cap": 1.0}, {"window": 5}, {"slopes": SLOPES}, {"soft_cap": 2.0, "window": 9, "slopes": SLOPES}],
)
def test_shares_with_attributes_make_up_the_whole(cut: str, rule: dict[str, Any]) -> None:
    described = dataclasses.replace(attention("float32"), **rule)
    assert_shares_make_up_the_whole(cut, "float32", "same", described)


def assert_shares_make_up_the_whole(cut: str, dtype: str, compute: str, described: Attention) -> None:
    """Rows of very different lengths; what lies behind them in the caches is large and does not count."""
    rng = np.random.default_rng(0)
    lengths = np.array([0, 7, 19, 3], np.int32)
    stored = DTYPES[dtype]
    computed = stored if compute == "same" else np.float32
    caches = [rng.standard_normal((ROWS, NUM_KV_HEADS, MAX_LEN, HEAD_SIZE)).astype(stored) for _ in range(2)]
    for cache in caches:
        for row, length in enumerate(lengths):
            cache[row, :, length:] = 1e3
    query = rng.standard_normal((ROWS, 1, NUM_KV_HEADS * GROUP, HEAD_SIZE)).astype(computed)
    new = [rng.standard_normal((ROWS, 1, NUM_KV_HEADS, HEAD_SIZE)).astype(computed) for _ in range(2)]
    expected = [cache.copy() for cache in caches]
    for cache, token in zip(expected, new, strict=True):
        cache[np.arange(ROWS), :, lengths] = token[:, 0].astype(stored)
    shares = [Share("gpu0", rows, heads, 0.0) for rows, heads in CUTS[cut]]
    parts = []
    for share in shares:
        own = [jnp.asarray(c[slice(*share.rows), slice(*share.kv_heads)]) for c in caches]
        run = jax.jit(attend_function(described, share, ROWS), donate_argnums=(3, 4))
        part, *updated = run(query, *new, *own, lengths)
        assert part.dtype == jnp.float32
        for cache, wanted in zip(updated, expected, strict=True):
            np.testing.assert_array_equal(cache, wanted[slice(*share.rows), slice(*share.kv_heads)])
        parts.append(part)
    whole = np.full((ROWS, NUM_KV_HEADS, GROUP, HEAD_SIZE), np.nan, np.float32)
    here, others = (list(zip(shares, parts, strict=True))[i::2] for i in range(2))
    for share, part in others:
        put_output(whole, np.asarray(part), share)
    merge = merge_function(described, [share for share, _ in here], np.float32)
    merged = jax.jit(merge)(whole, *(part for _, part in here))
    assert merged.shape == (ROWS, 1, NUM_KV_HEADS * GROUP * HEAD_SIZE)
    slopes = None if described.slopes is None else np.array(described.slopes)
    rule = (described.scale, described.soft_cap, described.window, slopes)
    wanted = reference(query[:, 0], *expected, lengths + 1, *rule).reshape(merged.shape)
    np.testing.assert_allclose(merged, wanted, atol=TOLERANCE[dtype])


def test_a_share_takes_its_part_of_what_a_prefill_made() -> None:
    """A slice of 2 rows over 5 tokens, of which a share with 3 heads has the second: it becomes row 1 of the share."""
    rng = np.random.default_rng(0)
    described = attention("float16")
    fresh = rng.standard_normal((2, 5, NUM_KV_HEADS, HEAD_SIZE)).astype(np.float32)
    share = Share("gpu0", (2, 4), (1, 4), 0.0)
    store = jax.jit(store_function(described, share, 2))
    cache = store(jnp.zeros((2, 3, MAX_LEN, HEAD_SIZE), jnp.float16), fresh, np.array([2, 1]))
    expected = np.zeros(cache.shape, np.float16)
    expected[1, :, :5] = fresh[1, :, 1:4].transpose(1, 0, 2)
    np.testing.assert_array_equal(cache, expected)

"""Attention on the host, against attention in float64."""

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from runtime.host_attention import append_tokens, attend_host
from runtime.kernels import elements
from tests.runtime.csd.reference import attention

DTYPES = {"float16": np.float16, "bfloat16": ml_dtypes.bfloat16, "float32": np.float32}


def stored(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    return rng.standard_normal(shape).astype(DTYPES[dtype])


@settings(max_examples=60)
@given(
    dtype=st.sampled_from(sorted(DTYPES)),
    rows=st.integers(1, 4),
    kv_heads=st.integers(1, 3),
    group=st.integers(1, 3),
    head_size=st.integers(1, 70),
    max_len=st.integers(1, 90),
    num_parts=st.sampled_from([None, 1, 2, 5]),
    soft_cap=st.sampled_from([None, 0.5, 20.0]),
    window=st.sampled_from([None, 1, 5, 16, 100]),
    sloped=st.booleans(),
    seed=st.integers(0, 2**16),
)
def test_it_is_attention_over_the_valid_tokens(
    dtype: str,
    rows: int,
    kv_heads: int,
    group: int,
    head_size: int,
    max_len: int,
    num_parts: int | None,
    soft_cap: float | None,
    window: int | None,
    sloped: bool,
    seed: int,
) -> None:
    """Tokens that are not seen are NaN: whoever reads them shows it. Stored values are exact, so float32 sums decide."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(0, max_len + 1, rows)
    key, value = (stored(rng, (rows, kv_heads, max_len, head_size), dtype) for _ in range(2))
    for cache in (key, value):
        for row, length in enumerate(lengths):
            cache[row, :, length:] = np.nan
            cache[row, :, : 0 if window is None else max(0, length - window)] = np.nan
    query = rng.standard_normal((rows, kv_heads * group, head_size)).astype(np.float32)
    scale = head_size**-0.5
    slopes = rng.uniform(-0.1, 0.8, kv_heads * group).astype(np.float32) if sloped else None
    output = attend_host(
        query, (key, value), lengths, scale, num_parts, soft_cap=soft_cap, window=window, slopes=slopes
    )
    expected = attention(query, key, value, lengths, scale, soft_cap, window, slopes)
    np.testing.assert_allclose(output, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("read", [elements.convert_half, elements.rebuild_half])
def test_every_half_is_widened_exactly(read: Any) -> None:
    """Subnormals, infinities and both zeros among them; NaN stays NaN."""

    @njit
    def read_all(address: int, tile: np.ndarray) -> None:
        for index in range(len(tile)):
            tile[index] = read(address, index)

    every = np.arange(1 << 16, dtype=np.uint16)
    tile = np.empty(every.size, np.float32)
    read_all(every.ctypes.data, tile)
    expected = every.view(np.float16).astype(np.float32)
    np.testing.assert_array_equal(tile, expected)
    np.testing.assert_array_equal(
        np.signbit(tile[~np.isnan(tile)]), np.signbit(expected[~np.isnan(expected)])
    )


@pytest.mark.parametrize("dtype", sorted(DTYPES))
def test_new_tokens_go_behind_the_old_ones(dtype: str) -> None:
    rng = np.random.default_rng(0)
    pair = stored(rng, (3, 2, 6, 4), dtype), stored(rng, (3, 2, 6, 4), dtype)
    before = [cache.copy() for cache in pair]
    new = rng.standard_normal((3, 2, 4)).astype(np.float32), rng.standard_normal((3, 2, 4)).astype(np.float32)
    append_tokens(pair, new, np.array([0, 5, 2]))
    for cache, old, token in zip(pair, before, new, strict=True):
        for row, length in enumerate((0, 5, 2)):
            old[row, :, length] = token[row].astype(DTYPES[dtype])
        np.testing.assert_array_equal(cache, old)


@pytest.mark.parametrize(
    ("query", "key", "lengths", "message"),
    [
        (
            (2, 2, 4),
            np.zeros((2, 2, 8, 4), np.float64),
            [1, 1],
            "keys are float64.*float16, bfloat16, float32",
        ),
        ((2, 2, 4), np.zeros((2, 2, 8, 8), np.float32)[..., ::2], [1, 1], "not contiguous"),
        ((2, 3, 4), np.zeros((2, 2, 8, 4), np.float32), [1, 1], r"give \[2, a multiple of 2, 4\]"),
        ((2, 2, 4), np.zeros((2, 2, 8, 4), np.float32), [1, 9], "give 2 numbers from 0 to 8"),
    ],
)
def test_what_the_kernel_would_read_wrongly_is_refused(
    query: tuple[int, ...], key: np.ndarray, lengths: list[int], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        attend_host(np.zeros(query, np.float32), (key, key), np.array(lengths), 1.0)


def test_slopes_are_one_for_each_query_head() -> None:
    key = np.zeros((1, 2, 8, 4), np.float32)
    with pytest.raises(ValueError, match="there are 3 slopes for 2 query heads; give one for each"):
        attend_host(np.zeros((1, 2, 4), np.float32), (key, key), np.array([1]), 1.0, slopes=(0.5,) * 3)

"""Attentions to parts of the tokens, merged, are the attention to all of them."""

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.host_attention import append_tokens, attend_host
from runtime.partial_attention import PartialAttention, merge_partials, no_statistics
from tests.runtime.csd.reference import attention


def partial(scores: np.ndarray, values: np.ndarray) -> PartialAttention:
    """Attends in float64 to tokens whose scores are [n, H, T] and values [n, H, T, D]."""
    if scores.shape[-1] == 0:
        return PartialAttention.none((*scores.shape[:2], values.shape[-1]))
    top = scores.max(axis=-1)
    weights = np.exp(scores - top[..., None])
    total = weights.sum(axis=-1)
    output = np.einsum("nht,nhtd->nhd", weights, values) / total[..., None]
    statistics = np.stack([top, total], axis=-1).astype(np.float32)
    return PartialAttention(output.astype(np.float32), statistics)


@settings(max_examples=60)
@given(
    lengths=st.lists(st.integers(0, 6), min_size=1, max_size=4),
    spread=st.sampled_from([0.0, 1.0, 30.0, 300.0]),
    shift=st.sampled_from([-1e4, 0.0, 500.0]),
    seed=st.integers(0, 2**16),
)
def test_parts_add_up_wherever_tokens_are_cut(
    lengths: list[int], spread: float, shift: float, seed: int
) -> None:
    """Scores of any size, equal ones, and parts without tokens; scores are float32, so their own rounding decides."""
    rng = np.random.default_rng(seed)
    edges = np.cumsum([0, *lengths])
    scores = (shift + spread * rng.standard_normal((2, 3, edges[-1]))).astype(np.float32).astype(np.float64)
    values = rng.standard_normal((*scores.shape, 5))
    parts = [partial(scores[..., a:b], values[:, :, a:b]) for a, b in pairwise(edges.tolist())]
    whole = partial(scores, values)
    np.testing.assert_allclose(merge_partials(parts), whole.output, atol=5e-6)
    np.testing.assert_allclose(merge_partials(parts[::-1]), whole.output, atol=5e-6)


def test_no_token_anywhere_gives_zeros() -> None:
    nothing = PartialAttention.none((2, 3, 4))
    assert not merge_partials([nothing, nothing]).any()
    np.testing.assert_array_equal(nothing.statistics, no_statistics(2, 3))


def test_a_part_is_rows_and_heads_of_both_arrays() -> None:
    rng = np.random.default_rng(0)
    whole = PartialAttention(rng.random((3, 4, 2), np.float32), rng.random((3, 4, 2), np.float32))
    part = whole.part(slice(1, 3), slice(2, 4))
    np.testing.assert_array_equal(part.output, whole.output[1:, 2:])
    np.testing.assert_array_equal(part.statistics, whole.statistics[1:, 2:])


@settings(max_examples=40)
@given(
    room=st.integers(1, 40),
    length=st.integers(1, 90),
    kept=st.floats(0.0, 1.0),
    soft_cap=st.sampled_from([None, 5.0]),
    window=st.sampled_from([None, 7, 60]),
    sloped=st.booleans(),
    seed=st.integers(0, 2**16),
)
def test_the_hosts_ring_keeps_the_newest_tokens(
    room: int, length: int, kept: float, soft_cap: float | None, window: int | None, sloped: bool, seed: int
) -> None:
    """Tokens go around a ring one by one; what it still holds, and the older ones elsewhere, add up to all tokens."""
    rng = np.random.default_rng(seed)
    rows, kv_heads, group, size = 2, 2, 2, 8
    key, value = (rng.standard_normal((rows, kv_heads, length, size)).astype(np.float32) for _ in range(2))
    query = rng.standard_normal((rows, kv_heads * group, size)).astype(np.float32)
    slopes = rng.uniform(-0.1, 0.5, kv_heads * group).astype(np.float32) if sloped else None
    ring = (
        np.full((rows, kv_heads, room, size), np.nan, np.float32),
        np.full((rows, kv_heads, room, size), np.nan, np.float32),
    )
    for token in range(length):
        new = key[:, :, token], value[:, :, token]
        append_tokens(ring, new, np.full(rows, token % room))
    lengths = np.full(rows, length)
    newest = np.full(rows, length - round(kept * min(room, length)))
    told = no_statistics(rows, kv_heads * group)
    own = attend_host(
        query,
        ring,
        lengths,
        0.4,
        soft_cap=soft_cap,
        window=window,
        slopes=slopes,
        first=newest,
        statistics=told,
    )
    older = attend_older(query, key, value, int(newest[0]), length, soft_cap, window, slopes)
    merged = merge_partials([PartialAttention(own, told), older])
    expected = attention(query, key, value, lengths, 0.4, soft_cap, window, slopes)
    np.testing.assert_allclose(merged, expected, atol=1e-5, rtol=1e-4)


def attend_older(
    query: np.ndarray,
    key: np.ndarray,
    value: np.ndarray,
    stop: int,
    length: int,
    soft_cap: float | None,
    window: int | None,
    slopes: np.ndarray | None,
) -> PartialAttention:
    """Attends in float64 to the tokens before ``stop`` that a sequence of ``length`` tokens sees."""
    first = 0 if window is None else min(stop, max(0, length - window))
    repeat = query.shape[1] // key.shape[1]
    keys, values = (np.repeat(a[:, :, first:stop], repeat, axis=1).astype(np.float64) for a in (key, value))
    scores = np.einsum("nhd,nhtd->nht", query.astype(np.float64), keys) * 0.4
    if soft_cap is not None:
        scores = soft_cap * np.tanh(scores / soft_cap)
    if slopes is not None:
        distance = length - 1 - np.arange(first, stop)
        scores = scores - slopes[None, :, None] * distance
    return partial(scores, values)

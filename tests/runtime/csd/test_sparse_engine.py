"""Sparse attention against SparQ in float64.

Which channels and tokens are chosen is compared up to rounding: what the drive chose must weigh as much as what the reference
chose. The output is then compared for the drive's own choice.
"""

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.csd import Attend, Configure, Health, Sparse, Write
from runtime.kernels.softmax import NO_SLOPES

from . import sparq
from .cached_tokens import Cache, cached
from .drives import SPEC, new_drive, spec, tokens
from .reference import attention

pytestmark = pytest.mark.usefixtures("each_backing")
DTYPES = [np.dtype(np.float32), np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16)]
# Inputs are rounded to the KV dtype before both computations. float32 sums of some hundred products around 3 are off by 1e-6 of
# a score, weights by as much of themselves, and so are sums of weights and of weighted values around 3.
TOLERANCE = 2e-5


def assert_largest(values: np.ndarray, chosen: np.ndarray, count: int) -> None:
    """Requires ``count`` ascending indices, none of which is worth less than one left out, but for rounding."""
    assert len(chosen) == count
    assert (np.diff(chosen) > 0).all()
    others = np.delete(values, chosen)
    if len(chosen) and len(others):
        assert values[chosen].min() >= others.max() - 1e-5 * max(values.max(), 1.0)


def assert_sparq(
    cache: Cache,
    sparse: Sparse,
    query: np.ndarray,
    first: np.ndarray,
    last: np.ndarray,
    soft_cap: float | None = None,
    slopes: np.ndarray = NO_SLOPES,
) -> None:
    """Requires that the drive chose as SparQ does, and attended to what it chose."""
    got = cache.choose(sparse, query, first, last, soft_cap, slopes=slopes)
    by_head = slopes if len(slopes) else np.zeros(query.shape[1])
    kv_heads = cache.key.shape[1]
    shared = query.shape[1] // kv_heads
    for i, head in np.ndindex(len(query), kv_heads):
        queries = query[i, head * shared : (head + 1) * shared].astype(np.float64)
        key = cache.key[i, head, first[i] : last[i]].astype(np.float64)
        value = cache.value[i, head, first[i] : last[i]].astype(np.float64)
        channels = got.channels[i, head]
        num, newest = int(sparse.num_tokens[i]), int(sparse.num_newest[i])
        chosen = got.tokens[i, head, :num] - first[i]
        assert (got.tokens[i, head, num:] == -1).all()
        assert_largest(np.abs(queries).sum(axis=0), channels, sparse.num_channels)
        own = by_head[head * shared : (head + 1) * shared]
        s_hat = sparq.approximate(queries, key, channels, 0.4, soft_cap, own)
        older = len(key) - newest
        assert_largest(s_hat.sum(axis=0)[:older], chosen[: num - newest], num - newest)
        np.testing.assert_array_equal(chosen[num - newest :], np.arange(older, len(key)))
        expected = sparq.attend_chosen(
            queries, key, value, s_hat, chosen, 0.4, soft_cap, sparse.mean_value, own
        )
        np.testing.assert_allclose(
            got.output[i, head * shared : (head + 1) * shared], expected, atol=TOLERANCE, rtol=TOLERANCE
        )


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    dtype=st.sampled_from(DTYPES),
    lengths=st.lists(st.integers(2, 90), min_size=1, max_size=4),
    kv_heads=st.integers(1, 3),
    shared=st.integers(1, 4),
    shape=st.sampled_from([(4, 2), (8, 2), (8, 4), (16, 8), (6, 2), (16, 2)]),
    soft_cap=st.sampled_from([None, 2.0, 20.0]),
    window=st.sampled_from([None, 2, 7, 30, 1000]),
    mean_value=st.booleans(),
    sloped=st.booleans(),
)
def test_equals_sparq(
    seed: int,
    dtype: np.dtype,
    lengths: list[int],
    kv_heads: int,
    shared: int,
    shape: tuple[int, int],
    soft_cap: float | None,
    window: int | None,
    mean_value: bool,
    sloped: bool,
) -> None:
    rng = np.random.default_rng(seed)
    last = np.array(lengths)
    first = np.zeros_like(last) if window is None else np.maximum(last - window, 0)
    head_size, channel_group = shape
    cache = cached(
        rng,
        dtype,
        last,
        kv_heads,
        shared,
        head_size,
        channel_group,
        spec(blocks_per_plane=1024, dram_bytes=1e8),
    )
    num_tokens = np.array([rng.integers(1, count) for count in last - first])
    num_newest = np.array([rng.integers(0, most + 1) for most in num_tokens])
    whole = bool((first == 0).all())
    sparse = Sparse(int(rng.integers(1, head_size + 1)), num_tokens, num_newest, mean_value and whole)
    query = tokens(rng, len(lengths), kv_heads * shared, head_size) * 3
    slopes = rng.uniform(-0.1, 0.4, kv_heads * shared).astype(np.float32) if sloped else NO_SLOPES
    assert_sparq(cache, sparse, query, first, last, soft_cap, slopes)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_all_cores_at_once_with_uneven_lengths(dtype: np.dtype) -> None:
    """Sizes of a real head: 256 tokens to a channel page of 16 KiB, of 4 KiB to a token page of 16."""
    rng = np.random.default_rng(0)
    last = np.array([700, 300, 1500, 257])
    cache = cached(rng, dtype, last, 4, 2, 128, 8, spec(page_bytes=4096, pages_per_block=64, dram_bytes=1e8))
    sparse = Sparse(16, np.array([87, 40, 187, 33]), np.array([16, 0, 187, 1]), mean_value=True)
    assert_sparq(cache, sparse, tokens(rng, 4, 8, 128), np.zeros_like(last), last)


def test_choices_are_exact_and_ties_go_to_the_lower_index() -> None:
    """Small integers in all channels that the query has make every product and sum exact, and many of them equal."""
    for seed in range(30):
        rng = np.random.default_rng(seed)
        last = np.array([70, 33])
        cache = cached(rng, np.dtype(np.float32), last, 2, 1, 8, integers=True)
        query = np.zeros((2, 2, 8), np.float32)
        for i, head in np.ndindex(2, 2):
            query[i, head, rng.permutation(8)[:2]] = rng.choice([-2.0, -1.0, 1.0, 2.0], 2)
        sparse = Sparse(3, np.array([9, 20]), np.array([2, 0]), mean_value=False)
        got = cache.choose(sparse, query, np.zeros_like(last), last, None, scale=0.5)
        for i, head in np.ndindex(2, 2):
            key = cache.key[i, head, : last[i]].astype(np.float64)
            queries = query[i, head : head + 1].astype(np.float64)
            channels = sparq.choose_channels(queries, 3)
            np.testing.assert_array_equal(got.channels[i, head], channels)
            s_hat = sparq.approximate(queries, key, channels, 0.5, None, np.zeros(1))
            chosen = sparq.choose_tokens(s_hat, int(sparse.num_tokens[i]), int(sparse.num_newest[i]))
            np.testing.assert_array_equal(got.tokens[i, head, : sparse.num_tokens[i]], chosen)


def test_a_command_attends_exactly_where_every_token_would_be_read() -> None:
    rng = np.random.default_rng(0)
    last = np.array([40, 12, 25])
    cache = cached(rng, np.dtype(np.float32), last, 2, 2, 4, drive_spec=spec(blocks_per_plane=512))
    query = tokens(rng, 3, 4, 4)
    sparse = Sparse(2, np.array([10, 12, 99]), np.array([1, 1, 1]), mean_value=True)
    done = cache.drive.execute(Attend(0, query, None, None, last, 0.4, sparse=sparse), 0.0)
    exact = attention(query, cache.key, cache.value, last, 0.4)
    np.testing.assert_allclose(done.value[1:], exact[1:], atol=TOLERANCE)
    assert np.abs(done.value[0] - exact[0]).max() > 0.01
    alone = cache.choose(sparse.of(np.array([0])), query[:1], np.zeros(1, int), last[:1], None)
    np.testing.assert_array_equal(done.value[0], alone.output[0])
    everything = Sparse(2, last, np.ones(3, int), mean_value=True)
    done = cache.drive.execute(Attend(0, query, None, None, last, 0.4, sparse=everything), 0.0)
    np.testing.assert_allclose(done.value, exact, atol=TOLERANCE)
    assert (done.detail.pages_step_one, done.detail.pages_step_two, done.detail.entries_bytes) == (0, 0, 0)


def test_all_channels_and_the_newest_tokens_are_a_window() -> None:
    rng = np.random.default_rng(0)
    cache = cached(rng, np.dtype(np.float32), np.array([50]), 1, 1, 4)
    query = tokens(rng, 1, 1, 4)
    sparse = Sparse(4, np.array([7]), np.array([7]), mean_value=False)
    got = cache.drive.execute(Attend(0, query, None, None, np.array([50]), 0.4, sparse=sparse), 0.0)
    expected = attention(query, cache.key, cache.value, np.array([50]), 0.4, window=7)
    np.testing.assert_allclose(got.value, expected, atol=TOLERANCE)


class TestPages:
    """One head of 4 float32 channels: 4 tokens to a token page, 8 tokens of 2 channels to a channel page.

    30 tokens: 28 in 7 token pages of K, the last 2 in the buffer; 24 in 3 channel groups of 2 pages; 4 in 1 tail page.
    """

    def counts(self, query: list[float], key: np.ndarray, num_channels: int, k: int, newest: int) -> Any:
        drive = new_drive(SPEC)
        drive.execute(Configure(1, 1, 1, 4, np.dtype(np.float32), 1, 40, channel_group=2), 0.0)
        drive.execute(Write(0, key[None, None], key[None, None], np.array([0])), 0.0)
        sparse = Sparse(num_channels, np.array([k]), np.array([newest]), mean_value=True)
        before = drive.execute(Health(), 0.0).value
        asked = np.array([[query]], np.float32)
        detail = drive.execute(Attend(0, asked, None, None, np.array([30]), 1.0, sparse=sparse), 0.0).detail
        health = drive.execute(Health(), 0.0).value
        assert detail.pages_read == detail.pages_step_one + detail.pages_step_two
        assert health.pages_read - before.pages_read == detail.pages_read
        assert health.pages_step_one == detail.pages_step_one
        assert health.pages_step_two == detail.pages_step_two
        assert health.entries_bytes == detail.entries_bytes
        return detail.pages_step_one, detail.pages_step_two, detail.entries_bytes // 4

    def key(self, *large: int) -> np.ndarray:
        """Returns keys [30, 4] of which some are large."""
        key = np.zeros((30, 4), np.float32)
        key[list(large)] = 5.0
        return key

    def test_step_one_reads_pages_with_a_wanted_channel(self) -> None:
        key = self.key(0, 1)
        # One channel of one page, or two, of each of 3 groups; the tail page whole. Then one page of K and of V.
        assert self.counts([9, 0, 0, 0], key, 1, 2, 0) == (3 + 1, 2, 24 + 16 + 2 * 2 * 4)
        assert self.counts([9, 8, 0, 0], key, 2, 2, 0) == (3 + 1, 2, 2 * 24 + 16 + 16)
        assert self.counts([9, 0, 8, 0], key, 2, 2, 0) == (6 + 1, 2, 2 * 24 + 16 + 16)

    def test_step_two_reads_pages_with_a_wanted_token(self) -> None:
        assert self.counts([9, 0, 0, 0], self.key(0, 3), 1, 2, 0) == (4, 2, 24 + 16 + 16)
        assert self.counts([9, 0, 0, 0], self.key(3, 4), 1, 2, 0) == (4, 4, 24 + 16 + 16)
        assert self.counts([9, 0, 0, 0], self.key(3, 12, 20), 1, 3, 0) == (4, 6, 24 + 16 + 24)

    def test_step_two_does_not_read_the_tail_again(self) -> None:
        assert self.counts([9, 0, 0, 0], self.key(24, 27), 1, 2, 0) == (4, 1, 24 + 16 + 8)

    def test_buffered_tokens_take_no_page(self) -> None:
        assert self.counts([9, 0, 0, 0], self.key(28, 29), 1, 2, 2) == (4, 0, 24 + 16)
        assert self.counts([9, 0, 0, 0], self.key(0), 1, 3, 2) == (4, 2, 24 + 16 + 8)

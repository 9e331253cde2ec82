from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.csd import Attend, Configure, Write
from runtime.kernels import compiling

from .drives import SPEC, new_drive, spec, tokens
from .reference import attention

pytestmark = pytest.mark.usefixtures("each_backing")
DTYPES = [np.dtype(np.float32), np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16)]
# Inputs are rounded to the KV dtype before both computations, so only float32 sums differ: some hundred
# additions of weights that sum to 1, each off by 2**-24 of a value around 3.
TOLERANCE = 1e-5


def attend(
    rng: np.random.Generator,
    dtype: np.dtype,
    lengths: np.ndarray,
    kv_heads: int = 2,
    shared: int = 1,
    head_size: int = 4,
    drive_spec: Any = SPEC,
    **attributes: Any,
) -> tuple[np.ndarray, np.ndarray]:
    """Writes all but the newest token, attends with it, and returns output and reference."""
    drive, count, longest = new_drive(drive_spec), len(lengths), int(lengths.max())
    drive.execute(Configure(1, kv_heads, kv_heads * shared, head_size, dtype, count, longest), 0.0)
    key = tokens(rng, count, kv_heads, longest, head_size, dtype=dtype)
    value = tokens(rng, count, kv_heads, longest, head_size, dtype=dtype)
    query = tokens(rng, count, kv_heads * shared, head_size) * 3
    drive.execute(Write(0, key, value, np.zeros(count, np.int32), lengths - 1), 0.0)
    newest = np.arange(count), slice(None), lengths - 1
    done = drive.execute(Attend(0, query, key[newest], value[newest], lengths, 0.4, **attributes), 0.0)
    assert done.value.dtype == np.float32
    return done.value, attention(query, key, value, lengths, 0.4, **attributes)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 33])
def test_every_length_around_page_borders(dtype: np.dtype, length: int) -> None:
    got, expected = attend(np.random.default_rng(length), dtype, np.array([length]))
    np.testing.assert_allclose(got, expected, atol=TOLERANCE)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    dtype=st.sampled_from(DTYPES),
    lengths=st.lists(st.integers(1, 60), min_size=1, max_size=4),
    kv_heads=st.integers(1, 3),
    shared=st.integers(1, 4),
    head_size=st.sampled_from([1, 3, 4, 8, 16]),
    soft_cap=st.sampled_from([None, 0.5, 20.0]),
    window=st.sampled_from([None, 1, 5, 16, 100]),
    sloped=st.booleans(),
)
def test_equals_float64_reference(
    seed: int,
    dtype: np.dtype,
    lengths: list[int],
    kv_heads: int,
    shared: int,
    head_size: int,
    soft_cap: float | None,
    window: int | None,
    sloped: bool,
) -> None:
    rng = np.random.default_rng(seed)
    slopes = rng.uniform(-0.1, 0.8, kv_heads * shared).astype(np.float32) if sloped else None
    got, expected = attend(
        rng, dtype, np.array(lengths), kv_heads, shared, head_size, spec(blocks_per_plane=512), soft_cap=soft_cap,
        window=window, slopes=slopes,
    )  # fmt: skip
    np.testing.assert_allclose(got, expected, atol=TOLERANCE)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_all_cores_at_once_with_uneven_lengths(dtype: np.dtype) -> None:
    drive_spec = spec(page_bytes=4096, pages_per_block=64, dram_bytes=1e8)
    lengths = np.array([700, 3, 1500, 64])
    got, expected = attend(np.random.default_rng(0), dtype, lengths, 4, 2, 128, drive_spec)
    np.testing.assert_allclose(got, expected, atol=TOLERANCE)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_bit_pattern_is_widened_exactly(dtype: np.dtype) -> None:
    """One token's output is its value: all finite 16-bit patterns, subnormals included, and infinities."""
    patterns = np.arange(1 << 16, dtype=np.uint16)
    value = patterns.view(dtype) if dtype.itemsize == 2 else (patterns.astype(np.uint32) << 16).view(dtype)
    value = value.reshape(1, 16, 4096)
    with np.errstate(invalid="ignore"):
        value = np.where(np.isnan(value), np.ones_like(value), value)
    drive = new_drive(spec(page_bytes=16384, dram_bytes=1e8))
    drive.execute(Configure(1, 16, 16, 4096, dtype, 1, 1), 0.0)
    query = np.zeros((1, 16, 4096), np.float32)
    got = drive.execute(Attend(0, query, np.zeros_like(value), value, np.array([1]), 1.0), 0.0).value
    np.testing.assert_array_equal(got, value.astype(np.float32))


def test_nan_stays_nan() -> None:
    for dtype in DTYPES:
        value = np.array([[[1.0, np.nan, np.inf, -np.inf]]], dtype)
        drive = new_drive(SPEC)
        drive.execute(Configure(1, 1, 1, 4, dtype, 1, 1), 0.0)
        query = np.zeros((1, 1, 4), np.float32)
        got = drive.execute(Attend(0, query, np.zeros_like(value), value, np.array([1]), 1.0), 0.0).value
        np.testing.assert_array_equal(got, value.astype(np.float32))


def test_large_scores_do_not_overflow() -> None:
    drive = new_drive(SPEC)
    drive.execute(Configure(1, 1, 1, 4, np.dtype(np.float32), 1, 9), 0.0)
    key = np.linspace(-1e3, 1e3, 9, dtype=np.float32)[None, None, :, None] * np.ones(4, np.float32)
    value = np.arange(36, dtype=np.float32).reshape(1, 1, 9, 4)
    drive.execute(Write(0, key, value, np.array([0])), 0.0)
    for sign, newest in ((1.0, 8), (-1.0, 0)):
        query = np.full((1, 1, 4), sign * 100.0, np.float32)
        got = drive.execute(Attend(0, query, None, None, np.array([9]), 1.0), 0.0).value
        np.testing.assert_array_equal(got[0, 0], value[0, 0, newest])


def test_fewer_tokens_than_stored_and_none() -> None:
    rng = np.random.default_rng(0)
    drive = new_drive(SPEC)
    drive.execute(Configure(1, 2, 4, 4, np.dtype(np.float32), 3, 20), 0.0)
    key, value = tokens(rng, 3, 2, 18, 4), tokens(rng, 3, 2, 18, 4)
    drive.execute(Write(0, key, value, np.zeros(3, int)), 0.0)
    query, lengths = tokens(rng, 3, 4, 4), np.array([0, 5, 17])
    got = drive.execute(Attend(0, query, None, None, lengths, 0.5), 0.0).value
    np.testing.assert_allclose(got, attention(query, key, value, lengths, 0.5), atol=TOLERANCE)
    rows = np.array([2, 0])
    got = drive.execute(Attend(0, query[:2], None, None, np.array([18, 7]), 0.5, rows=rows), 0.0).value
    expected = attention(query[:2], key[rows], value[rows], np.array([18, 7]), 0.5)
    np.testing.assert_allclose(got, expected, atol=TOLERANCE)


def test_a_window_reads_only_its_pages() -> None:
    rng = np.random.default_rng(0)
    drive = new_drive(SPEC)
    drive.execute(Configure(1, 1, 1, 4, np.dtype(np.float32), 1, 40), 0.0)
    drive.execute(Write(0, tokens(rng, 1, 1, 40, 4), tokens(rng, 1, 1, 40, 4), np.array([0])), 0.0)
    query = tokens(rng, 1, 1, 4)
    for window, pages in ((1, 2), (4, 2), (5, 4), (40, 20), (99, 20)):
        done = drive.execute(Attend(0, query, None, None, np.array([40]), 0.5, window=window), 0.0)
        assert done.detail.pages_read == pages


def test_queries_may_be_of_any_float_type() -> None:
    rng = np.random.default_rng(0)
    drive = new_drive(SPEC)
    drive.execute(Configure(1, 1, 1, 4, np.dtype(np.float32), 1, 4), 0.0)
    drive.execute(Write(0, tokens(rng, 1, 1, 4, 4), tokens(rng, 1, 1, 4, 4), np.array([0])), 0.0)
    for dtype in DTYPES:
        query = np.ones((1, 1, 4), dtype)
        got = drive.execute(Attend(0, query, None, None, np.array([4]), 0.5), 0.0).value
        full = drive.execute(Attend(0, query.astype(np.float64), None, None, np.array([4]), 0.5), 0.0).value
        np.testing.assert_array_equal(got, full)


def test_the_kernel_compiles_where_no_cache_folder_can_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []

    def njit(*, cache: bool = False, **_: Any) -> Any:
        asked.append(cache)
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return lambda function: function

    monkeypatch.setattr(compiling, "njit", njit)
    assert compiling.entry_point(attend) is attend
    assert asked == [True, False]

"""Decode attention on the host: dense, over valid tokens alone, on all cores.

Letters: ``n`` rows, ``H`` query heads, ``K`` KV heads, ``T`` tokens that a row has room for, ``D`` head size.
"""

from collections.abc import Sequence

import numpy as np

from runtime.core_threads import cut_work, prepare_team, team_for
from runtime.kernels.attend_memory import attend_memory
from runtime.kernels.elements import ELEMENTS, FLOAT32
from runtime.kernels.inputs import kernel_input
from runtime.kernels.softmax import NO_SLOPES, NO_STATISTICS
from runtime.kernels.split_pairs import split_pairs
from runtime.kernels.thread_team import ALONE

_TILE_BYTES = 4096
"""Stored bytes that are worked on together: with the tile that is on its way they fit into 32 KiB."""


def append_tokens(
    pair: tuple[np.ndarray, np.ndarray], new: tuple[np.ndarray, np.ndarray], lengths: np.ndarray
) -> None:
    """Writes one token per row behind the first ``lengths`` tokens.

    Args:
        pair: K and V, each ``[n, K, T, D]``, written in place.
        new: New keys and values, each ``[n, K, D]``.
        lengths: Integer ``[n]``.
    """
    rows = np.arange(len(lengths))
    for cache, token in zip(pair, new, strict=True):
        cache[rows, :, lengths] = token.astype(cache.dtype)


def attend_host(
    query: np.ndarray,
    pair: tuple[np.ndarray, np.ndarray],
    lengths: np.ndarray,
    scale: float,
    num_parts: int | None = None,
    *,
    soft_cap: float | None = None,
    window: int | None = None,
    slopes: Sequence[float] | np.ndarray | None = None,
    first: np.ndarray | None = None,
    statistics: np.ndarray | None = None,
) -> np.ndarray:
    """Returns ``softmax(scale * q.K^T).V`` over the first ``lengths`` tokens of each row, float32 ``[n, H, D]``.

    With ``first``, K and V are rings: token ``t`` lies in the room of ``t % T``, and rows may be longer than ``T``.

    Args:
        query: Float ``[n, H, D]``; query head ``h`` reads KV head ``h // (H / K)``.
        pair: K and V, each contiguous ``[n, K, T, D]`` of float16, bfloat16 or float32.
        lengths: Integer ``[n]``; a row without tokens gives zeros.
        scale: Factor of the scores.
        num_parts: Cores used; None for as many as are worth it.
        soft_cap: Caps scores at ``soft_cap * tanh(score / soft_cap)``.
        window: Attends to the newest ``window`` of these tokens only, and reads no others.
        slopes: What a score loses per token that lies between, one number for each query head; None for no such bias.
        first: Integer ``[n]``, the oldest token of each row that is attended to; None: the first one.
        statistics: float32 ``[n, H, 2]``, written: the highest score and the sum of ``exp(score - highest)``
            (see :mod:`runtime.partial_attention`); None if nobody asks.
    """
    key, value = pair
    _, kv_heads, max_len, head_size = key.shape
    oldest = np.zeros_like(lengths) if first is None else first
    _check(query, key, value, oldest, lengths, slopes)
    scaled = np.ascontiguousarray(query, np.float32) * np.float32(scale)
    last = kernel_input(lengths, np.int64)
    begin = kernel_input(oldest, np.int64)
    begin = begin if window is None else np.minimum(np.maximum(last - window, begin), last)
    leaning = NO_SLOPES if slopes is None else kernel_input(slopes, np.float32)
    token_bytes = head_size * key.itemsize
    edges = (
        cut_work(last - begin, kv_heads, 2 * token_bytes)
        if num_parts is None
        else split_pairs(last - begin, kv_heads, 1, num_parts)
    )
    tile_tokens = max(4, _TILE_BYTES // token_bytes)
    output = np.empty(scaled.shape, np.float32)
    attend_memory(
        team_for(edges), edges, scaled, begin, last, np.float32(soft_cap or 0.0), leaning, key.ctypes.data,
        value.ctypes.data, kv_heads, max_len, ELEMENTS[key.dtype.name], tile_tokens, output,
        NO_STATISTICS if statistics is None else statistics,
    )  # fmt: skip
    return output


def prepare() -> None:
    """Compiles the kernel, or loads it from the compiler's cache, so that no attention has to wait for it."""
    prepare_team()
    empty = np.zeros((1, 1, 1), np.float32)
    none, no_pairs = np.zeros(1, np.int64), cut_work(np.zeros(0, np.int64), 1, 1)
    attend_memory(
        ALONE, no_pairs, empty, none, none, np.float32(0.0), NO_SLOPES, 0, 0, 1, 1, FLOAT32, 1, empty.copy(),
        NO_STATISTICS,
    )  # fmt: skip


def _check(
    query: np.ndarray,
    key: np.ndarray,
    value: np.ndarray,
    first: np.ndarray,
    lengths: np.ndarray,
    slopes: Sequence[float] | np.ndarray | None,
) -> None:
    """Refuses what the kernel, which knows addresses alone, would read wrongly.

    Raises:
        ValueError: Shapes or dtypes do not go together, a cache is not contiguous, or a length is beyond it.
    """
    num_rows, kv_heads, max_len, head_size = key.shape
    if value.shape != key.shape or value.dtype != key.dtype or key.dtype.name not in ELEMENTS:
        raise ValueError(
            f"keys are {key.dtype}{list(key.shape)} and values {value.dtype}{list(value.shape)}; give the same shape, "
            f"and {', '.join(ELEMENTS)}"
        )
    if not (key.flags.c_contiguous and value.flags.c_contiguous):
        raise ValueError("keys or values are not contiguous; give whole arrays, no views")
    if query.shape[::2] != (num_rows, head_size) or query.shape[1] % kv_heads:
        raise ValueError(
            f"queries have shape {list(query.shape)}; give [{num_rows}, a multiple of {kv_heads}, {head_size}]"
        )
    is_one_each = lengths.shape == first.shape == (num_rows,)
    if not is_one_each or ((first < 0) | (lengths < first) | (lengths > first + max_len)).any():
        raise ValueError(
            f"lengths are {lengths.tolist()}; give {num_rows} numbers from 0 to {max_len}, beyond the first tokens "
            f"{first.tolist()}"
        )
    if slopes is not None and len(slopes) != query.shape[1]:
        raise ValueError(
            f"there are {len(slopes)} slopes for {query.shape[1]} query heads; give one for each"
        )

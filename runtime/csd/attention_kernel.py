"""The attention kernel: reads pages where they lie, widens in registers, softmax on line.

All compiled code is in this one file because the compiler's on-disk cache is renewed when the file that holds
the entry point changes. Arguments always have the same types, so there is one compiled variant.

Letters: ``n`` sequences of the command, ``H`` query heads, ``D`` head size, ``C`` channels.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic
from numba.np.numpy_support import carray

FLOAT16, BFLOAT16, FLOAT32 = 0, 1, 2
"""Element types of a page, as the kernel knows them."""

# Sums may be reordered (hence vectorised) and contracted; infinities and NaNs keep their meaning.
_FASTMATH = {"reassoc", "contract", "nsz", "arcp"}


def _compiled(function: Callable[..., Any]) -> Any:
    """Compiles on first call, keeping the result on disk where a cache folder can be written."""
    try:
        return njit(nogil=True, fastmath=_FASTMATH, cache=True)(function)
    except RuntimeError:  # neither the package folder nor the user's cache folder is writable
        return njit(nogil=True, fastmath=_FASTMATH)(function)


def _build_uint16_at(typing_context: Any, address: Any) -> Any:
    """Makes a pointer to 16-bit words from an address."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], ir.IntType(16).as_pointer())

    return types.CPointer(types.uint16)(types.int64), build


def _build_uint32_at(typing_context: Any, address: Any) -> Any:
    """Makes a pointer to 32-bit words from an address."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], ir.IntType(32).as_pointer())

    return types.CPointer(types.uint32)(types.int64), build


def _build_float_of(typing_context: Any, bits: Any) -> Any:
    """Reads 32 bits as a float."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.uint32), build


# An intrinsic is called without its typing context, which only the compiler knows; hence Any.
_uint16_at: Any = intrinsic(_build_uint16_at)
_uint32_at: Any = intrinsic(_build_uint32_at)
_float_of: Any = intrinsic(_build_float_of)


@njit(nogil=True, fastmath=_FASTMATH)
def _widen(address: int, count: int, element: int, tile: np.ndarray) -> None:
    """Widens ``count`` elements at an address into a float32 tile.

    A half's exponent and fraction, moved into a float's place, give the number times 2**-112, subnormals
    included; an exponent of all ones stays all ones.
    """
    if element == FLOAT16:
        scale = np.float32(2.0**112)
        halves = carray(_uint16_at(address), (count,))
        for i in range(count):
            word = np.uint32(halves[i])
            bits = np.uint32((word & np.uint32(0x7FFF)) << np.uint32(13))
            if (word & np.uint32(0x7C00)) == np.uint32(0x7C00):
                bits = np.uint32(bits | np.uint32(0x7F800000))
            sign = np.uint32((word & np.uint32(0x8000)) << np.uint32(16))
            tile[i] = _float_of(np.uint32(bits | sign)) * scale
    elif element == BFLOAT16:
        upper = carray(_uint16_at(address), (count,))
        for i in range(count):
            tile[i] = _float_of(np.uint32(np.uint32(upper[i]) << np.uint32(16)))
    else:
        words = carray(_uint32_at(address), (count,))
        for i in range(count):
            tile[i] = _float_of(words[i])


@njit(nogil=True, fastmath=_FASTMATH)
def _page_address(
    ppn: int, pages_per_block: int, page_bytes: int, slot: np.ndarray, frames: np.ndarray,
    chunk_addresses: np.ndarray, shift: int,
) -> int:  # fmt: skip
    """Returns where the bytes of a physical page start in memory."""
    block = ppn // pages_per_block
    frame = np.int64(frames[slot[block], ppn - block * pages_per_block])
    return chunk_addresses[frame >> shift] + (frame & ((1 << shift) - 1)) * page_bytes


# Loops count from 0: an index that might be negative keeps the compiler from vectorising.
@njit(nogil=True, fastmath=_FASTMATH)
def _add_keys(
    queries: np.ndarray, tile: np.ndarray, count: int, soft_cap: np.float32,
    scores: np.ndarray, top: np.ndarray, total: np.ndarray, sums: np.ndarray,
) -> None:  # fmt: skip
    """Turns ``count`` keys of a tile into weights and rescales the sums so far."""
    head_size = queries.shape[1]
    for h in range(queries.shape[0]):
        query = queries[h]
        weights = scores[h]
        for t in range(count):
            key = tile[t * head_size : (t + 1) * head_size]
            score = np.float32(0.0)
            for d in range(head_size):
                score += query[d] * key[d]
            weights[t] = score
        if soft_cap > 0.0:
            for t in range(count):
                weights[t] = soft_cap * np.tanh(weights[t] / soft_cap)
        highest = top[h]
        for t in range(count):
            highest = max(highest, weights[t])
        if highest > top[h]:
            shrink = np.exp(top[h] - highest)
            top[h] = highest
            total[h] *= shrink
            row = sums[h]
            for d in range(head_size):
                row[d] *= shrink
        added = np.float32(0.0)
        for t in range(count):
            weights[t] = np.exp(weights[t] - highest)
            added += weights[t]
        total[h] += added


@njit(nogil=True, fastmath=_FASTMATH)
def _add_values(tile: np.ndarray, count: int, scores: np.ndarray, sums: np.ndarray) -> None:
    """Adds ``count`` values of a tile, weighted."""
    head_size = sums.shape[1]
    for h in range(sums.shape[0]):
        row = sums[h]
        for t in range(count):
            value = tile[t * head_size : (t + 1) * head_size]
            weight = scores[h, t]
            for d in range(head_size):
                row[d] += weight * value[d]


def _attend(
    begin: int,
    end: int,
    query: np.ndarray,
    rows: np.ndarray,
    first_token: np.ndarray,
    last_token: np.ndarray,
    flash_tokens: np.ndarray,
    table: np.ndarray,
    buffer_address: int,
    group_tokens: int,
    element: int,
    soft_cap: np.float32,
    pages_per_block: int,
    pages_per_channel: int,
    page_bytes: int,
    slot: np.ndarray,
    frames: np.ndarray,
    chunk_addresses: np.ndarray,
    shift: int,
    out: np.ndarray,
    pages_read: np.ndarray,
) -> None:
    """Attends for the (sequence, KV head) pairs ``begin`` to ``end`` (exclusive), sequence-major.

    Args:
        begin: First pair.
        end: Pair after the last one.
        query: float32 ``[n, H, D]``, scaled.
        rows: int64 ``[n]``, the sequence in the mapping table and buffer.
        first_token: int64 ``[n]``, oldest token attended to.
        last_token: int64 ``[n]``, token after the newest one.
        flash_tokens: int64 ``[n]``, tokens that are in flash, whole groups; later ones are in the buffer.
        table: int64 ``[batch, kv_heads, 2, groups]``, page numbers.
        buffer_address: Address of the layer's buffer ``[batch, kv_heads, 2, group_tokens, D]`` of elements.
        group_tokens: Tokens in a page.
        element: Element type of pages and buffer.
        soft_cap: Scores are ``soft_cap * tanh(score / soft_cap)``; 0 for none.
        pages_per_block: See :class:`runtime.csd.geometry.Geometry`.
        pages_per_channel: Likewise.
        page_bytes: Likewise.
        slot: See :class:`runtime.csd.nand.PageView`.
        frames: Likewise.
        chunk_addresses: Likewise.
        shift: Likewise.
        out: float32 ``[n, H, D]``, written; zeros where there is nothing to attend to.
        pages_read: int64 ``[C]``, counted up.
    """
    heads = table.shape[1]
    shared = query.shape[1] // heads
    head_size = query.shape[2]
    token_bytes = head_size * (4 if element == FLOAT32 else 2)
    group_bytes = group_tokens * token_bytes
    tile = np.empty(group_tokens * head_size, np.float32)
    scores = np.empty((shared, group_tokens), np.float32)
    sums = np.empty((shared, head_size), np.float32)
    top = np.empty(shared, np.float32)
    total = np.empty(shared, np.float32)
    for pair in range(begin, end):
        i = pair // heads
        head = pair - i * heads
        queries = query[i, head * shared : (head + 1) * shared]
        sums[:] = 0.0
        top[:] = -np.inf
        total[:] = 0.0
        first_group = first_token[i] // group_tokens
        last_group = (last_token[i] + group_tokens - 1) // group_tokens
        flash_groups = flash_tokens[i] // group_tokens
        for group in range(first_group, last_group):
            if group < flash_groups:
                k_page = table[rows[i], head, 0, group]
                v_page = table[rows[i], head, 1, group]
                pages_read[k_page // pages_per_channel] += 1
                pages_read[v_page // pages_per_channel] += 1
                k_address = _page_address(
                    k_page, pages_per_block, page_bytes, slot, frames, chunk_addresses, shift
                )
                v_address = _page_address(
                    v_page, pages_per_block, page_bytes, slot, frames, chunk_addresses, shift
                )
            else:
                k_address = buffer_address + (rows[i] * heads + head) * 2 * group_bytes
                v_address = k_address + group_bytes
            first: Any = max(first_token[i] - group * group_tokens, 0)
            count: Any = min(last_token[i] - group * group_tokens, group_tokens) - first
            skipped_bytes = first * token_bytes
            _widen(k_address + skipped_bytes, count * head_size, element, tile)
            _add_keys(queries, tile, count, soft_cap, scores, top, total, sums)
            _widen(v_address + skipped_bytes, count * head_size, element, tile)
            _add_values(tile, count, scores, sums)
        for h in range(shared):
            share = np.float32(1.0) / total[h] if total[h] > 0.0 else np.float32(0.0)
            for d in range(head_size):
                out[i, head * shared + h, d] = sums[h, d] * share


attend_pairs = _compiled(_attend)
"""The compiled kernel; releases the interpreter lock."""

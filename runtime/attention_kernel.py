"""The attention kernels: K and V read where they lie, widened tile by tile, softmax on line.

``attend_pairs`` reads the pages of a drive, ``attend_dense`` host memory. All compiled code is in this one file because
the compiler's on-disk cache is renewed when the file that holds the entry point changes. Arguments always have the same
types, so there is one compiled variant of each.

Letters: ``n`` sequences, ``H`` query heads, ``D`` head size, ``C`` channels.
"""

import platform
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba import njit, types
from numba.extending import intrinsic
from numba.np.numpy_support import carray

FLOAT16, BFLOAT16, FLOAT32 = 0, 1, 2
"""Element types of stored keys and values, as the kernels know them."""

ELEMENTS = {"float16": FLOAT16, "bfloat16": BFLOAT16, "float32": FLOAT32}
"""Element types by the name of their dtype."""

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


def _build_half_at(typing_context: Any, address: Any, index: Any) -> Any:
    """Reads a half of an array as a float."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        halves = builder.inttoptr(arguments[0], ir.HalfType().as_pointer())
        return builder.fpext(builder.load(builder.gep(halves, [arguments[1]])), ir.FloatType())

    return types.float32(types.int64, types.int64), build


def _build_prefetch(typing_context: Any, address: Any) -> Any:
    """Asks for a line of memory before it is needed."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = builder.inttoptr(arguments[0], ir.IntType(8).as_pointer())
        word = ir.IntType(32)
        prefetch = builder.module.declare_intrinsic(
            "llvm.prefetch", (pointer.type,), ir.FunctionType(ir.VoidType(), [pointer.type, word, word, word])
        )
        for_reading, near, data = word(0), word(3), word(1)
        builder.call(prefetch, [pointer, for_reading, near, data])
        return context.get_dummy_value()

    return types.void(types.int64), build


# An intrinsic is called without its typing context, which only the compiler knows; hence Any.
_uint16_at: Any = intrinsic(_build_uint16_at)
_uint32_at: Any = intrinsic(_build_uint32_at)
_float_of: Any = intrinsic(_build_float_of)
_half_at: Any = intrinsic(_build_half_at)
_prefetch: Any = intrinsic(_build_prefetch)


@njit(nogil=True, fastmath=_FASTMATH)
def _convert_halves(address: int, count: int, tile: np.ndarray) -> None:
    """Widens halves by the processor's own conversion."""
    for i in range(count):
        tile[i] = _half_at(address, i)


@njit(nogil=True, fastmath=_FASTMATH)
def _rebuild_halves(address: int, count: int, tile: np.ndarray) -> None:
    """Widens halves on processors that cannot convert them.

    A half's exponent and fraction, moved into a float's place, give the number times 2**-112, subnormals
    included; an exponent of all ones stays all ones.
    """
    scale = np.float32(2.0**112)
    halves = carray(_uint16_at(address), (count,))
    for i in range(count):
        word = np.uint32(halves[i])
        bits = np.uint32((word & np.uint32(0x7FFF)) << np.uint32(13))
        if (word & np.uint32(0x7C00)) == np.uint32(0x7C00):
            bits = np.uint32(bits | np.uint32(0x7F800000))
        sign = np.uint32((word & np.uint32(0x8000)) << np.uint32(16))
        tile[i] = _float_of(np.uint32(bits | sign)) * scale


def _converts_halves() -> bool:
    """Tells whether this machine's processor has an instruction that widens halves."""
    return platform.machine().lower() in ("arm64", "aarch64") or bool(
        binding.get_host_cpu_features().get("f16c", False)
    )


_widen_halves: Any = _convert_halves if _converts_halves() else _rebuild_halves


@njit(nogil=True, fastmath=_FASTMATH)
def _widen(address: int, count: int, element: int, tile: np.ndarray) -> None:
    """Widens ``count`` elements at an address into a float32 tile."""
    if element == FLOAT16:
        _widen_halves(address, count, tile)
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
    """Adds ``count`` values of a tile, weighted; four at a time, so that the sums are loaded and stored less often."""
    head_size = sums.shape[1]
    for h in range(sums.shape[0]):
        row = sums[h]
        weights = scores[h]
        fours = count // 4
        for four in range(fours):
            t = 4 * four
            first = tile[t * head_size : (t + 1) * head_size]
            second = tile[(t + 1) * head_size : (t + 2) * head_size]
            third = tile[(t + 2) * head_size : (t + 3) * head_size]
            fourth = tile[(t + 3) * head_size : (t + 4) * head_size]
            a, b, c, e = weights[t], weights[t + 1], weights[t + 2], weights[t + 3]
            for d in range(head_size):
                row[d] += (a * first[d] + b * second[d]) + (c * third[d] + e * fourth[d])
        for t in range(4 * fours, count):
            value = tile[t * head_size : (t + 1) * head_size]
            weight = weights[t]
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
"""The compiled kernel for pages; releases the interpreter lock."""


@njit(nogil=True)
def _prefetch_all(address: int, num_bytes: int) -> None:
    """Asks for a range of memory before it is needed."""
    for line in range(0, num_bytes, 64):
        _prefetch(address + line)


def _attend_dense(
    begin: int,
    end: int,
    query: np.ndarray,
    lengths: np.ndarray,
    key_address: int,
    value_address: int,
    kv_heads: int,
    max_len: int,
    element: int,
    tile_tokens: int,
    out: np.ndarray,
) -> None:
    """Attends for the (sequence, KV head) pairs ``begin`` to ``end`` (exclusive), sequence-major.

    K and V of a sequence are two streams that a processor's own prefetching loses at every change from one to the
    other, so the next tile of one is asked for while the other is worked on.

    Args:
        begin: First pair.
        end: Pair after the last one.
        query: float32 ``[n, H, D]``, scaled.
        lengths: int64 ``[n]``, tokens attended to; later ones are not read.
        key_address: Address of the keys ``[n, kv_heads, max_len, D]`` of elements, contiguous.
        value_address: Likewise of the values.
        kv_heads: KV heads.
        max_len: Tokens that a sequence has room for.
        element: Element type of keys and values.
        tile_tokens: Tokens that are widened together; their float32 should stay in the first-level cache.
        out: float32 ``[n, H, D]``, written; zeros where there is nothing to attend to.
    """
    shared = query.shape[1] // kv_heads
    head_size = query.shape[2]
    token_bytes = head_size * (4 if element == FLOAT32 else 2)
    tile = np.empty(tile_tokens * head_size, np.float32)
    scores = np.empty((shared, tile_tokens), np.float32)
    sums = np.empty((shared, head_size), np.float32)
    top = np.empty(shared, np.float32)
    total = np.empty(shared, np.float32)
    for pair in range(begin, end):
        i = pair // kv_heads
        head = pair - i * kv_heads
        queries = query[i, head * shared : (head + 1) * shared]
        sums[:] = 0.0
        top[:] = -np.inf
        total[:] = 0.0
        for first in range(0, lengths[i], tile_tokens):
            count: Any = min(lengths[i] - first, tile_tokens)
            skipped_bytes = (pair * max_len + first) * token_bytes
            _prefetch_all(value_address + skipped_bytes, count * token_bytes)
            _widen(key_address + skipped_bytes, count * head_size, element, tile)
            _add_keys(queries, tile, count, np.float32(0.0), scores, top, total, sums)
            _prefetch_all(key_address + skipped_bytes + count * token_bytes, count * token_bytes)
            _widen(value_address + skipped_bytes, count * head_size, element, tile)
            _add_values(tile, count, scores, sums)
        for h in range(shared):
            share = np.float32(1.0) / total[h] if total[h] > 0.0 else np.float32(0.0)
            for d in range(head_size):
                out[i, head * shared + h, d] = sums[h, d] * share


attend_dense = _compiled(_attend_dense)
"""The compiled kernel for host memory; releases the interpreter lock."""

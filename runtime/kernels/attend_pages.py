"""Dense attention over the pages of a drive.

Letters: ``n`` sequences, ``H`` query heads, ``D`` head size, ``C`` flash channels.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from runtime.kernels.compiling import SOURCE_DIGEST, entry_point
from runtime.kernels.elements import FLOAT32, widen
from runtime.kernels.page_address import page_address
from runtime.kernels.softmax import add_keys, add_values


def _build(digest: int) -> Callable[..., None]:
    """Returns the kernel, bound to the source it is made of; see :func:`runtime.kernels.compiling.entry_point`."""

    def attend_pages(
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
        _ = digest  # what the compiler keeps is renewed with it
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
                    k_address = page_address(
                        k_page, pages_per_block, page_bytes, slot, frames, chunk_addresses, shift
                    )
                    v_address = page_address(
                        v_page, pages_per_block, page_bytes, slot, frames, chunk_addresses, shift
                    )
                else:
                    k_address = buffer_address + (rows[i] * heads + head) * 2 * group_bytes
                    v_address = k_address + group_bytes
                first: Any = max(first_token[i] - group * group_tokens, 0)
                count: Any = min(last_token[i] - group * group_tokens, group_tokens) - first
                skipped_bytes = first * token_bytes
                widen(k_address + skipped_bytes, count * head_size, element, tile)
                add_keys(queries, tile, count, soft_cap, scores, top, total, sums)
                widen(v_address + skipped_bytes, count * head_size, element, tile)
                add_values(tile, count, scores, sums)
            for h in range(shared):
                share = np.float32(1.0) / total[h] if total[h] > 0.0 else np.float32(0.0)
                for d in range(head_size):
                    out[i, head * shared + h, d] = sums[h, d] * share

    return attend_pages


attend_pages: Any = entry_point(_build(SOURCE_DIGEST))
"""The compiled kernel for pages; releases the interpreter lock."""

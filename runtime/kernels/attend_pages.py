"""Dense attention over the pages of a drive.

Letters: ``n`` sequences, ``H`` query heads, ``D`` head size, ``C`` flash channels.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from runtime.kernels.addresses import Pages, list_tokens, page_address
from runtime.kernels.compiling import SOURCE_DIGEST, entry_point, inner
from runtime.kernels.elements import FLOAT32
from runtime.kernels.packed_call import address_of, call_of
from runtime.kernels.prefetch import prefetch_all
from runtime.kernels.softmax import add_keys, add_values, divide, forget, list_distances, tell
from runtime.kernels.thread_team import share_parts


@inner
def _attend_part(
    part: int,
    edges: np.ndarray,
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
    slopes: np.ndarray,
    pages: Pages,
    out: np.ndarray,
    statistics: np.ndarray,
    pages_read: np.ndarray,
) -> None:
    """Attends for the pairs of a part; arguments as in :data:`attend_pages`."""
    heads = table.shape[1]
    shared = query.shape[1] // heads
    head_size = query.shape[2]
    token_bytes = head_size * (4 if element == FLOAT32 else 2)
    group_bytes = group_tokens * token_bytes
    addresses = np.empty(group_tokens, np.int64)
    scores = np.empty((shared, group_tokens), np.float32)
    distances = np.empty(group_tokens, np.float32)
    sums = np.empty((shared, head_size), np.float32)
    top = np.empty(shared, np.float32)
    total = np.empty(shared, np.float32)
    for pair in range(edges[part], edges[part + 1]):
        i = pair // heads
        head = pair - i * heads
        queries = query[i, head * shared : (head + 1) * shared]
        own_slopes = slopes[head * shared : (head + 1) * shared]
        forget(sums, top, total)
        first_group = first_token[i] // group_tokens
        last_group = (last_token[i] + group_tokens - 1) // group_tokens
        flash_groups = flash_tokens[i] // group_tokens
        buffered = buffer_address + (rows[i] * heads + head) * 2 * group_bytes
        k_next = buffered
        for group in range(first_group - 1, last_group):
            k_address = k_next
            v_address = buffered + group_bytes
            if group + 1 < min(flash_groups, last_group):
                k_page = table[rows[i], head, 0, group + 1]
                pages_read[part, k_page // pages.pages_per_channel] += 1
                k_next = page_address(k_page, pages)
            else:
                k_next = buffered
            if group < first_group:
                continue
            if group < flash_groups:
                v_page = table[rows[i], head, 1, group]
                pages_read[part, v_page // pages.pages_per_channel] += 1
                v_address = page_address(v_page, pages)
            first: Any = max(first_token[i] - group * group_tokens, 0)
            count: Any = min(last_token[i] - group * group_tokens, group_tokens) - first
            prefetch_all(v_address + first * token_bytes, count * token_bytes)
            list_tokens(k_address + first * token_bytes, count, token_bytes, addresses)
            farthest = last_token[i] - 1 - group * group_tokens - first
            list_distances(own_slopes, farthest, count, distances)
            add_keys(
                queries, addresses, count, element, soft_cap, own_slopes, distances, scores, top, total, sums
            )  # fmt: skip
            prefetch_all(k_next, group_bytes)
            list_tokens(v_address + first * token_bytes, count, token_bytes, addresses)
            add_values(addresses, count, element, scores, sums)
        divide(sums, total, out[i, head * shared : (head + 1) * shared])
        tell(top, total, i, head * shared, statistics)


def _build(digest: int) -> Callable[..., None]:
    """Returns the kernel, bound to the source it is made of; see :func:`runtime.kernels.compiling.entry_point`."""

    def attend_pages(
        team: np.ndarray,
        edges: np.ndarray,
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
        slopes: np.ndarray,
        pages: Pages,
        out: np.ndarray,
        statistics: np.ndarray,
        pages_read: np.ndarray,
    ) -> None:
        """Attends for (sequence, KV head) pairs, sequence-major, cut into parts that a team of threads shares.

        Pages lie in no order that a processor's own prefetching knows, so the next one is asked for while one is worked on.

        Args:
            team: Threads that take part; see :mod:`runtime.kernels.thread_team`.
            edges: int64 ``[parts + 1]``, where the pairs of each part begin and those of the last one end.
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
            slopes: float32 ``[H]``, what a score loses per token of distance; ``[0]`` for none.
            pages: Where pages lie.
            out: float32 ``[n, H, D]``, written; zeros where there is nothing to attend to.
            statistics: float32 ``[n, H, 2]``, written: the highest score, and the sum of ``exp(score - highest)``; of no
                sequence where nobody asks.
            pages_read: int64 ``[parts, C]``, counted up.
        """
        _ = digest  # what the compiler keeps is renewed with it
        arguments = (
            edges, query, rows, first_token, last_token, flash_tokens, table, buffer_address, group_tokens, element,
            soft_cap, slopes, pages, out, statistics, pages_read,
        )  # fmt: skip
        share_parts(team, len(edges) - 1, call_of(_attend_part, arguments), address_of(arguments))

    return attend_pages


attend_pages: Any = entry_point(_build(SOURCE_DIGEST))
"""The compiled kernel for pages; releases the interpreter lock."""

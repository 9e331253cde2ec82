"""Dense attention over host memory.

Letters: ``n`` sequences, ``H`` query heads, ``D`` head size.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from runtime.kernels.addresses import list_tokens
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
    first_token: np.ndarray,
    last_token: np.ndarray,
    soft_cap: np.float32,
    slopes: np.ndarray,
    key_address: int,
    value_address: int,
    kv_heads: int,
    max_len: int,
    element: int,
    tile_tokens: int,
    out: np.ndarray,
    statistics: np.ndarray,
) -> None:
    """Attends for the pairs of a part; arguments as in :data:`attend_memory`."""
    shared = query.shape[1] // kv_heads
    head_size = query.shape[2]
    token_bytes = head_size * (4 if element == FLOAT32 else 2)
    addresses = np.empty(tile_tokens, np.int64)
    scores = np.empty((shared, tile_tokens), np.float32)
    distances = np.empty(tile_tokens, np.float32)
    sums = np.empty((shared, head_size), np.float32)
    top = np.empty(shared, np.float32)
    total = np.empty(shared, np.float32)
    for pair in range(edges[part], edges[part + 1]):
        i = pair // kv_heads
        head = pair - i * kv_heads
        queries = query[i, head * shared : (head + 1) * shared]
        own_slopes = slopes[head * shared : (head + 1) * shared]
        forget(sums, top, total)
        first = first_token[i]
        while first < last_token[i]:
            slot = first % max_len
            count: Any = min(last_token[i] - first, min(tile_tokens, max_len - slot))  # noqa: PLW3301
            skipped_bytes = (pair * max_len + slot) * token_bytes
            prefetch_all(value_address + skipped_bytes, count * token_bytes)
            list_tokens(key_address + skipped_bytes, count, token_bytes, addresses)
            list_distances(own_slopes, last_token[i] - 1 - first, count, distances)
            add_keys(
                queries, addresses, count, element, soft_cap, own_slopes, distances, scores, top, total, sums
            )  # fmt: skip
            prefetch_all(key_address + skipped_bytes + count * token_bytes, count * token_bytes)
            list_tokens(value_address + skipped_bytes, count, token_bytes, addresses)
            add_values(addresses, count, element, scores, sums)
            first += count
        divide(sums, total, out[i, head * shared : (head + 1) * shared])
        tell(top, total, i, head * shared, statistics)


def _build(digest: int) -> Callable[..., None]:
    """Returns the kernel, bound to the source it is made of; see :func:`runtime.kernels.compiling.entry_point`."""

    def attend_memory(
        team: np.ndarray,
        edges: np.ndarray,
        query: np.ndarray,
        first_token: np.ndarray,
        last_token: np.ndarray,
        soft_cap: np.float32,
        slopes: np.ndarray,
        key_address: int,
        value_address: int,
        kv_heads: int,
        max_len: int,
        element: int,
        tile_tokens: int,
        out: np.ndarray,
        statistics: np.ndarray,
    ) -> None:
        """Attends for (sequence, KV head) pairs, sequence-major, cut into parts that a team of threads shares.

        K and V of a sequence are two streams that a processor's own prefetching loses at every change from one to the
        other, so the next tile of one is asked for while the other is worked on.

        Args:
            team: Threads that take part; see :mod:`runtime.kernels.thread_team`.
            edges: int64 ``[parts + 1]``, where the pairs of each part begin and those of the last one end.
            query: float32 ``[n, H, D]``, scaled.
            first_token: int64 ``[n]``, oldest token attended to; older ones are not read.
            last_token: int64 ``[n]``, token after the newest one; later ones are not read.
            soft_cap: Scores are ``soft_cap * tanh(score / soft_cap)``; 0 for none.
            slopes: float32 ``[H]``, what a score loses per token of distance; ``[0]`` for none.
            key_address: Address of the keys ``[n, kv_heads, max_len, D]`` of elements, contiguous.
            value_address: Likewise of the values.
            kv_heads: KV heads.
            max_len: Tokens that a sequence has room for. A sequence may be longer: token ``t`` lies in the room of
                ``t % max_len``, and no more than ``max_len`` tokens are attended to.
            element: Element type of keys and values.
            tile_tokens: Tokens that are worked on together; they should stay in the first-level cache.
            out: float32 ``[n, H, D]``, written; zeros where there is nothing to attend to.
            statistics: float32 ``[n, H, 2]``, written: the highest score, and the sum of ``exp(score - highest)``; of no
                sequence where nobody asks.
        """
        _ = digest  # what the compiler keeps is renewed with it
        arguments = (
            edges, query, first_token, last_token, soft_cap, slopes, key_address, value_address, kv_heads, max_len,
            element, tile_tokens, out, statistics,
        )  # fmt: skip
        share_parts(team, len(edges) - 1, call_of(_attend_part, arguments), address_of(arguments))

    return attend_memory


attend_memory: Any = entry_point(_build(SOURCE_DIGEST))
"""The compiled kernel for host memory; releases the interpreter lock."""

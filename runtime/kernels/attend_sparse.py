"""Sparse attention (SparF) over the pages of a drive.

The algorithm is SparQ's, read by pages: InstInfer, arXiv 2409.04992, section 4; SparQ Attention, arXiv 2312.04985.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from runtime.kernels.compiling import SOURCE_DIGEST, entry_point, inner
from runtime.kernels.packed_call import address_of, call_of
from runtime.kernels.sparse_request import Chosen, Layout, Request, Scratch
from runtime.kernels.step_one import ask_for_lanes, choose_tokens
from runtime.kernels.step_two import TILE_TOKENS, ask_for_tokens, attend_to_tokens
from runtime.kernels.thread_team import share_parts

BYTES_AHEAD = 64 << 10
"""What a pair asks for before it is needed: enough to keep memory busy, and little beside a second-level cache."""


@inner
def _attend_part(
    part: int, edges: np.ndarray, request: Request, layout: Layout, out: np.ndarray, every: Chosen
) -> None:
    """Attends for the pairs of a part; arguments as in :data:`attend_sparse`."""
    begin, end = edges[part], edges[part + 1]
    own = slice(part, part + 1)
    chosen = Chosen(every.channels, every.tokens, every.pages_read[own], every.stored[own])
    heads = layout.table.shape[1]
    shared = request.query.shape[1] // heads
    head_size = request.query.shape[2]
    num_channels = chosen.channels.shape[2]
    longest = 0
    for i in range(len(request.rows)):
        longest = max(longest, request.last_token[i] - request.first_token[i])
    groups_ahead = max(1, BYTES_AHEAD // (num_channels * layout.channel_tokens * layout.element_bytes))
    scratch = Scratch(
        np.empty(head_size, np.float32),
        np.empty((2, shared, num_channels), np.float32),
        np.empty((2, groups_ahead + 1, num_channels), np.int64),
        np.empty((shared, longest), np.float32),
        np.empty(longest, np.float32),
        np.empty(longest if len(request.slopes) > 0 else 0, np.float32),
        np.empty((2, shared), np.float32),
        np.empty(chosen.tokens.shape[2], np.int64),
        np.empty(chosen.tokens.shape[2], np.int64),
        np.empty((shared, head_size), np.float32),
        np.empty((shared, TILE_TOKENS), np.float32),
        np.empty((shared, head_size), np.float32),
        np.empty(shared, np.float32),
        np.empty(shared, np.float32),
    )
    for pair in range(begin - 1, end + 1):
        if pair + 1 < end:
            ask_for_lanes(pair + 1, request, layout, chosen, scratch)
        if begin <= pair < end:
            choose_tokens(pair, request, layout, chosen, scratch)
        if pair - 1 >= begin:
            attend_to_tokens(pair - 1, request, layout, chosen, scratch, out)
        if begin <= pair < end:
            ask_for_tokens(pair, request, layout, chosen, scratch, BYTES_AHEAD)


def _build(digest: int) -> Callable[..., None]:
    """Returns the kernel, bound to the source it is made of; see :func:`runtime.kernels.compiling.entry_point`."""

    def attend_sparse(
        team: np.ndarray, edges: np.ndarray, request: Request, layout: Layout, out: np.ndarray, chosen: Chosen
    ) -> None:
        """Attends for (sequence, KV head) pairs, sequence-major, cut into parts that a team of threads shares.

        Neither step reads in an order that a processor's own prefetching knows. So while one pair chooses its tokens, those of
        the pair before it and the channels of the one behind it are on their way.

        Args:
            team: Threads that take part; see :mod:`runtime.kernels.thread_team`.
            edges: int64 ``[parts + 1]``, where the pairs of each part begin and those of the last one end.
            request: What is attended to.
            layout: Where K and V lie.
            out: float32 ``[n, H, D]``, written.
            chosen: Written; pages read and tokens stored are counted up.
        """
        _ = digest  # what the compiler keeps is renewed with it
        arguments = (edges, request, layout, out, chosen)
        share_parts(team, len(edges) - 1, call_of(_attend_part, arguments), address_of(arguments))

    return attend_sparse


attend_sparse: Any = entry_point(_build(SOURCE_DIGEST))
"""The compiled kernel for sparse attention; releases the interpreter lock."""

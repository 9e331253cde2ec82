"""Step one of sparse attention: chooses tokens by the channels in which the query is largest.

Arguments as in :mod:`runtime.kernels.sparse_request`.
"""

from typing import Any

import numpy as np

from runtime.kernels.addresses import page_address, quotient
from runtime.kernels.compiling import inner
from runtime.kernels.prefetch import prefetch_all
from runtime.kernels.selection import choose_largest
from runtime.kernels.softmax import bend_scores, list_distances, slope_of, weigh
from runtime.kernels.sparse_request import Chosen, Layout, Request, Scratch
from runtime.kernels.sparse_scores import score_lanes, score_tokens


@inner
def ask_for_lanes(pair: int, request: Request, layout: Layout, chosen: Chosen, scratch: Scratch) -> None:
    """Chooses the channels of a pair, and asks for them in the first channel groups."""
    heads = layout.table.shape[1]
    i = pair // heads
    head = pair - i * heads
    shared = scratch.weights.shape[0]
    queries = request.query[i, head * shared : (head + 1) * shared]
    prune_query(
        queries, request.scale, scratch.magnitudes, chosen.channels[i, head], scratch.pruned[pair % 2]
    )
    first, last = _lane_groups(i, request, layout)
    for group in range(first, min(last, first + scratch.lanes.shape[1] - 1)):
        _find_lanes(pair, group, request, layout, chosen, scratch)


@inner
def choose_tokens(pair: int, request: Request, layout: Layout, chosen: Chosen, scratch: Scratch) -> None:
    """Scores all tokens of a pair by its channels and chooses those that weigh most, and the newest."""
    heads, group_tokens, channel_tokens = layout.table.shape[1], layout.group_tokens, layout.channel_tokens
    i = pair // heads
    head = pair - i * heads
    row, first, last = request.rows[i], request.first_token[i], request.last_token[i]
    pruned, channels, lanes = scratch.pruned[pair % 2], chosen.channels[i, head], scratch.lanes[pair % 2]
    token_bytes = request.query.shape[2] * layout.element_bytes

    in_lanes = min(layout.lane_tokens[i], last)
    first_group, last_group = _lane_groups(i, request, layout)
    ahead = len(lanes) - 1
    for group in range(first_group, last_group):
        if group + ahead < last_group:
            _find_lanes(pair, group + ahead, request, layout, chosen, scratch)
        skipped: Any = max(first - group * channel_tokens, 0)
        count: Any = min(in_lanes - group * channel_tokens, channel_tokens) - skipped
        offset = group * channel_tokens + skipped - first
        score_lanes(
            pruned, lanes[group % len(lanes)], skipped, count, layout.element, scratch.weights, offset
        )

    tail = max(first, in_lanes)
    for group in range(tail // group_tokens, (last + group_tokens - 1) // group_tokens):
        if group * group_tokens < layout.flash_tokens[i]:
            page = layout.table[row, head, 0, group]
            chosen.pages_read[0, 0, quotient(page, layout.pages.pages_per_channel)] += 1
            address = page_address(page, layout.pages)
        else:
            address = layout.buffer_address + (row * heads + head) * 2 * group_tokens * token_bytes
        skipped = max(tail - group * group_tokens, 0)
        count = min(last - group * group_tokens, group_tokens) - skipped
        score_tokens(
            pruned, channels, address + skipped * token_bytes, token_bytes, count, layout.element,
            scratch.weights, group * group_tokens + skipped - first,
        )  # fmt: skip

    shared = scratch.weights.shape[0]
    slopes = request.slopes[head * shared : (head + 1) * shared]
    list_distances(slopes, last - 1 - first, last - first, scratch.distances)
    weigh_and_sum(scratch.weights, last - first, request.soft_cap, slopes, scratch.distances, scratch.summed)
    num, newest = request.num_tokens[i], request.num_newest[i]
    tokens = chosen.tokens[i, head, :num]
    choose_largest(scratch.summed, last - first - newest, num - newest, tokens)
    for t in range(newest):
        tokens[num - newest + t] = last - first - newest + t
    for h in range(scratch.weights.shape[0]):
        alpha = np.float32(0.0)
        for t in range(num):
            alpha += scratch.weights[h, tokens[t]]
        scratch.alpha[pair % 2, h] = alpha
    for t in range(num):
        tokens[t] += first
    chosen.tokens[i, head, num:] = -1


@inner
def _lane_groups(i: int, request: Request, layout: Layout) -> tuple[int, int]:
    """Returns the first channel group that a sequence reads and the one after the last; equal where it reads none."""
    in_lanes = min(layout.lane_tokens[i], request.last_token[i])
    first = request.first_token[i] // layout.channel_tokens
    return first, max(first, (in_lanes + layout.channel_tokens - 1) // layout.channel_tokens)


@inner
def _find_lanes(
    pair: int, group: int, request: Request, layout: Layout, chosen: Chosen, scratch: Scratch
) -> None:
    """Finds where the chosen channels of a group lie, and asks for them."""
    heads, channels_per_page = layout.table.shape[1], request.query.shape[2] // layout.channel_table.shape[2]
    i = pair // heads
    head = pair - i * heads
    lane_bytes = layout.channel_tokens * layout.element_bytes
    channels, counts = chosen.channels[i, head], chosen.pages_read[0, 0]
    lanes = scratch.lanes[pair % 2]
    addresses = lanes[group % len(lanes)]
    table = layout.channel_table[request.rows[i], head]
    before = np.int64(-1)
    address = np.int64(0)
    for c in range(len(channels)):
        part = quotient(channels[c], channels_per_page)
        if part != before:
            before = part
            page = table[np.uint64(part), np.uint64(group)]
            counts[np.uint64(quotient(page, layout.pages.pages_per_channel))] += 1
            address = page_address(page, layout.pages)
        addresses[c] = address + (channels[c] - part * channels_per_page) * lane_bytes
        prefetch_all(addresses[c], lane_bytes)


@inner
def prune_query(
    queries: np.ndarray, scale: np.float32, magnitudes: np.ndarray, chosen: np.ndarray, pruned: np.ndarray
) -> None:
    """Chooses the channels of the largest summed ``|q|``, and scales what is left of each query for the loss of the others.

    Args:
        queries: float32 ``[G, D]``, not scaled.
        scale: Factor of whole scores; that of pruned ones is ``scale / sqrt(|q[i]|_1 / |q|_1)``.
        magnitudes: float32 ``[D]``, written.
        chosen: int64 ``[r]``, written: channels, ascending.
        pruned: float32 ``[G, r]``, written.
    """
    shared, head_size = queries.shape
    magnitudes[:] = 0.0
    for h in range(shared):
        for d in range(head_size):
            magnitudes[d] += abs(queries[h, d])
    choose_largest(magnitudes, head_size, len(chosen), chosen)
    for h in range(shared):
        whole = np.float32(0.0)
        kept = np.float32(0.0)
        for d in range(head_size):
            whole += abs(queries[h, d])
        for c in range(len(chosen)):
            kept += abs(queries[h, chosen[c]])
        factor = scale * np.sqrt(whole / kept) if kept > 0.0 else scale
        for c in range(len(chosen)):
            pruned[h, c] = queries[h, chosen[c]] * factor


@inner
def weigh_and_sum(
    scores: np.ndarray, count: int, soft_cap: np.float32, slopes: np.ndarray, distances: np.ndarray,
    summed: np.ndarray,
) -> None:  # fmt: skip
    """Turns scores into weights that sum to 1, and sums them over the query heads.

    Args:
        scores: float32 ``[G, S]``; written: weights.
        count: Tokens.
        soft_cap: Caps scores; 0 for none.
        slopes: float32 ``[G]``, or ``[0]`` for none.
        distances: float32 ``[S]``, read where there are slopes.
        summed: float32 ``[S]``, written.
    """
    for h in range(scores.shape[0]):
        row = scores[h]
        highest = bend_scores(row, count, soft_cap, slope_of(slopes, h), distances)
        total = weigh(row, count, highest)
        share = np.float32(1.0) / total
        if h == 0:
            for t in range(count):
                row[t] *= share
                summed[t] = row[t]
        else:
            for t in range(count):
                row[t] *= share
                summed[t] += row[t]

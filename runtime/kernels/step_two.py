"""Step two of sparse attention: to the tokens that were chosen. Arguments as in :mod:`runtime.kernels.sparse_request`."""

import numpy as np

from runtime.kernels.addresses import page_address, quotient
from runtime.kernels.compiling import inner
from runtime.kernels.prefetch import prefetch_tokens
from runtime.kernels.softmax import add_keys, add_values, forget
from runtime.kernels.sparse_request import Chosen, Layout, Request, Scratch

TILE_TOKENS = 128
"""Tokens that are worked on together: many, since they are read once and lie apart anyway."""


@inner
def ask_for_tokens(
    pair: int, request: Request, layout: Layout, chosen: Chosen, scratch: Scratch, bytes_ahead: int
) -> None:
    """Finds the keys and values of the chosen tokens, and asks for the first ``bytes_ahead`` of them."""
    heads, group_tokens, pages = layout.table.shape[1], layout.group_tokens, layout.pages
    i = pair // heads
    head = pair - i * heads
    row, num = request.rows[i], request.num_tokens[i]
    token_bytes = request.query.shape[2] * layout.element_bytes
    in_flash = min(layout.flash_tokens[i], request.last_token[i])
    tail = max(request.first_token[i], min(layout.lane_tokens[i], in_flash))
    read_by_step_one = tail // group_tokens if tail < in_flash else layout.table.shape[3]  # and later ones
    flash_groups = layout.flash_tokens[i] // group_tokens
    buffered = layout.buffer_address + (row * heads + head) * 2 * group_tokens * token_bytes
    tokens, counts = chosen.tokens[i, head], chosen.pages_read[0, 1]
    k_pages, v_pages = layout.table[row, head, 0], layout.table[row, head, 1]
    before = np.int64(-1)
    k_address = v_address = np.int64(0)
    for t in range(num):
        group = quotient(tokens[t], group_tokens)
        if group != before:
            before = group
            k_address = buffered
            v_address = buffered + group_tokens * token_bytes
            if group < flash_groups:
                k_page, v_page = k_pages[np.uint64(group)], v_pages[np.uint64(group)]
                if group < read_by_step_one:
                    counts[np.uint64(quotient(k_page, pages.pages_per_channel))] += 1
                counts[np.uint64(quotient(v_page, pages.pages_per_channel))] += 1
                k_address = page_address(k_page, pages)
                v_address = page_address(v_page, pages)
        skipped_bytes = (tokens[t] - group * group_tokens) * token_bytes
        scratch.keys[t] = k_address + skipped_bytes
        scratch.values[t] = v_address + skipped_bytes
    in_lanes = min(layout.lane_tokens[i], request.last_token[i])
    chosen.stored[0, 0] += _count_before(tokens, num, in_lanes)
    chosen.stored[0, 1] += _count_before(tokens, num, in_flash)
    ahead = min(num, max(group_tokens, bytes_ahead // (2 * token_bytes)))
    prefetch_tokens(scratch.keys[:ahead], token_bytes)
    prefetch_tokens(scratch.values[:ahead], token_bytes)


@inner
def _count_before(tokens: np.ndarray, num: int, end: int) -> int:
    """Returns how many of the first ``num`` tokens, ascending, are older than ``end``; few are not."""
    while num > 0 and tokens[num - 1] >= end:
        num -= 1
    return num


@inner
def attend_to_tokens(
    pair: int, request: Request, layout: Layout, chosen: Chosen, scratch: Scratch, out: np.ndarray
) -> None:
    """Attends to the tokens that :func:`ask_for_tokens` found, and adds what the others weigh, to float32 ``[n, H, D]``."""
    heads = layout.table.shape[1]
    i = pair // heads
    head = pair - i * heads
    num = request.num_tokens[i]
    queries, sums, top, total = scratch.queries, scratch.sums, scratch.top, scratch.total
    shared, head_size = queries.shape
    for h in range(shared):
        for d in range(head_size):
            queries[h, d] = request.query[i, head * shared + h, d] * request.scale
    slopes = request.slopes[head * shared : (head + 1) * shared]
    if len(slopes) > 0:
        tokens = chosen.tokens[i, head]
        for t in range(num):
            scratch.distances[t] = request.last_token[i] - 1 - tokens[t]
    forget(sums, top, total)
    for start in range(0, num, TILE_TOKENS):
        count = min(TILE_TOKENS, num - start)
        add_keys(
            queries,
            scratch.keys[start:],
            count,
            layout.element,
            request.soft_cap,
            slopes,
            scratch.distances[start:],
            scratch.scores,
            top,
            total,
            sums,
        )
        add_values(scratch.values[start:], count, layout.element, scratch.scores, sums)
    row_sums = request.value_sums[request.rows[i], head]
    for h in range(shared):
        row = out[i, head * shared + h]
        share = np.float32(1.0) / total[h]
        if request.mean_value:
            alpha = scratch.alpha[pair % 2, h]
            share *= alpha
            rest = (np.float32(1.0) - alpha) / np.float32(request.last_token[i] - request.first_token[i])
            for d in range(head_size):
                row[d] = sums[h, d] * share + rest * row_sums[d]
        else:
            for d in range(head_size):
                row[d] = sums[h, d] * share

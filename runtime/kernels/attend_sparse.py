"""Sparse attention (SparF) over the pages of a drive.

The algorithm is SparQ's, read by pages: InstInfer, arXiv 2409.04992, section 4; SparQ Attention, arXiv 2312.04985.

Letters: ``n`` sequences, ``H`` query heads, ``K`` KV heads, ``D`` head size, ``C`` flash channels, ``r`` channels of the query.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from runtime.kernels.addresses import Pages, page_address
from runtime.kernels.compiling import SOURCE_DIGEST, entry_point
from runtime.kernels.elements import FLOAT32
from runtime.kernels.prefetch import prefetch_tokens
from runtime.kernels.selection import choose_largest
from runtime.kernels.softmax import add_keys, add_values
from runtime.kernels.sparse_scores import prune_query, score_channel_pages, score_tokens, weigh_and_sum


def _build(digest: int) -> Callable[..., None]:
    """Returns the kernel, bound to the source it is made of; see :func:`runtime.kernels.compiling.entry_point`."""

    def attend_sparse(
        begin: int,
        end: int,
        query: np.ndarray,
        scale: np.float32,
        soft_cap: np.float32,
        rows: np.ndarray,
        first_token: np.ndarray,
        last_token: np.ndarray,
        flash_tokens: np.ndarray,
        lane_tokens: np.ndarray,
        num_tokens: np.ndarray,
        num_newest: np.ndarray,
        value_sums: np.ndarray,
        mean_value: bool,
        table: np.ndarray,
        channel_table: np.ndarray,
        buffer_address: int,
        group_tokens: int,
        channel_tokens: int,
        element: int,
        pages: Pages,
        out: np.ndarray,
        channels: np.ndarray,
        tokens: np.ndarray,
        pages_read: np.ndarray,
    ) -> None:
        """Attends for the (sequence, KV head) pairs ``begin`` to ``end`` (exclusive), sequence-major.

        Args:
            begin: First pair.
            end: Pair after the last one.
            query: float32 ``[n, H, D]``, not scaled.
            scale: Factor of the scores.
            soft_cap: Scores are ``soft_cap * tanh(score / soft_cap)``, in both steps; 0 for none.
            rows: int64 ``[n]``, the sequence in mapping tables and buffer.
            first_token: int64 ``[n]``, oldest token attended to.
            last_token: int64 ``[n]``, token after the newest one; more than ``num_tokens`` lie between the two.
            flash_tokens: int64 ``[n]``, tokens that are in flash, whole groups; later ones are in the buffer.
            lane_tokens: int64 ``[n]``, those of them whose keys are stored by channel, too.
            num_tokens: int64 ``[n]``, tokens chosen, at least 1.
            num_newest: int64 ``[n]``, the newest of them, chosen whatever they weigh.
            value_sums: float32 ``[rows, K, D]``, sums of the values of all tokens attended to.
            mean_value: What tokens that are not chosen weigh goes to the mean of the values.
            table: int64 ``[rows, K, 2, groups]``, page numbers.
            channel_table: int64 ``[rows, K, D / channels of a page, channel groups]``, page numbers.
            buffer_address: Address of the layer's buffer ``[rows, K, 2, group_tokens, D]`` of elements.
            group_tokens: Tokens in a token page.
            channel_tokens: Tokens in a channel page.
            element: Element type of pages and buffer.
            pages: Where pages lie.
            out: float32 ``[n, H, D]``, written.
            channels: int64 ``[n, K, r]``, written: channels of step one, ascending.
            tokens: int64 ``[n, K, largest num_tokens]``, written: tokens of step two, ascending.
            pages_read: int64 ``[2, C]``, counted up, by step.
        """
        _ = digest  # what the compiler keeps is renewed with it
        heads = table.shape[1]
        shared = query.shape[1] // heads
        head_size = query.shape[2]
        channels_per_page = head_size // channel_table.shape[2]
        token_bytes = head_size * (4 if element == FLOAT32 else 2)
        group_bytes = group_tokens * token_bytes
        longest = 0
        for i in range(len(rows)):
            longest = max(longest, last_token[i] - first_token[i])
        queries = np.empty((shared, head_size), np.float32)
        magnitudes = np.empty(head_size, np.float32)
        pruned = np.empty((shared, channels.shape[2]), np.float32)
        addresses = np.empty(channels.shape[2], np.int64)
        following = np.empty(channels.shape[2], np.int64)
        weights = np.empty((shared, longest), np.float32)
        summed = np.empty(longest, np.float32)
        k_addresses = np.empty(tokens.shape[2], np.int64)
        v_addresses = np.empty(tokens.shape[2], np.int64)
        scores = np.empty((shared, group_tokens), np.float32)
        sums = np.empty((shared, head_size), np.float32)
        top = np.empty(shared, np.float32)
        total = np.empty(shared, np.float32)
        for pair in range(begin, end):
            i = pair // heads
            head = pair - i * heads
            row = rows[i]
            queries[:] = query[i, head * shared : (head + 1) * shared]
            wanted = channels[i, head]
            chosen = tokens[i, head]
            first = first_token[i]
            last = last_token[i]
            in_flash = min(flash_tokens[i], last)
            in_lanes = min(lane_tokens[i], last)
            buffered = buffer_address + (row * heads + head) * 2 * group_bytes

            prune_query(queries, scale, magnitudes, wanted, pruned)
            if first < in_lanes:
                score_channel_pages(
                    pruned, wanted, first, in_lanes, channel_table[row, head], channel_tokens, channels_per_page,
                    element, pages, addresses, following, weights, pages_read[0],
                )  # fmt: skip
            tail = max(first, in_lanes)
            first_tail_group = tail // group_tokens
            for group in range(first_tail_group, (last + group_tokens - 1) // group_tokens):
                if group * group_tokens < in_flash:
                    page = table[row, head, 0, group]
                    pages_read[0, page // pages.pages_per_channel] += 1
                    address = page_address(page, pages)
                else:
                    address = buffered
                skipped: Any = max(tail - group * group_tokens, 0)
                count: Any = min(last - group * group_tokens, group_tokens) - skipped
                score_tokens(
                    pruned, wanted, address + skipped * token_bytes, token_bytes, count, element,
                    weights, group * group_tokens + skipped - first,
                )  # fmt: skip

            weigh_and_sum(weights, last - first, soft_cap, summed)
            num = num_tokens[i]
            older = num - num_newest[i]
            choose_largest(summed, last - first - num_newest[i], older, chosen)
            for t in range(older):
                chosen[t] += first
            for t in range(num_newest[i]):
                chosen[older + t] = last - num_newest[i] + t

            before = np.int64(-1)
            for t in range(num):
                group = chosen[t] // group_tokens
                skipped_bytes = (chosen[t] - group * group_tokens) * token_bytes
                if chosen[t] < flash_tokens[i]:
                    k_page = table[row, head, 0, group]
                    v_page = table[row, head, 1, group]
                    if group != before:
                        before = group
                        if group < first_tail_group or tail >= in_flash:
                            pages_read[1, k_page // pages.pages_per_channel] += 1
                        pages_read[1, v_page // pages.pages_per_channel] += 1
                    k_addresses[t] = page_address(k_page, pages) + skipped_bytes
                    v_addresses[t] = page_address(v_page, pages) + skipped_bytes
                else:
                    k_addresses[t] = buffered + skipped_bytes
                    v_addresses[t] = buffered + group_bytes + skipped_bytes

            for h in range(shared):
                for d in range(head_size):
                    queries[h, d] *= scale
            sums[:] = 0.0
            top[:] = -np.inf
            total[:] = 0.0
            for start in range(0, num, group_tokens):
                end_of_tile = min(start + group_tokens, num)
                prefetch_tokens(v_addresses[start:end_of_tile], token_bytes)
                add_keys(
                    queries,
                    k_addresses[start:],
                    end_of_tile - start,
                    element,
                    soft_cap,
                    scores,
                    top,
                    total,
                    sums,
                )
                prefetch_tokens(k_addresses[end_of_tile : min(end_of_tile + group_tokens, num)], token_bytes)
                add_values(v_addresses[start:], end_of_tile - start, element, scores, sums)

            for h in range(shared):
                share = np.float32(1.0) / total[h]
                if mean_value:
                    alpha = np.float32(0.0)
                    for t in range(num):
                        alpha += weights[h, chosen[t] - first]
                    share *= alpha
                    rest = (np.float32(1.0) - alpha) / np.float32(last - first)
                    for d in range(head_size):
                        out[i, head * shared + h, d] = sums[h, d] * share + rest * value_sums[row, head, d]
                else:
                    for d in range(head_size):
                        out[i, head * shared + h, d] = sums[h, d] * share

    return attend_sparse


attend_sparse: Any = entry_point(_build(SOURCE_DIGEST))
"""The compiled kernel for sparse attention; releases the interpreter lock."""

"""Step one of sparse attention: what every token would weigh, estimated from the channels where the query is largest.

Letters: ``G`` query heads that share a KV head, ``D`` head size, ``r`` channels read, ``S`` tokens attended to.
"""

from typing import Any

import numpy as np

from runtime.kernels.addresses import Pages, page_address
from runtime.kernels.compiling import inner
from runtime.kernels.elements import BFLOAT16, FLOAT16, FLOAT32, read_bfloat, read_float, read_half
from runtime.kernels.prefetch import prefetch_all
from runtime.kernels.selection import choose_largest
from runtime.kernels.softmax import cap_scores, weigh


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


def _lane_scores_of(read: Any) -> Any:
    """Returns the function that scores tokens by their elements of some channels, which ``read`` gives."""

    def add(
        pruned: np.ndarray, addresses: np.ndarray, skipped: int, count: int, row: np.ndarray
    ) -> None:  # fmt: skip
        fours = len(pruned) // 4
        row[:count] = 0.0
        for four in range(fours):  # four channels at a time, so that scores are loaded and stored less often
            c = 4 * four
            first, second, third, fourth = addresses[c], addresses[c + 1], addresses[c + 2], addresses[c + 3]
            w, x, y, z = pruned[c], pruned[c + 1], pruned[c + 2], pruned[c + 3]
            for t in range(count):
                s = t + skipped
                row[t] += (w * read(first, s) + x * read(second, s)) + (
                    y * read(third, s) + z * read(fourth, s)
                )
        for c in range(4 * fours, len(pruned)):
            address, weight = addresses[c], pruned[c]
            for t in range(count):
                row[t] += weight * read(address, t + skipped)

    return inner(add)


def _token_scores_of(read: Any) -> Any:
    """Returns the function that scores tokens by some channels of their whole keys, whose elements ``read`` gives."""

    def score(
        pruned: np.ndarray, chosen: np.ndarray, address: int, token_bytes: int, count: int, row: np.ndarray
    ) -> None:
        for t in range(count):
            key = address + t * token_bytes
            score = np.float32(0.0)
            for c in range(len(chosen)):
                score += pruned[c] * read(key, chosen[c])
            row[t] = score

    return inner(score)


_lanes_of_halves, _lanes_of_bfloats, _lanes_of_floats = map(
    _lane_scores_of, (read_half, read_bfloat, read_float)
)
_tokens_of_halves, _tokens_of_bfloats, _tokens_of_floats = map(
    _token_scores_of, (read_half, read_bfloat, read_float)
)


@inner
def score_channel_pages(
    pruned: np.ndarray, chosen: np.ndarray, first_token: int, last_token: int,
    table: np.ndarray, channel_tokens: int, channels_per_page: int, element: int, pages: Pages,
    addresses: np.ndarray, following: np.ndarray, scores: np.ndarray, pages_read: np.ndarray,
) -> None:  # fmt: skip
    """Scores tokens whose keys are stored by channel.

    Args:
        pruned: float32 ``[G, r]``.
        chosen: int64 ``[r]``, ascending.
        first_token: Oldest token.
        last_token: Token after the newest one; all before it are in whole groups.
        table: int64 ``[D / channels_per_page, groups]``, page numbers.
        channel_tokens: Tokens of a page.
        channels_per_page: Channels of a page.
        element: Element type.
        pages: Where pages lie.
        addresses: int64 ``[r]``, overwritten.
        following: int64 ``[r]``, overwritten.
        scores: float32 ``[G, S]``, written from the first token on.
        pages_read: int64 ``[C]``, counted up.
    """
    lane_bytes = channel_tokens * (4 if element == FLOAT32 else 2)
    first_group = first_token // channel_tokens
    last_group = (last_token + channel_tokens - 1) // channel_tokens
    for group in range(first_group - 1, last_group):  # while one group is scored, the next one is on its way
        addresses[:] = following
        if group + 1 < last_group:
            _locate(chosen, table[:, group + 1], channels_per_page, lane_bytes, pages, following, pages_read)
        if group < first_group:
            continue
        skipped: Any = max(first_token - group * channel_tokens, 0)
        count: Any = min(last_token - group * channel_tokens, channel_tokens) - skipped
        offset: Any = group * channel_tokens + skipped - first_token
        for h in range(pruned.shape[0]):
            row = scores[h, offset:]
            if element == FLOAT16:
                _lanes_of_halves(pruned[h], addresses, skipped, count, row)
            elif element == BFLOAT16:
                _lanes_of_bfloats(pruned[h], addresses, skipped, count, row)
            else:
                _lanes_of_floats(pruned[h], addresses, skipped, count, row)


@inner
def _locate(
    chosen: np.ndarray, table: np.ndarray, channels_per_page: int, lane_bytes: int, pages: Pages,
    addresses: np.ndarray, pages_read: np.ndarray,
) -> None:  # fmt: skip
    """Writes where the chosen channels of a group lie and asks for them; ``table`` has the group's pages."""
    before = np.int64(-1)
    for c in range(len(chosen)):
        lane = chosen[c] // channels_per_page
        page = table[lane]
        if lane != before:
            pages_read[page // pages.pages_per_channel] += 1
            before = lane
        addresses[c] = page_address(page, pages) + (chosen[c] - lane * channels_per_page) * lane_bytes
        prefetch_all(addresses[c], lane_bytes)


@inner
def score_tokens(
    pruned: np.ndarray, chosen: np.ndarray, address: int, token_bytes: int, count: int, element: int,
    scores: np.ndarray, offset: int,
) -> None:  # fmt: skip
    """Scores ``count`` tokens whose whole keys lie one after the other; the first score goes to ``offset``."""
    for h in range(pruned.shape[0]):
        row = scores[h, offset:]
        if element == FLOAT16:
            _tokens_of_halves(pruned[h], chosen, address, token_bytes, count, row)
        elif element == BFLOAT16:
            _tokens_of_bfloats(pruned[h], chosen, address, token_bytes, count, row)
        else:
            _tokens_of_floats(pruned[h], chosen, address, token_bytes, count, row)


@inner
def weigh_and_sum(scores: np.ndarray, count: int, soft_cap: np.float32, summed: np.ndarray) -> None:
    """Turns scores into weights that sum to 1, and sums them over the query heads.

    Args:
        scores: float32 ``[G, S]``; written: weights.
        count: Tokens.
        soft_cap: Caps scores; 0 for none.
        summed: float32 ``[S]``, written.
    """
    for h in range(scores.shape[0]):
        row = scores[h]
        highest = cap_scores(row, count, soft_cap)
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

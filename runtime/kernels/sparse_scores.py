"""What tokens score in some channels of their keys, read by channel or by token.

Letters: ``G`` query heads that share a KV head, ``r`` channels read, ``S`` tokens attended to.
"""

from typing import Any

import numpy as np

from runtime.kernels.compiling import inner
from runtime.kernels.elements import BFLOAT16, FLOAT16, read_bfloat, read_float, read_half


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
def score_lanes(
    pruned: np.ndarray,
    addresses: np.ndarray,
    skipped: int,
    count: int,
    element: int,
    scores: np.ndarray,
    offset: int,
) -> None:
    """Scores ``count`` tokens of a channel group.

    Args:
        pruned: float32 ``[G, r]``.
        addresses: int64 ``[r]``, where the channels lie.
        skipped: Tokens of the group that are older.
        count: Tokens scored.
        element: Element type.
        scores: float32 ``[G, S]``, written.
        offset: Where the first score goes.
    """
    for h in range(pruned.shape[0]):
        row = scores[h, offset:]
        if element == FLOAT16:
            _lanes_of_halves(pruned[h], addresses, skipped, count, row)
        elif element == BFLOAT16:
            _lanes_of_bfloats(pruned[h], addresses, skipped, count, row)
        else:
            _lanes_of_floats(pruned[h], addresses, skipped, count, row)


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

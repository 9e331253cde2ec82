"""Attention to some tokens, the softmax taken on line. Keys and values are widened as they are read."""

from typing import Any

import numpy as np

from runtime.kernels.compiling import inner
from runtime.kernels.elements import BFLOAT16, FLOAT16, read_bfloat, read_float, read_half
from runtime.kernels.exponential import exponential

NO_SLOPES = np.empty(0, np.float32)
"""The slopes of an attention without a bias by distance."""
NO_STATISTICS = np.empty((0, 0, 2), np.float32)
"""Stands for the statistics of an attention where nobody asks for them."""


@inner
def bend_scores(
    scores: np.ndarray, count: int, soft_cap: np.float32, slope: np.float32, distances: np.ndarray
) -> np.float32:
    """Caps ``count`` scores and lowers them by distance, where ``soft_cap`` and ``slope`` are not 0; returns the highest."""
    if soft_cap > 0.0:
        for t in range(count):
            scores[t] = soft_cap * np.tanh(scores[t] / soft_cap)
    if slope != 0.0:
        for t in range(count):
            scores[t] -= slope * distances[t]
    highest = np.float32(-np.inf)
    fours = count // 4
    for four in range(fours):  # pairs first, so that one maximum need not wait for the one before
        t = 4 * four
        older, newer = max(scores[t], scores[t + 1]), max(scores[t + 2], scores[t + 3])
        highest = max(highest, max(older, newer))  # noqa: PLW3301
    for t in range(4 * fours, count):
        highest = max(highest, scores[t])
    return highest


@inner
def slope_of(slopes: np.ndarray, head: int) -> np.float32:
    """Returns the slope of a query head; 0 where no head has one."""
    return slopes[head] if len(slopes) > 0 else np.float32(0.0)


@inner
def list_distances(slopes: np.ndarray, farthest: int, count: int, distances: np.ndarray) -> None:
    """Writes the distances of ``count`` consecutive tokens, the oldest of them ``farthest``, where slopes need them."""
    if len(slopes) > 0:
        for t in range(count):
            distances[t] = farthest - t


@inner
def weigh(scores: np.ndarray, count: int, highest: np.float32) -> np.float32:
    """Turns ``count`` scores into ``exp(score - highest)`` and returns their sum."""
    added = np.float32(0.0)
    for t in range(count):
        weight = exponential(scores[t] - highest)
        scores[t] = weight
        added += weight
    return added


# Four tokens at a time, so that the query, or the sum, is loaded less often.
def _scores_of(read: Any) -> Any:
    """Returns the function that writes the products of a query with ``count`` keys, of elements that ``read`` gives."""

    def score(query: np.ndarray, addresses: np.ndarray, count: int, scores: np.ndarray) -> None:
        fours = count // 4
        for four in range(fours):
            t = 4 * four
            first, second, third, fourth = addresses[t], addresses[t + 1], addresses[t + 2], addresses[t + 3]
            a, b, c, e = np.float32(0.0), np.float32(0.0), np.float32(0.0), np.float32(0.0)
            for d in range(len(query)):
                a += query[d] * read(first, d)
                b += query[d] * read(second, d)
                c += query[d] * read(third, d)
                e += query[d] * read(fourth, d)
            scores[t], scores[t + 1], scores[t + 2], scores[t + 3] = a, b, c, e
        for t in range(4 * fours, count):
            score = np.float32(0.0)
            for d in range(len(query)):
                score += query[d] * read(addresses[t], d)
            scores[t] = score

    return inner(score)


def _sums_of(read: Any) -> Any:
    """Returns the function that adds ``count`` values, weighted, to a row of sums, of elements that ``read`` gives."""

    def add(addresses: np.ndarray, count: int, weights: np.ndarray, row: np.ndarray) -> None:
        fours = count // 4
        for four in range(fours):
            t = 4 * four
            first, second, third, fourth = addresses[t], addresses[t + 1], addresses[t + 2], addresses[t + 3]
            a, b, c, e = weights[t], weights[t + 1], weights[t + 2], weights[t + 3]
            for d in range(len(row)):
                row[d] += (a * read(first, d) + b * read(second, d)) + (
                    c * read(third, d) + e * read(fourth, d)
                )
        for t in range(4 * fours, count):
            address, weight = addresses[t], weights[t]
            for d in range(len(row)):
                row[d] += weight * read(address, d)

    return inner(add)


_score_halves, _score_bfloats, _score_floats = map(_scores_of, (read_half, read_bfloat, read_float))
_add_halves, _add_bfloats, _add_floats = map(_sums_of, (read_half, read_bfloat, read_float))


@inner
def add_keys(
    queries: np.ndarray, addresses: np.ndarray, count: int, element: int, soft_cap: np.float32,
    slopes: np.ndarray, distances: np.ndarray, scores: np.ndarray, top: np.ndarray, total: np.ndarray, sums: np.ndarray,
) -> None:  # fmt: skip
    """Turns the keys at ``count`` addresses into weights and rescales the sums so far.

    ``slopes`` has one number for each query, or none for no bias; ``distances`` then is not read.
    """
    for h in range(queries.shape[0]):
        weights = scores[h]
        if element == FLOAT16:
            _score_halves(queries[h], addresses, count, weights)
        elif element == BFLOAT16:
            _score_bfloats(queries[h], addresses, count, weights)
        else:
            _score_floats(queries[h], addresses, count, weights)
        highest = max(top[h], bend_scores(weights, count, soft_cap, slope_of(slopes, h), distances))
        if highest > top[h]:
            shrink = np.exp(top[h] - highest)
            top[h] = highest
            total[h] *= shrink
            row = sums[h]
            for d in range(len(row)):
                row[d] *= shrink
        total[h] += weigh(weights, count, highest)


@inner
def add_values(addresses: np.ndarray, count: int, element: int, scores: np.ndarray, sums: np.ndarray) -> None:
    """Adds the values at ``count`` addresses, weighted."""
    for h in range(sums.shape[0]):
        if element == FLOAT16:
            _add_halves(addresses, count, scores[h], sums[h])
        elif element == BFLOAT16:
            _add_bfloats(addresses, count, scores[h], sums[h])
        else:
            _add_floats(addresses, count, scores[h], sums[h])


@inner
def forget(sums: np.ndarray, top: np.ndarray, total: np.ndarray) -> None:
    """Begins a softmax anew: no scores, weights or sums."""
    sums[:] = 0.0
    top[:] = -np.inf
    total[:] = 0.0


@inner
def divide(sums: np.ndarray, total: np.ndarray, out: np.ndarray) -> None:
    """Writes the sums over their weights to ``out``, float32 ``[G, D]``; zeros where there was nothing to attend to."""
    for h in range(sums.shape[0]):
        share = np.float32(1.0) / total[h] if total[h] > 0.0 else np.float32(0.0)
        for d in range(sums.shape[1]):
            out[h, d] = sums[h, d] * share


@inner
def tell(top: np.ndarray, total: np.ndarray, sequence: int, first: int, statistics: np.ndarray) -> None:
    """Writes the highest score and the sum of ``exp(score - highest)`` of each query, where they are asked for.

    Args:
        top: float32 ``[G]``; minus infinity where there was nothing to attend to.
        total: float32 ``[G]``; 0 likewise.
        sequence: Whose they are.
        first: Its first query head of these.
        statistics: float32 ``[n, H, 2]``, or of no sequence where nobody asks.
    """
    if len(statistics) > 0:
        for h in range(len(top)):
            statistics[sequence, first + h, 0] = top[h]
            statistics[sequence, first + h, 1] = total[h]

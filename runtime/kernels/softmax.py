"""Attention to a tile of tokens, the softmax taken on line."""

import numpy as np

from runtime.kernels.compiling import inner


# Loops count from 0: an index that might be negative keeps the compiler from vectorising.
@inner
def add_keys(
    queries: np.ndarray, tile: np.ndarray, count: int, soft_cap: np.float32,
    scores: np.ndarray, top: np.ndarray, total: np.ndarray, sums: np.ndarray,
) -> None:  # fmt: skip
    """Turns ``count`` keys of a tile into weights and rescales the sums so far."""
    head_size = queries.shape[1]
    for h in range(queries.shape[0]):
        query = queries[h]
        weights = scores[h]
        for t in range(count):
            key = tile[t * head_size : (t + 1) * head_size]
            score = np.float32(0.0)
            for d in range(head_size):
                score += query[d] * key[d]
            weights[t] = score
        if soft_cap > 0.0:
            for t in range(count):
                weights[t] = soft_cap * np.tanh(weights[t] / soft_cap)
        highest = top[h]
        for t in range(count):
            highest = max(highest, weights[t])
        if highest > top[h]:
            shrink = np.exp(top[h] - highest)
            top[h] = highest
            total[h] *= shrink
            row = sums[h]
            for d in range(head_size):
                row[d] *= shrink
        added = np.float32(0.0)
        for t in range(count):
            weights[t] = np.exp(weights[t] - highest)
            added += weights[t]
        total[h] += added


@inner
def add_values(tile: np.ndarray, count: int, scores: np.ndarray, sums: np.ndarray) -> None:
    """Adds ``count`` values of a tile, weighted; four at a time, so that the sums are loaded and stored less often."""
    head_size = sums.shape[1]
    for h in range(sums.shape[0]):
        row = sums[h]
        weights = scores[h]
        fours = count // 4
        for four in range(fours):
            t = 4 * four
            first = tile[t * head_size : (t + 1) * head_size]
            second = tile[(t + 1) * head_size : (t + 2) * head_size]
            third = tile[(t + 2) * head_size : (t + 3) * head_size]
            fourth = tile[(t + 3) * head_size : (t + 4) * head_size]
            a, b, c, e = weights[t], weights[t + 1], weights[t + 2], weights[t + 3]
            for d in range(head_size):
                row[d] += (a * first[d] + b * second[d]) + (c * third[d] + e * fourth[d])
        for t in range(4 * fours, count):
            value = tile[t * head_size : (t + 1) * head_size]
            weight = weights[t]
            for d in range(head_size):
                row[d] += weight * value[d]

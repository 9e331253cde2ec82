"""Attention in float64, written plainly."""

import numpy as np


def attention(
    query: np.ndarray,
    key: np.ndarray,
    value: np.ndarray,
    lengths: np.ndarray,
    scale: float,
    soft_cap: float | None = None,
    window: int | None = None,
    slopes: np.ndarray | None = None,
) -> np.ndarray:
    """Returns float64 [n, H, D] for query [n, H, D], key and value [n, K, T, D]."""
    shared = query.shape[1] // key.shape[1]
    out = np.zeros(query.shape)
    for i, head in np.ndindex(query.shape[:2]):
        first = 0 if window is None else max(0, int(lengths[i]) - window)
        k = key[i, head // shared, first : lengths[i]].astype(np.float64)
        v = value[i, head // shared, first : lengths[i]].astype(np.float64)
        scores = k @ query[i, head].astype(np.float64) * scale
        if soft_cap is not None:
            scores = soft_cap * np.tanh(scores / soft_cap)
        if slopes is not None:
            scores = scores - float(slopes[head]) * np.arange(len(scores))[::-1]
        if len(scores):
            weights = np.exp(scores - scores.max())
            out[i, head] = weights @ v / weights.sum()
    return out

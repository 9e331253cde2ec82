"""Attentions to some of the tokens, and their exact sum.

A softmax over tokens that lie in two places is worked out in both: each divides by its own sum of weights, and tells that sum
and the highest score. With these, outputs are weighed and added as if one place had had all tokens (Milakov and Gimelshein,
"Online normalizer calculation for softmax", arXiv 1805.02867, 2018; Dao et al., "Flash-Decoding for long-context inference",
2023).

Letters: ``n`` rows, ``H`` query heads, ``D`` head size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

STATISTICS_BYTES = 8
"""Bytes of what is told of one query head of one row: two numbers in float32."""


@dataclass(frozen=True, eq=False)
class PartialAttention:
    """Holds an attention to some of the tokens.

    Attributes:
        output: float32 ``[n, H, D]``, divided by the sum of its own weights; zeros where there were no tokens.
        statistics: float32 ``[n, H, 2]``: the highest score ``m`` (minus infinity where there were no tokens), and the sum of
            ``exp(score - m)``.
    """

    output: np.ndarray
    statistics: np.ndarray

    @staticmethod
    def none(shape: tuple[int, int, int]) -> PartialAttention:
        """Returns the attention to no token, of the shape ``(n, H, D)``."""
        return PartialAttention(np.zeros(shape, np.float32), no_statistics(*shape[:2]))

    def part(self, rows: slice, heads: slice) -> PartialAttention:
        """Returns some rows and query heads."""
        return PartialAttention(self.output[rows, heads], self.statistics[rows, heads])


def no_statistics(num_rows: int, num_heads: int) -> np.ndarray:
    """Returns the statistics of an attention to no token, float32 ``[num_rows, num_heads, 2]``."""
    statistics = np.zeros((num_rows, num_heads, 2), np.float32)
    statistics[..., 0] = -np.inf
    return statistics


def merge_partials(parts: Sequence[PartialAttention]) -> np.ndarray:
    """Returns the attention to the tokens of all parts, no token in two of them, float32 ``[n, H, D]``.

    With ``M`` the highest score of all, ``w_i = sum_i * exp(m_i - M)``, it is the sum of ``w_i * output_i`` over that of
    ``w_i``; zeros where no part has a token.

    Args:
        parts: Of one shape, at least one.
    """
    highest = np.maximum.reduce([part.statistics[..., 0] for part in parts])
    level = np.where(np.isneginf(highest), np.float32(0.0), highest)
    weights = [part.statistics[..., 1] * np.exp(part.statistics[..., 0] - level) for part in parts]
    total = np.add.reduce(weights)
    over = np.where(total > 0.0, total, np.float32(1.0))
    merged = np.zeros_like(parts[0].output)
    for part, weight in zip(parts, weights, strict=True):
        merged += part.output * (weight / over)[..., None]
    return merged

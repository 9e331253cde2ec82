"""Where the tokens lie that an attention reads, summed over its sequences."""

from collections.abc import Callable
from typing import Any

import numpy as np

from runtime.kernels.compiling import SOURCE_DIGEST, entry_point


def _build(digest: int) -> Callable[..., tuple[int, int, int, int]]:
    """Returns the function, bound to the source it is made of; see :func:`runtime.kernels.compiling.entry_point`."""

    def count_tokens(
        first_token: np.ndarray, last_token: np.ndarray, flash_tokens: np.ndarray, lane_tokens: np.ndarray
    ) -> tuple[int, int, int, int]:
        """Counts tokens of one head of each sequence.

        Args:
            first_token: int64 ``[n]``, oldest token attended to.
            last_token: int64 ``[n]``, token after the newest one.
            flash_tokens: int64 ``[n]``, tokens that are in flash; later ones are in the buffer.
            lane_tokens: int64 ``[n]``, those of them whose keys are stored by channel, too.

        Returns:
            All tokens attended to; those in the buffer; those stored by channel; those in flash by token alone.
        """
        _ = digest  # what the compiler keeps is renewed with it
        attended = buffered = by_channel = by_token = 0
        for i in range(len(first_token)):
            first, last = first_token[i], last_token[i]
            in_flash, in_lanes = min(last, flash_tokens[i]), min(last, lane_tokens[i])
            attended += last - first
            buffered += max(last - max(first, flash_tokens[i]), 0)
            by_channel += max(in_lanes - first, 0)
            by_token += max(in_flash - max(first, in_lanes), 0)
        return attended, buffered, by_channel, by_token

    return count_tokens


count_tokens: Any = entry_point(_build(SOURCE_DIGEST))
"""The compiled function; releases the interpreter lock."""

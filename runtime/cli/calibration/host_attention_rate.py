"""Measures at which rate the host's kernel attends to K and V in its memory."""

from __future__ import annotations

from functools import partial
from itertools import cycle

import numpy as np

from runtime.cli.calibration.stopwatch import seconds_of
from runtime.host_attention import attend_host, prepare


def measure_host_attention(shape: tuple[int, int, int, int], budget_s: float) -> float:
    """Returns bytes of K and V per second, with every query head having a KV head of its own.

    Two caches take turns, so that no processor cache holds one from one attention to the next.

    Args:
        shape: Rows, KV heads, tokens and head size, float16.
        budget_s: Seconds for all.
    """
    prepare()
    rows, kv_heads, tokens, head_size = shape
    turns = cycle([(np.ones(shape, np.float16), np.ones(shape, np.float16)) for _ in range(2)])
    query, lengths = np.ones((rows, kv_heads, head_size), np.float32), np.full(rows, tokens)
    attend = partial(attend_host, query, lengths=lengths, scale=head_size**-0.5)
    seconds = seconds_of(lambda: attend(pair=next(turns)), budget_s)
    return 2.0 * rows * kv_heads * tokens * head_size * np.dtype(np.float16).itemsize / seconds

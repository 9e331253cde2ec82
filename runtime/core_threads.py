"""The threads in which compiled kernels use this machine's cores."""

import functools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np

# Handing a part to another thread costs some 50 us; a core reads about 1 MB in 200 us.
_BYTES_PER_THREAD = 1 << 20


def split_pairs(tokens: np.ndarray, num_heads: int, bytes_per_token: int) -> list[tuple[int, int]]:
    """Cuts (sequence, head) pairs into runs of about equal numbers of tokens, one for each core at most.

    Args:
        tokens: Integer ``[n]``, tokens that each sequence reads.
        num_heads: Heads of each sequence.
        bytes_per_token: Bytes of a token of one head; work that is too small for another thread is not cut.

    Returns:
        (begin, end) of each run, sequence-major.
    """
    pairs = len(tokens) * num_heads
    total_bytes = int(tokens.sum()) * num_heads * bytes_per_token
    num_parts = max(1, min(num_cores(), pairs, total_bytes // _BYTES_PER_THREAD))
    ends = np.cumsum(np.repeat(tokens, num_heads))
    cuts = np.searchsorted(ends, np.arange(1, num_parts) * (int(ends[-1]) / num_parts)) if pairs else []
    return list(pairwise([0, *(int(cut) for cut in cuts), pairs]))


def run_parts(run: Callable[[int], None], num_parts: int) -> None:
    """Runs parts 0 to ``num_parts - 1`` side by side and returns when all are done; the first runs in this thread."""
    others = [_threads().submit(run, part) for part in range(1, num_parts)]
    run(0)
    for other in others:
        other.result()


@functools.cache
def num_cores() -> int:
    """Returns the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@functools.cache
def _threads() -> ThreadPoolExecutor:
    """Returns the threads that all kernels share; made on first use."""
    return ThreadPoolExecutor(max_workers=num_cores(), thread_name_prefix="core")

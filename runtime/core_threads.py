"""The threads in which compiled kernels use this machine's cores."""

import functools
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait

import numpy as np

from runtime.kernels.split_pairs import split_pairs
from runtime.kernels.thread_team import ALONE, found, serve

PARTS_PER_CORE = 4
"""Parts into which work is cut at most, for each core: one that is late, or busy with something else, takes fewer of them."""

BYTES_PER_PART = 256 << 10
"""Work that is worth a part: a core reads it in some 30 us, about what another thread needs to wake up."""

_founding = threading.Lock()


def cut_work(
    tokens: np.ndarray, num_heads: int, bytes_per_token: int, parts_per_core: int = PARTS_PER_CORE
) -> np.ndarray:
    """Cuts (sequence, head) pairs into parts of about equal numbers of tokens.

    Args:
        tokens: int64 ``[n]``, tokens that each sequence reads.
        num_heads: Heads of each sequence.
        bytes_per_token: Bytes of a token of one head; work that is too small to be shared is one part.
        parts_per_core: Parts at most, for each core.

    Returns:
        Where parts begin and the last one ends, int64 ``[parts + 1]``, sequence-major.
    """
    most = parts_per_core * num_cores() if num_cores() > 1 else 1
    return split_pairs(tokens, num_heads, max(1, BYTES_PER_PART // bytes_per_token), most)


def team_for(edges: np.ndarray) -> np.ndarray:
    """Returns the threads for parts ``[parts + 1]``: those that all kernels share, made on first use, or none for one part."""
    return _team() if len(edges) > 2 else ALONE


def prepare_team() -> None:
    """Makes the threads that all kernels share, so that no attention has to wait for them."""
    if num_cores() > 1:
        _team()


def run_parts(run: Callable[[int], None], num_parts: int) -> None:
    """Runs parts 0 to ``num_parts - 1`` side by side; all are done when it ends, also by an error. The first runs here.

    This is for parts that need the interpreter; those of a kernel alone go to :func:`team_for`.
    """
    others = [_threads().submit(run, part) for part in range(1, num_parts)]
    try:
        run(0)
    finally:
        wait(others)
    for other in others:
        other.result()


@functools.cache
def num_cores() -> int:
    """Returns the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _team() -> np.ndarray:
    """Returns the threads that kernels share, one for each core beside the caller's."""
    with _founding:
        return _founded()


@functools.cache
def _founded() -> np.ndarray:
    team = np.zeros_like(ALONE)
    found(team, num_cores() - 1)
    for core in range(1, num_cores()):
        threading.Thread(target=serve, args=(team,), name=f"core_{core}", daemon=True).start()
    return team


@functools.cache
def _threads() -> ThreadPoolExecutor:
    """Returns the threads for parts that need the interpreter; made on first use."""
    return ThreadPoolExecutor(max_workers=num_cores(), thread_name_prefix="part")


def _forget_threads() -> None:
    """Makes threads anew in a forked process, which has none of its parent's."""
    global _founding  # noqa: PLW0603
    _founding = threading.Lock()
    _founded.cache_clear()
    _threads.cache_clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads)

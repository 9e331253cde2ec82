"""The engine: dense decode attention over pages and group buffer, split over this machine's cores."""

import functools
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from runtime.csd.attention_kernel import BFLOAT16, FLOAT16, FLOAT32, attend_pairs
from runtime.csd.ftl import Ftl
from runtime.csd.group_buffer import GroupBuffer
from runtime.csd.nand import NandArray
from runtime.csd.task import Task

_ELEMENTS = {"float16": FLOAT16, "bfloat16": BFLOAT16, "float32": FLOAT32}

# Handing a part to another thread costs some 50 us; a core reads about 1 MB of pages in 200 us.
_BYTES_PER_THREAD = 1 << 20


@dataclass(frozen=True)
class Attended:
    """The result of one dense attention.

    Attributes:
        output: float32 ``[n, query_heads, head_size]``.
        pages_read: int64 ``[channels]``.
        buffered_bytes: Bytes of keys and values read from the group buffer.
        flops: Multiplications and additions of the two products, ``q.K`` and ``p.V``.
    """

    output: np.ndarray
    pages_read: np.ndarray
    buffered_bytes: int
    flops: int


def attend(
    task: Task,
    nand: NandArray,
    ftl: Ftl,
    buffer: GroupBuffer,
    *,
    layer: int,
    rows: np.ndarray,
    query: np.ndarray,
    lengths: np.ndarray,
    soft_cap: float | None = None,
    window: int | None = None,
) -> Attended:
    """Attends to the first ``lengths`` tokens of sequences, reading K and V where they are stored.

    Args:
        task: Shape of the cache.
        nand: The pages.
        ftl: The mapping.
        buffer: The tokens that are not in pages yet.
        layer: Layer.
        rows: Sequences, int64 ``[n]``.
        query: float32 ``[n, query_heads, head_size]``, scaled.
        lengths: int64 ``[n]``, at most the tokens stored.
        soft_cap: Caps scores at ``soft_cap * tanh(score / soft_cap)``.
        window: Attends to the newest ``window`` tokens only.

    Returns:
        Output and counts. Sequences without tokens give zeros.
    """
    geometry = nand.geometry
    first = np.zeros_like(lengths) if window is None else np.maximum(lengths - window, 0)
    in_flash = ftl.num_groups[layer, rows] * task.group_tokens
    view = nand.view()
    output = np.empty(query.shape, np.float32)
    parts = _split(lengths - first, task)
    pages_read = np.zeros((len(parts), geometry.channels), np.int64)
    storage = buffer.layer(layer)

    def run(part: int) -> None:
        attend_pairs(
            *parts[part], query, rows, first, lengths, in_flash, ftl.table(layer),
            storage.ctypes.data, task.group_tokens, _ELEMENTS[task.dtype.name], np.float32(soft_cap or 0.0),
            geometry.pages_per_block, geometry.pages_per_channel, geometry.page_bytes, view.slot, view.frames,
            view.chunk_addresses, view.shift, output, pages_read[part],
        )  # fmt: skip

    others = [_threads().submit(run, part) for part in range(1, len(parts))]
    run(0)
    for other in others:
        other.result()
    nand.pages_read += int(pages_read.sum())
    buffered = int(np.maximum(lengths - np.maximum(first, in_flash), 0).sum())
    return Attended(
        output=output,
        pages_read=pages_read.sum(axis=0),
        buffered_bytes=buffered * task.num_kv_heads * 2 * task.token_bytes,
        flops=4 * int((lengths - first).sum()) * task.num_query_heads * task.head_size,
    )


def prepare() -> None:
    """Compiles the kernel, or loads it from the compiler's cache, so that no command has to wait for it."""
    counts, table = np.zeros(1, np.int64), np.zeros((1, 1, 2, 1), np.int64)
    attend_pairs(
        0, 0, np.zeros((1, 1, 1), np.float32), counts, counts, counts, counts, table, 0,
        1, FLOAT32, np.float32(0.0), 1, 1, 1, np.zeros(1, np.int32), np.zeros((1, 1), np.int32), counts, 0,
        np.zeros((1, 1, 1), np.float32), counts,
    )  # fmt: skip


def _split(tokens: np.ndarray, task: Task) -> list[tuple[int, int]]:
    """Cuts the (sequence, KV head) pairs into runs of about equal numbers of tokens, one for each core."""
    pairs = len(tokens) * task.num_kv_heads
    total_bytes = int(tokens.sum()) * task.num_kv_heads * 2 * task.token_bytes
    num_parts = max(1, min(_num_cores(), pairs, total_bytes // _BYTES_PER_THREAD))
    ends = np.cumsum(np.repeat(tokens, task.num_kv_heads))
    cuts = np.searchsorted(ends, np.arange(1, num_parts) * (int(ends[-1]) / num_parts)) if pairs else []
    edges = [0, *(int(cut) for cut in cuts), pairs]
    return list(pairwise(edges))


@functools.cache
def _num_cores() -> int:
    """Returns the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@functools.cache
def _threads() -> ThreadPoolExecutor:
    """Returns the threads that all drives share; made on first use."""
    return ThreadPoolExecutor(max_workers=_num_cores(), thread_name_prefix="csd-engine")

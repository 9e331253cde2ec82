"""The engine: dense decode attention over pages and group buffer, split over this machine's cores."""

from dataclasses import dataclass

import numpy as np

from runtime.core_threads import cut_work, prepare_team
from runtime.csd.attend_staged import attend_staged, cut_staged
from runtime.csd.ftl import Ftl
from runtime.csd.group_buffer import GroupBuffer
from runtime.csd.nand import NandArray
from runtime.csd.page_pieces import AttendedPages
from runtime.csd.pages import no_pages
from runtime.csd.sparse import TwoSteps
from runtime.csd.task import Task
from runtime.kernels.addresses import Pages
from runtime.kernels.attend_pages import attend_pages
from runtime.kernels.count_tokens import count_tokens
from runtime.kernels.elements import ELEMENTS, FLOAT32
from runtime.kernels.softmax import NO_SLOPES, NO_STATISTICS
from runtime.kernels.thread_team import ALONE


@dataclass(frozen=True)
class Attended:
    """The result of one attention.

    Attributes:
        output: float32 ``[n, query_heads, head_size]``.
        pages_read: int64 ``[channels]``, pages that need not wait for a choice of tokens.
        buffered_bytes: Bytes of keys and values read from the group buffer.
        flops: Multiplications and additions of the two products, ``q.K`` and ``p.V``, and of step one's.
        steps: Pages that sparse attention reads.
    """

    output: np.ndarray
    pages_read: np.ndarray
    buffered_bytes: int
    flops: int
    steps: TwoSteps | None = None


def attend(
    task: Task,
    nand: NandArray,
    ftl: Ftl,
    buffer: GroupBuffer,
    *,
    layer: int,
    rows: np.ndarray,
    query: np.ndarray,
    first: np.ndarray,
    last: np.ndarray,
    soft_cap: float | None,
    slopes: np.ndarray = NO_SLOPES,
    statistics: np.ndarray = NO_STATISTICS,
) -> Attended:
    """Attends to the tokens ``first`` to ``last`` (exclusive) of sequences, reading K and V where they are stored.

    Args:
        task: Shape of the cache.
        nand: The pages.
        ftl: The mapping.
        buffer: The tokens that are not in pages yet.
        layer: Layer.
        rows: Sequences, int64 ``[n]``.
        query: float32 ``[n, query_heads, head_size]``, scaled.
        first: int64 ``[n]``.
        last: int64 ``[n]``, at most the tokens stored.
        soft_cap: Caps scores at ``soft_cap * tanh(score / soft_cap)``.
        slopes: float32 ``[query_heads]``, what scores lose per token of distance; ``NO_SLOPES`` for none.
        statistics: float32 ``[n, query_heads, 2]``, written: the highest score and the sum of ``exp(score - highest)``;
            ``NO_STATISTICS`` if nobody asks.

    Returns:
        Output and counts. Sequences without tokens give zeros.
    """
    num_groups = ftl.num_groups[layer, rows]
    in_flash = num_groups * task.group_tokens
    table = ftl.table(layer)
    output = np.empty(query.shape, np.float32)
    heads = task.kv_heads(layer)
    edges = cut_staged(nand, last - first, heads, 2 * task.token_bytes)
    pages_read = np.zeros((len(edges) - 1, nand.geometry.channels), np.int64)
    buffer_address = buffer.layer(layer).ctypes.data

    def read() -> AttendedPages:
        groups = -(-last // task.group_tokens)
        return AttendedPages(table, rows, first // task.group_tokens, np.minimum(groups, num_groups))

    def run(team: np.ndarray, edges: np.ndarray, pages: Pages, parts: slice) -> None:
        attend_pages(
            team, edges, query, rows, first, last, in_flash, table, buffer_address, task.group_tokens,
            ELEMENTS[task.dtype.name], np.float32(soft_cap or 0.0), slopes, pages, output, statistics,
            pages_read[parts],
        )  # fmt: skip

    attend_staged(nand, edges, read, run)
    by_channel = pages_read.sum(axis=0)
    nand.pages_read += int(by_channel.sum())
    attended, buffered, _, _ = count_tokens(first, last, in_flash, in_flash)
    return Attended(
        output=output,
        pages_read=by_channel,
        buffered_bytes=buffered * heads * 2 * task.token_bytes,
        flops=4 * attended * task.query_heads(layer) * task.head_size,
    )


def prepare() -> None:
    """Compiles the kernel, or loads it from the compiler's cache, so that no command has to wait for it."""
    prepare_team()
    counts, table = np.zeros(1, np.int64), np.zeros((1, 1, 2, 1), np.int64)
    query, no_pairs = np.zeros((1, 1, 1), np.float32), cut_work(np.zeros(0, np.int64), 1, 1)
    attend_pages(
        ALONE, no_pairs, query, counts, counts, counts, counts, table, 0, 1, FLOAT32, np.float32(0.0), NO_SLOPES,
        no_pages(), query, NO_STATISTICS, table[0, 0],
    )  # fmt: skip
    count_tokens(counts, counts, counts, counts)

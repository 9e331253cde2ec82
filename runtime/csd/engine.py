"""The engine: dense decode attention over pages and group buffer, split over this machine's cores."""

from dataclasses import dataclass

import numpy as np

from runtime.core_threads import run_parts, split_pairs
from runtime.csd.ftl import Ftl
from runtime.csd.group_buffer import GroupBuffer
from runtime.csd.nand import NandArray
from runtime.csd.page_pieces import AttendedPages
from runtime.csd.pages import no_pages, pages_of
from runtime.csd.sparse import TwoSteps
from runtime.csd.task import Task
from runtime.kernels.attend_pages import attend_pages
from runtime.kernels.elements import ELEMENTS, FLOAT32
from runtime.kernels.softmax import NO_SLOPES


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
    lengths: np.ndarray,
    soft_cap: float | None = None,
    window: int | None = None,
    slopes: np.ndarray = NO_SLOPES,
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
        slopes: float32 ``[query_heads]``, what scores lose per token of distance; ``NO_SLOPES`` for none.

    Returns:
        Output and counts. Sequences without tokens give zeros.
    """
    geometry = nand.geometry
    first = np.zeros_like(lengths) if window is None else np.maximum(lengths - window, 0)
    in_flash = ftl.num_groups[layer, rows] * task.group_tokens
    read = AttendedPages(
        ftl.table(layer),
        rows,
        first // task.group_tokens,
        np.minimum(-(-lengths // task.group_tokens), ftl.num_groups[layer, rows]),
    )
    output = np.empty(query.shape, np.float32)
    heads = task.kv_heads(layer)
    parts = split_pairs(lengths - first, heads, 2 * task.token_bytes)
    pages_read = np.zeros((len(parts), geometry.channels), np.int64)
    storage = buffer.layer(layer)

    def run(part: int) -> None:
        pieces = read.pieces(*parts[part], nand.arena.stage_pages)
        for piece, view in zip(pieces, nand.staged(read.sets(pieces)), strict=True):
            attend_pages(
                *piece, query, rows, first, lengths, in_flash, read.table,
                storage.ctypes.data, task.group_tokens, ELEMENTS[task.dtype.name], np.float32(soft_cap or 0.0), slopes,
                pages_of(geometry, view), output, pages_read[part],
            )  # fmt: skip

    run_parts(run, len(parts))
    nand.pages_read += int(pages_read.sum())
    buffered = int(np.maximum(lengths - np.maximum(first, in_flash), 0).sum())
    return Attended(
        output=output,
        pages_read=pages_read.sum(axis=0),
        buffered_bytes=buffered * heads * 2 * task.token_bytes,
        flops=4 * int((lengths - first).sum()) * task.query_heads(layer) * task.head_size,
    )


def prepare() -> None:
    """Compiles the kernel, or loads it from the compiler's cache, so that no command has to wait for it."""
    counts, table = np.zeros(1, np.int64), np.zeros((1, 1, 2, 1), np.int64)
    attend_pages(
        0, 0, np.zeros((1, 1, 1), np.float32), counts, counts, counts, counts, table, 0,
        1, FLOAT32, np.float32(0.0), NO_SLOPES, no_pages(),
        np.zeros((1, 1, 1), np.float32), counts,
    )  # fmt: skip

"""How many bytes a move takes across."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from partitioner.jaxpr import num_bytes
from partitioner.plan.steps import Move
from partitioner.shares import Share
from runtime.partial_attention import STATISTICS_BYTES
from runtime.program import Program
from runtime.share_rows import ShareRows

RowsOf = Callable[[Share | None], ShareRows]
"""Returns the rows that a share has of a run; None stands for all that have a request."""


def move_bytes(program: Program, move: Move, rows_of: RowsOf, before: np.ndarray, after: np.ndarray) -> int:
    """Returns the bytes that really cross: a drive's part only, of rows with a request only, valid tokens only.

    Args:
        program: The phase.
        move: One of its moves.
        rows_of: Returns the rows that a share has of the run.
        before: Integer ``[rows]``, tokens cached before it.
        after: Integer ``[rows]``, tokens cached after it.
    """
    match move.kind:
        case "stream_weights":
            sizes = {i.name: num_bytes(i.var) for i in program.phase.graph.phase.inputs}
            return sum(sizes[name] for name in move.names)
        case "stream_cache":
            return _cache_bytes(program, move, rows_of, before)
        case "store_cache" if move.attention is not None:
            cut = move.share and move.share.cut
            return _cache_bytes(program, move, rows_of, after if cut is None else cut.stored(after))
        case "page_out":
            assert move.share is not None
            assert move.share.cut is not None
            return _cache_bytes(program, move, rows_of, move.share.cut.leaving(after))
        case _:
            parts = _parts(move, rows_of)
            told = _statistics_bytes(program, move) * parts
            return sum(num_bytes(v) for v in move.values) * parts // _whole(program, move) + told


def _cache_bytes(program: Program, move: Move, rows_of: RowsOf, lengths: np.ndarray) -> int:
    attention = program.attention[move.attention or ""]
    itemsize = np.dtype(attention.cache_dtype).itemsize if attention.cache_dtype != "bfloat16" else 2
    per_token = 2 * attention.head_size * itemsize
    valid = lengths[rows_of(move.share).taken]
    kv_heads = attention.num_kv_heads if move.share is None else move.share.num_kv_heads
    return int(valid.sum()) * kv_heads * per_token


def _statistics_bytes(program: Program, move: Move) -> int:
    """Returns the bytes that come beside the output of a pair of a row and a KV head which has some of the tokens."""
    if move.share is None or move.share.cut is None or not program.carries_part(move):
        return 0
    return STATISTICS_BYTES * program.attention[move.attention or ""].group_size


def _parts(move: Move, rows_of: RowsOf) -> int:
    """Counts pairs of a row and a KV head that cross; processors, whose shapes are fixed, exchange all rows."""
    if move.share is None:
        return 1
    with_drive = move.src.startswith("csd") or move.dst.startswith("csd")
    num_rows = rows_of(move.share).count if with_drive else move.share.num_rows
    return num_rows * move.share.num_kv_heads


def _whole(program: Program, move: Move) -> int:
    if move.share is None:
        return 1
    return program.phase.rows * program.attention[move.attention or ""].num_kv_heads

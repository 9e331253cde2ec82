"""How many bytes a move takes across."""

from __future__ import annotations

import numpy as np

from partitioner.jaxpr import num_bytes
from partitioner.plan.steps import Move
from partitioner.shares import Share
from runtime.program import Program


def move_bytes(
    program: Program, move: Move, rows: tuple[int, int], before: np.ndarray, after: np.ndarray
) -> int:
    """Returns the bytes that really cross: a drive's part only, valid tokens only.

    Args:
        program: The phase.
        move: One of its moves.
        rows: (start, stop) of the rows of this run in the batch.
        before: Integer ``[rows]``, tokens cached before it.
        after: Integer ``[rows]``, tokens cached after it.
    """
    match move.kind:
        case "stream_weights":
            sizes = {i.name: num_bytes(i.var) for i in program.phase.graph.phase.inputs}
            return sum(sizes[name] for name in move.names)
        case "stream_cache":
            return _cache_bytes(program, move, rows, before)
        case "store_cache" if move.attention is not None:
            return _cache_bytes(program, move, rows, after)
        case _:
            return sum(num_bytes(v) for v in move.values) * _parts(program, move) // _whole(program, move)


def _cache_bytes(program: Program, move: Move, rows: tuple[int, int], lengths: np.ndarray) -> int:
    attention = program.attention[move.attention or ""]
    itemsize = np.dtype(attention.cache_dtype).itemsize if attention.cache_dtype != "bfloat16" else 2
    per_token = 2 * attention.head_size * itemsize
    if move.share is None:
        return int(lengths.sum()) * attention.num_kv_heads * per_token
    shared = lengths[slice(*overlap(move.share, rows))]
    return int(shared.sum()) * move.share.num_kv_heads * per_token


def overlap(share: Share, rows: tuple[int, int]) -> tuple[int, int]:
    """Returns which of a run's own rows a share has, as (start, stop) within the run."""
    start = max(share.rows[0], rows[0]) - rows[0]
    return start, max(start, min(share.rows[1], rows[1]) - rows[0])


def _parts(program: Program, move: Move) -> int:
    return move.share.num_rows * move.share.num_kv_heads if move.share is not None else 1


def _whole(program: Program, move: Move) -> int:
    if move.share is None:
        return 1
    return program.phase.rows * program.attention[move.attention or ""].num_kv_heads

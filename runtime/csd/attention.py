"""The attention of a command: exact, sparse, or each for some of its sequences."""

import numpy as np

from runtime.csd.commands import Attend
from runtime.csd.engine import Attended, attend
from runtime.csd.engine import prepare as prepare_exact
from runtime.csd.nand import NandArray
from runtime.csd.sparse import Sparse
from runtime.csd.sparse_engine import SparselyAttended, attend_sparsely, prepare_sparse
from runtime.csd.store import KvStore


def attend_stored(
    store: KvStore,
    nand: NandArray,
    command: Attend,
    sparse: Sparse | None,
    rows: np.ndarray,
    query: np.ndarray,
    first: np.ndarray,
    last: np.ndarray,
    slopes: np.ndarray,
    statistics: np.ndarray,
) -> Attended:
    """Attends to what is stored as a command asks; where sparse attention would read every token, exactly.

    Args:
        store: The cache.
        nand: The pages.
        command: The command.
        sparse: How much is read, checked; None for everything.
        rows: Sequences, int64 ``[n]``.
        query: float32 ``[n, query_heads, head_size]``.
        first: int64 ``[n]``, oldest token attended to, by the command's window.
        last: int64 ``[n]``, token after the newest one, at most the tokens stored.
        slopes: float32 ``[query_heads]``, checked; ``NO_SLOPES`` for none.
        statistics: float32 ``[n, query_heads, 2]``, written by exact attention to all of ``rows``; ``NO_STATISTICS`` if nobody
            asks.
    """
    reads_all = None if sparse is None else sparse.num_tokens >= last - first

    def exactly(select: np.ndarray | slice) -> Attended:
        return attend(
            store.task, nand, store.ftl, store.buffer, layer=command.layer, rows=rows[select],
            query=query[select] * np.float32(command.scale), first=first[select], last=last[select],
            soft_cap=command.soft_cap, slopes=slopes, statistics=statistics,
        )  # fmt: skip

    def sparsely(sparse: Sparse, select: np.ndarray | slice) -> SparselyAttended:
        return attend_sparsely(
            store, nand, sparse, layer=command.layer, rows=rows[select], query=query[select], scale=command.scale,
            first=first[select], last=last[select], soft_cap=command.soft_cap, slopes=slopes,
        )  # fmt: skip

    if sparse is None or reads_all is None or reads_all.all():
        return exactly(slice(None))
    if not reads_all.any():
        chosen = sparsely(sparse, slice(None))
        none = np.zeros(nand.geometry.channels, np.int64)
        return Attended(chosen.output, none, chosen.buffered_bytes, chosen.flops, chosen.steps)
    some = np.flatnonzero(~reads_all)
    chosen = sparsely(sparse.of(some), some)
    others = np.flatnonzero(reads_all)
    exact = exactly(others)
    output = np.empty(query.shape, np.float32)
    output[some], output[others] = chosen.output, exact.output
    return Attended(
        output=output,
        pages_read=exact.pages_read,
        buffered_bytes=exact.buffered_bytes + chosen.buffered_bytes,
        flops=exact.flops + chosen.flops,
        steps=chosen.steps,
    )


def prepare(*, sparse: bool) -> None:
    """Compiles the kernels that a cache may need, or loads them, so that no command has to wait for them."""
    prepare_exact()
    if sparse:
        prepare_sparse()

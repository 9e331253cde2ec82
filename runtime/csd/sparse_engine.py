"""The engine's sparse attention: chooses tokens by some channels of K, then attends to those, on all cores."""

from dataclasses import dataclass

import numpy as np

from runtime.core_threads import cut_work
from runtime.csd.attend_staged import attend_staged, cut_staged
from runtime.csd.nand import NandArray
from runtime.csd.page_pieces import AttendedPages, CandidatePages
from runtime.csd.pages import no_pages
from runtime.csd.sparse import Sparse, TwoSteps
from runtime.csd.store import KvStore
from runtime.kernels.addresses import Pages
from runtime.kernels.attend_sparse import attend_sparse
from runtime.kernels.count_tokens import count_tokens
from runtime.kernels.elements import ELEMENTS, FLOAT32
from runtime.kernels.softmax import NO_SLOPES
from runtime.kernels.sparse_request import Chosen, Layout, Request
from runtime.kernels.thread_team import ALONE


@dataclass(frozen=True)
class SparselyAttended:
    """The result of one sparse attention.

    Attributes:
        output: float32 ``[n, query_heads, head_size]``.
        channels: int64 ``[n, kv_heads, num_channels]``, channels of step one, ascending.
        tokens: int64 ``[n, kv_heads, largest num_tokens]``, tokens of step two, ascending, -1 behind the last one.
        steps: Pages read.
        buffered_bytes: Bytes of keys and values read from the group buffer.
        flops: Multiplications and additions of the products of both steps.
    """

    output: np.ndarray
    channels: np.ndarray
    tokens: np.ndarray
    steps: TwoSteps
    buffered_bytes: int
    flops: int


def attend_sparsely(
    store: KvStore,
    nand: NandArray,
    sparse: Sparse,
    *,
    layer: int,
    rows: np.ndarray,
    query: np.ndarray,
    scale: float,
    first: np.ndarray,
    last: np.ndarray,
    soft_cap: float | None,
    slopes: np.ndarray = NO_SLOPES,
) -> SparselyAttended:
    """Attends to chosen ones of the tokens ``first`` to ``last`` (exclusive) of sequences.

    Args:
        store: The cache.
        nand: The pages.
        sparse: How much is read; every sequence has more tokens than that.
        layer: Layer.
        rows: Sequences, int64 ``[n]``.
        query: float32 ``[n, query_heads, head_size]``, not scaled.
        scale: Factor of the scores.
        first: int64 ``[n]``.
        last: int64 ``[n]``, at most the tokens stored.
        soft_cap: Caps scores at ``soft_cap * tanh(score / soft_cap)``, in both steps.
        slopes: float32 ``[query_heads]``, what scores lose per token of distance, in both steps; ``NO_SLOPES`` for none.
    """
    task, ftl = store.task, store.ftl
    heads = task.kv_heads(layer)
    num_groups, num_lanes = ftl.num_groups[layer, rows], ftl.num_channel_groups[layer, rows]
    in_flash, in_lanes = num_groups * task.group_tokens, num_lanes * task.channel_tokens
    table, channel_table = ftl.table(layer), ftl.channel_table(layer)
    output = np.empty(query.shape, np.float32)
    channels = np.empty((len(rows), heads, sparse.num_channels), np.int64)
    tokens = np.empty((len(rows), heads, int(sparse.num_tokens.max(initial=0))), np.int64)
    work = (last - first) * sparse.num_channels + 2 * sparse.num_tokens * task.head_size
    edges = cut_staged(nand, work, heads, task.dtype.itemsize)
    pages_read = np.zeros((len(edges) - 1, 2, nand.geometry.channels), np.int64)
    stored = np.zeros((len(edges) - 1, 2), np.int64)
    buffer_address = store.buffer.layer(layer).ctypes.data
    request = Request(
        query, np.float32(scale), np.float32(soft_cap or 0.0), slopes, rows, first, last, sparse.num_tokens,
        sparse.num_newest, sparse.mean_value, store.value_sums(layer),
    )  # fmt: skip

    def pages_of_groups(table: np.ndarray, group_tokens: int, groups: np.ndarray) -> AttendedPages:
        return AttendedPages(table, rows, first // group_tokens, np.minimum(-(-last // group_tokens), groups))

    def read() -> CandidatePages:
        return CandidatePages(
            pages_of_groups(table, task.group_tokens, num_groups),
            pages_of_groups(channel_table, task.channel_tokens, num_lanes),
        )

    def run(team: np.ndarray, edges: np.ndarray, pages: Pages, parts: slice) -> None:
        layout = Layout(
            in_flash, in_lanes, table, channel_table, buffer_address, task.group_tokens, task.channel_tokens,
            ELEMENTS[task.dtype.name], task.dtype.itemsize, pages,
        )  # fmt: skip
        attend_sparse(
            team, edges, request, layout, output, Chosen(channels, tokens, pages_read[parts], stored[parts])
        )

    attend_staged(nand, edges, read, run)
    step_one, step_two = pages_read.sum(axis=0)
    scored, buffered, by_channel, by_token = count_tokens(first, last, in_flash, in_lanes)
    # Of keys that are stored by channel, step one wants the chosen channels; the others it takes whole, and step two has them.
    wanted = heads * (by_channel * sparse.num_channels + by_token * task.head_size)
    wanted += int(stored.sum()) * task.head_size
    steps = TwoSteps(step_one, step_two, len(rows) * heads, wanted * task.dtype.itemsize)
    nand.pages_read += int(pages_read.sum())
    return SparselyAttended(
        output=output,
        channels=channels,
        tokens=tokens,
        steps=steps,
        buffered_bytes=buffered * heads * 2 * task.token_bytes,
        flops=task.query_heads(layer)
        * (2 * scored * sparse.num_channels + 4 * int(sparse.num_tokens.sum()) * task.head_size),
    )


def prepare_sparse() -> None:
    """Compiles the kernel, or loads it from the compiler's cache, so that no command has to wait for it."""
    counts, query = np.zeros(1, np.int64), np.zeros((1, 1, 1), np.float32)
    table, chosen = np.zeros((1, 1, 2, 1), np.int64), np.zeros((1, 1, 1), np.int64)
    request = Request(
        query,
        np.float32(1.0),
        np.float32(0.0),
        NO_SLOPES,
        counts,
        counts,
        counts,
        counts,
        counts,
        False,
        query,
    )
    layout = Layout(counts, counts, table, table, 0, 1, 1, FLOAT32, 4, no_pages())
    no_pairs = cut_work(np.zeros(0, np.int64), 1, 1)
    attend_sparse(ALONE, no_pairs, request, layout, query, Chosen(chosen, chosen, table[0], table[0, 0]))

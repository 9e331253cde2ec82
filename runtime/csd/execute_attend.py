"""The attend command: appends the new token of each sequence, and attends where K and V lie."""

from contextlib import suppress

import numpy as np

from runtime.csd.attention import attend_stored
from runtime.csd.checks import check_integers, check_kv, check_layer, check_query, check_rows, check_slopes
from runtime.csd.commands import Attend
from runtime.csd.errors import CapacityError, DriveError
from runtime.csd.lost_pages import LostPages
from runtime.csd.nand import NandArray
from runtime.csd.newer import check_newer
from runtime.csd.outcome import Outcome
from runtime.csd.sparse import check_sparse
from runtime.csd.store import KvStore
from runtime.csd.tasks import Tasks
from runtime.csd.throttle import Throttle
from runtime.csd.traffic import Traffic
from runtime.csd.turns import PREPARING
from runtime.kernels.softmax import NO_STATISTICS
from runtime.partial_attention import PartialAttention, no_statistics


def execute_attend(
    command: Attend,
    tasks: Tasks,
    nand: NandArray,
    lost: LostPages,
    throttle: Throttle,
    begin_s: float,
    traffic: Traffic,
) -> Outcome:
    """Attends as a command asks, at or after ``begin_s``; pages that its tokens fill are programmed behind it.

    Raises:
        DriveError: The command breaks a rule.
        MediaError: It meets a page that is lost; nothing was appended.
        CapacityError: The flash has no page for tokens that waited before.
    """
    with PREPARING:
        store = tasks.store(command.task)
        task = store.task
        if not throttle.has_engine:
            raise DriveError(
                "this drive has no engine; read its cache and attend elsewhere, or use a drive with one"
            )
        check_layer(task, command.layer)
        query = check_query(task, command.layer, command.query)
        rows = check_rows(task.rows(command.layer), command.rows, len(query))
        lengths = check_integers("lengths", command.lengths, len(query))
        if command.window is not None and command.window < 1:
            raise DriveError(f"window is {command.window}; give at least 1 token, or None for all")
        if command.soft_cap is not None and not command.soft_cap > 0.0:
            raise DriveError(f"soft_cap is {command.soft_cap}; give a positive number, or None for no cap")
        slopes = check_slopes(task, command.layer, command.slopes)
        newer = check_newer(command, len(query))
        oldest = np.zeros_like(lengths)
        if command.window is not None:
            oldest = np.minimum(np.maximum(lengths + newer - command.window, 0), lengths)
        appends = command.key is not None or command.value is not None
        store.check_kept(command.layer, rows, oldest, lengths - 1 if appends else lengths)
        sparse = command.sparse
        if sparse is not None:
            after = lengths if appends else store.lengths(command.layer)[rows]
            sparse = check_sparse(task, command.layer, sparse, rows, oldest, lengths, after)
        lost.before_attend(store, command.layer, rows, oldest, lengths, sparse)
        if appends:
            num_bytes = _append_one(store, command, lost, rows, lengths, traffic)
            tasks.count_host_bytes(task, command.layer, num_bytes)
        _check_stored(store, command.layer, rows, lengths)
        statistics = no_statistics(*query.shape[:2]) if command.newer is not None else NO_STATISTICS
    result = attend_stored(store, nand, command, sparse, rows, query, oldest, lengths, slopes, statistics)
    traffic.pages_read += result.pages_read
    span, engine_s = throttle.attend(
        begin_s, traffic.pages_read, result.flops, result.buffered_bytes, traffic.dram_bytes, result.steps
    )
    traffic.add_steps(result.steps)
    with suppress(CapacityError):  # what finds no page stays in drive memory; the next token is refused
        store.flush_full(command.layer, rows, traffic)
    if result.steps is not None:
        lost.after_sparse(store, command.layer, rows, oldest, lengths, int(result.steps.pages.sum()))
    throttle.erase(begin_s, traffic.blocks_erased)
    reads = throttle.read(span.end_s, traffic.background_reads)
    programs = throttle.program(reads.end_s, traffic.pages_programmed)
    busy_s = span.busy_s + reads.busy_s + programs.busy_s
    if command.newer is None:
        return Outcome(result.output, span.end_s, busy_s, engine_s)
    if slopes.size:  # the engine counts distances from the newest token stored
        statistics[..., 0] -= newer[:, None].astype(np.float32) * slopes
    return Outcome(PartialAttention(result.output, statistics), span.end_s, busy_s, engine_s)


def _append_one(
    store: KvStore,
    command: Attend,
    lost: LostPages,
    rows: np.ndarray,
    lengths: np.ndarray,
    traffic: Traffic,
) -> int:
    """Stores a command's new token and returns its bytes; groups that it fills are flushed after the attention."""
    task = store.task
    if command.key is None or command.value is None:
        raise DriveError("attend has a new key or a new value without the other; give both or neither")
    shape = (len(rows), task.kv_heads(command.layer), task.head_size)
    key = check_kv(task, "key", command.key, shape)
    value = check_kv(task, "value", command.value, shape)
    store.check_append(command.layer, rows, lengths - 1, np.ones_like(lengths))
    lost.before_append(store, command.layer, rows, lengths - 1)
    for index in np.flatnonzero(lengths - 1 < store.lengths(command.layer)[rows]).tolist():
        store.truncate(command.layer, int(rows[index]), int(lengths[index]) - 1, traffic)
    store.append_one(command.layer, rows, key, value, traffic)
    return key.nbytes + value.nbytes


def _check_stored(store: KvStore, layer: int, rows: np.ndarray, lengths: np.ndarray) -> None:
    """Requires that ``lengths`` tokens of sequences are stored, both int64 ``[n]``.

    Raises:
        DriveError: They are not.
    """
    stored = store.lengths(layer)[rows]
    wrong = np.flatnonzero((lengths > stored) | (lengths < 0))
    if wrong.size:
        row, asked = int(rows[wrong[0]]), int(lengths[wrong[0]])
        raise DriveError(
            f"attend to {asked} tokens of sequence {row}, layer {layer}, which has {int(stored[wrong[0]])}; "
            "write the missing tokens first or lower the length"
        )

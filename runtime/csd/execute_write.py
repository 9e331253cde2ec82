"""The write command: tokens of whole sequences, to pages and group buffer."""

import numpy as np

from runtime.csd.checks import check_integers, check_kv, check_layer, check_rows
from runtime.csd.commands import Write
from runtime.csd.errors import CapacityError, DriveError
from runtime.csd.lost_pages import LostPages
from runtime.csd.outcome import Outcome
from runtime.csd.tasks import Tasks
from runtime.csd.throttle import Throttle
from runtime.csd.traffic import Traffic


def execute_write(
    command: Write, tasks: Tasks, lost: LostPages, throttle: Throttle, begin_s: float, traffic: Traffic
) -> Outcome:
    """Stores what a command brings, at or after ``begin_s``; without a value.

    Raises:
        DriveError: The command breaks a rule; nothing has changed.
        MediaError: It meets a page that is lost; nothing has changed.
        CapacityError: The flash is full; sequences before the one that failed are stored.
    """
    store = tasks.store(command.task)
    task = store.task
    check_layer(task, command.layer)
    shape = np.shape(command.key)
    if len(shape) != 4:
        raise DriveError(f"key has shape {shape}; give (n, kv_heads, tokens, head_size)")
    count, padded = shape[0], shape[2]
    heads = task.kv_heads(command.layer)
    expected = (count, heads, padded, task.head_size)
    key = check_kv(task, "key", command.key, expected)
    value = check_kv(task, "value", command.value, expected)
    rows = check_rows(task.rows(command.layer), command.rows, count)
    start = check_integers("start", command.start, count)
    lengths = _lengths(command, count, padded)
    store.check_append(command.layer, rows, start, lengths)
    lost.before_append(store, command.layer, rows, start)
    for index, (row, first, tokens) in enumerate(
        zip(rows.tolist(), start.tolist(), lengths.tolist(), strict=True)
    ):
        store.truncate(command.layer, row, first, traffic)
        try:
            store.append(command.layer, row, key[index, :, :tokens], value[index, :, :tokens], traffic)
        except CapacityError:
            store.truncate(command.layer, row, first, traffic)
            raise
    tasks.count_host_bytes(task, command.layer, int(lengths.sum()) * heads * 2 * task.token_bytes)
    throttle.erase(begin_s, traffic.blocks_erased)
    reads = throttle.read(begin_s, traffic.pages_read)
    programs = throttle.program(reads.end_s, traffic.pages_programmed)
    background = throttle.read(programs.end_s, traffic.background_reads)
    buffered_s = throttle.move_dram(begin_s, traffic.dram_bytes)
    busy_s = reads.busy_s + programs.busy_s + background.busy_s
    return Outcome(None, max(programs.end_s, buffered_s), busy_s)


def _lengths(command: Write, count: int, padded: int) -> np.ndarray:
    """Returns how many of the ``padded`` tokens of each of ``count`` sequences are written, int64 ``[count]``.

    Raises:
        DriveError: A sequence is to have more than were given, or fewer than none.
    """
    if command.lengths is None:
        return np.full(count, padded)
    lengths = check_integers("lengths", command.lengths, count)
    if count and not 0 <= lengths.min() <= lengths.max() <= padded:
        raise DriveError(
            f"lengths {lengths.tolist()} are outside of the {padded} tokens given; stay within 0 to {padded}"
        )
    return lengths

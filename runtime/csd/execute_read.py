"""The read command: a layer's K and V, as a plain drive would give them."""

import numpy as np

from runtime.csd.checks import check_integers, check_layer, check_rows
from runtime.csd.commands import Read
from runtime.csd.errors import DriveError
from runtime.csd.lost_pages import LostPages
from runtime.csd.outcome import Outcome
from runtime.csd.tasks import Tasks
from runtime.csd.throttle import Throttle
from runtime.csd.traffic import Traffic


def execute_read(
    command: Read, tasks: Tasks, lost: LostPages, throttle: Throttle, begin_s: float, traffic: Traffic
) -> Outcome:
    """Reads what a command asks for, at or after ``begin_s``.

    Raises:
        DriveError: The command breaks a rule.
        MediaError: It meets a page that is lost.
    """
    store = tasks.store(command.task)
    task = store.task
    check_layer(task, command.layer)
    padded = task.max_len if command.num_tokens is None else command.num_tokens
    num_rows = task.rows(command.layer)
    rows = check_rows(num_rows, command.rows, num_rows if command.rows is None else np.size(command.rows))
    stored = store.lengths(command.layer)[rows]
    lengths = stored
    if command.lengths is not None:
        lengths = check_integers("lengths", command.lengths, len(rows))
    if (lengths < 0).any() or (lengths > stored).any() or (lengths > padded).any():
        raise DriveError(
            f"read of {lengths.tolist()} tokens into {padded}, from sequences that have "
            f"{stored.tolist()}; ask for no more than is stored and make num_tokens large enough"
        )
    first = np.zeros_like(lengths)
    if command.first is not None:
        first = check_integers("first", command.first, len(rows))
    if (first < 0).any():
        raise DriveError(f"first is {first.tolist()}; give tokens from 0 on")
    store.check_kept(command.layer, rows, first, lengths)
    lost.before_read(store, command.layer, rows, first, lengths)
    pair = store.read(command.layer, rows, first, lengths, padded, traffic)
    flash = throttle.read(begin_s, traffic.pages_read)
    buffered_s = throttle.move_dram(begin_s, traffic.dram_bytes)
    return Outcome(pair, max(flash.end_s, buffered_s), flash.busy_s)

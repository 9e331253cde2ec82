"""The reclaim command: which tokens of which sequences go."""

from dataclasses import dataclass

import numpy as np

from runtime.csd.checks import check_layer, check_rows
from runtime.csd.commands import Reclaim
from runtime.csd.errors import DriveError
from runtime.csd.lost_pages import LostPages
from runtime.csd.store import KvStore
from runtime.csd.tasks import Tasks
from runtime.csd.traffic import Traffic


@dataclass(frozen=True)
class _Cut:
    """What one sequence of a layer keeps: tokens ``first`` to ``last`` (exclusive)."""

    store: KvStore
    layer: int
    row: int
    first: int
    last: int


def reclaim(tasks: Tasks, command: Reclaim, lost: LostPages, traffic: Traffic) -> None:
    """Drops what a command names; nothing goes when a part of it breaks a rule.

    Raises:
        DriveError: A layer, sequence or task does not exist, or a range is in the middle of a sequence.
        MediaError: A page that stays is lost, and the cache keeps something derived from it.
    """
    stores = list(tasks) if command.task is None else [tasks.store(command.task)]
    cuts = [cut for store in stores for cut in _cuts(store, command)]
    for cut in cuts:
        lost.before_cut(cut.store, cut.layer, cut.row, cut.first, cut.last)
    for cut in cuts:
        if cut.first > int(cut.store.first_tokens[cut.layer, cut.row]):
            cut.store.drop_front(cut.layer, cut.row, cut.first, traffic)
        else:
            cut.store.truncate(cut.layer, cut.row, cut.last, traffic)


def _cuts(store: KvStore, command: Reclaim) -> list[_Cut]:
    """Returns what the command does to the sequences of a task."""
    task = store.task
    layers = range(task.num_layers)
    if command.layer is not None:
        check_layer(task, command.layer)
        layers = range(command.layer, command.layer + 1)
    count = task.batch_size if command.rows is None else np.size(command.rows)
    rows = check_rows(task.batch_size, command.rows, count)
    return [
        cut
        for layer in layers
        for row in rows[rows < task.rows(layer)].tolist()
        if (cut := _cut(store, layer, row, command.tokens)) is not None
    ]


def _cut(store: KvStore, layer: int, row: int, tokens: tuple[int, int] | None) -> _Cut | None:
    """Returns what a sequence keeps without a range of its tokens; None where nothing of the range is stored."""
    oldest, newest = int(store.first_tokens[layer, row]), int(store.lengths(layer)[row])
    first, last = (0, newest) if tokens is None else tokens
    if not 0 <= first <= last:
        raise DriveError(f"tokens {first} to {last} are no range; give a first token and one after the last")
    if first <= oldest and last >= newest:
        return _Cut(store, layer, row, oldest, 0)
    if first == last or last <= oldest or first >= newest:
        return None
    if first <= oldest:
        return _Cut(store, layer, row, last, newest)
    if last >= newest:
        store.check_pages(layer, row, first)
        return _Cut(store, layer, row, oldest, first)
    raise DriveError(
        f"tokens {first} to {last} of sequence {row}, layer {layer}, are in the middle of {oldest} to {newest}; "
        f"reclaim a range that begins at {oldest} or ends at {newest}"
    )

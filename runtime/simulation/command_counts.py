"""What the commands of a generation read and program, counted from lengths alone.

All sequences are of one length, as in a generation from prompts that fill the workload. What a command does is then a function
of that length: the same as the drive does (:mod:`runtime.csd`), which tests hold against it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from partitioner.ir.op import Attention
from runtime.csd.geometry import Geometry
from runtime.csd.sparse import Sparse, TwoSteps
from runtime.csd.task import Task
from runtime.simulation.drawn_pages import DrawnPages, draw_of_pair, draw_pages
from runtime.simulation.lane_pages import LanePages
from runtime.sparse_attention import sparse_of


@dataclass(frozen=True)
class Part:
    """Says which sequences and KV heads of a layer a command is about.

    Attributes:
        lot: Which of the draws it takes where pages are drawn (see :func:`runtime.simulation.drawn_pages.draw_of_pair`).
        first_row: The drive's own number of the first sequence.
        num_rows: Sequences.
        heads: KV heads.
        by_channel: Whether the layer keeps K by channel, too.
    """

    lot: int
    first_row: int
    num_rows: int
    heads: int
    by_channel: bool

    @property
    def pairs(self) -> int:
        """Returns the pairs of a sequence and a KV head."""
        return self.num_rows * self.heads

    @property
    def rows(self) -> np.ndarray:
        """Returns the sequences, int64 ``[num_rows]``."""
        return self.first_row + np.arange(self.num_rows)


@dataclass(frozen=True, eq=False)
class Counted:
    """Counts what a command does: pages by channel, int64 ``[channels]``, and bytes of drive memory.

    Attributes:
        read: Pages that the command waits for, those of ``steps`` left aside.
        programmed: Pages programmed.
        background: Pages read for the second copy of K.
        memory_bytes: Bytes that the command itself moves to and from the group buffer.
        buffered_bytes: Bytes that the engine takes from it.
        flops: Of the engine.
        steps: Pages of sparse attention.
    """

    read: np.ndarray
    programmed: np.ndarray
    background: np.ndarray
    memory_bytes: int = 0
    buffered_bytes: int = 0
    flops: int = 0
    steps: TwoSteps | None = None


class CommandCounts:
    """Counts commands, each once; drives that hold equal tasks share one.

    Args:
        task: Shape of the cache.
        geometry: Of the flash.

    Raises:
        CapacityError: The flash cannot hold the task.
    """

    def __init__(self, task: Task, geometry: Geometry) -> None:
        self.task = task
        self._pages = LanePages(task, geometry)
        self._none = np.zeros(geometry.channels, np.int64)
        self._found: dict[tuple[object, ...], Counted] = {}
        self._draws: dict[tuple[int, ...], DrawnPages] = {}

    def attended(self, part: Part, attention: Attention, length: int) -> Counted:
        """Counts an attention over ``length`` tokens, the new one included, with the pages that this one fills."""
        key = ("attended", part, attention.sparsity, attention.group_size, attention.window, length)
        if key not in self._found:
            sparse = sparse_of(attention, np.array([length])) if part.by_channel else None
            exact = sparse is None or sparse.num_tokens[0] >= attention.tokens_seen(length)
            self._found[key] = (
                self._exactly(part, attention, length)
                if exact or sparse is None
                else self._sparsely(part, attention, length, sparse)
            )
        return self._found[key]

    def attended_older(self, part: Part, attention: Attention, length: int, newer: int) -> Counted:
        """Counts an attention over ``length`` tokens, whole pages, behind which ``newer`` ones are attended to elsewhere."""
        key = ("attended_older", part, attention.group_size, attention.window, length, newer)
        if key not in self._found:
            seen, group = max(0, attention.tokens_seen(length + newer) - newer), self.task.group_tokens
            flops = 4 * seen * part.pairs * attention.group_size * self.task.head_size
            pages = self._pages.count(self._starts(part), (length - seen) // group, length // group)
            self._found[key] = Counted(pages, self._none, self._none, flops=flops)
        return self._found[key]

    def written(self, part: Part, before: int, after: int) -> Counted:
        """Counts a write of tokens ``before`` to ``after`` (exclusive) of every sequence."""
        key = ("written", part, before, after)
        if key not in self._found:
            programmed, background = self._programs(part, before, after)
            group, task = self.task.group_tokens, self.task
            waiting = before % group
            head = min(after - before, group - waiting) if waiting else 0
            tail = (after - before - head) % group
            buffered = part.pairs * 2 * (head + tail) * task.token_bytes
            self._found[key] = Counted(self._none, programmed, background, memory_bytes=buffered)
        return self._found[key]

    def read(self, part: Part, length: int) -> Counted:
        """Counts a read of the first ``length`` tokens of every sequence."""
        key = ("read", part, length)
        if key not in self._found:
            groups, rest = divmod(length, self.task.group_tokens)
            pages = self._pages.count(self._starts(part), 0, groups)
            buffered = part.pairs * 2 * rest * self.task.token_bytes
            self._found[key] = Counted(pages, self._none, self._none, memory_bytes=buffered)
        return self._found[key]

    def _exactly(self, part: Part, attention: Attention, length: int) -> Counted:
        seen, group = attention.tokens_seen(length), self.task.group_tokens
        groups = (length - 1) // group
        flops = 4 * seen * part.pairs * attention.group_size * self.task.head_size
        pages = self._pages.count(self._starts(part), (length - seen) // group, groups)
        return Counted(pages, *self._flushed(part, length), *self._memory(part, length, seen), flops)

    def _sparsely(self, part: Part, attention: Attention, length: int, sparse: Sparse) -> Counted:
        task, pages, seen = self.task, self._pages, attention.tokens_seen(length)
        num_tokens, num_newest = int(sparse.num_tokens[0]), int(sparse.num_newest[0])
        groups, first = (length - 1) // task.group_tokens, (length - seen) // task.group_tokens
        channel_groups = groups * task.group_tokens // task.channel_tokens
        copied = channel_groups * task.channel_tokens // task.group_tokens
        drawn = self._drawn(sparse.num_channels, num_tokens, num_newest, length, seen, groups, copied)
        kinds, starts = draw_of_pair(part.pairs, part.lot), self._starts(part).reshape(-1, 2)
        lane_starts = pages.channel_starts(part.rows, part.heads).reshape(-1)
        lane_kinds = (kinds[:, None] * task.channel_pages + np.arange(task.channel_pages)).reshape(-1)
        in_reach = np.arange(channel_groups) >= (length - seen) // task.channel_tokens
        one = pages.count(starts[:, 0], max(copied, first), groups)
        one = one + pages.count_marked(lane_starts, drawn.lanes.reshape(-1, 1) & in_reach, lane_kinds)
        two = pages.count_marked(starts[:, 0], drawn.keys, kinds)
        two = two + pages.count_marked(starts[:, 1], drawn.values, kinds)
        products = 2 * seen * sparse.num_channels + 4 * num_tokens * task.head_size
        return Counted(
            self._none,
            *self._flushed(part, length),
            *self._memory(part, length, seen),
            flops=part.pairs * attention.group_size * products,
            steps=TwoSteps(one, two, part.pairs, 0),
        )

    def _drawn(self, *counts: int) -> DrawnPages:
        """Returns what pairs want, drawn once for all layers and drives; see :func:`draw_pages`."""
        if counts not in self._draws:
            self._draws[counts] = draw_pages(self.task, *counts)
        return self._draws[counts]

    def _memory(self, part: Part, length: int, seen: int) -> tuple[int, int]:
        """Returns the bytes of the new token, and those of the tokens seen that wait in the group buffer."""
        token_bytes = part.pairs * 2 * self.task.token_bytes
        waiting = length - (length - 1) // self.task.group_tokens * self.task.group_tokens
        return token_bytes, min(waiting, seen) * token_bytes

    def _flushed(self, part: Part, length: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns the pages that the last of ``length`` tokens fills, and those read for them."""
        return self._programs(part, length - 1, length)

    def _programs(self, part: Part, before: int, after: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns the pages programmed once tokens ``before`` to ``after`` are there, and those of K read back for them.

        Whole channel groups that came with the write itself are not read back.
        """
        task = self.task
        first, last = before // task.group_tokens, after // task.group_tokens
        if first == last:
            return self._none, self._none
        starts = self._starts(part)
        programmed = self._pages.count(starts, first, last)
        if not part.by_channel:
            return programmed, self._none
        size = task.channel_tokens
        begun, ended = (n * task.group_tokens // size for n in (first, last))
        fresh = min(max(begun, -(-before // size)), ended)
        lane_starts = self._pages.channel_starts(part.rows, part.heads)
        programmed = programmed + self._pages.count(lane_starts, begun, ended)
        back = (begun * size // task.group_tokens, -(-fresh * size // task.group_tokens))
        return programmed, self._pages.count(starts[..., 0], *back) if begun < fresh else self._none

    def _starts(self, part: Part) -> np.ndarray:
        return self._pages.token_starts(part.rows, part.heads)

"""Which of a phase's steps are ready: those whose predecessors have ended."""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass

from partitioner.plan.steps import Step


@dataclass(frozen=True)
class StepOrder:
    """Says which steps wait for which; steps are numbered in plan order.

    Attributes:
        followers: For each step those that wait for it.
        waiting: For each step for how many it waits.
        num_parts: For each step in how many parts it may be run.
    """

    followers: tuple[tuple[int, ...], ...]
    waiting: tuple[int, ...]
    num_parts: tuple[int, ...]

    @classmethod
    def of(cls, steps: Sequence[Step]) -> StepOrder:
        """Returns the order of some steps that wait for each other alone."""
        place = {step.id: n for n, step in enumerate(steps)}
        followers: list[list[int]] = [[] for _ in steps]
        for n, step in enumerate(steps):
            for i in step.after:
                followers[place[i]].append(n)
        return cls(
            tuple(map(tuple, followers)),
            tuple(len(step.after) for step in steps),
            tuple(step.num_parts for step in steps),
        )


class ReadySteps:
    """Hands out steps in the order in which they are ready.

    Args:
        order: Which steps wait for which.
        lanes: For each step the resource on which it waits for its turn.
        repeat: Times they are run; a resource serves one turn after the other.
    """

    def __init__(self, order: StepOrder, lanes: Sequence[str], repeat: int) -> None:
        self._followers, self._num_parts, self._lanes = order.followers, order.num_parts, lanes
        self._members: dict[str, list[int]] = {}
        for n, lane in enumerate(lanes):
            self._members.setdefault(lane, []).append(n)
        later = [count + 1 for count in order.waiting]
        self._missing = [list(later if turn else order.waiting) for turn in range(repeat)]
        self._left = [{lane: len(held) for lane, held in self._members.items()} for _ in range(repeat)]
        self._since = [[0.0] * len(lanes) for _ in range(repeat)]
        first = [n for n, count in enumerate(order.waiting) if not count] if repeat else []
        self._queue: list[tuple[float, int, int, int]] = [(0.0, 0, n, 0) for n in first]

    def take(self) -> tuple[float, int, int, int] | None:
        """Returns when the next step was ready, in which turn it is run, the step, and which part of it; None at the end."""
        return heapq.heappop(self._queue) if self._queue else None

    @property
    def next_s(self) -> float:
        """Returns when the next step is ready."""
        return self._queue[0][0] if self._queue else math.inf

    def end(self, turn: int, n: int, part: int, end: float) -> None:
        """Notes when a step ended, or the parts of it before ``part``."""
        if part < self._num_parts[n]:
            heapq.heappush(self._queue, (end, turn, n, part))
            return
        since, missing = self._since[turn], self._missing[turn]
        for following in self._followers[n]:
            since[following] = end if since[following] < end else since[following]
            missing[following] -= 1
            if not missing[following]:
                heapq.heappush(self._queue, (since[following], turn, following, 0))
        if turn + 1 == len(self._left):
            return
        lane, left = self._lanes[n], self._left[turn]
        left[lane] -= 1
        if not left[lane]:
            since, missing = self._since[turn + 1], self._missing[turn + 1]
            for member in self._members[lane]:
                missing[member] -= 1
                if not missing[member]:
                    heapq.heappush(self._queue, (since[member], turn + 1, member, 0))

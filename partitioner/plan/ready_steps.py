"""Which of a phase's steps are ready: those whose predecessors have ended."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Sequence

from partitioner.plan.steps import Step


class ReadySteps:
    """Hands out steps in the order in which they are ready.

    Args:
        steps: In plan order.
        lanes: For each the resource on which it waits for its turn.
        repeat: Times they are run; a resource serves one turn after the other.
    """

    def __init__(self, steps: Sequence[Step], lanes: Sequence[str], repeat: int) -> None:
        self._steps = steps
        self._place = {step.id: n for n, step in enumerate(steps)}
        self._followers: list[list[int]] = [[] for _ in steps]
        for n, step in enumerate(steps):
            for i in step.after:
                self._followers[self._place[i]].append(n)
        self._lanes = lanes
        self._members: dict[str, list[int]] = {}
        for n, lane in enumerate(lanes):
            self._members.setdefault(lane, []).append(n)
        waiting = [len(step.after) for step in steps]
        self._missing = [[count + (turn > 0) for count in waiting] for turn in range(repeat)]
        self._left = [Counter(lanes) for _ in range(repeat)]
        self._since = [[0.0] * len(steps) for _ in range(repeat)]
        self._queue: list[tuple[float, int, int, int]] = []
        if repeat:
            for n, count in enumerate(waiting):
                if not count:
                    self._queue.append((0.0, 0, n, 0))

    def take(self) -> tuple[float, int, Step, int] | None:
        """Returns when the next step was ready, in which turn it is run, the step, and which part of it; None at the end."""
        if not self._queue:
            return None
        start, turn, n, part = heapq.heappop(self._queue)
        return start, turn, self._steps[n], part

    def end(self, turn: int, step: Step, part: int, end: float) -> None:
        """Notes when a part of a step ended; the step ends with its last."""
        n = self._place[step.id]
        if part + 1 < step.num_parts:
            heapq.heappush(self._queue, (end, turn, n, part + 1))
            return
        for following in self._followers[n]:
            self._since[turn][following] = max(self._since[turn][following], end)
            self._release(turn, following)
        lane = self._lanes[n]
        self._left[turn][lane] -= 1
        if not self._left[turn][lane] and turn + 1 < len(self._left):
            for member in self._members[lane]:
                self._release(turn + 1, member)

    def _release(self, turn: int, n: int) -> None:
        self._missing[turn][n] -= 1
        if not self._missing[turn][n]:
            heapq.heappush(self._queue, (self._since[turn][n], turn, n, 0))

"""What still matters of one value while ops are decided one after the other.

Of a live value two things matter: which moves are still to be paid when an op on some tier consumes it, and, if it leaves the
block, the tier of its producer. Two histories that agree on these are one *status*; this keeps the number of states small (a
value on the host that was moved to the GPU is, for the rest of the block, like one on the GPU that was moved to the host).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from partitioner.placement.problem import Block, Flow

_Status = tuple[int, tuple[float, ...]]


@dataclass(frozen=True)
class Step:
    """Holds what deciding one choice does to the statuses of one live value.

    Attributes:
        following: ``following[status, tier]``: the status afterwards; the last column is for an op that does not consume it.
        paid_s: ``paid_s[status, tier]``: seconds of the move that the consumption asks for.
    """

    following: NDArray[np.int64]
    paid_s: NDArray[np.float64]

    @classmethod
    @functools.cache
    def idle(cls, num_statuses: int, num_tiers: int) -> Step:
        """Returns what a choice does that does not consume the value: nothing."""
        same = np.repeat(np.arange(num_statuses)[:, None], num_tiers + 1, axis=1)
        return cls(same, np.zeros((num_statuses, num_tiers + 1)))


@dataclass(frozen=True)
class FlowStatuses:
    """Holds the statuses of one value from its birth to the end of the block.

    Attributes:
        flow: The value.
        birth: Index of the first choice that is decided while the value is live.
        initial: ``initial[tier]``: the status of a value just produced there.
        steps: What each choice from ``birth`` on does.
        producers: ``producers[status]`` at the end of the block: the tier of the producer, for a value that leaves.
    """

    flow: Flow
    birth: int
    initial: NDArray[np.int64]
    steps: tuple[Step, ...]
    producers: NDArray[np.int64]

    def outlives(self, position: int) -> bool:
        """Tells whether the value is still of interest after a choice."""
        return self.flow.leaves is not None or any(consumer > position for consumer in self.flow.consumers)


def flow_statuses(block: Block, flow: Flow, num_tiers: int) -> FlowStatuses:
    """Returns the statuses of a value, at each point of its block."""
    birth = 0 if flow.producer is None else flow.producer + 1
    asked = _asked_tiers(block, flow, birth)
    statuses: dict[_Status, int] = {}
    initial = [
        _number(statuses, _status(flow, tier, tuple(flow.move_s[tier]), asked[0]))
        for tier in range(num_tiers)
    ]
    steps: list[Step] = []
    for position, later in zip(range(birth, len(block.choices)), asked[1:], strict=True):
        if position not in flow.consumers:  # as many tiers are asked for as before, and nothing changes
            steps.append(Step.idle(len(statuses), num_tiers))
            continue
        after: dict[_Status, int] = {}
        following = np.zeros((len(statuses), num_tiers + 1), np.int64)
        paid_s = np.zeros((len(statuses), num_tiers + 1))
        for (src, due), number in statuses.items():
            for tier in range(num_tiers):
                paid_s[number, tier] = due[tier]
                left = (*due[:tier], 0.0, *due[tier + 1 :])
                following[number, tier] = _number(after, _status(flow, src, left, later))
            following[number, num_tiers] = _number(after, _status(flow, src, due, later))
        steps.append(Step(following, paid_s))
        statuses = after
    producers = np.array([src for src, _ in statuses], np.int64)
    return FlowStatuses(flow, birth, np.array(initial, np.int64), tuple(steps), producers)


def _asked_tiers(block: Block, flow: Flow, birth: int) -> list[set[int | None]]:
    """Returns for each choice from ``birth`` on, and for the end, the tiers on which consumers from there on may run."""
    asked: list[set[int | None]] = [set()]
    for position in reversed(range(birth, len(block.choices))):
        own = (
            {tiers[flow.phase] for tiers in block.choices[position].ways}
            if position in flow.consumers
            else set()
        )
        asked.append(asked[-1] | own if own else asked[-1])
    return asked[::-1]


def _status(flow: Flow, src: int, due: tuple[float, ...], asked: set[int | None]) -> _Status:
    producer = -1 if flow.leaves is None else src
    return producer, tuple(seconds if tier in asked else 0.0 for tier, seconds in enumerate(due))


def _number(statuses: dict[_Status, int], status: _Status) -> int:
    return statuses.setdefault(status, len(statuses))

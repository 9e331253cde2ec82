"""The time that moves take on links."""

from __future__ import annotations

from typing import Any

from partitioner.errors import PlanError
from partitioner.ir.op import Attention
from partitioner.plan.steps import Move
from partitioner.shares import Share
from runtime.frame import Frame
from runtime.links import Transfer
from runtime.move_bytes import move_bytes
from runtime.program import Program
from runtime.system import System


class Crossings:
    """Takes what the moves of one phase ask of links.

    Args:
        program: The phase.
        system: Devices, links, caches and clock.
    """

    def __init__(self, program: Program, system: System) -> None:
        self._program = program
        self._system = system

    def begin(self, frame: Frame, step: Move, ready_s: float, num_parts: int = 1) -> Transfer:
        """Reserves the links of a move, or of its next of equal parts, that may begin at ``ready_s``."""
        size = move_bytes(self._program, step, frame.rows_of, frame.before, frame.after) / num_parts
        hops = self._program.hops[step.id]
        name = self._program.label(step)
        return self._system.links.transfer(hops, size, ready_s, name, self._program.name)

    def end(self, transfer: Transfer, arrived: Any) -> float:
        """Waits for arrays to arrive, where that matters, and returns when the move ends."""
        self._system.pace.settle(arrived)
        return self._system.pace.finish(transfer.begin_s, transfer.end_s)

    def shared(self, step: Move) -> tuple[Attention, Share]:
        """Returns the attention and the share that a move is about.

        Raises:
            PlanError: It names none.
        """
        if step.attention is None or step.share is None:
            raise PlanError(f"a {step.kind} between {step.src} and {step.dst} names no attention or no share")
        return self._program.attention[step.attention], step.share

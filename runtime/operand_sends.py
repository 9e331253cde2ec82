"""Sends what attentions read from the processor that makes it to their shares on drives and the host."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from partitioner.jaxpr import Var
from partitioner.plan.steps import Move, Segment
from runtime.executables import shape_on
from runtime.frame import Frame
from runtime.hand_over import Packer, Send, Sent, hand_over_of
from runtime.program import Program
from runtime.system import System


@dataclass(frozen=True)
class Operands:
    """Names arrays that one processor sends.

    Attributes:
        src: The processor.
        values: The arrays.
    """

    src: str
    values: tuple[Var, ...]


@dataclass(frozen=True, eq=False)
class _Arrived:
    """Holds operands in the host's memory.

    Attributes:
        arrays: Read-only, in the order of the values.
        there_s: When the first of those who wait for them saw them; 0 where their times are those of a description.
    """

    arrays: list[np.ndarray]
    there_s: float


class OperandSends:
    """Sends operands once for all shares of an attention, as soon as what makes them is dispatched.

    Args:
        program: The phase.
        system: Devices, links, caches and clock.
    """

    def __init__(self, program: Program, system: System) -> None:
        self._system = system
        self._moves = [s for s in program.phase.steps if isinstance(s, Move) and program.feeds_share(s)]
        self._senders: dict[Operands, Send] = {}
        self._made_by: dict[int, list[Operands]] = {}
        for segment in program.phase.segments:
            made = set(segment.outputs)
            for sent in dict.fromkeys(map(_operands, self._moves)):
                if sent.src == segment.device and made.issuperset(sent.values):
                    self._made_by.setdefault(segment.index, []).append(sent)

    def packers(self, segment: Segment) -> dict[Operands, Packer]:
        """Returns what a segment could send by itself, and how it would pack that."""
        device = self._system.processors[segment.device].device
        found: dict[Operands, Packer] = {}
        for sent in self._made_by.get(segment.index, ()):
            packer = hand_over_of(device).packer([shape_on(v, device) for v in sent.values])
            if packer is not None:
                found[sent] = packer
        return found

    def compile(self, joined: Collection[Operands]) -> None:
        """Compiles what sends; operands of equal shapes have one executable in common.

        Args:
            joined: Operands that the segments which make them send themselves.
        """
        found: dict[tuple[object, ...], Send] = {}
        for sent in dict.fromkeys(s for s in map(_operands, self._moves) if s not in joined):
            device = self._system.processors[sent.src].device
            shapes = [shape_on(v, device) for v in sent.values]
            key = sent.src, *((s.shape, str(s.dtype)) for s in shapes)
            if key not in found:
                found[key] = hand_over_of(device).sender(shapes)
            self._senders[sent] = found[key]

    def begin(
        self, frame: Frame, segment: Segment, made: Mapping[Var, Any], under_way: Mapping[Operands, Sent]
    ) -> None:
        """Sends the operands that a segment made, whose run has just been dispatched.

        Args:
            frame: The run.
            segment: The segment.
            made: Its outputs.
            under_way: What it has sent itself.
        """
        for sent in self._made_by.get(segment.index, ()):
            if sent in under_way:
                frame.once(sent, lambda sent=sent: under_way[sent])
            else:
                self._send(frame, sent, [made[v] for v in sent.values])

    def take(
        self, frame: Frame, step: Move, values: Sequence[Any], ready_s: float
    ) -> tuple[list[np.ndarray], float]:
        """Waits for the operands that a move takes to its share.

        All shares have them at the same time, whichever of their threads comes to look first.

        Args:
            frame: The run.
            step: The move.
            values: The arrays that it reads.
            ready_s: When the move may begin.

        Returns:
            The arrays in the host's memory, and when they are there.
        """
        sent = _operands(step)
        under_way = self._send(frame, sent, values)
        arrived: _Arrived = frame.once(("arrived", sent), lambda: self._wait(sent, under_way))
        return arrived.arrays, max(ready_s, arrived.there_s)

    def _send(self, frame: Frame, sent: Operands, values: Sequence[Any]) -> Sent:
        return frame.once(sent, lambda: self._senders[sent](values))

    def _wait(self, sent: Operands, under_way: Sent) -> _Arrived:
        there_s = self._system.processors[sent.src].wait_for(under_way.pending, 0.0)
        return _Arrived(under_way.arrays(), there_s)


def _operands(move: Move) -> Operands:
    return Operands(move.src, tuple(move.values))

"""What executors run: streams of frames, each frame a run of a phase."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from partitioner.plan.steps import Step
from runtime.clock import Clock
from runtime.frame import Frame
from runtime.program import Program


class Runner(Protocol):
    """Performs the steps of a phase: with values (:class:`runtime.step_runner.StepRunner`), or without."""

    @property
    def program(self) -> Program:
        """The phase."""
        ...

    @property
    def clock(self) -> Clock:
        """What times are told by."""
        ...

    def num_parts(self, step: Step) -> int:
        """Returns in how many parts, one after the other, a step is performed."""
        ...

    def perform(self, frame: Frame, step: Step, ready_s: float, part: int = 0) -> float:
        """Performs a part of a step whose predecessors have ended by ``ready_s``, and returns when that ends."""
        ...


class Stream(Protocol):
    """Frames of one phase that depend on one another, such as the steps of a decode."""

    @property
    def runner(self) -> Runner:
        """Performs the steps of its frames."""
        ...

    def frames(self, now_s: float) -> Sequence[Frame]:
        """Returns what runs next, given that all frames so far have ended by ``now_s``; nothing ends the stream.

        Frames that come together do not wait for each other's results, yet pass every resource in their order.
        """
        ...


class GivenFrames:
    """A stream of frames that are known from the start: the slices of a prefill.

    Args:
        runner: Performs their steps.
        frames: In the order in which resources serve them.
    """

    def __init__(self, runner: Runner, frames: Sequence[Frame]) -> None:
        self._runner = runner
        self._frames = tuple(frames)

    @property
    def runner(self) -> Runner:
        """Performs their steps."""
        return self._runner

    def frames(self, now_s: float) -> Sequence[Frame]:
        """Returns all frames, the first time."""
        frames, self._frames = self._frames, ()
        return frames


class Executor(Protocol):
    """Performs the steps of streams."""

    def run(self, streams: Sequence[Stream], origin_s: float) -> float:
        """Performs all frames of all streams, which share devices and links, and returns when the last one ends.

        Args:
            streams: Run side by side; where two want a resource at the same time, the one that is further behind goes
                first, and the earlier one of two that are equally far.
            origin_s: When the first step may start.

        Raises:
            SessionError: A step failed; names it.
        """
        ...

    def close(self) -> None:
        """Ends its threads, if it has any."""
        ...

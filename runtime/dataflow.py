"""Which steps are ready: those whose predecessors have ended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from partitioner.plan.steps import Step
from runtime.errors import SessionError, step_error
from runtime.frame import Frame
from runtime.streams import Stream


@dataclass(frozen=True, eq=False)
class ReadyStep:
    """A step that may begin.

    Attributes:
        run: The frame it belongs to, and its state.
        step: What to do.
        ready_s: When its predecessors have ended.
        part: The part to do next, of a step that is done in parts.
    """

    run: FrameRun
    step: Step
    ready_s: float
    part: int = 0

    @property
    def thread(self) -> str:
        """Returns the thread that serves it on a wall clock."""
        return self.run.stream.runner.program.threads[self.step.id]

    @property
    def priority(self) -> tuple[int, int, int, int, int]:
        """Returns its rank among steps that wait for a resource, lowest first: whole steps, frame, plan order, stream."""
        return (int(self.step.num_parts > 1), *self.run.order, self.step.id, self.run.number)

    def perform(self) -> float:
        """Performs the step, or its next part, and returns when that ends."""
        return self.run.stream.runner.perform(self.run.frame, self.step, self.ready_s, self.part)

    def rest(self, end_s: float) -> ReadyStep | None:
        """Returns what is left of the step once its next part has ended."""
        if self.part + 1 == self.run.stream.runner.num_parts(self.step):
            return None
        return ReadyStep(self.run, self.step, end_s, self.part + 1)

    def error(self, cause: BaseException) -> SessionError:
        """Returns what to raise when the step has failed."""
        program = self.run.stream.runner.program
        error = step_error(program.label(self.step), program.name, cause, self.ready_s)
        error.__cause__ = cause
        return error


class FrameRun:
    """What is known of a frame while it is under way.

    Attributes:
        frame: The frame.
        stream: Where it comes from.
        number: Of the stream.
        order: Frames of its stream before it: batches, then frames of its batch.
        begin_s: When it may begin.
        ends: When steps ended, by id.
    """

    def __init__(
        self, frame: Frame, stream: Stream, number: int, order: tuple[int, int], begin_s: float
    ) -> None:
        self.frame, self.stream, self.number, self.order, self.begin_s = frame, stream, number, order, begin_s
        program = stream.runner.program
        self.ends: dict[int, float] = {}
        self.follower: FrameRun | None = None
        self.missing = [len(step.after) for step in program.phase.steps]
        self.left_in_lane = Counter(program.lanes)

    def hold_back(self, earlier: FrameRun) -> None:
        """Lets steps wait until the same lane has done all steps of an earlier frame."""
        earlier.follower = self
        for step, lane in enumerate(self.stream.runner.program.lanes):
            self.missing[step] += lane in earlier.left_in_lane

    def ready(self, steps: Iterable[int]) -> list[ReadyStep]:
        """Returns those of some steps that miss nothing."""
        found = [self.stream.runner.program.phase.steps[i] for i in steps if not self.missing[i]]
        return [ReadyStep(self, s, max((self.ends[i] for i in s.after), default=self.begin_s)) for s in found]

    def release(self, steps: Sequence[int]) -> list[ReadyStep]:
        """Takes one thing that steps missed from their lists; returns the steps that are ready by that."""
        for step in steps:
            self.missing[step] -= 1
        return self.ready(steps)

    def end(self, step: Step, end_s: float) -> list[ReadyStep]:
        """Notes the end of a step, and returns the steps that are ready by that."""
        program = self.stream.runner.program
        self.ends[step.id] = end_s
        found = self.release(program.successors[step.id])
        lane = program.lanes[step.id]
        self.left_in_lane[lane] -= 1
        if self.follower is not None and not self.left_in_lane[lane]:
            waiting = [i for i, name in enumerate(program.lanes) if name == lane]
            found += self.follower.release(waiting)
        return found


class Dataflow:
    """Follows one stream from frame to frame.

    Args:
        stream: The stream.
        number: Its position among those that run side by side.
    """

    def __init__(self, stream: Stream, number: int) -> None:
        self._stream = stream
        self._number = number
        self._batches = 0
        self._steps_left = 0
        self.end_s = 0.0

    def advance(self, now_s: float) -> list[ReadyStep]:
        """Begins the next frames, given that all before them ended by ``now_s``; returns what is ready, nothing at the end."""
        runs = [
            FrameRun(frame, self._stream, self._number, (self._batches, index), now_s)
            for index, frame in enumerate(self._stream.frames(now_s))
        ]
        for earlier, later in pairwise(runs):
            later.hold_back(earlier)
        self._batches += 1
        self.end_s = now_s
        num_steps = len(self._stream.runner.program.phase.steps)
        self._steps_left = num_steps * len(runs)
        return [ready for run in runs for ready in run.ready(range(num_steps))]

    def end(self, ready: ReadyStep, end_s: float) -> list[ReadyStep]:
        """Notes the end of a step, and returns the steps that are ready by that."""
        self._steps_left -= 1
        self.end_s = max(self.end_s, end_s)
        return ready.run.end(ready.step, end_s)

    @property
    def has_ended(self) -> bool:
        """Tells whether all frames begun so far have ended."""
        return not self._steps_left

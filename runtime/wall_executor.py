"""Executes steps in lanes, one thread per device and link direction, so that they overlap for real."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait

from partitioner.plan.steps import Run, Step
from runtime.errors import SessionError, step_error
from runtime.frame import Frame
from runtime.program import Program
from runtime.step_runner import StepRunner


class _CancelledStepError(Exception):
    """Ends a step because another one failed."""


class WallExecutor:
    """Queues every step in the lane of its resource; a step waits for its predecessors, then for their end by the clock.

    Lanes serve in plan order, in which every step follows those it waits for, so they cannot block one another. An interrupt
    cancels what has not begun and waits for what has, so that nothing is under way afterwards.
    """

    def __init__(self) -> None:
        self._lanes: dict[str, ThreadPoolExecutor] = {}

    def run(self, runner: StepRunner, frames: Sequence[Frame], origin_s: float) -> float:
        """Performs all steps for every frame; see :meth:`VirtualExecutor.run`.

        Raises:
            SessionError: A step failed; names the first one. The others were cancelled.
        """
        job = _Job(runner, origin_s)
        futures: list[Future[float]] = []
        try:
            for frame in frames:
                ends: dict[int, Future[float]] = {}
                for step in runner.program.phase.steps:
                    lane = self._lane(lane_name(runner.program, step))
                    ends[step.id] = lane.submit(job.perform, frame, step, [ends[i] for i in step.after])
                    futures.append(ends[step.id])
            wait(futures)
        except BaseException:
            job.cancelled.set()
            self.close()
            raise
        if job.error is not None:
            raise job.error from job.error.__cause__
        end_s = max((f.result() for f in futures), default=origin_s)
        runner.system.pace.clock.sleep_until(end_s)
        return end_s

    def close(self) -> None:
        """Ends the lanes once they are empty; the next run opens new ones. Closing twice does nothing."""
        lanes, self._lanes = self._lanes, {}
        for lane in lanes.values():
            lane.shutdown()

    def _lane(self, name: str) -> ThreadPoolExecutor:
        if name not in self._lanes:
            self._lanes[name] = ThreadPoolExecutor(1, thread_name_prefix=f"lane-{name}")
        return self._lanes[name]


class _Job:
    """Performs the steps of one run, until one fails."""

    def __init__(self, runner: StepRunner, origin_s: float) -> None:
        self.cancelled = threading.Event()
        self.error: SessionError | None = None
        self._runner = runner
        self._origin_s = origin_s
        self._lock = threading.Lock()

    def perform(self, frame: Frame, step: Step, after: Sequence[Future[float]]) -> float:
        ready_s = max((f.result() for f in after), default=self._origin_s)
        if not self.cancelled.is_set():
            self._runner.system.pace.clock.sleep_until(ready_s)
        if self.cancelled.is_set():
            raise _CancelledStepError
        try:
            return self._runner.perform(frame, step, ready_s)
        except BaseException as error:
            with self._lock:
                if self.error is None:
                    self.error = step_error(
                        self._runner.program.label(step), self._runner.program.name, error
                    )
                    self.error.__cause__ = error
            self.cancelled.set()
            raise _CancelledStepError from error


def lane_name(program: Program, step: Step) -> str:
    """Returns the resource in whose lane a step queues: its device, or the link direction next to its drive."""
    if isinstance(step, Run):
        return step.device
    hops = program.hops[step.id]
    if not hops:
        return step.src
    link, direction = hops[-1] if step.dst.startswith("csd") else hops[0]
    return f"{link}.{direction}"

"""Executes steps one after the other; time is what the mechanism says."""

from __future__ import annotations

from collections.abc import Sequence

from runtime.errors import step_error
from runtime.frame import Frame
from runtime.step_runner import StepRunner


class VirtualExecutor:
    """Performs the steps of a phase in plan order, which is also the order in which resources serve them."""

    def run(self, runner: StepRunner, frames: Sequence[Frame], origin_s: float) -> float:
        """Performs all steps for every frame, which share devices and links.

        Args:
            runner: Performs single steps.
            frames: One for each time that the phase is run.
            origin_s: When the first step may start.

        Returns:
            When the last step ends.

        Raises:
            SessionError: A step failed; names it.
        """
        last_s = origin_s
        for frame in frames:
            ends: dict[int, float] = {}
            for step in runner.program.phase.steps:
                ready_s = max((ends[i] for i in step.after), default=origin_s)
                try:
                    ends[step.id] = runner.perform(frame, step, ready_s)
                except Exception as error:
                    raise step_error(runner.program.label(step), runner.program.name, error) from error
            last_s = max(last_s, *ends.values())
        runner.system.pace.clock.sleep_until(last_s)
        return last_s

    def close(self) -> None:
        """Does nothing: there are no threads."""

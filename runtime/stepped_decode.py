"""A decode step as the plan's runs and moves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import jax
import numpy as np

from runtime.frame import Frame
from runtime.index_inputs import Cursors
from runtime.step_runner import StepRunner


class Executor(Protocol):
    """Performs the steps of a phase."""

    def run(self, runner: StepRunner, frames: list[Frame], origin_s: float) -> float:
        """Performs all steps for every frame and returns when the last one ends."""
        ...

    def close(self) -> None:
        """Ends its threads, if it has any."""
        ...


class SteppedDecode:
    """Runs whole decode steps on all devices of a plan.

    Args:
        runner: Performs the steps of the decode.
        executor: Orders them.
        counters: Advances the model's own counters.
    """

    def __init__(self, runner: StepRunner, executor: Executor, counters: Cursors) -> None:
        self._runner = runner
        self._executor = executor
        self._counters = counters
        self._lengths = np.zeros(0, np.int32)
        self._cursors: Mapping[str, Any] = {}
        self._as_chunk = jax.jit(lambda tokens: tokens[:, None])
        processor = runner.system.processors[runner.program.logits_device]
        self._as_chunk(processor.place(np.zeros(runner.program.phase.rows, np.int32)))

    def begin(self, lengths: np.ndarray, cursors: Mapping[str, Any]) -> None:
        """Starts after ``lengths`` cached tokens per row, with the model's own counters."""
        self._lengths = lengths.copy()
        self._cursors = cursors

    def step(self, tokens: jax.Array, ready_s: float) -> tuple[jax.Array, float]:
        """Runs a step: tokens in, next tokens and their time out."""
        after = self._lengths + 1
        frame = self._runner.frame(self._as_chunk(tokens), 0, self._lengths, after, self._cursors)
        end_s = self._executor.run(self._runner, [frame], ready_s)
        self._cursors = self._counters.advanced(frame.told, self._cursors)
        self._lengths = after
        return self._runner.sample(frame), end_s

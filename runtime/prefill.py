"""What brings prompts into the caches, and its form for plans whose steps lie on several devices."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import jax
import numpy as np

from runtime.frame import Frame
from runtime.program import Program
from runtime.sampling_settings import RowSettings
from runtime.step_runner import StepRunner
from runtime.streams import Executor, GivenFrames


class Prefill(Protocol):
    """Runs the prefill of a plan, a slice of rows at a time."""

    @property
    def program(self) -> Program:
        """The phase."""
        ...

    def compile(self, progress: Callable[[int, int], None]) -> None:
        """Compiles what every run needs."""
        ...

    def prepare_sampling(self) -> None:
        """Compiles what rows that come and go need, the first time."""
        ...

    def frame(
        self,
        tokens: np.ndarray,
        micro_batch: int,
        slots: np.ndarray,
        after: np.ndarray,
        cursors: Mapping[str, Any],
    ) -> Frame:
        """Returns a run over the prompts of some rows.

        Args:
            tokens: int32[rows, chunk], padded on the right.
            micro_batch: Whose rows they are.
            slots: int32[rows], row of the micro-batch that each row is, or ``NO_SLOT``.
            after: int32[rows], tokens of each prompt.
            cursors: The model's own counters before the first token.
        """
        ...

    def run(self, frames: Sequence[Frame], begin_s: float) -> float:
        """Performs runs that may begin at ``begin_s``, and returns when the last one ends.

        Raises:
            SessionError: A step failed; names it.
        """
        ...

    def sample(self, frame: Frame, settings: RowSettings | None = None) -> jax.Array:
        """Returns the first new tokens; see :meth:`runtime.token_choice.TokenChoice.choose`."""
        ...


class SteppedPrefill:
    """Runs a prefill as the plan's runs and moves.

    Args:
        runner: Performs them.
        executor: Orders them.
    """

    def __init__(self, runner: StepRunner, executor: Executor) -> None:
        self._runner = runner
        self._executor = executor

    @property
    def program(self) -> Program:
        """The phase."""
        return self._runner.program

    def compile(self, progress: Callable[[int, int], None]) -> None:
        """Compiles all classes of segments; see :meth:`Prefill.compile`."""
        self._runner.compile(progress)

    def prepare_sampling(self) -> None:
        """Compiles the draw of tokens; see :meth:`Prefill.prepare_sampling`."""
        self._runner.prepare_sampling()

    def frame(
        self,
        tokens: np.ndarray,
        micro_batch: int,
        slots: np.ndarray,
        after: np.ndarray,
        cursors: Mapping[str, Any],
    ) -> Frame:
        """Returns a run with its index inputs in place; see :meth:`Prefill.frame`."""
        return self._runner.frame(tokens, micro_batch, slots, np.zeros_like(after), after, cursors)

    def run(self, frames: Sequence[Frame], begin_s: float) -> float:
        """Runs all steps; see :meth:`Prefill.run`."""
        return self._executor.run([GivenFrames(self._runner, frames)], begin_s)

    def sample(self, frame: Frame, settings: RowSettings | None = None) -> jax.Array:
        """Returns the first new tokens; see :meth:`Prefill.sample`."""
        return self._runner.sample(frame, settings)

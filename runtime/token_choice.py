"""Chooses the tokens that follow a run of a phase, on the device that made its logits."""

from __future__ import annotations

from collections.abc import Callable

import jax
import numpy as np

from runtime.executables import compile_for, compile_sample, row_of, shape_on
from runtime.frame import Frame
from runtime.program import Program, describe_aval
from runtime.sampling import greedy
from runtime.sampling_settings import RowSettings
from runtime.system import System


class TokenChoice:
    """Chooses one token for each row of a run.

    Args:
        program: The phase.
        system: Devices, links, caches and clock.
    """

    def __init__(self, program: Program, system: System) -> None:
        self._program = program
        self._processor = system.processors[program.logits_device]
        self._greedy: Callable[..., jax.Array] | None = None
        self._sample: Callable[..., jax.Array] | None = None
        self._at: tuple[np.ndarray, jax.Array] | None = None

    def compile(self) -> None:
        """Compiles the choice of the likeliest token."""
        device = self._processor.device
        at = row_of(self._program.phase.rows, np.int32, device)
        self._greedy = compile_for(device, greedy, [shape_on(self._program.logits, device), at], ())

    def prepare_sampling(self) -> None:
        """Compiles what draws tokens by settings of their rows, the first time."""
        if self._sample is None:
            self._sample = compile_sample(self._processor.device, *describe_aval(self._program.logits))

    def choose(self, frame: Frame, settings: RowSettings | None = None) -> jax.Array:
        """Returns int32[rows], the next token of each row, on the device that made the logits.

        Args:
            frame: A run that is done.
            settings: How each row's token is drawn, on that device; None: always the likeliest.
        """
        assert self._greedy is not None
        at = self._placed(frame.after - frame.before - 1)
        logits = frame.read(self._processor.name, self._program.logits)
        if settings is None:
            return self._greedy(logits, at)
        assert self._sample is not None
        return self._sample(logits, at, self._processor.place(frame.after), settings)

    def _placed(self, at: np.ndarray) -> jax.Array:
        """Returns positions on the processor; those of decode steps are all the same, and stay there."""
        if self._at is None or not np.array_equal(self._at[0], at):
            self._at = at, self._processor.place(at)
        return self._at[1]

"""A decode step as one executable, for plans in which one processor does everything.

Index inputs, all segments, the caches' update and the choice of the next token are one function; nothing comes back to the
host between steps, so a real GPU is kept busy as well as by a plain ``jax.jit`` loop.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from runtime.decode import DecodeStart, Feed, Made
from runtime.errors import step_error
from runtime.executables import compile_for, row_of, settings_on
from runtime.fused_phase import FusedPhase, shapes_on
from runtime.jax_device import sharding_on
from runtime.program import Program
from runtime.sampling import greedy, sample
from runtime.sampling_settings import RowSettings
from runtime.share_rows import NO_SLOT
from runtime.system import System


class FusedStep:
    """Runs whole decode steps on one processor.

    Args:
        program: The decode; its :meth:`Program.runs_alone` must hold.
        system: Devices, links, caches and clock.
    """

    def __init__(self, program: Program, system: System) -> None:
        self._system = system
        self._processor = system.processors[program.logits_device]
        self._phase = FusedPhase(program)
        self._fixed: list[Any] = []
        self._lengths: Any = None
        self._counters: list[Any] = []
        self._compiled: Callable[..., Any] | None = None
        self._compiled_open: Callable[..., Any] | None = None

    def compile(self, progress: Callable[[int, int], None]) -> None:
        """Compiles the step and gathers what every step reads."""
        progress(0, 1)
        device = self._processor.device
        self._compiled = compile_for(device, self._step, self._shapes(), (1,), self._made())
        self._fixed = self._phase.fixed(self._processor)
        progress(1, 1)

    def prepare_sampling(self) -> None:
        """Compiles the step for rows that come and go, the first time."""
        if self._compiled_open is None:
            device, rows = self._processor.device, self._phase.program.phase.rows
            shapes = [*self._shapes(), row_of(rows, np.int32, device), settings_on(rows, device)]
            self._compiled_open = compile_for(device, self._open_step, shapes, (1,), self._made())

    def cursors(self, number: int) -> Mapping[str, Any]:
        """Returns the model's own counters after the last run."""
        return dict(zip((i.name for i in self._phase.cursors), self._counters, strict=True))

    def _shapes(self) -> list[Any]:
        """Returns what a step takes: what is fixed, caches, counters, tokens, lengths."""
        device = self._processor.device
        row = row_of(self._phase.program.phase.rows, np.int32, device)
        given = (shapes_on(self._processor, group) for group in (self._phase.states, self._phase.cursors))
        return [self._phase.fixed_shapes(self._processor), *given, row, row]

    def _made(self) -> tuple[Any, ...]:
        """Returns how what a step makes lies: tokens, lengths, caches, counters."""
        whole = sharding_on(self._processor.device)
        return whole, whole, [self._processor.sharding_of(i.name) for i in self._phase.states], whole

    def run(self, start: DecodeStart, feed: Feed, made: Made) -> float:
        """Runs all steps of the one micro-batch there is; see :meth:`Decode.run`."""
        (tokens,), (lengths,), (cursors,) = start.tokens, start.lengths, start.cursors
        self._lengths = self._processor.place(lengths)
        self._counters = self._processor.place([cursors[i.name] for i in self._phase.cursors])
        run, more = self._compiled, []
        if start.open is not None:
            live = (start.open[0].slots != NO_SLOT).astype(np.int32)
            run, more = self._compiled_open, self._processor.place([live, start.open[0].settings])
        assert run is not None
        end_s = start.begin_s
        for step in range(start.num_steps):
            tokens, end_s = self._advance(run, feed(step, 0, tokens), more, end_s)
            if made(step, 0, tokens, end_s):
                break
        return end_s

    def _advance(
        self, run: Callable[..., Any], tokens: jax.Array, more: list[Any], ready_s: float
    ) -> tuple[jax.Array, float]:
        """Runs a step.

        Args:
            run: What is compiled of it.
            tokens: int32[rows], on the processor.
            more: What it takes besides.
            ready_s: When it may start.

        Returns:
            int32[rows], the next tokens, and when they are there.

        Raises:
            SessionError: The step failed.
        """
        states = self._system.states
        caches = [states.read(0, i.name) for i in self._phase.states]
        try:
            tokens, self._lengths, caches, self._counters = run(
                self._fixed, caches, self._counters, tokens, self._lengths, *more
            )
        except Exception as error:
            raise step_error(self._phase.label, "decode", error) from error
        for i, cache in zip(self._phase.states, caches, strict=True):
            states.replace(0, i.name, cache)
        demands, label = self._phase.program.demands, self._phase.label
        end_s = self._processor.account(tokens, demands, ready_s, label, "decode")
        self._system.pace.clock.sleep_until(end_s)
        return tokens, end_s

    def _step(
        self, fixed: list[Any], caches: list[Any], counters: list[Any], tokens: Any, lengths: Any
    ) -> tuple[Any, Any, list[Any], list[Any]]:
        logits, new_caches, new_counters = self._outcome(fixed, caches, counters, tokens, lengths)
        return greedy(logits, lengths * 0), lengths + 1, new_caches, new_counters

    def _open_step(
        self,
        fixed: list[Any],
        caches: list[Any],
        counters: list[Any],
        tokens: Any,
        lengths: Any,
        live: Any,
        settings: RowSettings,
    ) -> tuple[Any, Any, list[Any], list[Any]]:
        logits, new_caches, new_counters = self._outcome(fixed, caches, counters, tokens, lengths)
        chosen = sample(logits, lengths * 0, lengths + 1, settings)
        return chosen, lengths + live, new_caches, new_counters

    def _outcome(
        self, fixed: list[Any], caches: list[Any], counters: list[Any], tokens: Any, lengths: Any
    ) -> tuple[Any, list[Any], list[Any]]:
        """Returns logits, caches and counters after a step."""
        return self._phase.evaluate(fixed, caches, counters, (tokens[:, None], lengths, lengths + 1))

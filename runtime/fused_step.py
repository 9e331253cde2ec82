"""A decode step as one executable, for plans in which one processor does everything.

Index inputs, all segments, the caches' update and the choice of the next token are one function; nothing comes back to the
host between steps, so a real GPU is kept busy as well as by a plain ``jax.jit`` loop.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import SingleDeviceSharding

from partitioner.jaxpr import Eqn, Literal, Var, evaluate
from runtime.decode import DecodeStart, Feed, Made
from runtime.errors import step_error
from runtime.executables import compile_for, shape_on
from runtime.index_inputs import index_values
from runtime.program import Program, describe_aval
from runtime.sampling import greedy
from runtime.system import System


class FusedStep:
    """Runs whole decode steps on one processor.

    Args:
        program: The decode; its :meth:`Program.runs_alone` must hold.
        system: Devices, links, caches and clock.
    """

    def __init__(self, program: Program, system: System) -> None:
        self._program = program
        self._system = system
        self._processor = system.processors[program.logits_device]
        inputs = program.phase.graph.phase.inputs
        read = {v for s in program.phase.segments for v in s.inputs}
        self._weights = [i for i in inputs if i.role in ("param", "rng") and i.var in read]
        self._constants = [i for i in inputs if i.role == "const"]
        self._states = [i for i in inputs if i.role == "cache"]
        self._cursors = [i for i in inputs if i.role == "cursor"]
        self._outputs = {o.name: o.atom for o in program.phase.graph.phase.outputs}
        self._equations = _equations(program)
        self._label = program.phase.segments[0].name if len(program.phase.segments) == 1 else "all segments"
        self._fixed: list[Any] = []
        self._lengths: Any = None
        self._counters: list[Any] = []
        self._compiled: Callable[..., Any] | None = None

    def compile(self, progress: Callable[[int, int], None]) -> None:
        """Compiles the step and gathers what every step reads."""
        progress(0, 1)
        device = self._processor.device
        row = jax.ShapeDtypeStruct(
            (self._program.phase.rows,), np.int32, sharding=SingleDeviceSharding(device)
        )
        shapes = [
            [shape_on(i.var, device) for i in group]
            for group in ([*self._weights, *self._constants], self._states, self._cursors)
        ]
        self._compiled = compile_for(device, self._step, [*shapes, row, row], (1,))
        weights = [self._processor.weights[i.name] for i in self._weights]
        constants = [np.asarray(i.value, describe_aval(i.var)[1]) for i in self._constants]
        self._fixed = [*weights, *self._processor.place(constants)]
        progress(1, 1)

    def run(self, start: DecodeStart, feed: Feed, made: Made) -> float:
        """Runs all steps of the one micro-batch there is; see :meth:`Decode.run`."""
        (tokens,), (lengths,), (cursors,) = start.tokens, start.lengths, start.cursors
        self._lengths = self._processor.place(lengths)
        self._counters = self._processor.place([cursors[i.name] for i in self._cursors])
        end_s = start.begin_s
        for step in range(start.num_steps):
            tokens, end_s = self._advance(feed(step, 0, tokens), end_s)
            made(step, 0, tokens, end_s)
        return end_s

    def _advance(self, tokens: jax.Array, ready_s: float) -> tuple[jax.Array, float]:
        """Runs a step.

        Args:
            tokens: int32[rows], on the processor.
            ready_s: When it may start.

        Returns:
            int32[rows], the next tokens, and when they are there.

        Raises:
            SessionError: The step failed.
        """
        assert self._compiled is not None
        states = self._system.states
        caches = [states.read(0, i.name) for i in self._states]
        try:
            tokens, self._lengths, caches, self._counters = self._compiled(
                self._fixed, caches, self._counters, tokens, self._lengths
            )
        except Exception as error:
            raise step_error(self._label, "decode", error) from error
        for i, cache in zip(self._states, caches, strict=True):
            states.replace(0, i.name, cache)
        end_s = self._processor.account(tokens, self._program.demands, ready_s, self._label, "decode")
        self._system.pace.clock.sleep_until(end_s)
        return tokens, end_s

    def _step(
        self, fixed: list[Any], caches: list[Any], counters: list[Any], tokens: Any, lengths: Any
    ) -> tuple[Any, Any, list[Any], list[Any]]:
        names = [i.name for i in self._cursors]
        env: dict[Var, Any] = index_values(
            self._program.phase.graph.phase,
            tokens[:, None],
            lengths,
            lengths + 1,
            dict(zip(names, counters, strict=True)),
        )
        env.update(zip((i.var for i in (*self._weights, *self._constants)), fixed, strict=True))
        env.update(zip((i.var for i in self._states), caches, strict=True))
        evaluate(self._equations, env)
        new = {n: a.val if isinstance(a, Literal) else env[a] for n, a in self._outputs.items()}
        chosen = greedy(env[self._program.logits], lengths * 0)
        return chosen, lengths + 1, [new[i.name] for i in self._states], [new[n] for n in names]


def _equations(program: Program) -> list[Eqn]:
    """Returns every equation of the phase once, in order."""
    graph = program.phase.graph
    wanted = {id(e) for s in program.phase.segments for e in s.equations}
    wanted |= {id(e) for e in graph.index_equations}
    return [e for e in graph.phase.equations if id(e) in wanted]

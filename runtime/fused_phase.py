"""A phase as one function of arrays, where one processor does everything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from partitioner.frontend.traced import TracedInput
from partitioner.jaxpr import Eqn, Literal, Var, evaluate, signature
from runtime.devices.processor import Processor
from runtime.executables import shape_on
from runtime.index_inputs import index_values
from runtime.program import Program, describe_aval


class FusedPhase:
    """Evaluates all segments of a phase, index inputs included; holds no values.

    Args:
        program: The phase; its :meth:`Program.runs_alone` must hold.

    Attributes:
        program: The phase.
        states: The model's caches, as inputs.
        cursors: The model's own counters, as inputs.
        label: What logs and errors call a run.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        inputs = program.phase.graph.phase.inputs
        read = {v for s in program.phase.segments for v in s.inputs}
        self._weights = [i for i in inputs if i.role in ("param", "rng") and i.var in read]
        self._constants = [i for i in inputs if i.role == "const"]
        self.states = [i for i in inputs if i.role == "cache"]
        self.cursors = [i for i in inputs if i.role == "cursor"]
        self._outputs = {o.name: o.atom for o in program.phase.graph.phase.outputs}
        self._equations = _equations(program)
        self.label = program.phase.segments[0].name if len(program.phase.segments) == 1 else "all segments"

    def fixed(self, processor: Processor) -> list[Any]:
        """Returns what every run reads: weights and constants, on the processor."""
        weights = [processor.weights[i.name] for i in self._weights]
        constants = [np.asarray(i.value, describe_aval(i.var)[1]) for i in self._constants]
        return [*weights, *processor.place(constants)]

    def fixed_shapes(self, processor: Processor) -> list[Any]:
        """Returns the same as abstract arrays."""
        return shapes_on(processor, (*self._weights, *self._constants))

    def signature(self) -> tuple[Any, ...]:
        """Returns what two phases share exactly if :meth:`evaluate` does the same for both."""
        phase = self.program.phase.graph.phase
        roles = tuple((i.role, i.name if i.role == "position" else "") for i in phase.inputs)
        given = [i.var for i in phase.inputs]
        fixed = tuple(given.index(i.var) for i in (*self._weights, *self._constants))
        made = [self.program.logits, *self._outputs.values()]
        return signature(self._equations, given, made), roles, fixed, phase.chunk, phase.max_len

    def evaluate(
        self, fixed: list[Any], caches: list[Any], counters: list[Any], chunk: tuple[Any, Any, Any]
    ) -> tuple[Any, list[Any], list[Any]]:
        """Returns the logits, and what states and cursors become.

        Args:
            fixed: As :meth:`fixed` gives it.
            caches: Values of the states.
            counters: Values of the cursors.
            chunk: int32[rows, chunk] tokens, and int32[rows] tokens that are cached before and after the run.
        """
        cursors = dict(zip((i.name for i in self.cursors), counters, strict=True))
        env: dict[Var, Any] = index_values(self.program.phase.graph.phase, *chunk, cursors)
        env.update(zip((i.var for i in (*self._weights, *self._constants)), fixed, strict=True))
        env.update(zip((i.var for i in self.states), caches, strict=True))
        evaluate(self._equations, env)
        made = {n: a.val if isinstance(a, Literal) else env[a] for n, a in self._outputs.items()}
        return env[self.program.logits], [made[i.name] for i in self.states], [made[n] for n in cursors]


def shapes_on(processor: Processor, inputs: Sequence[TracedInput]) -> list[Any]:
    """Returns inputs as abstract arrays that lie on a processor as their names have them cut."""
    return [shape_on(i.var, processor.device, processor.axes.get(i.name)) for i in inputs]


def _equations(program: Program) -> list[Eqn]:
    """Returns every equation of the phase once, in order."""
    graph = program.phase.graph
    wanted = {id(e) for s in program.phase.segments for e in s.equations}
    wanted |= {id(e) for e in graph.index_equations}
    return [e for e in graph.phase.equations if id(e) in wanted]

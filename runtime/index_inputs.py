"""Makes what a model is told about a step: tokens, positions, the mask of valid slots, and its own counters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jax import numpy as jnp

from partitioner.frontend.trace import TracedPhase
from partitioner.ir.graph import OpGraph
from partitioner.jaxpr import Literal, Var, borders, drop_dead, evaluate, variables
from runtime.errors import SessionError
from runtime.jax_device import JaxDevice


def index_values(
    phase: TracedPhase, tokens: Any, before: Any, after: Any, cursors: Mapping[str, Any]
) -> dict[Var, Any]:
    """Returns every index input of a step, as arrays or tracers of the kind given.

    Args:
        phase: What is run.
        tokens: int32[rows, chunk].
        before: int32[rows], tokens of each row that are cached already.
        after: int32[rows], tokens of each row once the step is done, padding not counted.
        cursors: The model's own counters, by state name.
    """
    space = np if isinstance(before, np.ndarray) else jnp
    values: dict[Var, Any] = {}
    for i in phase.inputs:
        aval: Any = i.var.aval
        match i.role:
            case "token":
                value = tokens
            case "mask":
                value = space.arange(phase.max_len)[None, :] < after[:, None]
            case "position" if i.name == "logits_at":
                value = after - before - 1
            case "position":
                value = before[:, None] + space.arange(phase.chunk)[None, :]
            case "cursor":
                value = cursors[i.name]
            case _:
                continue
        values[i.var] = value if value.dtype == aval.dtype else value.astype(aval.dtype)
    return values


class Cursors:
    """Advances the integer state of models that count their own position.

    Args:
        graph: The phase's ops.
        device: The CPU.

    Raises:
        SessionError: A counter depends on more than tokens and positions.
    """

    def __init__(self, graph: OpGraph, device: JaxDevice) -> None:
        phase = graph.phase
        self._device = device
        self._given = [i.var for i in phase.inputs if i.role in ("token", "position", "mask", "cursor")]
        self._const = {i.var: i.value for i in phase.inputs if i.role == "const"}
        self._outputs = {o.name: o.atom for o in phase.outputs if o.role == "cursor"}
        atoms = list(self._outputs.values())
        self._equations = drop_dead(graph.index_equations, atoms)
        known = {*self._given, *self._const, *(v for e in self._equations for v in e.outvars)}
        for name, atom in self._outputs.items():
            if any(v not in known for v in (*borders(self._equations), *variables([atom]))):
                raise SessionError(
                    f"the integer state {name!r} depends on more than tokens and positions, which the runtime does not "
                    "follow; keep such state as floating-point cache"
                )
        self._advance = jax.jit(self._new_values)

    def initial(self, phase: TracedPhase) -> dict[str, Any]:
        """Returns all counters at zero."""
        avals: dict[str, Any] = {i.name: i.var.aval for i in phase.inputs if i.role == "cursor"}
        return {name: np.zeros(a.shape, a.dtype) for name, a in avals.items()}

    def advanced(self, index: Mapping[Var, Any], cursors: Mapping[str, Any]) -> Mapping[str, Any]:
        """Returns the counters after a step with the given index inputs."""
        if not self._outputs:
            return cursors
        given = [jax.device_put(index[v], self._device) for v in self._given]
        return dict(zip(self._outputs, self._advance(given), strict=True))

    def _new_values(self, given: list[Any]) -> list[Any]:
        env = {**self._const, **dict(zip(self._given, given, strict=True))}
        evaluate(self._equations, env)
        return [a.val if isinstance(a, Literal) else env[a] for a in self._outputs.values()]

"""Finds what segments read: values, parameters, caches, constants and what a run is told."""

from __future__ import annotations

from typing import Any

import jax
from jax import numpy as jnp

from partitioner.frontend.traced import INDEX_ROLES
from partitioner.jaxpr import Var
from runtime.frame import Frame
from runtime.program import Program, describe_aval
from runtime.system import System


class SegmentInputs:
    """Finds the inputs of one phase's segments.

    Args:
        program: The phase.
        system: Devices, links, caches and clock.
    """

    def __init__(self, program: Program, system: System) -> None:
        self._program, self._system = program, system
        self._zeros: dict[tuple[Any, tuple[int, ...], str], jax.Array] = {}
        self._constants: dict[tuple[str, Var], jax.Array] = {}

    def warm_up(self) -> None:
        """Places what does not change from run to run."""
        for segment in self._program.phase.segments:
            for var in segment.inputs if segment.attention is None else ():
                if self._program.role_of(var) == "const":
                    self._constant(segment.device, var)
                elif self._program.role_of(var) == "cache" and self._program.name == "prefill":
                    self._empty(segment.device, var)

    def find(self, frame: Frame, device: str, var: Var) -> Any:
        """Returns an input of a segment on a device, in a run."""
        role = self._program.role_of(var)
        if role is None:
            return frame.read(device, var)
        if role in INDEX_ROLES:
            return frame.index[device][var]
        if role == "const":
            return self._constant(device, var)
        name = self._program.name_of(var)
        if role != "cache":
            weights = self._system.processors[device].weights
            return weights[name] if name in weights else frame.read(device, name)
        if self._program.name == "prefill":
            return self._empty(device, var)
        states = self._system.states
        return (
            states.read(frame.micro_batch, name)
            if states.home.get(name) == device
            else frame.read(device, name)
        )

    def _constant(self, device: str, var: Var) -> jax.Array:
        if (device, var) not in self._constants:
            value = jnp.asarray(self._program.phase.graph.input_of[var].value, describe_aval(var)[1])
            self._constants[device, var] = self._system.processors[device].place(value)
        return self._constants[device, var]

    def _empty(self, device: str, var: Var) -> jax.Array:
        """Returns an empty cache; those of one shape share a buffer, since nothing writes to it."""
        shape, dtype = describe_aval(var)
        at = self._system.processors[device].sharding_of(self._program.name_of(var))
        key = (at, shape, str(dtype))
        if key not in self._zeros:
            self._zeros[key] = jnp.zeros(shape, dtype, device=at)
        return self._zeros[key]

"""Traces a function to flat equations: calls inlined, scans over layers taken apart, dead equations dropped."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from jax import lax

from partitioner.jaxpr import (
    Atom,
    Eqn,
    Literal,
    Var,
    aval_of,
    called_jaxpr,
    drop_dead,
    equations_of,
    fresh_variables,
    is_identity,
    opened,
    replacement_of,
    trace,
)
from partitioner.known_values import KnownValues
from partitioner.layer_scan import LayerScan, Origin, as_layer_scan, origin_of


def make_flat(
    function: Callable[..., Any], *args: Any, origins: Sequence[Origin | None] = ()
) -> tuple[list[Var], list[Eqn], list[Atom], list[tuple[Var, Any]], Any]:
    """Traces a function, inlines every call-like equation, and takes scans over layers apart.

    Args:
        function: A traceable function.
        *args: Pytrees of arrays or ``jax.ShapeDtypeStruct``.
        origins: Which inputs, in order, are caches or parameters; where none is a cache, no scan is over layers.

    Returns:
        Input variables, equations, output atoms, constants as (variable, array), and the output pytree of shapes.
    """
    jaxpr, consts, out_shape = trace(function, *args)
    told = zip(jaxpr.invars, origins, strict=False)
    flattener = _Flattener(zip(jaxpr.constvars, consts, strict=True), {v: o for v, o in told if o})
    equations, env = flattener.inline(jaxpr.eqns, {})
    outputs = [replacement_of(env, a) for a in jaxpr.outvars]
    return list(jaxpr.invars), drop_dead(equations, outputs), outputs, flattener.consts, out_shape


class _Flattener:
    """Replaces calls by their bodies and scans over layers by a body each, and gathers the constants these close over."""

    def __init__(self, consts: Iterable[tuple[Var, Any]], origins: dict[Var, Origin]) -> None:
        self.consts = list(consts)
        self._fresh = fresh_variables()
        self._const_of = {id(value): var for var, value in self.consts}
        self._origins = origins
        self._known = KnownValues(self.consts)
        self._depth = 0

    def inline(self, eqns: Iterable[Eqn], env: dict[Var, Atom]) -> tuple[list[Eqn], dict[Var, Atom]]:
        """Returns the equations without calls, and what each variable has become."""
        flat: list[Eqn] = []
        for eqn in eqns:
            operands = [replacement_of(env, a) for a in eqn.invars]
            called = self._called(eqn, operands)
            if called is not None:
                results = self._run(*called, flat)
            elif (scan := as_layer_scan(eqn, operands, self._origins)) is not None:
                results = self._unrolled(scan, flat)
            elif is_identity(eqn):
                results = operands
            else:
                results = self._emitted(eqn, operands, flat)
            env.update(zip(eqn.outvars, results, strict=True))
        return flat, env

    def _run(
        self, body: Any, closed_over: Sequence[Any], operands: Sequence[Atom], flat: list[Eqn]
    ) -> list[Atom]:
        env: dict[Var, Atom] = dict(zip(body.invars, operands, strict=True))
        env.update((v, self._const(v, c)) for v, c in zip(body.constvars, closed_over, strict=True))
        equations, env = self.inline(body.eqns, env)
        flat.extend(equations)
        return [replacement_of(env, a) for a in body.outvars]

    def _emitted(self, eqn: Eqn, operands: list[Atom], flat: list[Eqn]) -> list[Atom]:
        """Adds an equation, or leaves it out where the number of a layer settles what it gives."""
        made = eqn.replace(invars=operands, outvars=[self._fresh(v.aval) for v in eqn.outvars])
        self._known.add(made)
        origin = origin_of(eqn, operands, self._origins)
        if origin is not None:
            self._origins[made.outvars[0]] = origin
        if self._depth and len(made.outvars) == 1:
            aval: Any = aval_of(made.outvars[0])
            value = self._known.of(made.outvars[0]) if aval.shape == () else None
            if value is not None:
                return [Literal(value, aval)]
        flat.append(made)
        return list(made.outvars)

    def _called(self, eqn: Eqn, operands: Sequence[Atom]) -> tuple[Any, Sequence[Any], Sequence[Atom]] | None:
        """Returns the body that an equation calls, with what it closes over and what it is given.

        Of a conditional that the number of a layer decides, it is the branch taken.
        """
        called = called_jaxpr(eqn)
        if called is not None:
            return *called, operands
        if eqn.primitive.name != "cond" or not self._depth:
            return None
        index, branches = self._known.of(operands[0]), eqn.params["branches"]
        if index is None:
            return None
        return *opened(branches[min(max(int(index), 0), len(branches) - 1)]), operands[1:]

    def _unrolled(self, scan: LayerScan, flat: list[Eqn]) -> list[Atom]:
        """Adds a copy of a scan's body for each layer, and returns what the scan gives."""
        self._depth += 1
        carry = list(scan.carry)
        rows: dict[int, list[Atom]] = {}
        for layer in scan.order:
            elements = [self._element(a, layer, flat) for a in scan.stacked]
            made = self._run(scan.body, scan.closed_over, [*scan.consts, *carry, *elements], flat)
            carry, rows[layer] = made[: len(carry)], made[len(carry) :]
        self._depth -= 1
        columns = zip(*(rows[layer] for layer in range(scan.length)), strict=True)
        return [*carry, *(self._joined(column, flat) for column in columns)]

    def _element(self, stacked: Atom, layer: int, flat: list[Eqn]) -> Atom:
        value = self._known.of(stacked)
        if value is not None and value.ndim == 1:
            aval: Any = aval_of(stacked)
            return Literal(value[layer], aval.update(shape=()))
        return self._traced(lambda a: lax.index_in_dim(a, layer, keepdims=False), [stacked], flat)

    def _joined(self, elements: Sequence[Atom], flat: list[Eqn]) -> Atom:
        return self._traced(lambda *given: lax.concatenate([x[None] for x in given], 0), elements, flat)

    def _traced(self, function: Callable[..., Any], operands: Sequence[Atom], flat: list[Eqn]) -> Atom:
        equations, (result,) = equations_of(function, operands)
        env: dict[Var, Atom] = {}
        inlined, env = self.inline(equations, env)
        flat.extend(inlined)
        return replacement_of(env, result)

    def _const(self, var: Var, value: Any) -> Var:
        if id(value) not in self._const_of:
            self._const_of[id(value)] = self._fresh(var.aval)
            self.consts.append((self._const_of[id(value)], value))
            self._known.define(self._const_of[id(value)], value)
        return self._const_of[id(value)]

"""Checks what every pass must preserve."""

from __future__ import annotations

from partitioner.errors import PassError
from partitioner.ir.graph import OpGraph
from partitioner.jaxpr import Var, variables


def verify_graph(graph: OpGraph, after: str) -> None:
    """Checks that ops follow their producers, read nothing undefined, and that every equation of the phase runs.

    Args:
        graph: The graph to check.
        after: Name of the pass that made it, for the message.

    Raises:
        PassError: With the pass, the op and the printed equation.
    """
    index_made = {v for e in graph.index_equations for v in e.outvars}
    repeated = {id(e) for e in (*graph.index_equations, *graph.param_equations)}
    defined: set[Var] = {i.var for i in graph.phase.inputs}
    covered: set[int] = set()
    names: set[str] = set()
    for op in graph.ops:
        if op.name in names:
            raise PassError(f"after {after}: two ops are called {op.name!r}")
        names.add(op.name)
        for v in op.inputs:
            if v not in defined:
                raise PassError(f"after {after}: op {op.name!r} reads {v}, which no earlier op makes")
        local = set(op.inputs)
        for eqn in op.equations:
            missing = [v for v in variables(eqn.invars) if v not in local]
            if missing:
                raise PassError(
                    f"after {after}: op {op.name!r} does not list {missing[0]} as an input; equation: {eqn}"
                )
            if id(eqn) in covered and id(eqn) not in repeated:
                raise PassError(f"after {after}: an equation runs twice, again in op {op.name!r}: {eqn}")
            local.update(eqn.outvars)
            covered.add(id(eqn))
        unmade = [v for v in op.outputs if v not in local]
        if unmade:
            raise PassError(f"after {after}: op {op.name!r} does not make its output {unmade[0]}")
        defined.update(op.outputs)
    for eqn in graph.phase.equations:
        if id(eqn) not in covered and id(eqn) not in repeated:
            raise PassError(f"after {after}: an equation is in no op: {eqn}")
    for output in graph.phase.outputs:
        if isinstance(output.atom, Var) and output.atom not in defined and output.atom not in index_made:
            raise PassError(f"after {after}: output {output.name!r} is made by no op")

"""Checks what every pass must preserve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from partitioner.errors import PassError
from partitioner.ir.graph import OpGraph
from partitioner.ir.op import Op
from partitioner.jaxpr import Var, shape_of, variables


def verify_graph(graph: OpGraph, after: str) -> None:
    """Checks that ops follow their producers, list what they read and make, and that every equation of the phase runs once.

    Args:
        graph: The graph to check.
        after: Name of the pass that made it, for the message.

    Raises:
        PassError: With the pass, the op and the printed equation.
    """
    repeated = {id(e) for e in (*graph.index_equations, *graph.param_equations)}
    defined: set[Var] = {i.var for i in graph.phase.inputs}
    covered: set[int] = set()
    names: set[str] = set()
    for op in graph.ops:
        if op.name in names:
            raise PassError(f"after {after}: two ops are called {op.name!r}")
        names.add(op.name)
        if not defined.issuperset(op.inputs):
            v = next(v for v in op.inputs if v not in defined)
            raise PassError(f"after {after}: op {op.name!r} reads {v.aval}, which no earlier op makes")
        own = [id(e) for e in op.equations if id(e) not in repeated]
        if len(set(own)) < len(own) or not covered.isdisjoint(own):
            twice = next(e for e in op.equations if id(e) in covered or own.count(id(e)) > 1)
            raise PassError(f"after {after}: an equation runs twice, again in op {op.name!r}: {twice}")
        covered.update(own)
        _verify_values(op, after, graph.phase.reads)
        _verify_attention(op, after)
        defined.update(op.outputs)
    for eqn in graph.phase.equations:
        if id(eqn) not in covered and id(eqn) not in repeated:
            raise PassError(f"after {after}: an equation is in no op: {eqn}")
    _verify_parallel(graph, after)
    index_made = {v for e in graph.index_equations for v in e.outvars}
    for output in graph.phase.outputs:
        if isinstance(output.atom, Var) and output.atom not in defined and output.atom not in index_made:
            raise PassError(f"after {after}: output {output.name!r} is made by no op")


def _verify_parallel(graph: OpGraph, after: str) -> None:
    """Checks that those inputs of the phase that are cut over several GPUs have an axis of equal parts."""
    if graph.parallel is None:
        return
    for given in graph.phase.inputs:
        axis, shape = graph.parallel.axes.get(given.name), shape_of(given.var)
        if axis is not None and (axis >= len(shape) or shape[axis] % graph.parallel.num_gpus):
            raise PassError(
                f"after {after}: {given.name!r} of shape {list(shape)} is cut along axis {axis} into "
                f"{graph.parallel.num_gpus} parts, which are not equal"
            )


def _verify_values(op: Op, after: str, reads: Mapping[int, Sequence[Var]]) -> None:
    """Checks that an op's equations read its inputs and each other, and make its outputs."""
    local, read = set(op.inputs), set[Var]()
    for eqn in op.equations:
        operands = reads.get(id(eqn)) or variables(eqn.invars)
        if not local.issuperset(operands):
            missing = next(v for v in operands if v not in local)
            raise PassError(
                f"after {after}: op {op.name!r} does not list {missing.aval} as an input; equation: {eqn}"
            )
        read.update(operands)
        local.update(eqn.outvars)
    if not read.issuperset(op.inputs):
        v = next(v for v in op.inputs if v not in read)
        raise PassError(f"after {after}: op {op.name!r} lists {v.aval} as an input and does not read it")
    made = local.difference(op.inputs)
    if not made.issuperset(op.outputs):
        v = next(v for v in op.outputs if v not in made)
        raise PassError(f"after {after}: op {op.name!r} does not make its output {v.aval}")


def _verify_attention(op: Op, after: str) -> None:
    """Checks that a raised attention has what a drive needs: its operands from outside, and both caches."""
    if (op.kind == "attention") != (op.attention is not None):
        raise PassError(f"after {after}: op {op.name!r} is of kind {op.kind!r} and describes {op.attention}")
    if op.attention is None:
        return
    for letter, v in zip(
        "qkv", (op.attention.query, op.attention.new_key, op.attention.new_value), strict=True
    ):
        if v not in op.inputs:
            raise PassError(f"after {after}: attention {op.name!r} does not read its {letter}, {v.aval}")
    for name in (op.attention.key_cache, op.attention.value_cache):
        if name not in op.states:
            raise PassError(f"after {after}: attention {op.name!r} does not list its cache {name!r}")

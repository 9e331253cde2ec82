"""The transient memory an op needs beyond its weights and caches."""

from __future__ import annotations

from partitioner.ir.graph import OpGraph
from partitioner.ir.op import Op
from partitioner.jaxpr import Eqn, Var, num_bytes, variables

_STORED = frozenset(
    {"dot_general", "conv_general_dilated", "sort", "gather", "cumsum", "concatenate", "scan", "while"}
)

_LEAST_BYTES = 1024
_VIEWS = frozenset({"transpose", "reshape", "squeeze", "expand_dims"})


def peak_working_set_bytes(graph: OpGraph) -> int:
    """Returns the most that any op of a graph needs, looking at one op of each form."""
    one_of_each = {op.form: op for op in reversed(graph.ops)}
    return max((working_set_bytes(graph, op) for op in one_of_each.values()), default=0)


def working_set_bytes(graph: OpGraph, op: Op) -> int:
    """Returns an estimate of the peak bytes of an op's activations.

    Inputs and outputs count, and results that must be stored because a contraction makes or reads them, from where they are
    made to where they are last read; element-wise chains in between are fused and need no memory of their own, and weights are
    read as they lie, also where they are transposed.
    """
    persistent = graph.input_of
    caches = {v for v in op.outputs if v in graph.output_of and graph.output_of[v].role == "cache"}
    border = sum(num_bytes(v) for v in op.inputs if v not in persistent)
    border += sum(num_bytes(v) for v in op.outputs if v not in caches)
    stored: set[Var] = set()
    last: dict[Var, int] = {}
    for i, eqn in enumerate(op.equations):
        if eqn.primitive.name in _STORED:
            stored.update(eqn.outvars)
            stored.update(v for v in variables(eqn.invars))
        for v in variables(eqn.invars):
            last[v] = i
    stored -= {*op.inputs, *op.outputs}
    stored -= {v for e in op.equations if _is_param_view(graph, e) for v in e.outvars}
    peak = current = 0
    ending: dict[int, int] = {}
    for i, eqn in enumerate(op.equations):
        for v in eqn.outvars:
            if v in stored and v in last and num_bytes(v) >= _LEAST_BYTES:
                current += num_bytes(v)
                ending[last[v]] = ending.get(last[v], 0) + num_bytes(v)
        peak = max(peak, current)
        current -= ending.get(i, 0)
    return border + peak


def _is_param_view(graph: OpGraph, eqn: Eqn) -> bool:
    return eqn.primitive.name in _VIEWS and id(eqn) in graph.param_equation_ids

"""Follows an axis of a value, backwards to the parameters it comes from and ahead to the products that sum over it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from partitioner.ir.graph import OpGraph
from partitioner.jaxpr import Eqn, Var, shape_of, variables
from partitioner.passes.split_axis import axis_through, contracted_with

Axes = dict[str, set[int]]
"""Axes of parameters, by name."""


@dataclass
class Chain:
    """Collects what becomes of a value that is cut along an axis.

    Attributes:
        cut: Axes of parameters that are cut with it.
        ends: Whether a product with a parameter sums over the axis, or the logits have it.
    """

    cut: Axes = field(default_factory=dict)
    ends: bool = False


class AxisFollower:
    """Follows axes through the equations of a phase.

    Args:
        graph: The phase.
        num_parts: Into how many contiguous parts an axis is cut.
    """

    def __init__(self, graph: OpGraph, num_parts: int) -> None:
        self._parts = num_parts
        self._flow = graph.phase.flow
        self._named: Mapping[Var, str] = {i.var: i.name for i in graph.phase.inputs if i.role == "param"}
        self._outputs = set(graph.output_of)
        self._logits = graph.phase.outputs[0].atom
        self._of_params = set(self._named)
        for eqn in graph.param_equations:
            if self._of_params.issuperset(variables(eqn.invars)):
                self._of_params.update(eqn.outvars)

    def parameter_of(self, eqn: Eqn) -> tuple[int, Var] | None:
        """Returns the one operand of a product that is a parameter, or a view of one, behind its number; else None."""
        if eqn.primitive.name != "dot_general":
            return None
        found = [(n, a) for n, a in enumerate(eqn.invars) if isinstance(a, Var) and a in self._of_params]
        return found[0] if len(found) == 1 else None

    def through(self, eqn: Eqn, operand: int, axis: int) -> int | None:
        """Returns the axis of an equation's results along which they are cut if an operand is; None where it cannot be."""
        return axis_through(eqn, operand, axis, self._parts)

    def back(self, var: Var, axis: int, *, into_products: bool = True) -> Axes:
        """Returns the axes of parameters that an axis of a value comes from.

        Args:
            var: The value.
            axis: Its axis.
            into_products: Whether to go on through matrix products, beyond what is added to or multiplied with the value.
        """
        found: Axes = {}
        seen: set[Var] = set()
        pending = [(var, axis)]
        while pending:
            var, axis = pending.pop()
            eqn = self._flow.maker.get(var)
            if var in self._named:
                found.setdefault(self._named[var], set()).add(axis)
                continue
            if var in seen or eqn is None or (eqn.primitive.name == "dot_general" and not into_products):
                continue
            seen.add(var)
            pending += self._before(eqn, axis)
        return found

    def ahead(self, var: Var, axis: int) -> Chain | None:
        """Returns what becomes of a value cut along an axis; None where something needs more than its part."""
        chain = Chain()
        seen: set[Var] = set()
        pending = [(var, axis)]
        while pending:
            var, axis = pending.pop()
            if var in seen:
                continue
            seen.add(var)
            if var is self._logits:
                chain.ends = True
            elif var in self._outputs:
                return None
            for eqn in self._flow.readers.get(var, ()):
                after = self._after(eqn, var, axis, chain)
                if after is None:
                    return None
                pending += after
        return chain

    def _before(self, eqn: Eqn, axis: int) -> list[tuple[Var, int]]:
        """Returns the operands of an equation, with the axes that become an axis of its results."""
        return [
            (operand, own)
            for number, operand in enumerate(eqn.invars)
            if isinstance(operand, Var)
            for own, size in enumerate(shape_of(operand))
            if size > 1 and self.through(eqn, number, own) == axis
        ]

    def _after(self, eqn: Eqn, var: Var, axis: int, chain: Chain) -> list[tuple[Var, int]] | None:
        """Follows an axis into one equation: returns its results with the axis they are cut along, or None if they cannot be.

        Where a parameter is summed over together with the axis, the chain ends, and there is nothing to return.
        """
        found: list[tuple[Var, int]] = []
        for number in [n for n, a in enumerate(eqn.invars) if a is var]:
            other = contracted_with(eqn, number, axis)
            parameter = eqn.invars[1 - number] if other is not None else None
            if other is not None and isinstance(parameter, Var) and parameter in self._of_params:
                merge_axes(chain.cut, self.back(parameter, other))
                chain.ends = True
                continue
            after = self.through(eqn, number, axis)
            if after is None:
                return None
            merge_axes(chain.cut, self._cut_beside(eqn, var, after))
            found += [(v, after) for v in eqn.outvars]
        return found

    def _cut_beside(self, eqn: Eqn, var: Var, axis: int) -> Axes:
        """Returns the axes of parameters that an equation adds to a cut value, or the like."""
        found: Axes = {}
        if eqn.primitive.name != "dot_general":
            for beside, own in self._before(eqn, axis):
                if beside is not var:
                    merge_axes(found, self.back(beside, own, into_products=False))
        return found


def merge_axes(into: Axes, more: Axes) -> None:
    """Adds axes of parameters to others."""
    for name, axes in more.items():
        into.setdefault(name, set()).update(axes)

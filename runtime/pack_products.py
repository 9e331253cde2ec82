"""Makes one matrix product of several that share their left operand, with their right operands concatenated.

On a GPU that is bound by memory, a product with few columns does not read its weights at the full rate.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
from jax import lax

from partitioner.flatten import make_flat
from partitioner.jaxpr import Eqn, Literal, Var, aval_of, evaluate, shape_of, variables


@dataclass(frozen=True, eq=False)
class Products:
    """Names matrix products that can be one.

    Attributes:
        equations: The products, in order.
        axis: Axis of their right operands that tells columns apart, along which these are concatenated.
    """

    equations: tuple[Eqn, ...]
    axis: int

    @property
    def weights(self) -> tuple[Var, ...]:
        """Returns the right operands, in order."""
        return tuple(v for e in self.equations for v in variables(e.invars[1:]))


def find_products(equations: Sequence[Eqn], weights: Mapping[Var, Hashable]) -> list[Products]:
    """Returns the products that share their left operand, their contraction and the group of their right operands.

    Args:
        equations: All equations that run, in order.
        weights: Right operands that may be concatenated, and what group each belongs to. One that anything else reads is
            left alone.
    """
    reads = Counter(v for e in equations for v in variables(e.invars))
    found: dict[tuple[int, Hashable], list[Eqn]] = {}
    for eqn in equations:
        if eqn.primitive.name != "dot_general":
            continue
        left, right = eqn.invars
        _, (left_batch, _) = eqn.params["dimension_numbers"]
        if isinstance(left, Literal) or isinstance(right, Literal) or left_batch:
            continue
        if right not in weights or reads[right] != 1:
            continue
        axis = _column_axis(eqn)
        if axis is None:
            continue
        shape = shape_of(right)
        others = shape[:axis] + shape[axis + 1 :]
        settings = tuple((name, str(eqn.params[name])) for name in sorted(eqn.params))
        alike = left, weights[right], others, str(aval_of(right).dtype), settings
        found.setdefault((axis, alike), []).append(eqn)
    return [Products(tuple(group), axis) for (axis, _), group in found.items() if len(group) > 1]


def pack_products(products: Products) -> tuple[Var, tuple[Eqn, ...]]:
    """Returns the variable of the concatenated right operands, and equations that make what all products made."""
    first = products.equations[0]
    left = variables(first.invars[:1])[0]
    widths = [shape_of(v)[products.axis] for v in products.weights]
    packed_shape = list(shape_of(products.weights[0]))
    packed_shape[products.axis] = sum(widths)
    _, contracted = first.params["dimension_numbers"][0]
    column_axis = len(shape_of(left)) - len(contracted)

    def run(x: Any, packed: Any) -> list[Any]:
        env = dict(zip(variables(first.invars), (x, packed), strict=True))
        whole = evaluate([first], env)[first.outvars[0]]
        starts = [sum(widths[:i]) for i in range(len(widths))]
        return [
            lax.slice_in_dim(whole, start, start + width, axis=column_axis)
            for start, width in zip(starts, widths, strict=True)
        ]

    types = [jax.ShapeDtypeStruct(shape_of(left), aval_of(left).dtype)]
    types.append(jax.ShapeDtypeStruct(tuple(packed_shape), aval_of(products.weights[0]).dtype))
    (given, packed), equations, made, _, _ = make_flat(run, *types)
    renamed: dict[Any, Var] = {given: left}
    renamed.update(zip(variables(made), (e.outvars[0] for e in products.equations), strict=True))
    return packed, tuple(_rename(e, renamed) for e in equations)


def _column_axis(eqn: Eqn) -> int | None:
    """Returns the first axis of the right operand that is not summed over."""
    (_, contracted), _ = eqn.params["dimension_numbers"]
    free = [axis for axis in range(len(shape_of(eqn.invars[1]))) if axis not in contracted]
    return free[0] if free else None


def _rename(eqn: Eqn, renamed: Mapping[Any, Var]) -> Eqn:
    """Returns an equation over other variables of the same types."""
    read = [a if isinstance(a, Literal) else renamed.get(a, a) for a in eqn.invars]
    return eqn.replace(invars=read, outvars=[renamed.get(v, v) for v in eqn.outvars])

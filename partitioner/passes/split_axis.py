"""Follows one axis of an array, cut into equal contiguous parts, through equations that can be done part by part."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

from cost_models.primitive_table import is_elementwise
from partitioner.jaxpr import Eqn, shape_of


def axis_through(eqn: Eqn, operand: int, axis: int, num_parts: int) -> int | None:
    """Returns the axis of an equation's results along which they are cut if an operand is; None where parts do not stay apart.

    Args:
        eqn: The equation.
        operand: Which of its operands is cut.
        axis: Along which axis.
        num_parts: Into how many parts, each a contiguous range of the axis.
    """
    rule = _RULES.get(eqn.primitive.name)
    if rule is not None:
        return rule(eqn, operand, axis, num_parts)
    return axis if _is_by_element(eqn, operand, axis) else None


def contracted_with(eqn: Eqn, operand: int, axis: int) -> int | None:
    """Returns the other operand's axis that a matrix product sums over together with an axis; None if it does not."""
    if eqn.primitive.name != "dot_general":
        return None
    contracted, _ = eqn.params["dimension_numbers"]
    own, other = contracted[operand], contracted[1 - operand]
    return int(other[own.index(axis)]) if axis in own else None


def _is_by_element(eqn: Eqn, operand: int, axis: int) -> bool:
    """Tells whether every element of the result is made of those at its place; axes of size one stand for all places."""
    if len(eqn.outvars) != 1 or not is_elementwise(eqn.primitive.name):
        return False
    own, made = shape_of(eqn.invars[operand]), shape_of(eqn.outvars[0])
    return len(own) == len(made) and own[axis] == made[axis]


def _same(eqn: Eqn, operand: int, axis: int, num_parts: int) -> int | None:
    """Follows what hands on its operand; one that hands on several, each for itself, has no axis of all results."""
    return axis if len(eqn.outvars) == 1 else None


def _reshape(eqn: Eqn, operand: int, axis: int, num_parts: int) -> int | None:
    """Parts stay apart where the axis is the major factor of the one it becomes, or the other way round."""
    before, after = shape_of(eqn.invars[0]), shape_of(eqn.outvars[0])
    for place, size in enumerate(after):
        if size > 1 and size % num_parts == 0 and prod(after[:place]) == prod(before[:axis]):
            return place
    return None


def _transpose(eqn: Eqn, operand: int, axis: int, num_parts: int) -> int | None:
    return [int(d) for d in eqn.params["permutation"]].index(axis)


def _broadcast(eqn: Eqn, operand: int, axis: int, num_parts: int) -> int | None:
    place = int(eqn.params["broadcast_dimensions"][axis])
    return place if shape_of(eqn.outvars[0])[place] == shape_of(eqn.invars[0])[axis] else None


def _squeeze(eqn: Eqn, operand: int, axis: int, num_parts: int) -> int | None:
    return _without(axis, [int(d) for d in eqn.params["dimensions"]])


def _reduce(eqn: Eqn, operand: int, axis: int, num_parts: int) -> int | None:
    return _without(axis, [int(d) for d in eqn.params["axes"]])


def _without(axis: int, dropped: list[int]) -> int | None:
    return None if axis in dropped else axis - sum(d < axis for d in dropped)


def _slice(eqn: Eqn, operand: int, axis: int, num_parts: int) -> int | None:
    whole = shape_of(eqn.outvars[0])[axis] == shape_of(eqn.invars[0])[axis]
    return axis if operand == 0 and whole else None


def _split(eqn: Eqn, operand: int, axis: int, num_parts: int) -> int | None:
    return axis if eqn.params["axis"] != axis else None


def _concatenate(eqn: Eqn, operand: int, axis: int, num_parts: int) -> int | None:
    return axis if eqn.params["dimension"] != axis else None


def _product(eqn: Eqn, operand: int, axis: int, num_parts: int) -> int | None:
    """Follows an axis that is not summed over: those of the batch come first, then the left ones, then the right ones."""
    contracted, batch = eqn.params["dimension_numbers"]
    if axis in contracted[operand]:
        return None
    if axis in batch[operand]:
        return list(batch[operand]).index(axis)
    sizes = [len(shape_of(a)) for a in eqn.invars]
    free = [a for a in range(sizes[operand]) if a not in (*contracted[operand], *batch[operand])]
    left = sizes[0] - len(contracted[0]) if operand else len(batch[0])
    return left + free.index(axis)


_RULES: dict[str, Callable[[Eqn, int, int, int], int | None]] = {
    "reshape": _reshape,
    "transpose": _transpose,
    "broadcast_in_dim": _broadcast,
    "squeeze": _squeeze,
    "slice": _slice,
    "dynamic_slice": _slice,
    "split": _split,
    "concatenate": _concatenate,
    "dot_general": _product,
    **dict.fromkeys(
        ("convert_element_type", "copy", "copy_p", "stop_gradient", "optimization_barrier"), _same
    ),
    **dict.fromkeys(("reduce_sum", "reduce_max", "reduce_min", "reduce_prod"), _reduce),
}

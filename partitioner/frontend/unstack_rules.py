"""How equations that take, put or stack elements act on an array that is taken apart."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate, pairwise
from math import prod

from partitioner.frontend.stacked import Emitter, Stacked, Value
from partitioner.frontend.traced import without
from partitioner.frontend.unstack_scatter import scatter_elements
from partitioner.jaxpr import Atom, Eqn, shape_of

Result = Value | tuple[Value, ...] | None
Rule = Callable[[Emitter, Eqn, Sequence[Value]], Result]


def _slice(emit: Emitter, eqn: Eqn, operands: Sequence[Value]) -> Result:
    stacked = operands[0]
    assert isinstance(stacked, Stacked)
    axis, start, limit = stacked.axis, eqn.params["start_indices"], eqn.params["limit_indices"]
    if any(s != 1 for s in eqn.params["strides"] or ()):
        return None
    part = stacked.part(start[axis], limit[axis])
    inner_start, inner_limit = without(start, axis), without(limit, axis)
    shape = tuple(b - a for a, b in zip(inner_start, inner_limit, strict=True))
    if not part.elements:
        return None
    if shape == without(stacked.shape, axis):
        return part
    strides = None if eqn.params["strides"] is None else (1,) * len(shape)
    changed = {"start_indices": inner_start, "limit_indices": inner_limit, "strides": strides}
    return part.each(axis, lambda a: emit.like(eqn, [a], shape, **changed))


def _dynamic_slice(emit: Emitter, eqn: Eqn, operands: Sequence[Value]) -> Result:
    stacked, *indices = operands
    if not isinstance(stacked, Stacked):
        return None
    axis, sizes = stacked.axis, eqn.params["slice_sizes"]
    first = _first(emit, indices[axis], len(stacked.elements) - sizes[axis])
    if first is None:
        return None
    part = stacked.part(first, first + sizes[axis])
    inner = without(sizes, axis)
    if inner == without(stacked.shape, axis):
        return part
    rest = [i for d, i in enumerate(indices) if d != axis]
    return part.each(axis, lambda a: emit.like(eqn, [a, *_atoms(rest)], inner, slice_sizes=inner))


def _dynamic_update_slice(emit: Emitter, eqn: Eqn, operands: Sequence[Value]) -> Result:
    stacked, update, *indices = operands
    if not isinstance(stacked, Stacked):
        return None
    axis = stacked.axis
    if isinstance(update, Stacked) and update.axis != axis:
        return None
    sizes = update.shape if isinstance(update, Stacked) else shape_of(update)
    first = _first(emit, indices[axis], len(stacked.elements) - sizes[axis])
    if first is None:
        return None
    elements = list(stacked.elements)
    rest = _atoms([i for d, i in enumerate(indices) if d != axis])
    for n in range(sizes[axis]):
        new, old = emit.element(update, axis, n), elements[first + n]
        same = shape_of(new) == shape_of(old)
        elements[first + n] = new if same else emit.like(eqn, [old, new, *rest], shape_of(old))
    made = update.sources if isinstance(update, Stacked) else frozenset()
    return replace(stacked, elements=tuple(elements), sources=stacked.sources | made)


def _squeeze(emit: Emitter, eqn: Eqn, operands: Sequence[Value]) -> Result:
    stacked = operands[0]
    assert isinstance(stacked, Stacked)
    axis = stacked.axis
    dropped = {int(d) % len(stacked.shape) for d in eqn.params["dimensions"]}
    inner = tuple(sorted(d - (d > axis) for d in dropped if d != axis))
    shape = tuple(s for d, s in enumerate(without(stacked.shape, axis)) if d not in inner)

    def squeezed(atom: Atom) -> Atom:
        return emit.like(eqn, [atom], shape, dimensions=inner) if inner else atom

    if axis in dropped:
        return squeezed(stacked.elements[0])
    return stacked.each(axis - sum(d < axis for d in dropped), squeezed)


def _reshape(emit: Emitter, eqn: Eqn, operands: Sequence[Value]) -> Result:
    stacked = operands[0]
    assert isinstance(stacked, Stacked)
    shape, sizes, axis = stacked.shape, eqn.params["new_sizes"], stacked.axis

    def reshaped(atom: Atom, to: tuple[int, ...]) -> Atom:
        return atom if shape_of(atom) == to else emit.like(eqn, [atom], to, new_sizes=to)

    if len(stacked.elements) == 1:
        return reshaped(stacked.elements[0], tuple(sizes))
    for place, size in enumerate(sizes):
        if size == shape[axis] and prod(sizes[:place]) == prod(shape[:axis]):
            return stacked.each(place, lambda a, place=place: reshaped(a, without(sizes, place)))
    return None


def _transpose(emit: Emitter, eqn: Eqn, operands: Sequence[Value]) -> Result:
    stacked = operands[0]
    assert isinstance(stacked, Stacked)
    order, axis = [int(d) for d in eqn.params["permutation"]], stacked.axis
    inner = tuple(d - (d > axis) for d in order if d != axis)
    shape = without(stacked.shape, axis)
    moved = tuple(shape[d] for d in inner)
    return stacked.each(order.index(axis), lambda a: emit.like(eqn, [a], moved, permutation=inner))


def _convert(emit: Emitter, eqn: Eqn, operands: Sequence[Value]) -> Result:
    stacked = operands[0]
    assert isinstance(stacked, Stacked)
    return stacked.each(stacked.axis, lambda a: emit.like(eqn, [a], shape_of(a)))


def _concatenate(emit: Emitter, eqn: Eqn, operands: Sequence[Value]) -> Result:
    axis = eqn.params["dimension"]
    elements: list[Atom] = []
    sources: frozenset[str] = frozenset()
    for value in operands:
        if isinstance(value, Stacked):
            if value.axis != axis:
                return None
            elements += value.elements
            sources |= value.sources
        elif shape_of(value)[axis] == 1:
            elements.append(emit.element(value, axis, 0))
        else:
            return None
    return Stacked(axis, tuple(elements), sources)


def _stack(emit: Emitter, eqn: Eqn, operands: Sequence[Value]) -> Result:
    elements = _atoms(operands)
    return (
        Stacked(eqn.params["axis"], tuple(elements), frozenset()) if len(elements) == len(operands) else None
    )


def _unstack(emit: Emitter, eqn: Eqn, operands: Sequence[Value]) -> Result:
    stacked = operands[0]
    assert isinstance(stacked, Stacked)
    return stacked.elements if stacked.axis == eqn.params["axis"] else None


def _split(emit: Emitter, eqn: Eqn, operands: Sequence[Value]) -> Result:
    stacked = operands[0]
    assert isinstance(stacked, Stacked)
    ends = [int(e) for e in accumulate(eqn.params["sizes"])]
    if stacked.axis != eqn.params["axis"]:
        return None
    return tuple(stacked.part(start, stop) for start, stop in pairwise([0, *ends]))


def _gather(emit: Emitter, eqn: Eqn, operands: Sequence[Value]) -> Result:
    """Takes one element whole, as ``jnp.take`` with one index does."""
    stacked, index = operands
    if not isinstance(stacked, Stacked) or isinstance(index, Stacked):
        return None
    numbers, axis = eqn.params["dimension_numbers"], (stacked.axis,)
    place = emit.known.of(index)
    inner = without(stacked.shape, stacked.axis)
    takes_one = tuple(numbers.collapsed_slice_dims) == axis == tuple(numbers.start_index_map)
    whole = without(eqn.params["slice_sizes"], stacked.axis) == inner == shape_of(eqn.outvars[0])
    if place is None or place.size != 1 or not takes_one or not whole:
        return None
    number = int(place.reshape(-1)[0])
    return stacked.elements[number] if 0 <= number < len(stacked.elements) else None


def _first(emit: Emitter, index: Value, most: int) -> int | None:
    """Returns where a slice begins if that is known; slices are kept within their array."""
    value = None if isinstance(index, Stacked) else emit.known.of(index)
    return None if value is None else min(max(int(value), 0), most)


def _atoms(values: Sequence[Value]) -> list[Atom]:
    return [v for v in values if not isinstance(v, Stacked)]


RULES: Mapping[str, Rule] = {
    "concatenate": _concatenate,
    "convert_element_type": _convert,
    "dynamic_slice": _dynamic_slice,
    "dynamic_update_slice": _dynamic_update_slice,
    "gather": _gather,
    "reshape": _reshape,
    "scatter": scatter_elements,
    "slice": _slice,
    "split": _split,
    "squeeze": _squeeze,
    "stack": _stack,
    "transpose": _transpose,
    "unstack": _unstack,
}
"""How equations act on stacked arrays; None where they need the whole."""

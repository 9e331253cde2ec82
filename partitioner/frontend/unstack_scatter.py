"""How a scatter at a fixed place along the axis of a stack acts on one of its elements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from jax import lax

from partitioner.frontend.stacked import Emitter, Stacked, Value
from partitioner.jaxpr import Atom, Eqn, shape_of


def scatter_elements(emit: Emitter, eqn: Eqn, operands: Sequence[Value]) -> Stacked | None:
    """Returns the stack with one element replaced, or written to; None where the place along its axis is not fixed."""
    stacked, indices, updates = operands
    if not isinstance(stacked, Stacked) or isinstance(indices, Stacked) or isinstance(updates, Stacked):
        return None
    numbers, axis = eqn.params["dimension_numbers"], stacked.axis
    indexed = [int(d) for d in numbers.scatter_dims_to_operand_dims]
    columns = emit.columns(indices)
    if axis not in indexed or columns is None:
        return None
    place = emit.known.of(columns[indexed.index(axis)])
    if place is None or np.unique(place).size != 1 or not 0 <= place.flat[0] < len(stacked.elements):
        return None
    number = int(place.flat[0])
    updates, window = _without_axis(emit, numbers, axis, len(stacked.shape), updates)
    if updates is None:
        return None
    old, rest = stacked.elements[number], [c for c, d in zip(columns, indexed, strict=True) if d != axis]
    if not rest:
        if len(window) != len(shape_of(old)) or shape_of(updates) != shape_of(old):
            return None
        new = updates
    else:
        inner = lax.ScatterDimensionNumbers(
            update_window_dims=window,
            inserted_window_dims=_moved(numbers.inserted_window_dims, axis),
            scatter_dims_to_operand_dims=_moved(indexed, axis),
            operand_batching_dims=_moved(numbers.operand_batching_dims, axis),
            scatter_indices_batching_dims=numbers.scatter_indices_batching_dims,
        )
        starts = rest[0] if len(rest) == 1 else emit.joined(rest, len(shape_of(rest[0])) - 1)
        new = emit.like(eqn, [old, starts, updates], shape_of(old), dimension_numbers=inner)
    elements = (*stacked.elements[:number], new, *stacked.elements[number + 1 :])
    return replace(stacked, elements=elements)


def _without_axis(
    emit: Emitter, numbers: Any, axis: int, num_axes: int, updates: Atom
) -> tuple[Atom | None, tuple[int, ...]]:
    """Returns the updates without the axis of the stack, and which of their axes are those of the window."""
    window = [int(d) for d in numbers.update_window_dims]
    gone = {int(d) for d in (*numbers.inserted_window_dims, *numbers.operand_batching_dims)}
    if axis in gone:
        return updates, tuple(window)
    place = window[[d for d in range(num_axes) if d not in gone].index(axis)]
    if shape_of(updates)[place] != 1:
        return None, ()
    return emit.element(updates, place, 0), _moved(window, place)


def _moved(axes: Sequence[int], gone: int) -> tuple[int, ...]:
    return tuple(int(d) - (d > gone) for d in axes if d != gone)

"""Moves arrays between a canonical axis order and the layout a model uses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from partitioner.ir.op import AxisRole, Layout


def to_layout(array: Any, roles: Sequence[AxisRole], layout: Layout) -> Any:
    """Arranges an array with one role per axis into ``layout``.

    Args:
        array: Any array with ``transpose`` and ``reshape``; axis i has role ``roles[i]``.
        roles: Every role of the layout, in the array's order; roles that the layout lacks must have size one.
        layout: The wanted axes.
    """
    flat: list[AxisRole] = [r for axis in layout for r in axis]
    sizes = dict(zip(roles, array.shape, strict=True))
    absent: list[AxisRole] = [r for r in roles if r not in flat]
    if any(sizes[r] != 1 for r in absent):
        raise ValueError(f"layout {layout} has no place for {absent} of sizes {[sizes[r] for r in absent]}")
    order = [roles.index(r) for r in (*absent, *flat)]
    shape = [product(sizes[r] for r in axis) for axis in layout]
    return array.transpose(order).reshape(shape)


def from_layout(array: Any, layout: Layout, roles: Sequence[AxisRole], sizes: Mapping[AxisRole, int]) -> Any:
    """Arranges an array in ``layout`` into one axis per role, the inverse of :func:`to_layout`.

    Args:
        array: The array; its axes are those of ``layout``.
        layout: Its axes.
        roles: The wanted order of axes.
        sizes: Size of every role that shares an axis or that the layout lacks (1).
    """
    flat: list[AxisRole] = [r for axis in layout for r in axis]
    expanded = array.reshape([sizes[r] for r in flat])
    present: list[AxisRole] = [r for r in roles if r in flat]
    moved = expanded.transpose([flat.index(r) for r in present])
    return moved.reshape([sizes[r] if r in flat else 1 for r in roles])


def as_rows(array: Any, batch_axis: int, token_axis: int | None) -> Any:
    """Returns the input of a layer as ``[batch, tokens, width]``.

    Args:
        array: Any array with ``transpose`` and ``reshape``.
        batch_axis: Axis of the rows.
        token_axis: Axis of the tokens; None where there is one per row.
    """
    leading = [batch_axis] if token_axis is None else [batch_axis, token_axis]
    order = [*leading, *(a for a in range(array.ndim) if a not in leading)]
    tokens = 1 if token_axis is None else array.shape[token_axis]
    return array.transpose(order).reshape(array.shape[batch_axis], tokens, -1)


def product(numbers: Any) -> int:
    """Returns the product of whole numbers; 1 for none."""
    result = 1
    for n in numbers:
        result *= int(n)
    return result

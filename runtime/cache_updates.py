"""Writes new tokens into caches that live on a processor, in the model's own axes and in place."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import jax
import numpy as np

from partitioner.ir.layout import to_layout
from partitioner.ir.op import AxisRole, Layout
from partitioner.jaxpr import Var, shape_of
from runtime.errors import SessionError


@cache
def append_function(new_layout: Layout, cache_layout: Layout) -> Callable[..., jax.Array]:
    """Returns ``append(cache, new, lengths)``, which puts one token per row behind the first ``lengths`` of it."""
    rows_axis, token_axis = cache_layout.index(("batch",)), cache_layout.index(("token",))
    inner_axis = token_axis - (rows_axis < token_axis)

    def append_row(row: jax.Array, new: jax.Array, length: jax.Array) -> jax.Array:
        return jax.lax.dynamic_update_slice_in_dim(row, new, length, inner_axis)

    over_rows = jax.vmap(append_row, in_axes=(rows_axis, rows_axis, 0), out_axes=rows_axis)

    def append(cache: jax.Array, new: jax.Array, lengths: jax.Array) -> jax.Array:
        return over_rows(
            cache, in_cache_axes(new, new_layout, cache_layout, cache.shape).astype(cache.dtype), lengths
        )

    return jax.jit(append, donate_argnums=0)


def in_cache_axes(new: Any, new_layout: Layout, cache_layout: Layout, cache_shape: tuple[int, ...]) -> Any:
    """Returns one token's K or V of every row in the axes of a cache, the one of the tokens of size 1."""
    roles: tuple[AxisRole, ...] = ("batch", "kv_head", "token", "head_size")
    sizes = {r[0]: n for r, n in zip(cache_layout, cache_shape, strict=True)}
    shape = [1 if r == "token" else sizes[r] for r in roles]
    return to_layout(_named(new, new_layout, roles).reshape(shape), roles, cache_layout)


def _named(array: Any, layout: Layout, roles: tuple[AxisRole, ...]) -> Any:
    """Orders axes that hold one role each, leaving out the empty ones."""
    held = [axis[0] for axis in layout if axis]
    flat = array.reshape([n for n, axis in zip(array.shape, layout, strict=True) if axis])
    return flat.transpose([held.index(r) for r in roles if r in held])


def put_block(cache: jax.Array, fresh: jax.Array, first: Any, rows_axis: int | None) -> jax.Array:
    """Returns a cache whose rows from ``first`` on hold from token 0 on what ``fresh`` has.

    Args:
        cache: The whole cache.
        fresh: The cache of some rows over the prompt only.
        first: Scalar, the first of them.
        rows_axis: Axis of the rows, None where ``fresh`` has all of them, or none.
    """
    begin = [first if axis == rows_axis else 0 for axis in range(cache.ndim)]
    return jax.lax.dynamic_update_slice(cache, fresh.astype(cache.dtype), begin)


def put_rows(cache: jax.Array, fresh: jax.Array, rows: jax.Array, rows_axis: int | None) -> jax.Array:
    """Returns the same for rows in any order, integers ``[rows]``; those beyond the cache are left out."""
    if rows_axis is None:
        return put_block(cache, fresh, 0, None)
    window = tuple(rows if axis == rows_axis else slice(size) for axis, size in enumerate(fresh.shape))
    return cache.at[window].set(fresh.astype(cache.dtype), mode="drop")


_put_block = jax.jit(put_block, static_argnames="rows_axis", donate_argnums=0)
_put_rows = jax.jit(put_rows, static_argnames="rows_axis", donate_argnums=0)


def store(cache: jax.Array, fresh: jax.Array, slots: np.ndarray, rows_axis: int | None) -> jax.Array:
    """Returns a cache, reused, whose rows hold from token 0 on what a prefill made.

    Args:
        cache: The whole cache.
        fresh: The cache of some rows over the prompt only.
        slots: Integer ``[rows]``, the cache's row for each of them; those below 0 are left out.
        rows_axis: Axis of the rows, None where ``fresh`` has all of them, or none.
    """
    if rows_axis is None or is_block(slots):  # a GPU scatters rows slowly
        return _put_block(cache, fresh, np.int32(0 if rows_axis is None else slots[0]), rows_axis=rows_axis)
    return _put_rows(cache, fresh, rows_or_beyond(slots, cache.shape[rows_axis]), rows_axis=rows_axis)


def is_block(slots: np.ndarray) -> bool:
    """Tells whether slots are rows that lie one after the other."""
    return bool(slots[0] >= 0) and np.array_equal(slots, np.arange(slots[0], slots[0] + len(slots)))


def rows_or_beyond(slots: np.ndarray, num_rows: int) -> np.ndarray:
    """Returns the rows that slots are, int32; ``num_rows`` for those that are none."""
    return np.where(slots < 0, num_rows, slots).astype(np.int32)


def rows_axis_of(name: str, whole: Var, part: Var, num_rows: int, part_rows: int) -> int | None:
    """Returns which axis of a state holds the rows, given its shape for all rows and for a slice of them.

    A state that is the same for any number of rows has no such axis.

    Args:
        name: Of the state.
        whole: For all rows.
        part: For a slice.
        num_rows: All rows.
        part_rows: Rows of the slice.

    Raises:
        SessionError: A slice is cut out of the rows, and several axes could hold them, or none.
    """
    if part_rows == num_rows or shape_of(whole) == shape_of(part):
        return None
    sizes = zip(shape_of(whole), shape_of(part), strict=True)
    axes = [axis for axis, size in enumerate(sizes) if size == (num_rows, part_rows)]
    if len(axes) != 1:
        raise SessionError(
            f"the state {name!r} of shape {list(shape_of(whole))} is made {part_rows} of {num_rows} rows at a time, as "
            f"{list(shape_of(part))}, and {len(axes)} axes look like the rows; choose another prompt_len or batch_size"
        )
    return axes[0]


def row_axis(name: str, whole: Var, part: Var, num_rows: int) -> int:
    """Returns which axis of a state holds the rows, so that a single one can be written.

    Args:
        name: Of the state.
        whole: For all rows.
        part: For the rows of a prefill, which may be all.
        num_rows: All rows.

    Raises:
        SessionError: None does, or several could.
    """
    sizes = list(zip(shape_of(whole), shape_of(part), strict=True))
    axes = [axis for axis, (size, _) in enumerate(sizes) if size == num_rows]
    cut = [axis for axis in axes if sizes[axis][1] != num_rows]
    found = cut if len(cut) == 1 else axes
    if len(found) != 1:
        raise SessionError(
            f"requests cannot come and go: {len(found)} axes of the state {name!r} of shape {list(shape_of(whole))} look like "
            f"its {num_rows} rows; keep state per row, or choose another batch_size"
        )
    return found[0]

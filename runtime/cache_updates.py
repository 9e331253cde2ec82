"""Writes new tokens into caches that live on a processor, in the model's own axes and in place."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial

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
    roles: tuple[AxisRole, ...] = ("batch", "kv_head", "token", "head_size")
    inner_axis = token_axis - (rows_axis < token_axis)

    def append_row(row: jax.Array, new: jax.Array, length: jax.Array) -> jax.Array:
        return jax.lax.dynamic_update_slice_in_dim(row, new, length, inner_axis)

    over_rows = jax.vmap(append_row, in_axes=(rows_axis, rows_axis, 0), out_axes=rows_axis)

    def append(cache: jax.Array, new: jax.Array, lengths: jax.Array) -> jax.Array:
        sizes = {r[0]: n for r, n in zip(cache_layout, cache.shape, strict=True)}
        shape = [1 if r == "token" else sizes[r] for r in roles]
        named = _named(new, new_layout, roles).reshape(shape)
        return over_rows(cache, to_layout(named, roles, cache_layout).astype(cache.dtype), lengths)

    return jax.jit(append, donate_argnums=0)


def _named(array: jax.Array, layout: Layout, roles: tuple[AxisRole, ...]) -> jax.Array:
    """Orders axes that hold one role each, leaving out the empty ones."""
    held = [axis[0] for axis in layout if axis]
    flat = array.reshape([n for n, axis in zip(array.shape, layout, strict=True) if axis])
    return flat.transpose([held.index(r) for r in roles if r in held])


@partial(jax.jit, static_argnames="rows_axis", donate_argnums=0)
def _store_rows(cache: jax.Array, fresh: jax.Array, rows: jax.Array, rows_axis: int) -> jax.Array:
    window = tuple(rows if axis == rows_axis else slice(size) for axis, size in enumerate(fresh.shape))
    return cache.at[window].set(fresh.astype(cache.dtype), mode="drop")


@partial(jax.jit, donate_argnums=0)
def _store_all(cache: jax.Array, fresh: jax.Array) -> jax.Array:
    return jax.lax.dynamic_update_slice(cache, fresh.astype(cache.dtype), [0] * cache.ndim)


@partial(jax.jit, static_argnames="rows_axis", donate_argnums=0)
def _store_block(cache: jax.Array, fresh: jax.Array, first: jax.Array, rows_axis: int) -> jax.Array:
    return jax.lax.dynamic_update_slice(
        cache, fresh.astype(cache.dtype), [first if axis == rows_axis else 0 for axis in range(cache.ndim)]
    )


def store(cache: jax.Array, fresh: jax.Array, slots: np.ndarray, rows_axis: int | None) -> jax.Array:
    """Returns a cache, reused, whose rows hold from token 0 on what a prefill made.

    Args:
        cache: The whole cache.
        fresh: The cache of some rows over the prompt only.
        slots: Integer ``[rows]``, the cache's row for each of them; those below 0 are left out.
        rows_axis: Axis of the rows, None where ``fresh`` has all of them, or none.
    """
    if rows_axis is None:
        return _store_all(cache, fresh)
    if slots[0] >= 0 and np.array_equal(slots, np.arange(slots[0], slots[0] + len(slots))):
        return _store_block(
            cache, fresh, np.int32(slots[0]), rows_axis=rows_axis
        )  # a GPU scatters rows slowly
    rows = np.where(slots < 0, cache.shape[rows_axis], slots).astype(np.int32)
    return _store_rows(cache, fresh, rows, rows_axis=rows_axis)


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

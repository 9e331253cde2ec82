"""New tokens and prefilled rows land where the model's own axes say."""

from typing import Any

import jax
import numpy as np
import pytest
from jax import numpy as jnp

from partitioner.flatten import make_flat
from partitioner.ir.op import Layout
from partitioner.jaxpr import Var
from runtime import SessionError
from runtime.cache_updates import append_function, rows_axis_of, store

ROWS, HEADS, TOKENS, SIZE = 3, 2, 5, 4
LENGTHS = np.array([0, 4, 2], np.int32)
SIZES = {"batch": ROWS, "kv_head": HEADS, "token": TOKENS, "head_size": SIZE}

NEW: list[Layout] = [
    (("batch",), ("kv_head",), ("head_size",)),
    (("batch",), (), ("kv_head",), ("head_size",)),
    (("kv_head",), ("batch",), ("head_size",)),
    (("head_size",), (), ("kv_head",), ("batch",)),
]
CACHE: list[Layout] = [
    (("batch",), ("kv_head",), ("token",), ("head_size",)),
    (("batch",), ("token",), ("kv_head",), ("head_size",)),
    (("token",), ("batch",), ("kv_head",), ("head_size",)),
    (("kv_head",), ("head_size",), ("token",), ("batch",)),
]


def in_layout(array: np.ndarray, names: str, layout: Layout) -> jax.Array:
    """An array of the axes ``names`` in a layout's order, with axes of size one where a layout has an empty one."""
    order = [names.index(axis[0]) for axis in layout if axis]
    moved = array.transpose(order)
    empty = [i for i, axis in enumerate(layout) if not axis]
    return jnp.asarray(np.expand_dims(moved, empty))


@pytest.mark.parametrize("new_layout", NEW)
@pytest.mark.parametrize("cache_layout", CACHE)
def test_one_token_per_row_goes_behind_those_it_has(new_layout: Layout, cache_layout: Layout) -> None:
    cache = np.random.default_rng(0).normal(size=(ROWS, HEADS, TOKENS, SIZE)).astype(np.float16)
    new = np.random.default_rng(1).normal(size=(ROWS, HEADS, SIZE)).astype(np.float32)
    expected = cache.copy()
    for row, length in enumerate(LENGTHS):
        expected[row, :, length] = new[row]
    roles: Any = ("batch", "kv_head", "token", "head_size")
    short: Any = ("batch", "kv_head", "head_size")
    append = append_function(new_layout, cache_layout)
    updated = append(in_layout(cache, roles, cache_layout), in_layout(new, short, new_layout), LENGTHS)
    assert updated.dtype == np.float16
    np.testing.assert_array_equal(updated, in_layout(expected, roles, cache_layout))


def test_a_slice_of_rows_is_stored_in_its_place() -> None:
    cache = jnp.zeros((4, TOKENS, 2))
    fresh = jnp.ones((2, 3, 2))
    stored = np.asarray(store(cache, fresh, np.array([2, 3]), 0))
    assert stored[2:, :3].min() == 1.0
    assert stored.sum() == fresh.size


def variable(shape: tuple[int, ...]) -> Var:
    return make_flat(lambda a: a, jax.ShapeDtypeStruct(shape, jnp.float32))[0][0]


@pytest.mark.parametrize(
    ("whole", "part", "axis"),
    [
        ((8, 3, 20), (2, 3, 12), 0),
        ((20, 8, 3), (12, 2, 3), 1),
        ((8, 20), (8, 20), None),
        ((), (), None),
    ],
)
def test_the_rows_are_told_by_their_number(
    whole: tuple[int, ...], part: tuple[int, ...], axis: int | None
) -> None:
    assert rows_axis_of("state", variable(whole), variable(part), 8, 2) == axis


def test_a_whole_batch_needs_no_axis() -> None:
    assert rows_axis_of("state", variable((8, 8)), variable((8, 8)), 8, 8) is None


@pytest.mark.parametrize(("whole", "part", "count"), [((8, 3, 8), (2, 3, 2), 2), ((9, 3), (4, 3), 0)])
def test_rows_that_cannot_be_told(whole: tuple[int, ...], part: tuple[int, ...], count: int) -> None:
    message = (
        f"the state 'sum' of shape .* is made 2 of 8 rows at a time, .* and {count} axes look like the rows"
    )
    with pytest.raises(SessionError, match=message):
        rows_axis_of("sum", variable(whole), variable(part), 8, 2)

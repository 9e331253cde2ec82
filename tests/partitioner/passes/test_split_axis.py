"""An axis is followed through an equation only where each part of the result is made of one part of what is cut."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest
from jax import lax
from jax import numpy as jnp

from partitioner.jaxpr import trace
from partitioner.passes.split_axis import axis_through, contracted_with

PARTS = 2
WEIGHT = np.arange(48.0).reshape(8, 6)

# A function of one array that is traced to one equation, the array's shape, and where each of its axes goes.
CASES: dict[str, tuple[Callable[[Any], Any], tuple[int, ...], tuple[int | None, ...]]] = {
    "element": (lax.exp, (4, 6), (0, 1)),
    "scalar": (lambda x: lax.mul(x, 2.0), (4, 6), (0, 1)),
    "transpose": (lambda x: lax.transpose(x, (2, 0, 1)), (2, 4, 6), (1, 2, 0)),
    "split an axis": (lambda x: lax.reshape(x, (x.shape[0], x.shape[1] // 2, 2)), (4, 8), (0, 1)),
    "merge axes": (lambda x: lax.reshape(x, (x.shape[0] * 6, x.shape[2])), (4, 6, 4), (0, None, 1)),
    "sum": (lambda x: lax.reduce_sum(x, (1,)), (4, 6, 2), (0, None, 1)),
    "squeeze": (lambda x: lax.squeeze(x, (0,)), (1, 4), (None, 0)),
    "broadcast": (lambda x: lax.broadcast_in_dim(x, (3, *x.shape), (1, 2)), (4, 6), (1, 2)),
    "slice": (lambda x: lax.slice_in_dim(x, 1, 3, axis=1), (4, 6), (0, None)),
    "reverse": (lambda x: lax.rev(x, (1,)), (4, 6), (None, None)),
    "running sum": (lambda x: lax.cumsum(x, axis=1), (4, 6), (None, None)),
    "product": (lambda x: lax.dot(x, WEIGHT), (4, 8), (0, None)),
    "convert": (lambda x: lax.convert_element_type(x, np.int32), (4, 6), (0, 1)),
}


@pytest.mark.parametrize("case", CASES)
def test_parts_stay_apart(case: str) -> None:
    run, shape, expected = CASES[case]
    values = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    jaxpr, _, _ = trace(run, values)
    (eqn,) = jaxpr.eqns
    operand = next(n for n, a in enumerate(eqn.invars) if a is jaxpr.invars[0])
    found = tuple(axis_through(eqn, operand, axis, PARTS) for axis in range(len(shape)))
    assert found == expected
    whole = run(values)
    for axis, after in enumerate(found):
        if after is not None and shape[axis] > 1:
            made = [run(part) for part in np.split(values, PARTS, axis)]
            np.testing.assert_array_equal(np.concatenate(made, after), whole)


def test_an_axis_of_odd_parts_is_not_a_major_factor() -> None:
    jaxpr, _, _ = trace(lambda x: lax.reshape(x, (3, 8)), jnp.zeros(24))
    assert axis_through(jaxpr.eqns[0], 0, 0, 2) is None
    assert axis_through(jaxpr.eqns[0], 0, 0, 3) == 0


def test_a_barrier_hands_on_each_operand_for_itself() -> None:
    one, _, _ = trace(lax.optimization_barrier, jnp.zeros((4, 6)))
    assert axis_through(one.eqns[0], 0, 1, PARTS) == 1
    two, _, _ = trace(lambda x, y: lax.optimization_barrier((x, y)), jnp.zeros((4, 6)), jnp.zeros(4))
    assert axis_through(two.eqns[0], 0, 1, PARTS) is None


def test_axes_of_products() -> None:
    def batched(x: Any, y: Any) -> Any:
        return jnp.einsum("bhtd,bhsd->bhts", x, y)

    jaxpr, _, _ = trace(batched, jax.ShapeDtypeStruct((2, 4, 3, 8), "float32"), jnp.zeros((2, 4, 5, 8)))
    product = next(e for e in jaxpr.eqns if e.primitive.name == "dot_general")
    assert [axis_through(product, 0, axis, 2) for axis in range(4)] == [0, 1, 2, None]
    assert [axis_through(product, 1, axis, 2) for axis in range(4)] == [0, 1, 3, None]
    assert [contracted_with(product, 0, axis) for axis in range(4)] == [None, None, None, 3]

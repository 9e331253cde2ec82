"""Values are numbered in the order in which they come about."""

import jax
from jax import numpy as jnp

from partitioner.flatten import make_flat
from partitioner.jaxpr import reads_of
from partitioner.value_numbers import ValueNumbers


def test_inputs_come_first_and_every_equation_tells_what_it_reads_and_makes() -> None:
    def function(x: jax.Array, y: jax.Array) -> list[jax.Array]:
        summed = x + y
        return [*jax.lax.top_k(summed * 2.0, 1), summed]

    shape = jax.ShapeDtypeStruct((3,), jnp.float32)
    inputs, equations, *_ = make_flat(function, shape, shape)
    numbers = ValueNumbers.numbered(inputs, equations, reads_of(equations))
    assert [e.primitive.name for e in equations] == ["add", "mul", "top_k"]
    assert numbers.reads == [[0, 1], [2], [3]]
    assert [list(numbers.made(n)) for n in range(3)] == [[2], [3], [4, 5]]
    assert numbers.count == 6
    assert [numbers.of[v] for e in equations for v in e.outvars] == [2, 3, 4, 5]

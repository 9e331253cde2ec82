"""Products that share their left operand become one, and compute the same."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest
from jax import lax
from jax import numpy as jnp

from partitioner.flatten import make_flat
from partitioner.jaxpr import Eqn, Var, evaluate, variables
from runtime.demand import count_demand
from runtime.pack_products import find_products, pack_products

X = (3, 2, 8)
KERNELS = {
    "columns last": ("btd,dn->btn", [(8, 5), (8, 3), (8, 3)]),
    "columns first": ("btd,nd->btn", [(5, 8), (3, 8), (4, 8)]),
    "heads and sizes": ("btd,dnh->btnh", [(8, 4, 6), (8, 2, 6), (8, 2, 6)]),
    "summed in the middle": ("btd,ndh->btnh", [(4, 8, 6), (2, 8, 6)]),
}


def traced(function: Callable[..., Any], *shapes: Any) -> tuple[list[Var], list[Eqn], list[Any]]:
    """Returns inputs, equations and outputs of a function of x and weights."""
    described = [
        s if isinstance(s, jax.ShapeDtypeStruct) else jax.ShapeDtypeStruct(s, np.float32) for s in shapes
    ]
    inputs, equations, outputs, _, _ = make_flat(function, *described)
    return inputs, equations, outputs


def found(inputs: list[Var], equations: list[Eqn]) -> list[tuple[int, ...]]:
    """Returns the weights, by position, of each group that can be one product."""
    weights = dict.fromkeys(inputs[1:], 0)
    return [tuple(inputs.index(v) for v in p.weights) for p in find_products(equations, weights)]


def num_products(equations: list[Eqn]) -> int:
    return Counter(e.primitive.name for e in equations)["dot_general"]


@pytest.mark.parametrize("kernel", KERNELS)
def test_one_product_computes_what_several_did(kernel: str) -> None:
    subscripts, shapes = KERNELS[kernel]

    def function(x: Any, *weights: Any) -> list[Any]:
        return [jnp.einsum(subscripts, x, w, preferred_element_type=jnp.float32) for w in weights]

    inputs, equations, outputs = traced(function, X, *shapes)
    (products,) = find_products(equations, dict.fromkeys(inputs[1:], 0))
    packed, fewer = pack_products(products)
    rest = [e for e in equations if e not in products.equations]
    ordered = [*fewer, *rest]
    assert num_products(equations) == len(shapes)
    assert num_products(ordered) == 1
    rng = np.random.default_rng(0)
    x, *weights = (rng.integers(-4, 5, s).astype(np.float32) for s in (X, *shapes))
    whole = np.concatenate(weights, axis=products.axis)
    before = evaluate(equations, dict(zip(inputs, (x, *weights), strict=True)))
    after = evaluate(ordered, {inputs[0]: x, packed: whole})
    for out in variables(outputs):
        np.testing.assert_array_equal(before[out], after[out])
    assert count_demand(ordered, outputs).flops == count_demand(equations, outputs).flops


def test_what_shares_no_input_or_differs_is_left_alone() -> None:
    def function(x: Any, a: Any, b: Any, c: Any, d: Any, e: Any) -> Any:
        y = x @ a + x @ b
        return (
            y @ c,
            lax.dot_general(x, d, (((2,), (0,)), ((), ())), precision="highest"),
            x @ e.astype(np.float32),
        )

    half = jax.ShapeDtypeStruct((8, 8), np.float16)
    inputs, equations, _ = traced(function, X, (8, 8), (8, 8), (8, 8), (8, 8), half)
    assert found(inputs, equations) == [(1, 2)]


def test_a_weight_that_anything_else_reads_is_left_alone() -> None:
    def function(x: Any, a: Any, b: Any, c: Any) -> Any:
        return x @ a, x @ b, x @ c, a.T, (2 * x) @ b

    inputs, equations, _ = traced(function, X, (8, 8), (8, 8), (8, 8))
    assert found(inputs, equations) == []


def test_batched_products_and_those_between_values_are_left_alone() -> None:
    def function(x: Any, a: Any, b: Any) -> Any:
        y = x.transpose(0, 2, 1)
        return jnp.einsum("btd,bdn->btn", x, a), jnp.einsum("btd,bdn->btn", x, b), x @ y, x @ (2 * y)

    inputs, equations, _ = traced(function, X, (3, 8, 4), (3, 8, 4))
    assert found(inputs, equations) == []


def test_products_of_different_groups_stay_apart() -> None:
    inputs, equations, _ = traced(lambda x, *w: [x @ v for v in w], X, (8, 2), (8, 3), (8, 4), (8, 5))
    weights = dict(zip(inputs[1:], (0, 1, 1, 0), strict=True))
    groups = [p.weights for p in find_products(equations, weights)]
    assert groups == [(inputs[1], inputs[4]), (inputs[2], inputs[3])]

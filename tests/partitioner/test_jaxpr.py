"""JAX's IR is flattened, cut and run the same in every supported version."""

import functools
from typing import Any

import jax
import numpy as np
import pytest
from jax import lax
from jax import numpy as jnp

from partitioner.flatten import make_flat
from partitioner.jaxpr import (
    Eqn,
    Literal,
    Var,
    borders,
    bytes_of,
    drop_dead,
    dtype_of,
    evaluate,
    is_literal,
    needed_for,
    num_bytes,
    shape_of,
    signature,
    variables,
)

VECTOR = jax.ShapeDtypeStruct((5,), jnp.float32)
TABLE = np.arange(5, dtype=np.float32)


def names(equations: Any) -> list[str]:
    return [e.primitive.name for e in equations]


def run(function: Any, *args: jax.Array) -> list[Any]:
    """Flattens a function and evaluates its equations one after another."""
    invars, equations, outvars, consts, _ = make_flat(function, *args)
    env = evaluate(equations, dict(zip(invars, args, strict=True)) | dict(consts))
    return [a.val if isinstance(a, Literal) else env[a] for a in outvars]


@jax.custom_vjp
def with_gradient(x: jax.Array) -> jax.Array:
    return jnp.sin(x)


with_gradient.defvjp(lambda x: (jnp.sin(x), x), lambda x, g: (g * jnp.cos(x),))


@jax.custom_jvp
def with_tangent(x: jax.Array) -> jax.Array:
    return jnp.sin(x)


with_tangent.defjvps(lambda t, y, x: t * jnp.cos(x))

CALLS = {
    "jit": jax.jit(jnp.sin),
    "jit in jit": jax.jit(jax.jit(jnp.sin)),
    "checkpoint": jax.checkpoint(jnp.sin),
    "custom_vjp": with_gradient,
    "custom_jvp": with_tangent,
    "vmap of jit": jax.vmap(jax.jit(jnp.sin)),
    "named_call": jax.named_call(jnp.sin, name="inner"),
    "stop_gradient": lambda x: jnp.sin(lax.stop_gradient(x)),
    "barrier": lambda x: jnp.sin(lax.optimization_barrier(x)),
}


@pytest.mark.parametrize("call", CALLS)
def test_calls_are_replaced_by_their_bodies(call: str) -> None:
    _, equations, *_ = make_flat(lambda x: CALLS[call](x) * 2, VECTOR)
    assert names(equations) == ["sin", "mul"]
    x = jnp.linspace(0, 1, 5)
    np.testing.assert_array_equal(run(lambda x: CALLS[call](x) * 2, x)[0], jnp.sin(x) * 2)


def test_constants_of_inner_functions_become_constants_of_the_whole() -> None:
    """Once for each function, however often it is called."""
    inner = jax.jit(lambda x: x * TABLE)

    def function(x: jax.Array) -> jax.Array:
        return inner(x) + inner(x + 1) + TABLE

    _, equations, _, consts, _ = make_flat(function, VECTOR)
    assert "jit" not in names(equations)
    assert {bytes_of(value) for _, value in consts} == {TABLE.tobytes()}
    assert len(consts) <= 2
    x = jnp.linspace(0, 1, 5)
    np.testing.assert_allclose(run(function, x)[0], (2 * x + 2) * TABLE, rtol=1e-6)


def test_loops_stay() -> None:
    def function(x: jax.Array) -> jax.Array:
        return lax.fori_loop(0, 3, lambda _, y: jax.jit(jnp.sin)(y), x)

    _, equations, *_ = make_flat(function, VECTOR)
    assert names(equations)[-1:] in (["scan"], ["while"])
    x = jnp.ones(5)
    np.testing.assert_allclose(run(function, x)[0], jnp.sin(jnp.sin(jnp.sin(x))), rtol=1e-6)


def test_a_call_that_returns_its_argument_or_a_number_leaves_nothing() -> None:
    invars, equations, outvars, _, shape = make_flat(jax.jit(lambda x: (x, x * 2, 3.0)), VECTOR)
    assert names(equations) == ["mul"]
    assert outvars[0] is invars[0]
    assert is_literal(outvars[2])
    assert [s.shape for s in shape] == [(5,), (5,), ()]


def test_what_nobody_reads_is_dropped_and_effects_are_kept() -> None:
    def function(x: jax.Array) -> jax.Array:
        jnp.exp(x)
        jax.debug.callback(lambda y: None, jnp.cos(x))
        return jnp.sin(x)

    _, equations, outvars, *_ = make_flat(function, VECTOR)
    assert names(equations)[0] == "cos"
    assert names(equations)[-1] == "sin"
    assert "exp" not in names(equations)
    assert names(drop_dead([e for e in equations if not e.effects], outvars)) == ["sin"]


@functools.cache
def chain() -> tuple[list[Var], list[Eqn]]:
    invars, equations, *_ = make_flat(lambda x, y: (jnp.tanh(jnp.sin(x) * y), jnp.cos(y)), VECTOR, VECTOR)
    return invars, equations


def test_what_a_value_depends_on() -> None:
    _, equations = chain()
    (product,) = [e for e in equations if e.primitive.name == "mul"]
    assert names(needed_for(equations, product.outvars)) == ["sin", "mul"]
    assert needed_for(equations, []) == []


def test_what_a_group_reads_from_outside_in_order_of_use() -> None:
    (x, y), equations = chain()
    assert borders(equations) == [x, y]
    (product,) = [e for e in equations if e.primitive.name == "mul"]
    assert borders([product]) == variables(product.invars)
    assert borders([]) == []


def test_sizes_of_abstract_values() -> None:
    _, equations, *_ = make_flat(lambda x: x.astype(jnp.bfloat16).reshape(5, 1), VECTOR)
    last = equations[-1].outvars[0]
    assert (shape_of(last), dtype_of(last).name, num_bytes(last)) == ((5, 1), "bfloat16", 10)
    assert not is_literal(last)


def signature_of(function: Any, *shapes: Any) -> Any:
    invars, equations, outvars, *_ = make_flat(function, *(shapes or (VECTOR, VECTOR)))
    return signature(equations, invars, outvars)


def test_equal_functions_share_a_signature() -> None:
    assert signature_of(lambda x, y: jnp.sin(x) * y) == signature_of(lambda a, b: jax.jit(jnp.sin)(a) * b)
    assert hash(signature_of(lambda x, y: x)) == hash(signature_of(lambda x, y: x))


@pytest.mark.parametrize(
    "other",
    [
        lambda x, y: jnp.sin(y) * x,
        lambda x, y: jnp.cos(x) * y * 2.0,
        lambda x, y: jnp.sin(x) * y * 2.0000002,
        lambda x, y: (jnp.sin(x) * y * 2.0).astype("float16"),
        lambda x, y: jnp.sin(x) * y,
        lambda x, y: (jnp.sin(x) * y * 2.0, x),
    ],
)
def test_other_functions_have_another_signature(other: Any) -> None:
    assert signature_of(other) != signature_of(lambda x, y: jnp.sin(x) * y * 2.0)


def test_shapes_and_axes_are_part_of_a_signature() -> None:
    square = jax.ShapeDtypeStruct((3, 3), jnp.float32)
    assert signature_of(lambda x: x.sum(0), square) != signature_of(lambda x: x.sum(1), square)
    assert signature_of(lambda x: x * 2, square) != signature_of(lambda x: x * 2, VECTOR)
    half = jax.ShapeDtypeStruct((3, 3), jnp.float16)
    assert signature_of(lambda x: x * 2, square) != signature_of(lambda x: x * 2, half)


def test_contents_tell_constants_apart() -> None:
    assert bytes_of(TABLE) == bytes_of(jnp.asarray(TABLE)) == TABLE.tobytes()
    keys = [bytes_of(jax.random.key(n)) for n in (0, 0, 1)]
    assert keys[0] == keys[1] != keys[2]

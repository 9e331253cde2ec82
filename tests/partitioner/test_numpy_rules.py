"""Every NumPy rule is the function that JAX compiles, and what has none is told."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest
from jax import lax
from jax import numpy as jnp

from partitioner.flatten import make_flat
from partitioner.jaxpr import evaluate, variables
from partitioner.numpy_rules import RULES, evaluate_in_numpy, has_numpy_rule

F32 = ("float32", "float16", "bfloat16")
INTS = ("int32", "int8")
ALL = (*F32, *INTS)


def append_rows(cache: Any, new: Any, at: Any) -> Any:
    return jax.vmap(lambda c, n, i: lax.dynamic_update_slice(c, n, (0, i, 0)))(cache, new, at)


def set_slots(cache: Any, new: Any, at: Any) -> Any:
    rows = jnp.arange(cache.shape[0])
    return cache.at[rows, :, at].set(new[:, :, 0], mode="clip", unique_indices=True)


CASES: dict[str, tuple[Callable[..., Any], tuple[tuple[int, ...], ...], tuple[str, ...]]] = {
    "abs": (lax.abs, ((3, 4),), ALL),
    "add": (lax.add, ((3, 4), (3, 4)), ALL),
    "and": (lax.bitwise_and, ((3, 4), (3, 4)), ("int32", "bool")),
    "broadcast_in_dim": (lambda x: lax.broadcast_in_dim(x, (2, 3, 5, 4), (1, 3)), ((3, 4),), ALL),
    "broadcast_in_dim of ones": (lambda x: lax.broadcast_in_dim(x, (2, 3, 4), (0, 2)), ((1, 4),), ALL),
    "concatenate": (lambda x, y: lax.concatenate([x, y], 1), ((3, 4), (3, 2)), ALL),
    "convert_element_type to narrow": (lambda x: x.astype("bfloat16"), ((3, 4),), ("float32", *INTS)),
    "convert_element_type to wide": (lambda x: x.astype("float32"), ((3, 4),), ("bfloat16", "int8", "bool")),
    "convert_element_type of whole numbers": (lambda x: x.astype("int8"), ((3, 4),), ("int32", "bool")),
    "cos": (lax.cos, ((3, 4),), F32),
    "div": (lax.div, ((3, 4), (3, 4)), F32),
    "dot_general": (lambda x, y: jnp.einsum("bkgd,bskd->bkgs", x, y), ((2, 3, 2, 5), (2, 7, 3, 5)), F32),
    "dot_general in float32": (
        lambda x, y: jnp.einsum("td,de->te", x, y, preferred_element_type="float32"),
        ((3, 4), (4, 5)),
        F32,
    ),
    "dot_general over two axes": (lambda x, y: jnp.einsum("abc,bcd->ad", x, y), ((3, 4, 5), (4, 5, 2)), F32),
    "dynamic_slice": (lambda c, i: lax.dynamic_slice(c, (0, i[0], 1), (2, 3, 2)), ((2, 7, 3), (1,)), ALL),
    "dynamic_update_slice": (
        lambda c, n, i: lax.dynamic_update_slice(c, n, (0, i[0], 0)),
        ((2, 7, 3), (2, 3, 3), (1,)),
        F32,
    ),
    "eq": (lax.eq, ((3, 4), (3, 4)), ALL),
    "exp": (lax.exp, ((3, 4),), F32),
    "ge": (lax.ge, ((3, 4), (3, 4)), ALL),
    "gt": (lax.gt, ((3, 4), (3, 4)), ALL),
    "integer_pow": (lambda x: lax.integer_pow(x, 3), ((3, 4),), F32),
    "iota": (lambda x: lax.broadcasted_iota("int32", (3, 4), 1) + x, ((3, 4),), ("int32",)),
    "le": (lax.le, ((3, 4), (3, 4)), ALL),
    "log": (lax.log, ((3, 4),), F32),
    "lt": (lax.lt, ((3, 4), (3, 4)), ALL),
    "max": (lax.max, ((3, 4), (3, 4)), ALL),
    "min": (lax.min, ((3, 4), (3, 4)), ALL),
    "mul": (lax.mul, ((3, 4), (3, 4)), ALL),
    "ne": (lax.ne, ((3, 4), (3, 4)), ALL),
    "neg": (lax.neg, ((3, 4),), ALL),
    "not": (lax.bitwise_not, ((3, 4),), ("int32", "bool")),
    "or": (lax.bitwise_or, ((3, 4), (3, 4)), ("int32", "bool")),
    "reduce_max": (lambda x: lax.reduce_max_p.bind(x, axes=(0, 2), out_sharding=None), ((3, 4, 5),), F32),
    "reduce_sum": (lambda x: jnp.sum(x, (0, 2)), ((3, 4, 5),), F32),
    "rem": (lambda x: lax.rem(x, 3), ((3, 4),), ("int32",)),
    "reshape": (lambda x: lax.reshape(x, (2, 6)), ((3, 4),), ALL),
    "scatter of windows": (append_rows, ((3, 2, 7, 4), (3, 2, 1, 4), (3,)), F32),
    "scatter of slots": (set_slots, ((3, 2, 7, 4), (3, 2, 1, 4), (3,)), F32),
    "select_n": (lambda x, y: jnp.where(x < y, x, y), ((3, 4), (3, 4)), ALL),
    "sin": (lax.sin, ((3, 4),), F32),
    "slice": (lambda x: lax.slice(x, (0, 1), (3, 4), (1, 2)), ((3, 4),), ALL),
    "split": (lambda x: lax.split(x, (1, 3), 1), ((3, 4),), ALL),
    "sqrt": (lax.sqrt, ((3, 4),), F32),
    "squeeze": (lambda x: lax.squeeze(x, (0, 2)), ((1, 4, 1),), ALL),
    "sub": (lax.sub, ((3, 4), (3, 4)), ALL),
    "tanh": (lax.tanh, ((3, 4),), F32),
    "transpose": (lambda x: lax.transpose(x, (2, 0, 1)), ((2, 3, 4),), ALL),
}
TOLERANCE = {"float32": 1e-5, "float16": 2e-3, "bfloat16": 2e-2}


def drawn(shapes: tuple[tuple[int, ...], ...], dtype: str, seed: int) -> list[np.ndarray]:
    """Returns arrays of numbers around zero; one of one axis alone is an index, out of range at times."""
    rng = np.random.default_rng(seed)
    values = [rng.normal(0, 3, s).astype(jnp.dtype(dtype)) for s in shapes]
    return [
        rng.integers(-2, 12, s, np.int32) if len(s) == 1 else v for s, v in zip(shapes, values, strict=True)
    ]


@pytest.mark.parametrize(("case", "dtype"), [(c, d) for c, (_, _, dtypes) in CASES.items() for d in dtypes])
def test_a_rule_is_what_jax_computes(case: str, dtype: str) -> None:
    function, shapes, _ = CASES[case]
    arrays = drawn(shapes, dtype, seed=len(case))
    inputs, equations, outputs, consts, _ = make_flat(function, *arrays)
    assert case.split(maxsplit=1)[0] in {e.primitive.name for e in equations}
    assert not consts
    assert all(has_numpy_rule(e) for e in equations)
    given = dict(zip(inputs, arrays, strict=True))
    expected, found = evaluate(equations, dict(given)), evaluate_in_numpy(equations, dict(given))
    for out in variables(outputs):
        wanted, got = np.asarray(expected[out]), found[out]
        assert (got.dtype, got.shape) == (wanted.dtype, wanted.shape)
        tolerance = TOLERANCE.get(wanted.dtype.name, 0.0)
        np.testing.assert_allclose(
            got.astype(np.float64), wanted.astype(np.float64), rtol=tolerance, atol=tolerance
        )


def test_every_rule_is_compared() -> None:
    assert {case.split()[0] for case in CASES} == set(RULES)


@pytest.mark.parametrize(
    "function",
    [
        pytest.param(lax.cumsum, id="a primitive without a rule"),
        pytest.param(lambda x: lax.div(x.astype("int32"), x.astype("int32")), id="division of whole numbers"),
        pytest.param(lambda x: x.astype("int32"), id="from a fraction to a whole number"),
        pytest.param(lambda x: x.at[jnp.array([0, 1])].set(1.0), id="a scatter that drops what lies outside"),
        pytest.param(lambda x: x.astype("float8_e4m3fn"), id="floats of 8 bits"),
        pytest.param(lambda x: x.astype("complex64"), id="complex numbers"),
        pytest.param(lax.sort, id="a sort"),
        pytest.param(lambda x: lax.integer_pow(x, -1), id="a negative power"),
    ],
)
def test_what_numpy_would_compute_otherwise_has_no_rule(function: Callable[[Any], Any]) -> None:
    _, equations, *_ = make_flat(function, np.ones(4, np.float32))
    assert not all(has_numpy_rule(e) for e in equations)


def test_nothing_warns_where_numbers_leave_their_range() -> None:
    inputs, equations, outputs, *_ = make_flat(lambda x: lax.exp(x) / (x - x), np.ones(2, np.float32))
    (out,) = variables(outputs)
    given = np.full(2, 1e3, np.float32)
    assert (evaluate_in_numpy(equations, {inputs[0]: given})[out] == np.inf).all()

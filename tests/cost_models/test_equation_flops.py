import jax
import jax.numpy as jnp
import pytest

from cost_models import WorkError, equation_flops, unknown_primitives
from cost_models.primitive_table import FLOPS_PER_ELEMENT, SPECIAL_FUNCTION_FLOPS


def shaped(*shape, dtype=jnp.float32):
    return jax.ShapeDtypeStruct(shape, dtype)


def total(fun, *args):
    return sum(equation_flops(eqn) for eqn in jax.make_jaxpr(fun)(*args).eqns)


def test_matrix_product():
    assert total(jnp.matmul, shaped(8, 16), shaped(16, 32)) == 2 * 8 * 16 * 32


def test_batched_contraction_over_two_axes():
    def contract(a, b):
        return jax.lax.dot_general(a, b, (((1, 3), (2, 1)), ((0,), (0,))))

    # batch 2, contracted 3 and 5, free 4 and 6
    assert total(contract, shaped(2, 3, 4, 5), shaped(2, 5, 3, 6)) == 2 * 2 * 4 * 6 * 15


def test_convolution():
    def convolve(x, kernel):
        return jax.lax.conv_general_dilated(x, kernel, (1, 1), "VALID")

    # 10 x 10 results of 7 features, each from 3 x 3 x 5
    assert total(convolve, shaped(1, 5, 12, 12), shaped(7, 5, 3, 3)) == 2 * 100 * 7 * 45


def test_elementwise_and_transcendental():
    assert total(lambda x: x + 1.0, shaped(10)) == 10
    assert total(jax.lax.tanh, shaped(10)) == 10 * SPECIAL_FUNCTION_FLOPS
    assert total(jnp.exp, shaped(10)) == 10 * FLOPS_PER_ELEMENT["exp"]


@pytest.mark.parametrize(("power", "products"), [(2, 1), (3, 2), (4, 2), (7, 4), (-1, 9)])
def test_whole_powers(power, products):
    assert total(lambda x: jax.lax.integer_pow(x, power), shaped(10)) == 10 * products


def test_reductions_scans_sorts():
    assert total(lambda x: jax.lax.reduce_max(x, (1,)), shaped(4, 8)) == 32
    assert total(jax.lax.cumsum, shaped(16)) == 16
    assert total(jax.lax.sort, shaped(4, 16)) == 64 * 4
    assert total(lambda x: jax.lax.top_k(x, 4), shaped(4, 16)) == 64 * 2


def test_moving_data_is_free():
    def move(x):
        return jnp.transpose(jax.lax.slice(x, (0, 0), (2, 2)).astype(jnp.bfloat16)).reshape(4)

    assert total(move, shaped(8, 8)) == 0


def test_updates_that_combine():
    def update(x, u):
        return jax.lax.scatter_add(
            x,
            jnp.zeros((3, 1), jnp.int32),
            u,
            jax.lax.ScatterDimensionNumbers((1,), (0,), (0,)),
        )

    eqns = [
        e for e in jax.make_jaxpr(update)(shaped(64, 4), shaped(3, 4)).eqns if "scatter" in e.primitive.name
    ]
    assert sum(equation_flops(eqn) for eqn in eqns) == 12


@pytest.mark.parametrize(
    "call",
    [
        jax.jit(lambda x: x + 1),
        lambda x: jax.lax.scan(lambda c, _: (c + 1, None), x, length=3)[0],
        lambda x: jax.lax.cond(x[0] > 0, lambda y: y, lambda y: -y, x),
        jax.checkpoint(lambda x: x + 1),
        jax.nn.relu,
    ],
)
def test_calls_must_be_inlined(call):
    eqns = jax.make_jaxpr(call)(shaped(4)).eqns
    with pytest.raises(WorkError, match=r"is a call-like primitive .* inline it before costing"):
        [equation_flops(eqn) for eqn in eqns]


class Named:
    """An equation with nothing but a name and shapes."""

    def __init__(self, name):
        self.primitive = type("Primitive", (), {"name": name})()
        self.params = {}
        value = type("Value", (), {"aval": jnp.zeros(5)})
        self.invars, self.outvars = [value()], [value()]


def test_unknown_primitives_are_elementwise_and_told():
    eqn = Named("fused_frobnicate")
    assert equation_flops(eqn) == 5
    assert unknown_primitives([eqn, Named("add")]) == {"fused_frobnicate"}

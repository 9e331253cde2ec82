"""What segments demand, against figures worked out by hand."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import pytest
from jax import numpy as jnp

from cost_models import ComputeSpec
from partitioner.flatten import make_flat
from partitioner.jaxpr import variables
from runtime.demand import Demand, count_demand

F32 = jax.ShapeDtypeStruct


def demand(function: Callable[..., Any], *shapes: tuple[int, ...]) -> Demand:
    made = make_flat(function, *(F32(s, jnp.float32) for s in shapes))
    return count_demand(made[1], variables(made[2]))


def test_matrix_product() -> None:
    counted = demand(jnp.matmul, (8, 32), (32, 16))
    assert counted.flops == 2 * 8 * 32 * 16
    assert counted.num_bytes == 4 * (8 * 32 + 32 * 16 + 8 * 16)
    assert counted.contractions[0].dtype == "float32"


def test_batched_product_counts_the_batch_once() -> None:
    counted = demand(lambda q, k: jnp.einsum("bhd,bhsd->bhs", q, k), (2, 4, 8), (2, 4, 16, 8))
    assert counted.flops == 2 * (2 * 4 * 16) * 8
    assert counted.num_bytes == 4 * (2 * 4 * 8 + 2 * 4 * 16 * 8 + 2 * 4 * 16)


def test_products_with_vectors_are_told_apart_and_take_what_predictions_say() -> None:
    """One matrix with one vector takes longer; many with one each are read at the rate of attention."""
    one, many, rows = (
        demand(jnp.matmul, (1, 32), (32, 16)),
        demand(lambda q, k: jnp.einsum("bhd,bhsd->bhs", q, k), (2, 4, 8), (2, 4, 16, 8)),
        demand(jnp.matmul, (2, 32), (32, 16)),
    )
    assert [c.is_matvec for c in (*one.contractions, *many.contractions, *rows.contractions)] == [
        True,
        False,
        False,
    ]
    assert [c.batched_bytes for c in (*one.contractions, *many.contractions, *rows.contractions)] == [
        0.0,
        4.0 * 2 * 4 * 16 * 8,
        0.0,
    ]
    plain = ComputeSpec(
        name="x", kind="gpu", memory_bytes=1.0, memory_bytes_per_s=1e9, peak_flops={"float32": 1e15},
        launch_s=0.0, memory_efficiency=1.0, compute_efficiency=1.0,
    )  # fmt: skip
    spec = replace(plain, matvec_s=1e-3, attention_efficiency=0.5)
    assert one.seconds(spec) - one.seconds(plain) == pytest.approx(1e-3)
    assert many.seconds(spec) - many.seconds(plain) == pytest.approx(4 * 2 * 4 * 16 * 8 / 1e9)
    assert rows.seconds(spec) == rows.seconds(plain)


def test_operands_count_as_they_are_stored() -> None:
    """A weight kept in half the bytes streams half the bytes; repeated heads stream once."""
    half = demand(lambda x, w: x @ w.astype(jnp.float16).astype(jnp.float32), (8, 32), (32, 16))
    assert half.num_bytes == 4 * 8 * 32 + 2 * 32 * 16 + 4 * 8 * 16
    repeated = demand(lambda q, k: jnp.einsum("hd,hd->h", q, jnp.repeat(k[None], 4, 0)), (4, 8), (8,))
    assert repeated.num_bytes == 4 * (4 * 8 + 8 + 4)


def test_element_wise_work_reads_and_writes_once() -> None:
    """A softmax is one pass; between two products it reads scores and writes weights."""
    assert demand(lambda x: jax.nn.softmax(jnp.tanh(x) * 2), (64, 64)) == Demand((), 2.0 * 4 * 64 * 64, 1)
    counted = demand(lambda q, k, v: jax.nn.softmax(q @ k * 0.5) @ v, (8, 16), (16, 32), (32, 16))
    first, second = counted.contractions
    assert first.num_bytes == 4 * (8 * 16 + 16 * 32 + 8 * 32)
    assert second.num_bytes == 4 * (8 * 32 + 32 * 16 + 8 * 16) + 4 * (2 * 8 * 32)
    assert counted.moved_bytes == 0


def test_what_several_read_in_one_pass_is_read_once() -> None:
    """The product is read once for its sum with x, and the sum and its square are written."""
    counted = demand(lambda x, w: ((y := x @ w + x) @ w, (y * y) @ w), (8, 16), (16, 16))
    products = 4 * 3 * (2 * 8 * 16 + 16 * 16)
    assert counted.num_bytes == products + 4 * (8 * 16) * 4


def test_a_value_for_a_later_pass_is_made_again_where_that_reads_less() -> None:
    """A mask made from lengths is; the residual of a block, which reads x and a product, is written and read."""
    masked = demand(
        lambda x, w, n: jnp.where(jnp.arange(16)[None] < n[:, None], x @ w, 0.0), (8, 16), (16, 16), (8,)
    )
    assert masked.moved_bytes == 4 * (2 * 8 * 16 + 8)
    residual = demand(lambda x, w: (x := x @ w + x) + jnp.tanh(x) @ w, (8, 16), (16, 16))
    products = 4 * 2 * (2 * 8 * 16 + 16 * 16)
    assert residual.num_bytes == products + 4 * (8 * 16) * (2 + 2 + 2 + 1)


def test_a_pass_counts_in_every_turn_of_a_loop() -> None:
    def loop(x: jax.Array) -> jax.Array:
        return jax.lax.scan(lambda c, _: (jnp.tanh(c), None), x, None, length=5)[0]

    assert demand(loop, (4, 16)).moved_bytes == 5 * 2 * 4 * 4 * 16


def test_a_deep_chain_of_residuals_is_counted_within_the_stack() -> None:
    def deep(x: jax.Array, w: jax.Array) -> jax.Array:
        for _ in range(400):
            x = x + jnp.tanh(x @ w)
        return x

    assert demand(deep, (8, 16), (16, 16)).num_bytes == 4 * 400 * (2 * 8 * 16 + 16 * 16 + 3 * 8 * 16)


def test_rows_looked_up_and_written() -> None:
    """The two indices are read and, made positive, written."""
    table = demand(lambda t: t[jnp.array([3, 1])], (1000, 16))
    assert table.num_bytes == 4 * 2 * 16 + 4 * (2 + 2)
    written = demand(lambda c, n: jax.lax.dynamic_update_slice(c, n, (5, 0)), (1000, 16), (1, 16))
    assert written.num_bytes == 4 * 16


def test_loops_of_known_length_count_every_turn() -> None:
    def loop(x: jax.Array, w: jax.Array) -> jax.Array:
        return jax.lax.scan(lambda c, _: (c @ w, None), x, None, length=5)[0]

    assert demand(loop, (4, 16), (16, 16)).flops == 5 * 2 * 4 * 16 * 16


def test_convolution() -> None:
    def convolve(x: jax.Array, w: jax.Array) -> jax.Array:
        return jax.lax.conv_general_dilated(x, w, (1,), "VALID")

    assert demand(convolve, (1, 3, 10), (7, 3, 4)).flops == 2 * (7 * 7) * (3 * 4)


def test_seconds_are_the_slower_of_arithmetic_and_memory_per_product() -> None:
    spec = ComputeSpec(
        name="test",
        kind="gpu",
        memory_bytes=1e9,
        memory_bytes_per_s=1e6,
        peak_flops={"float32": 1e6},
        launch_s=0.5,
        memory_efficiency=0.5,
        compute_efficiency=0.25,
    )
    product = demand(jnp.matmul, (8, 32), (32, 16))
    bound_by_arithmetic = product.flops / 0.25e6
    assert bound_by_arithmetic > product.num_bytes / 0.5e6
    assert product.seconds(spec) == pytest.approx(0.5 + bound_by_arithmetic)
    vector = demand(jnp.matmul, (1, 32), (32, 16))
    assert vector.seconds(spec) == pytest.approx(0.5 + max(vector.flops / 0.25e6, vector.num_bytes / 0.5e6))
    assert Demand((), 1e6).seconds(spec) == pytest.approx(0.5 + 2.0)

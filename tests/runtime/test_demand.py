"""What segments demand, against figures worked out by hand."""

from collections.abc import Callable
from typing import Any

import jax
import pytest
from jax import numpy as jnp

from cost_models import ComputeSpec
from partitioner.jaxpr import make_flat
from runtime.demand import Demand, count_demand

F32 = jax.ShapeDtypeStruct


def demand(function: Callable[..., Any], *shapes: tuple[int, ...]) -> Demand:
    return count_demand(make_flat(function, *(F32(s, jnp.float32) for s in shapes))[1])


def test_matrix_product() -> None:
    counted = demand(jnp.matmul, (8, 32), (32, 16))
    assert counted.flops == 2 * 8 * 32 * 16
    assert counted.num_bytes == 4 * (8 * 32 + 32 * 16 + 8 * 16)
    assert counted.contractions[0].dtype == "float32"


def test_batched_product_counts_the_batch_once() -> None:
    counted = demand(lambda q, k: jnp.einsum("bhd,bhsd->bhs", q, k), (2, 4, 8), (2, 4, 16, 8))
    assert counted.flops == 2 * (2 * 4 * 16) * 8
    assert counted.num_bytes == 4 * (2 * 4 * 8 + 2 * 4 * 16 * 8 + 2 * 4 * 16)


def test_operands_count_as_they_are_stored() -> None:
    """A weight kept in half the bytes streams half the bytes; repeated heads stream once."""
    half = demand(lambda x, w: x @ w.astype(jnp.float16).astype(jnp.float32), (8, 32), (32, 16))
    assert half.num_bytes == 4 * 8 * 32 + 2 * 32 * 16 + 4 * 8 * 16
    repeated = demand(lambda q, k: jnp.einsum("hd,hd->h", q, jnp.repeat(k[None], 4, 0)), (4, 8), (8,))
    assert repeated.num_bytes == 4 * (4 * 8 + 8 + 4)


def test_element_wise_work_is_done_on_the_way() -> None:
    assert demand(lambda x: jax.nn.softmax(jnp.tanh(x) * 2), (64, 64)) == Demand((), 0.0)


def test_rows_looked_up_and_written() -> None:
    table = demand(lambda t: t[jnp.array([3, 1])], (1000, 16))
    assert table.num_bytes == 4 * 2 * 16
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

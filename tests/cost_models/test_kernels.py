"""Kernels of a group of equations, what each costs, and products with a single vector."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import jax
import pytest
from jax import lax
from jax import numpy as jnp

from cost_models import Work, WorkError, compute_cost, fused_outputs, processor_attend_cost, work_of
from tests.cost_models.systems import GPU, HOST

KERNEL_S = 2e-6


def shaped(*shape: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def traced(function: Callable[..., Any], *shapes: Sequence[int]) -> Any:
    return jax.make_jaxpr(function)(*(shaped(*shape) for shape in shapes)).jaxpr


def work(function: Callable[..., Any], *shapes: Sequence[int]) -> Work:
    jaxpr = traced(function, *shapes)
    return work_of(jaxpr.eqns, jaxpr.invars, jaxpr.outvars)


def kernels(function: Callable[..., Any], *shapes: Sequence[int]) -> float:
    return work(function, *shapes).num_kernels


def test_element_wise_work_is_one_kernel_and_products_are_one_each() -> None:
    assert kernels(lambda x, y: jnp.exp(x * y) + 1.0, (8, 8), (8, 8)) == 1
    assert kernels(lambda x, w: x @ w, (8, 8), (8, 8)) == 1
    assert kernels(lambda x, w: lax.max(x @ w, 0.0) @ w, (8, 8), (8, 8)) == 3


def test_a_norm_stays_in_one_kernel_with_the_residual_before_it() -> None:
    def norm(x: jax.Array, y: jax.Array, w: jax.Array) -> jax.Array:
        z = x + y
        return (z * lax.rsqrt(lax.square(z).sum(axis=1, keepdims=True))) @ w

    assert kernels(norm, (4, 64), (4, 64), (64, 64)) == 2


def test_a_border_between_groups_adds_no_kernel_where_the_reader_makes_the_value() -> None:
    """A bias that a group adds last belongs to the kernel of whoever adds the residual to it."""

    def block(x: jax.Array, w: jax.Array, bias: jax.Array) -> jax.Array:
        return x + (x @ w + bias)

    jaxpr = traced(block, (8, 8), (8, 8), (8,))
    dot, *rest, residual = jaxpr.eqns
    biased = rest[-1].outvars[0]
    group = [dot, *rest]
    fused = fused_outputs(jaxpr.eqns, jaxpr.outvars)
    assert biased in fused
    assert residual.outvars[0] not in fused
    assert work_of(group, jaxpr.invars, [biased]).num_kernels == 2
    assert work_of(group, jaxpr.invars, [biased], fused).num_kernels == 1
    assert (
        work_of(group, jaxpr.invars, [biased], fused).num_bytes
        == work_of(group, jaxpr.invars, [biased]).num_bytes
    )


def test_operands_of_products_and_what_leaves_the_program_are_never_fused() -> None:
    jaxpr = traced(lambda x, w: (lax.exp(x) @ w, lax.sin(x) * 2.0), (8, 8), (8, 8))
    named = {eqn.primitive.name: eqn.outvars[0] for eqn in jaxpr.eqns}
    fused = fused_outputs(jaxpr.eqns, jaxpr.outvars)
    assert named["exp"] not in fused
    assert named["mul"] not in fused
    assert named["sin"] in fused


def test_a_view_of_an_operand_keeps_it_from_being_fused() -> None:
    jaxpr = traced(lambda x, w: lax.exp(x).T @ w, (8, 8), (8, 8))
    assert not fused_outputs(jaxpr.eqns, jaxpr.outvars)


def test_only_products_with_one_vector_count_as_such() -> None:
    assert work(lambda x, w: x @ w, (1, 16), (16, 32)).num_matvecs == 1
    assert work(lambda x, w: w @ (w.T @ x), (32,), (32, 16)).num_matvecs == 2
    assert work(lambda x, w: x @ w, (2, 16), (16, 32)).num_matvecs == 0
    assert work(lambda x, w: x @ w, (1, 16), (16, 32)).batched_matvec_bytes == 0


def test_caches_that_heads_do_not_share_are_batches_of_matrices_that_meet_one_vector() -> None:
    def scores(q: jax.Array, k: jax.Array) -> jax.Array:
        return jnp.einsum("bghd,bhsd->bghs", q, k.astype(jnp.float16).astype(jnp.float32))

    alone = work(scores, (2, 1, 4, 8), (2, 4, 16, 8))
    assert alone.batched_matvec_bytes == 4 * 2 * 4 * 16 * 8
    assert alone.num_matvecs == 0
    assert work(scores, (2, 3, 4, 8), (2, 4, 16, 8)).batched_matvec_bytes == 0


def test_every_kernel_takes_its_least_time() -> None:
    gpu = replace(GPU, kernel_s=KERNEL_S)
    some = Work(1e9, 3e9, 2e9, num_kernels=7)
    assert compute_cost(some, gpu, "float32").seconds == pytest.approx(0.1 + 7 * KERNEL_S)
    assert compute_cost(some, gpu, "float32").bound == "memory"
    assert compute_cost(Work(num_kernels=3), gpu, "float32").bound == "overhead"
    assert compute_cost(some, GPU, "float32").seconds == pytest.approx(0.1)


def test_products_with_one_vector_take_a_time_of_their_own_besides() -> None:
    gpu = replace(GPU, kernel_s=KERNEL_S, matvec_s=3 * KERNEL_S)
    some = Work(0.0, 3e9, 2e9, num_kernels=7, num_matvecs=2)
    assert compute_cost(some, gpu, "float32").seconds == pytest.approx(0.1 + 13 * KERNEL_S)


def test_on_a_gpu_batches_of_matrices_that_meet_one_vector_are_read_at_the_rate_of_attention() -> None:
    gpu = replace(GPU, attention_efficiency=0.25)
    some = Work(0.0, 3e9, 2e9, batched_matvec_bytes=1e9)
    assert compute_cost(some, gpu, "float32").seconds == pytest.approx(4e9 / 50e9 + 1e9 / 25e9)
    assert compute_cost(some, GPU, "float32").seconds == pytest.approx(0.1)


def test_on_the_host_the_rate_of_the_kernel_for_attention_is_that_of_no_program() -> None:
    host, some = replace(HOST, attention_efficiency=0.25), Work(0.0, 3e9, 2e9, batched_matvec_bytes=1e9)
    assert compute_cost(some, host, "float32") == compute_cost(some, HOST, "float32")


@pytest.mark.parametrize(("device", "num_kernels"), [(GPU, 5), (HOST, 1)])
def test_a_share_of_an_attention_pays_for_its_kernels(device: Any, num_kernels: int) -> None:
    sizes = {"batch": 2, "kv_heads": 4, "group_size": 1, "head_size": 8, "context_len": 10}
    given = {**sizes, "kv_bytes_per_element": 2, "dtype": "float32"}
    plain = processor_attend_cost(device, **given).seconds
    slow = processor_attend_cost(replace(device, kernel_s=KERNEL_S), **given).seconds
    assert slow - plain == pytest.approx(num_kernels * KERNEL_S)


def test_more_matrix_bytes_than_bytes_are_refused() -> None:
    with pytest.raises(
        WorkError, match=r"batched_matvec_bytes = 2\.0 is not accepted: they are among the 1\.0 bytes"
    ):
        Work(bytes_read=1.0, batched_matvec_bytes=2.0)

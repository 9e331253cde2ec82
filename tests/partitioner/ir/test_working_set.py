"""The memory an op needs beyond weights and caches: its borders, and what contractions make and read."""

from typing import Any

import jax
import pytest
from jax import numpy as jnp

from partitioner.frontend import from_step, trace_phase
from partitioner.ir.working_set import working_set_bytes
from partitioner.passes.group_ops import group_ops
from partitioner.passes.split_equations import split_equations
from tests.partitioner.small_models import plain_function, traced

SIZE = 512
VALUE = 2 * SIZE * 4
"""Bytes of float32[2, 1, 512]."""


def module_bytes(forward: Any) -> int:
    """Returns the working set of a module that makes logits float32[2, 1, 512] of an input of that shape."""

    def step(params: Any, tokens: Any, cache: Any, positions: Any, mask: Any) -> Any:
        x = params["embed"]["table"][tokens]
        return forward(x, params["module"]["a"], params["module"]["b"]), cache

    square = jax.ShapeDtypeStruct((SIZE, SIZE), jnp.float32)
    params = {"embed": {"table": square}, "module": {"a": square, "b": square}}
    function = from_step(step, params=params, init_cache=lambda rows, slots: jnp.zeros((rows, slots)))
    phase = trace_phase(function, "decode", batch_size=2, chunk=1, max_len=5)
    graph = group_ops(phase, split_equations(phase), ())
    (op,) = [op for op in graph.ops if op.name == "module"]
    return working_set_bytes(graph, op)


CASES: dict[str, tuple[Any, float]] = {
    "input and output of one product": (lambda x, a, b: x @ a, 2),
    "an element-wise chain is fused": (lambda x, a, b: jnp.exp(jnp.tanh(x @ a)), 3),
    "between two products both ends are stored": (lambda x, a, b: jnp.tanh(x @ a) @ b, 4),
    "a value that is used no more makes room": (lambda x, a, b: jnp.tanh(jnp.tanh(x @ a) @ b) @ b, 4),
    "a value that is used later does not": (lambda x, a, b: (x @ a) @ b + (x @ b), 4),
    "small values do not count": (
        lambda x, a, b: x @ a + jnp.cumsum(x[..., :8], -1).sum(-1, keepdims=True),
        3,
    ),
    "a transposed weight is read as it lies": (lambda x, a, b: x @ a.T, 2),
    "a scaled weight is stored": (lambda x, a, b: x @ (a * 2), 2 + SIZE // 2),
}


@pytest.mark.parametrize("case", CASES)
def test_bytes_of_a_module(case: str) -> None:
    forward, values = CASES[case]
    assert module_bytes(forward) == values * VALUE


def test_weights_and_caches_are_not_counted() -> None:
    graph = traced(plain_function(), batch_size=2, prompt_len=30, decode_len=34).graphs[-1]
    sizes = {op.name: working_set_bytes(graph, op) for op in graph.ops}
    # the stream, and q, k or v: float32[2, 1, 24] each
    assert sizes["query"] == sizes["key"] == sizes["value"] == 2 * (2 * 24 * 4)
    caches = 2 * 2 * 64 * 24 * 4
    # q, k, v and the output, and the float32[2, 4, 1, 64] of logits, then of probabilities
    assert sizes["attention"] == 4 * (2 * 24 * 4) + 2 * 4 * 64 * 4 < caches


def test_a_prefill_needs_memory_in_proportion_to_its_rows() -> None:
    def largest(batch_size: int) -> int:
        graph = traced(plain_function(), batch_size=batch_size, prompt_len=32, decode_len=4).graphs[0]
        return max(working_set_bytes(graph, op) for op in graph.ops)

    assert largest(8) == 2 * largest(4)

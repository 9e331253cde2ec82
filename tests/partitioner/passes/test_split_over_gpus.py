"""What is cut over several GPUs follows from the equations, whatever parameters are called."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
from jax import numpy as jnp

from cost_models import Work
from partitioner import Workload
from partitioner.front import trace_model
from partitioner.frontend import from_step
from partitioner.ir.graph import OpGraph
from partitioner.ir.tensor_parallel import Collective
from partitioner.passes.split_over_gpus import NO_CHAIN, NOT_BY_HEAD, ROWS_ONLY, find_splits, split_over_gpus
from tests.partitioner.small_models import HEADS, HIDDEN, VOCAB, Project, decoder_step, plain_cache
from tests.runtime.tiny_models import demo_hardware

BATCH = 2


def graphs_of(
    project: Project, tail: Callable[[Any, Any], Any] | None = None, num_gpus: int = 2, **shapes: Any
) -> tuple[OpGraph, ...]:
    """Returns the graphs of a decoder of one attention, with more work on its logits' input if wanted."""
    named = {"embed": (VOCAB, HIDDEN), "head": (HIDDEN, VOCAB), "out": (HIDDEN, HIDDEN), **shapes}
    params = {name: jax.ShapeDtypeStruct(shape, jnp.float32) for name, shape in named.items()}

    def step(params: Any, tokens: Any, cache: Any, positions: Any, mask: Any) -> tuple[Any, Any]:
        own = params if tail is None else {**params, "head": jnp.eye(HIDDEN)}
        x, cache = decoder_step(project)(own, tokens, cache, positions, mask)
        return (x if tail is None else tail(params, x) @ params["head"]), cache

    function = from_step(step, params=params, init_cache=plain_cache, name="plain")
    return trace_model(function, demo_hardware().with_gpus(num_gpus), Workload(BATCH, 6, 4)).graphs


def separate(params: Any, x: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    return x @ params["red"], x @ params["green"], x @ params["blue"]


def normed(params: Any, x: jax.Array) -> jax.Array:
    return x / jnp.sqrt((x * x).mean(-1, keepdims=True))


COLOURS = dict.fromkeys(("red", "green", "blue"), (HIDDEN, HIDDEN))


def test_names_play_no_part() -> None:
    graphs = graphs_of(separate, **COLOURS)
    found = graphs[-1].parallel
    assert found is not None
    columns = dict.fromkeys(("red", "green", "blue", "head"), 1)
    assert found.axes == {**columns, "out": 0, "keys": 2, "values": 2}
    assert found.whole == {"embed": ROWS_ONLY}
    assert all(graph.parallel is found for graph in graphs)


def test_ops_know_what_is_exchanged() -> None:
    for graph in graphs_of(separate, **COLOURS):
        tokens = graph.phase.batch_size * graph.phase.chunk
        exchanged = [c for op in graph.ops for c in op.collectives]
        summed = Collective("all_reduce", 4.0 * tokens * HIDDEN)
        logits = Collective("all_gather", 4.0 * tokens * VOCAB)
        assert exchanged == [summed, logits]
        assert all(op.repeated == Work() for op in graph.ops)


def test_a_gated_chain_is_cut_and_a_plain_residual_is_not() -> None:
    def gated(params: Any, x: jax.Array) -> jax.Array:
        hidden = jax.nn.silu(x @ params["a"] + params["bias"]) * (x @ params["b"])
        return normed(params, x + hidden @ params["c"] + x @ params["d"])

    wide = {"a": (HIDDEN, 40), "b": (HIDDEN, 40), "c": (40, HIDDEN), "d": (HIDDEN, HIDDEN), "bias": (40,)}
    graphs = graphs_of(separate, gated, **COLOURS, **wide)
    found = graphs[-1].parallel
    assert found is not None
    assert {n: found.axes.get(n) for n in wide} == {"a": 1, "b": 1, "c": 0, "d": None, "bias": 0}
    assert found.whole["d"] == NO_CHAIN
    repeated = Work(2.0 * BATCH * HIDDEN * HIDDEN, 4.0 * HIDDEN * HIDDEN, 0.0)
    assert [op.repeated for op in graphs[-1].ops if "d" in op.params] == [repeated]


def test_chains_may_be_long() -> None:
    def long(params: Any, x: jax.Array) -> jax.Array:
        hidden = x @ params["a"]
        for _ in range(1000):
            hidden = hidden + 1.0
        return normed(params, hidden @ params["b"])

    found = graphs_of(separate, long, **COLOURS, a=(HIDDEN, 40), b=(40, HIDDEN))[-1].parallel
    assert found is not None
    assert (found.axes["a"], found.axes["b"]) == (1, 0)


def test_q_k_and_v_side_by_side_in_one_parameter_stay_whole() -> None:
    def fused(params: Any, x: jax.Array) -> tuple[jax.Array, ...]:
        return tuple(jnp.split(x @ params["qkv"], 3, axis=-1))

    found = graphs_of(fused, qkv=(HIDDEN, 3 * HIDDEN))[-1].parallel  # type: ignore[arg-type]
    assert found is not None
    assert found.whole["qkv"] == NO_CHAIN
    assert found.axes.items() >= {"out": 0, "keys": 2, "values": 2}.items()


def test_what_cannot_be_shared_evenly_lies_whole() -> None:
    graphs = graphs_of(separate, normed, num_gpus=3, **COLOURS)
    found = graphs[-1].parallel
    assert found is not None
    reason = f"{HEADS} KV heads cannot be shared evenly by 3 GPUs"
    assert found.axes == {}
    assert {found.whole[n] for n in ("keys", "values", "red", "green", "blue", "out")} == {reason}
    assert found.whole["head"] == f"{VOCAB} cannot be shared evenly by 3 GPUs"
    (attention,) = (op for op in graphs[-1].ops if op.attention)
    others = attention.work * 2
    assert (attention.repeated.flops, attention.repeated.num_bytes) == (others.flops, others.num_bytes)
    assert attention.repeated.num_kernels == 0
    assert not any(op.collectives for op in graphs[-1].ops)


def test_heads_that_are_no_major_part_of_an_axis_are_said_to_be_in_the_way() -> None:
    decode = graphs_of(separate, **COLOURS)[-1]
    merged = (("batch",), ("token",), ("head_size", "kv_head"))
    ops = tuple(
        replace(op, attention=replace(op.attention, cache_layout=merged)) if op.attention else op
        for op in decode.ops
    )
    found = find_splits(replace(decode, ops=ops), 2)
    assert (found.whole["keys"], found.whole["values"]) == (NOT_BY_HEAD, NOT_BY_HEAD)


def test_one_gpu_is_left_alone() -> None:
    graphs = graphs_of(separate, num_gpus=1, **COLOURS)
    assert [g.parallel for g in graphs] == [None, None]
    assert split_over_gpus(graphs, 1) == graphs

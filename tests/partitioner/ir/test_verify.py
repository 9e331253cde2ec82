"""Every rule of the IR: a valid graph passes, and a twin with one thing broken is refused by name."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import pytest

from partitioner.errors import PartitionError, PassError
from partitioner.ir.graph import OpGraph
from partitioner.ir.op import Op
from partitioner.ir.verify import verify_graph
from partitioner.passes.split_over_gpus import split_over_gpus
from tests.partitioner.small_models import (
    LLAMA,
    OPT,
    MhaDecoder,
    abstract_transformer,
    plain_function,
    traced,
)


@functools.cache
def valid() -> OpGraph:
    return traced(abstract_transformer(OPT)).graphs[-1]


MODELS: dict[str, Callable[[], Any]] = {
    "opt": lambda: abstract_transformer(OPT),
    "llama": lambda: abstract_transformer(LLAMA),
    "nnx-attention": MhaDecoder,
    "plain": plain_function,
}


@pytest.mark.parametrize("name", MODELS)
def test_graphs_of_all_phases_are_valid(name: str) -> None:
    for graph in traced(MODELS[name]()).graphs:
        verify_graph(graph, "group_ops")


def op_named(name: str) -> Op:
    return next(op for op in valid().ops if op.name == name)


def with_op(which: str, /, **changes: Any) -> OpGraph:
    ops = tuple(dataclasses.replace(op, **changes) if op.name == which else op for op in valid().ops)
    return dataclasses.replace(valid(), ops=ops)


def without(name: str) -> OpGraph:
    return dataclasses.replace(valid(), ops=tuple(op for op in valid().ops if op.name != name))


def two_of_a_name() -> OpGraph:
    return with_op("blocks.0.norm2", name="blocks.0.norm1")


def consumer_first() -> OpGraph:
    return dataclasses.replace(valid(), ops=valid().ops[::-1])


def run_twice() -> OpGraph:
    up, down = op_named("blocks.0.mlp.up"), op_named("blocks.0.mlp.down")
    return with_op(
        "blocks.0.mlp.down",
        equations=(*up.equations, *down.equations),
        inputs=tuple(dict.fromkeys((*up.inputs, *down.inputs))),
    )


def unlisted_input() -> OpGraph:
    return with_op("blocks.0.mlp.up", inputs=op_named("blocks.0.mlp.up").inputs[1:])


def equations_out_of_order() -> OpGraph:
    return with_op("blocks.0.mlp.up", equations=op_named("blocks.0.mlp.up").equations[::-1])


def input_not_read() -> OpGraph:
    up = op_named("blocks.0.mlp.up")
    return with_op("blocks.0.mlp.up", inputs=(*up.inputs, valid().phase.inputs[0].var))


def output_not_made() -> OpGraph:
    up = op_named("blocks.0.mlp.up")
    return with_op("blocks.0.mlp.up", outputs=(*up.outputs, up.inputs[0]))


def attention_that_says_compute() -> OpGraph:
    return with_op("blocks.0.attention", kind="compute")


def compute_that_says_attention() -> OpGraph:
    return with_op("blocks.0.norm1", kind="attention")


def operand_from_nowhere(field: str) -> OpGraph:
    attention = op_named("blocks.0.attention").attention
    assert attention is not None
    other = dataclasses.replace(attention, **{field: valid().phase.inputs[0].var})
    return with_op("blocks.0.attention", attention=other)


def unlisted_cache() -> OpGraph:
    return with_op("blocks.0.attention", states=("0.key",))


def equation_left_out() -> OpGraph:
    phase = valid().phase
    spare = phase.equations[-1].replace()
    return dataclasses.replace(valid(), phase=dataclasses.replace(phase, equations=(*phase.equations, spare)))


def result_that_nobody_makes() -> OpGraph:
    phase = valid().phase
    inner = op_named("blocks.0.norm1").equations[0].outvars[0]
    outputs = (dataclasses.replace(phase.outputs[0], atom=inner), *phase.outputs[1:])
    return dataclasses.replace(valid(), phase=dataclasses.replace(phase, outputs=outputs))


BROKEN: dict[str, tuple[Callable[[], OpGraph], str]] = {
    "two ops of one name": (two_of_a_name, "two ops are called 'blocks.0.norm1'"),
    "a consumer before its producer": (
        consumer_first,
        r"op 'logits' reads float32\[2,1,32\], which no earlier op makes",
    ),
    "an op left out": (
        lambda: without("blocks.0.mlp.up"),
        r"op 'blocks.0.mlp.down' reads float32\[.*\], which no earlier op makes",
    ),
    "an equation run twice": (
        run_twice,
        r"an equation runs twice, again in op 'blocks.0.mlp.down': .* = dot_general",
    ),
    "an input that is not listed": (
        unlisted_input,
        r"op 'blocks.0.mlp.up' does not list float32\[2,1,32\] as an input; equation: .* = dot_general",
    ),
    "equations out of order": (
        equations_out_of_order,
        r"op 'blocks.0.mlp.up' does not list float32\[.*\] as an input; equation: .* = ",
    ),
    "an input that is not read": (
        input_not_read,
        r"op 'blocks.0.mlp.up' lists float32\[32\] as an input and does not read it",
    ),
    "an output that is not made": (
        output_not_made,
        r"op 'blocks.0.mlp.up' does not make its output float32\[2,1,32\]",
    ),
    "an attention that says compute": (
        attention_that_says_compute,
        "op 'blocks.0.attention' is of kind 'compute' and describes heads=4 kv_heads=4",
    ),
    "a compute op that says attention": (
        compute_that_says_attention,
        "op 'blocks.0.norm1' is of kind 'attention' and describes None",
    ),
    "another q": (
        lambda: operand_from_nowhere("query"),
        r"attention 'blocks.0.attention' does not read its q, float32\[32\]",
    ),
    "another k": (lambda: operand_from_nowhere("new_key"), "attention .* does not read its k"),
    "another v": (lambda: operand_from_nowhere("new_value"), "attention .* does not read its v"),
    "a cache that is not listed": (
        unlisted_cache,
        "attention 'blocks.0.attention' does not list its cache '0.value'",
    ),
    "an equation in no op": (equation_left_out, "an equation is in no op: .* = dot_general"),
    "a result that nobody makes": (result_that_nobody_makes, "output 'logits' is made by no op"),
}


@pytest.mark.parametrize("rule", BROKEN)
def test_a_broken_twin_is_refused_with_the_pass_and_what_is_broken(rule: str) -> None:
    break_it, message = BROKEN[rule]
    verify_graph(valid(), "group_ops")
    with pytest.raises(PassError, match=rf"(?s)^after some_pass: {message}"):
        verify_graph(break_it(), "some_pass")


def test_parts_of_several_gpus_are_equal() -> None:
    (graph,) = split_over_gpus([valid()], 2)
    verify_graph(graph, "some_pass")
    assert graph.parallel is not None
    for axis, gpus in ((2, 2), (0, 3)):
        wrong = dataclasses.replace(graph.parallel, num_gpus=gpus, axes={"blocks.0.mlp.up.kernel": axis})
        message = (
            rf"up.kernel' of shape \[32, 40\] is cut along axis {axis} into {gpus} parts, which are not equal"
        )
        with pytest.raises(PassError, match=message):
            verify_graph(dataclasses.replace(graph, parallel=wrong), "some_pass")


def test_a_broken_graph_is_a_partition_error() -> None:
    with pytest.raises(PartitionError):
        verify_graph(without("norm"), "some_pass")


def test_index_arithmetic_may_be_repeated() -> None:
    graph = traced(abstract_transformer(LLAMA)).graphs[-1]
    index = {id(e) for e in graph.index_equations}
    repeated = [id(e) for op in graph.ops for e in op.equations if id(e) in index]
    assert len(repeated) > len(set(repeated))
    verify_graph(graph, "group_ops")

"""A graph says who makes and who reads a value, and prints."""

import dataclasses
import functools

from partitioner.ir.graph import OpGraph, Unraised
from partitioner.jaxpr import Literal, Var
from tests.partitioner.small_models import MhaDecoder, plain_function, traced


@functools.cache
def graph() -> OpGraph:
    return traced(plain_function()).graphs[-1]


def test_producers_and_consumers_are_found() -> None:
    made = {graph().ops[i].name: v for v, i in graph().producer.items()}
    assert set(made) == {op.name for op in graph().ops if op.outputs}
    readers = {graph().ops[i].name for i in graph().consumers[made["embed"]]}
    assert readers == {"query", "key", "value", "out"}
    for var, indices in graph().consumers.items():
        assert list(indices) == [i for i, op in enumerate(graph().ops) if var in op.inputs]


def test_inputs_and_outputs_are_described() -> None:
    assert {i.name for i in graph().input_of.values()} == {i.name for i in graph().phase.inputs}
    assert {o.name for o in graph().output_of.values()} == {"logits", "keys", "values"}
    assert {graph().input_of[v].name for v in graph().index_inputs} == {
        "tokens",
        "positions",
        "mask",
        "logits_at",
    }


def test_a_value_returned_twice_has_its_first_name_and_a_constant_has_none() -> None:
    phase = graph().phase
    first = phase.outputs[0]
    constant = next(a for e in phase.equations for a in e.invars if isinstance(a, Literal))
    outputs = (
        first,
        dataclasses.replace(first, name="again"),
        dataclasses.replace(first, name="one", atom=constant),
    )
    changed = dataclasses.replace(graph(), phase=dataclasses.replace(phase, outputs=outputs))
    assert isinstance(first.atom, Var)
    assert changed.output_of == {first.atom: first}


def test_cursors_are_index_inputs() -> None:
    decode = traced(MhaDecoder()).graphs[-1]
    cursors = {i.name for i in decode.input_of.values() if i.role == "cursor"}
    assert cursors == {"attention.0.cache_index", "attention.1.cache_index"}
    assert cursors <= {decode.input_of[v].name for v in decode.index_inputs}


def test_a_graph_prints_its_phase_its_ops_and_what_was_not_raised() -> None:
    unraised = (Unraised("keys", "the cache is returned as it came"),)
    lines = str(dataclasses.replace(graph(), unraised=unraised)).splitlines()
    phase = str(graph().phase).splitlines()
    assert lines[: len(phase)] == phase
    assert lines[len(phase)].startswith("  embed: compute, ")
    attention = next(line for line in lines if ": attention, " in line)
    assert attention.endswith(", float32 [heads=4 kv_heads=4 d=6 scale=0.408248 cache=keys,values float32]")
    assert lines[-1] == "  not raised: keys: the cache is returned as it came"
    assert len(lines) == len(phase) + len(graph().ops) + 1


def test_an_attention_knows_the_size_of_its_groups() -> None:
    attention = next(op.attention for op in graph().ops if op.attention)
    assert attention.group_size == 1
    assert dataclasses.replace(attention, num_kv_heads=2).group_size == 2
